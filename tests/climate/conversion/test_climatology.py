"""The climatology equals its definition, in one pass of bounded memory."""

import functools

import builders
import numpy as np
import pytest
import zarr

from climate.conventions.calendar import hour_of_day, month_of_year
from climate.conversion import climatology
from climate.conversion.climatology import write_climatology
from climate.store.statistics import BY_MONTH, Binning, by_day, by_hour
from climate.store.windows import BOX, WEATHERBENCH2, WINDOWS, Window

YEAR, PARTS, HARMONICS = 20, 4, np.array([1, 2, 3])
WEIGHTS = {"alike": (1, 1, 1, 1), "in a line": (3, 2, 1, 0), "any": (1.5, 0.25, 0.125, 0.01)}


def short(weights):
    """A year of 20 days; times count parts of days."""
    window = Window("short", "over ±3 days", weights)
    shape = YEAR, PARTS
    return Binning("short", "a year of 20 days", shape, lambda t: t.astype(int) % (20 * 4), window)


class Counted:
    """States in memory that count how many maps are read."""

    def __init__(self, values, steps):
        self.values, self.shape, self.maps = values, values.shape, 0
        self.chunks = (steps, 1 if steps == 1 else values.shape[1], *values.shape[2:])

    def __getitem__(self, key):
        found = self.values[key]
        self.maps += found.shape[0] * found.shape[1]
        return found


def by_definition(values, times, day, part, weights):
    """Mean by weight of the states of this part in the days around, of any part if none has it."""
    apart = np.abs(times // PARTS % YEAR - day)
    weight = np.array([*weights, *[0] * YEAR])[np.minimum(apart, YEAR - apart)]
    same = weight * (times % PARTS == part)
    weight = same if same.any() else weight
    return np.einsum("t,t...->...", weight, values.astype(np.float64)) / weight.sum()


@pytest.mark.parametrize("budget", [2**29, 900])
@pytest.mark.parametrize("chunk_steps", [1, 24])
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_seasons_are_the_mean_of_the_days_around(monkeypatch, weights, every, chunk_steps, budget):
    """Three years and a half with a gap; where only every other part has data, too."""
    monkeypatch.setattr(climatology, "SUM_BYTES", budget)
    monkeypatch.setattr("climate.store.layout.SMALL_FIELD_BYTES", 1 if chunk_steps == 1 else 2**20)
    times = np.delete(np.arange(4, 4 + 280, every), slice(50, 60))
    values = np.random.default_rng(0).normal(3, 5, (len(times), 2, 3, 4)).astype(np.float32)
    start, stop = 3, len(times) - 5
    state, group = Counted(values, chunk_steps), zarr.create_group({})
    mean_map = write_climatology(group, state, times, start, stop, short(weights))
    made = group["climatology"][:].reshape(YEAR, PARTS, 2, 3, 4)
    for day in range(YEAR):
        for part in range(PARTS):
            want = by_definition(values[start:stop], times[start:stop], day, part, weights)
            assert np.allclose(made[day, part], want, atol=5e-6)
    assert np.allclose(mean_map, values[start:stop].mean(0, dtype=np.float64), atol=1e-6)
    if budget == 2**29 and chunk_steps == 1:
        assert state.maps <= (1 + 2 * (len(weights) + 1) / YEAR) * 2 * (stop - start)


@functools.cache
def kept_of(name):
    """Shares of three harmonics of the year that a climatology keeps, and what it adds to them."""
    years = [builders.hours(f"{year}-01-01", 366, 24).astype("M8[s]") for year in (2016, 2020)]
    times, phase = np.concatenate(years), 2 * np.pi * np.arange(366)[:, None] / 366
    waves = np.cos(phase * HARMONICS + 1)
    values = np.tile(waves, (2, 1)).astype(np.float32)[..., None, None]
    group = zarr.create_group({})
    write_climatology(group, Counted(values, 24), times, 0, len(times), by_day(1, WINDOWS[name]))
    made = group["climatology"][:, :, 0, 0].astype(np.float64)
    shares = (made * waves).sum(0) / (waves * waves).sum(0)
    return shares, np.abs(made - shares * waves).max()


@pytest.mark.parametrize("name", WINDOWS)
def test_harmonics_of_the_year_are_kept_as_the_weights_transform_says(name):
    weights = np.array([*WINDOWS[name].weights[:0:-1], *WINDOWS[name].weights])
    lags = np.arange(-30, 31)[:, None]
    exact = weights @ np.cos(2 * np.pi * HARMONICS * lags / 366) / weights.sum()
    shares, rest = kept_of(name)
    assert np.allclose(shares, exact, atol=1e-6) and rest < 1e-6


def test_the_windows_keep_more_of_the_year_than_the_box():
    kept = {name: kept_of(name)[0] for name in WINDOWS}
    assert np.allclose(kept["box"], [0.955, 0.826, 0.635], atol=2e-3)
    assert np.allclose(kept["weatherbench2"], [0.978, 0.915, 0.816], atol=1e-3)
    assert np.allclose(kept["gaussian"], [0.986, 0.944, 0.878], atol=1e-3)
    assert 25 * (1 - kept["box"][0]) > 1.1 and 25 * (1 - kept["weatherbench2"][0]) < 0.56


def test_a_window_of_straight_pieces_costs_few_additions():
    assert {name: (w.order, len(w.taps(w.order))) for name, w in WINDOWS.items()} == {
        "weatherbench2": (2, 3), "gaussian": (0, 61), "box": (1, 2),
    }  # fmt: skip


def test_few_data_far_away_are_no_less_than_their_mean():
    """One state in all the window, at its edge, where the weight is below 1."""
    window, values = WINDOWS["gaussian"], np.full((1, 1, 1, 1), 7, np.float32)
    group, times = zarr.create_group({}), np.array(["2016-02-01"], "M8[s]")
    write_climatology(group, Counted(values, 24), times, 0, 1, by_day(1, window))
    assert np.allclose(group["climatology"][1:62].ravel(), 7)


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
@pytest.mark.parametrize("window", [BOX, WEATHERBENCH2])
def test_sums_fit_the_budget_and_cover_all(shape, chunk_steps, window):
    pieces = list(climatology.pieces(by_day(24, window), shape, chunk_steps))
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
    monkeypatch.setattr(climatology, "READ_BYTES", 7 * 4 * 2 * 3 * 4)
    write_climatology(
        zarr.create_group({}), Noting(values, chunk_steps), times, 0, 400, short((1, 1))
    )
    # a day has four steps, and where chunks hold many, eight days are read together
    assert max(sizes) == (4 if chunk_steps == 1 else 7) * 4 * 2 * 3 * 4
