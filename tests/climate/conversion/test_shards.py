"""Statistics over shards whose borders lie at gaps, inside stretches and at the split."""

import numpy as np
import pytest
import xarray as xr
from generic_weather import LAT, LON, drifting_states, drifting_times
from refusals import refused

from climate.conversion.append import append
from climate.conversion.convert import convert
from climate.conversion.shards import Job, _fill, _settle
from climate.store.layout import open_store

HOURS = np.r_[0:5, 9:16, 20:32]
"""Gaps inside the first shard of six and between the second and the third."""
TIMES, VALUES = drifting_times(HOURS), drifting_states(hours=HOURS)
NAMES = {"z": "m2 s-2", "t2m": "K", "u10": "m s-1"}


def of_times(stop):
    axes = ("time", "lat", "lon")
    fields = {n: (axes, VALUES[:, c], {"units": u}) for c, (n, u) in enumerate(NAMES.items())}
    coords = {"time": TIMES.astype("M8[ns]"), "lat": LAT, "lon": LON}
    return xr.Dataset(fields, coords).isel(time=slice(stop))


def converted(folder, first, stop=24, write=convert):
    ends = [str(t) for t in TIMES[[first, 15, 16, 18, 19, stop - 1]]]
    splits = {"train": ends[:2], "val": ends[2:4], "test": ends[4:]}
    write(of_times(stop), folder, splits, source={}, scheduler="synchronous", odd_maps="keep")
    return open_store(folder)


def test_a_shard_that_was_begun_is_filled_by_an_append(tmp_path, monkeypatch):
    monkeypatch.setattr("climate.store.layout.SHARD_STEPS", 6)
    monkeypatch.setattr("climate.store.layout.CHUNK_STEPS", 3)
    before = converted(tmp_path / "store", 0, 20).statistics
    after = converted(tmp_path / "store", 0, 24, append)
    assert np.array_equal(after.times, TIMES) and after.statistics.hash == before.hash
    assert np.array_equal(after.read(0, 24), VALUES.astype(np.float32))


@pytest.mark.parametrize("first", [0, 6, 7])
def test_a_change_counts_within_training_where_no_step_is_missing(tmp_path, monkeypatch, first):
    monkeypatch.setattr("climate.store.layout.SHARD_STEPS", 6)
    monkeypatch.setattr("climate.store.layout.CHUNK_STEPS", 3)
    store = converted(tmp_path / "store", first)
    assert store.state.shards[0] == 6
    area = np.cos(np.deg2rad(LAT))[:, None] / np.cos(np.deg2rad(LAT)).mean() / 32
    train = VALUES[first:16].astype(np.float64)
    linked = np.diff(HOURS[first:16]) == 1
    changes = np.diff(train, axis=0)[linked]
    found = store.statistics
    for maps, mean, std in (
        (train, found.mean, found.std), (changes, None, found.tendency_std)
    ):  # fmt: skip
        middle = (maps * area).sum((2, 3)).mean(0)
        spread = np.sqrt(((maps - middle[:, None, None]) ** 2 * area).sum((2, 3)).mean(0))
        assert std == pytest.approx(spread, rel=1e-6)
        if mean is not None:
            assert mean == pytest.approx(middle, rel=1e-6)
    assert found.min == pytest.approx(train.min((0, 2, 3)))
    assert found.max == pytest.approx(train.max((0, 2, 3)))
    assert found.mean_map == pytest.approx(train.mean(0), rel=1e-6)
    assert found.count == 16 - first


def job(**changed):
    numbers = dict.fromkeys(Job.__dataclass_fields__)
    return Job(**numbers | {"times": TIMES, "steps": 7, "channels": tuple("abcde"), "share": 2}
               | changed)  # fmt: skip


def test_shards_are_numbered_by_times_then_by_channels(tmp_path):
    made = job(out=tmp_path)
    assert (made.shares, made.count) == (3, 12)
    spans = [made.span(k) for k in (0, 2, 3, 11)]
    assert spans == [(0, 7), (0, 7), (7, 14), (21, 24)]
    assert [made.part(k) for k in (0, 1, 2, 10)] == [
        slice(0, 2), slice(2, 4), slice(4, 5), slice(2, 4),
    ]  # fmt: skip
    assert made.file(7, "state") == tmp_path / "state/c/2/1/0/0"
    held = {(t, c) for k in range(made.count) for t in range(*made.span(k))
            for c in range(5)[made.part(k)]}  # fmt: skip
    assert len(held) == 24 * 5


def filled(missing, allowance, points=12):
    values = np.arange(6 * 12, dtype=np.float32).reshape(6, 3, 4) ** 1.5
    where = np.zeros((6, 3, 4), bool)
    where[missing] = True
    values[where] = np.nan
    made = job(nan_allowance=allowance, dataset={"z": xr.Variable((), 0)})
    _fill(values, where, points, "z", made, TIMES[:6])
    return values, where


def test_what_is_missing_takes_the_mean_of_its_shard_as_far_as_is_allowed():
    some = (slice(2, 4), 1, slice(1, 3))
    values, where = filled(some, 4 / 72)
    want = np.arange(6 * 12, dtype=np.float32).reshape(6, 3, 4) ** 1.5
    assert np.allclose(values[where], want[~where].mean(dtype=np.float64))
    assert np.array_equal(values[~where], want[~where])


@pytest.mark.parametrize(("points", "share"), [(12, "5.56%"), (8, "8.33%")])
def test_more_that_is_missing_is_refused_with_its_first_time(points, share):
    some = (slice(2, 4), 1, slice(1, 3))
    beside = "" if points == 12 else " beside those that are masked in every time"
    words = f"{share} of its values around {TIMES[2]} are missing or not finite{beside}, "
    refused(lambda: filled(some, 0.05, points), "variable z", words, "nan_allowance is 5.00%")


def test_a_shard_of_which_nothing_is_there_is_refused_whatever_is_allowed():
    refused(lambda: filled(slice(None), 1.0), "variable z: all its values of ")


def test_values_on_points_that_a_settled_mask_holds_are_refused():
    mask = np.zeros((5, 3, 4), bool)
    mask[0, 1, 2] = True
    told = {"mask": mask, "settled": True, "nan_allowance": 0.0}
    made = job(dataset={name: xr.Variable((), 0) for name in "ab"}, **told)
    values = np.ones((6, 2, 3, 4), np.float32)
    words = f"variable a: has values at {TIMES[0]} on 1 points that are masked"
    refused(lambda: _settle(made, 0, values, TIMES[:6]), words)
    values[:, 0, 1, 2] = np.nan
    filled, masked = _settle(made, 0, values, TIMES[:6])
    assert filled is None and np.array_equal(masked, mask[:2])


def test_a_point_that_one_shard_has_values_of_is_not_masked(tmp_path, monkeypatch):
    """Planned by the first and the last time; what a shard in the middle says is counted."""
    monkeypatch.setattr("climate.store.layout.SHARD_STEPS", 6)
    monkeypatch.setattr("climate.store.layout.CHUNK_STEPS", 3)
    values = VALUES[:, 1].copy()
    values[:, 1, 2], values[:6, 2, 5], values[12:, 2, 5] = np.nan, np.nan, np.nan
    dataset = of_times(24)[["z"]].assign(sst=(("time", "lat", "lon"), values, {"units": "K"}))
    splits = {"train": TIMES[[0, 15]], "val": TIMES[[16, 18]], "test": TIMES[[19, 23]]}
    told = {"source": {}, "scheduler": "synchronous", "odd_maps": "keep", "nan_allowance": 0.9}
    ends = {name: [str(time) for time in both] for name, both in splits.items()}
    convert(dataset, tmp_path / "store", ends, **told)
    store = open_store(tmp_path / "store")
    sst = store.channels.index("sst")
    assert np.argwhere(store.mask).tolist() == [[sst, 1, 2]]
    held = store.read(0, 24)[:, sst]
    assert np.array_equal(held[6:12, 2, 5], values[6:12, 2, 5].astype(np.float32))
