"""The climatology equals its definition, in one pass of bounded memory."""

import builders
import numpy as np
import pytest
import zarr

from climate.conventions.calendar import hour_of_day, month_of_year
from climate.conversion import climatology
from climate.conversion.climatology import write_climatology
from climate.store.statistics import BY_MONTH, Binning, by_day, by_hour

YEAR, PARTS, WINDOW = 20, 4, 3
SHORT = Binning("a year of 20 days", (YEAR, PARTS), lambda times: times.astype(int) % (20 * 4))
"""Times count parts of days."""


class Counted:
    """States in memory that count how many maps are read."""

    def __init__(self, values, steps):
        self.values, self.shape, self.maps = values, values.shape, 0
        self.chunks = (steps, 1 if steps == 1 else values.shape[1], *values.shape[2:])

    def __getitem__(self, key):
        found = self.values[key]
        self.maps += found.shape[0] * found.shape[1]
        return found


def by_definition(values, times, day, part):
    """Mean of all states of this part in the days around, of any part if none has it."""
    apart = np.abs(times // PARTS % YEAR - day)
    near = np.minimum(apart, YEAR - apart) <= WINDOW
    same = near & (times % PARTS == part)
    return values[same if same.any() else near].mean(0, dtype=np.float64)


@pytest.mark.parametrize("budget", [2**29, 900])
@pytest.mark.parametrize("chunk_steps", [1, 24])
@pytest.mark.parametrize("every", [1, 2])
def test_seasons_are_the_mean_of_the_days_around(monkeypatch, every, chunk_steps, budget):
    """Three years and a half with a gap; where only every other part has data, too."""
    monkeypatch.setattr(climatology, "SUM_BYTES", budget)
    monkeypatch.setattr(climatology, "HALF_WINDOW", WINDOW)
    monkeypatch.setattr("climate.store.layout.SMALL_FIELD_BYTES", 1 if chunk_steps == 1 else 2**20)
    times = np.delete(np.arange(4, 4 + 280, every), slice(50, 60))
    values = np.random.default_rng(0).normal(3, 5, (len(times), 2, 3, 4)).astype(np.float32)
    start, stop = 3, len(times) - 5
    state, group = Counted(values, chunk_steps), zarr.create_group({})
    mean_map = write_climatology(group, state, times, start, stop, SHORT)
    made = group["climatology"][:].reshape(YEAR, PARTS, 2, 3, 4)
    for day in range(YEAR):
        for part in range(PARTS):
            want = by_definition(values[start:stop], times[start:stop], day, part)
            assert np.allclose(made[day, part], want, atol=5e-6)
    assert np.allclose(mean_map, values[start:stop].mean(0, dtype=np.float64), atol=1e-6)
    if budget == 2**29 and chunk_steps == 1:
        assert state.maps <= (1 + 2 * WINDOW / YEAR + 0.15) * 2 * (stop - start)


@pytest.mark.parametrize(
    ("binning", "part"), [(by_hour(24), hour_of_day), (BY_MONTH, month_of_year)]
)
def test_without_seasons_each_part_has_its_mean(binning, part):
    times = builders.hours("2014-03-05T07", 300, 18).astype("datetime64[s]")
    values = np.random.default_rng(0).normal(3, 5, (300, 2, 3, 4)).astype(np.float32)
    group = zarr.create_group({})
    write_climatology(group, Counted(values, 24), times, 0, 300, binning)
    made, found = group["climatology"][:], part(times)
    for k in range(len(made)):
        chosen = found == k if (found == k).any() else slice(None)
        assert np.allclose(made[k], values[chosen].mean(0, dtype=np.float64), atol=5e-6)


@pytest.mark.parametrize(
    ("shape", "chunk_steps"), [((40, 721, 1440), 1), ((5, 32, 64), 24), ((32, 64, 128), 24)]
)
def test_sums_fit_the_budget_and_cover_all(shape, chunk_steps):
    pieces = list(climatology.pieces(by_day(24), shape, chunk_steps))
    sizes = [np.prod([s.stop - s.start for s in (p.parts, p.channels, p.rows)]) for p in pieces]
    assert sum(sizes) == 24 * shape[0] * shape[1]
    assert all(8 * 61 * size * shape[2] <= climatology.SUM_BYTES for size in sizes)
    if chunk_steps == 1:
        assert len(pieces) == 24 * shape[0]  # each chunk is read by one piece alone


@pytest.mark.parametrize("chunk_steps", [1, 24])
def test_states_are_read_in_pieces_of_the_budget(monkeypatch, chunk_steps):
    sizes = []

    class Noting(Counted):
        def __getitem__(self, key):
            sizes.append(super().__getitem__(key).nbytes)
            return super().__getitem__(key)

    times = np.arange(400)
    values = np.random.default_rng(0).normal(3, 5, (400, 2, 3, 4)).astype(np.float32)
    monkeypatch.setattr(climatology, "HALF_WINDOW", WINDOW)
    monkeypatch.setattr(climatology, "READ_BYTES", 7 * 4 * 2 * 3 * 4)
    write_climatology(zarr.create_group({}), Noting(values, chunk_steps), times, 0, 400, SHORT)
    # a day has four steps, and where chunks hold many, eight days are read together
    assert max(sizes) == (4 if chunk_steps == 1 else 7) * 4 * 2 * 3 * 4
