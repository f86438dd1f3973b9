"""Changes per step: of the store where it knows them, else of states spread over training."""

from dataclasses import replace

import numpy as np
import pytest

from climate.grids.regions import Region
from climate.models import step_change as module
from climate.models.step_change import point_weights, step_change
from climate.store.crop import crop

HOUR = np.timedelta64(3600, "s")


def area_of(store):
    weights = np.cos(np.deg2rad(store.lat))[:, None]
    return weights / weights.mean()


def rms_change(store, stride):
    train = store.read(0, 288).astype(np.float64)
    change = train[stride:] - train[:-stride]
    return np.sqrt((change**2 * area_of(store)).mean((0, 2, 3)))


def older(store):
    """As a store of before changes were kept."""
    return replace(store, statistics=replace(store.statistics, change=None))


class Counting:
    """States that count how often they are read, and the most at once."""

    def __init__(self, state):
        self.state, self.reads, self.most = state, 0, 0

    def __getattr__(self, name):
        return getattr(self.state, name)

    def read(self, start, stop, *rest):
        self.reads, self.most = self.reads + 1, max(self.most, stop - start)
        return self.state.read(start, stop, *rest)


@pytest.mark.parametrize("states", [1, 7, 50, 720])
@pytest.mark.parametrize("stride", [1, 6, 13])
def test_changes_are_over_a_model_step_within_training(store, monkeypatch, states, stride):
    monkeypatch.setattr(module, "READ_BYTES", states * 4 * np.prod(store.state.shape[1:]))
    want = rms_change(store, stride)
    assert step_change(older(store), stride * HOUR) == pytest.approx(want, rel=1e-5)


def test_a_store_knows_those_of_its_step_and_nothing_is_read(store):
    counting = replace(store, state=Counting(store.state))
    assert step_change(counting, HOUR) == pytest.approx(rms_change(store, 1), rel=1e-6)
    assert counting.state.reads == 0
    step_change(older(counting), HOUR)
    assert counting.state.reads > 0


def test_as_many_states_are_read_of_a_long_period_as_of_a_short_one(store, monkeypatch):
    monkeypatch.setattr(module, "PAIRS", 20)
    monkeypatch.setattr(module, "READ_BYTES", 1)
    counting = replace(older(store), state=Counting(store.state))
    found = step_change(counting, 6 * HOUR)
    assert (counting.state.reads, counting.state.most) == (40, 1)
    assert found == pytest.approx(rms_change(store, 6), rel=0.2)


def test_what_was_gathered_is_kept_for_the_next_start(store, tmp_path):
    first = step_change(store, 6 * HOUR, tmp_path / "derived")
    counting = replace(store, state=Counting(store.state))
    assert np.array_equal(step_change(counting, 6 * HOUR, tmp_path / "derived"), first)
    assert counting.state.reads == 0
    other = step_change(counting, 3 * HOUR, tmp_path / "derived")
    assert counting.state.reads > 0 and (other < first).all()


@pytest.mark.parametrize("text", ["", "{}", '{"changes": [1]}', '{"changes": ["a", 1, 2]}',
                                  '{"changes": [NaN, 1, 2]}'])  # fmt: skip
def test_what_is_damaged_is_gathered_anew(store, tmp_path, text):
    first = step_change(store, 6 * HOUR, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(text)
    assert np.array_equal(step_change(store, 6 * HOUR, tmp_path), first)


def test_a_region_has_its_own(store, tmp_path):
    whole = step_change(store, HOUR, tmp_path)
    box = crop(store, Region("box", -40, 60, 0, 180, 0))
    train = box.read(0, 288).astype(np.float64)
    weights = box.grid.area_weights[:, None] / len(box.lat) / len(box.lon)
    want = np.sqrt(((train[1:] - train[:-1]) ** 2 * weights).sum((2, 3)).mean(0))
    assert step_change(box, HOUR, tmp_path) == pytest.approx(want, rel=1e-5)
    assert whole != pytest.approx(want, rel=1e-3)


def test_weights_of_points_sum_to_one_over_those_that_are_there():
    area = np.array([0.5, 1.0, 1.5])[:, None]
    assert point_weights(area, None, 4).ravel() == pytest.approx(area.ravel() / 12)
    mask = np.zeros((2, 3, 4), bool)
    mask[1, 0, :3], mask[1, 2] = True, True
    got = point_weights(area, mask, 4)
    assert got.sum((1, 2)) == pytest.approx([1, 1])
    assert got[0] == pytest.approx(np.broadcast_to(area / 12, (3, 4)))
    assert got[1] == pytest.approx(np.array([[0, 0, 0, 0.5], [1] * 4, [0] * 4]) / 4.5)
