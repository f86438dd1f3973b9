"""Statistics of drifting states, with gaps, in blocks of any size, against ten lines of numpy."""

import json
from dataclasses import replace

import numpy as np
import pytest
from generic_weather import HOURS, LAT, STARTS, drifting_states, drifting_times
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from climate.conversion import moments
from climate.conversion.moments import Partial, moments_of, statistics_of, summarise
from climate.store import statistics as module
from climate.store.statistics import (
    BY_MONTH,
    Climatology,
    binning_of,
    by_day,
    by_hour,
    has_seasons,
    parts_of_day,
)
from climate.store.windows import BOX, WEATHERBENCH2

BY_HOUR = by_hour(24)
WEIGHTS = np.cos(np.deg2rad(LAT)) * 3.0
LINKED = np.isin(np.arange(len(HOURS)), STARTS, invert=True)
ALL = np.ones(len(HOURS), bool)


def reference(values, changes, kept=None):
    """Mean, std, min, max and std of the changes by channel, the long way."""
    area = np.broadcast_to(WEIGHTS[:, None], values.shape[2:])
    found = []
    for c in range(values.shape[1]):
        held = np.ones(area.shape, bool) if kept is None else kept[c]
        weight = area[held] / area[held].sum()
        own, step = (x[:, c][:, held].astype(np.float64) for x in (values, changes))
        mean, middle = (own @ weight).mean(), (step @ weight).mean() if len(step) else 0.0
        square, growth = (((x - m) ** 2 @ weight) for x, m in ((own, mean), (step, middle)))
        spread = np.sqrt(growth.mean()) if len(step) else 0.0
        found.append([mean, np.sqrt(square.mean()), own.min(), own.max(), spread])
    return np.array(found).T


def numbers(partial):
    return np.array([
        partial.states.mean, partial.states.std, partial.low, partial.high, partial.changes.std,
    ])  # fmt: skip


def changes_of(values, linked):
    later = np.flatnonzero(linked)
    return values[later].astype(np.float64) - values[later - 1]


@given(st.integers(1, 13), st.lists(st.booleans(), min_size=12, max_size=12).filter(any))
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_statistics_of_any_times_in_any_blocks_are_those_of_numpy(block, chosen):
    """A change counts where both its ends are chosen and nothing is missing between them."""
    values, chosen = drifting_states(), np.array(chosen)
    linked = LINKED & chosen
    linked[1:] &= chosen[:-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moments, "SUM_BYTES", block * values[0].nbytes)
        found = summarise(values, None, chosen, linked, WEIGHTS)
    assert found.states.count.tolist() == [chosen.sum()] * 3
    assert found.changes.count.tolist() == [linked.sum()] * 3
    assert numbers(found) == pytest.approx(
        reference(values[chosen], changes_of(values, linked)), rel=1e-6, abs=1e-9
    )


@pytest.mark.parametrize("cut", [1, 5, 7, 11])
def test_two_shards_come_to_what_one_does(cut):
    """The change over the border between them counts as any other, unless it is a gap."""
    values = drifting_states()
    whole = summarise(values, None, ALL, LINKED, WEIGHTS)
    parts = [
        summarise(values[:cut], None, ALL[:cut], LINKED[:cut], WEIGHTS),
        summarise(values[cut:], list(values[cut - 1]), ALL[cut:], LINKED[cut:], WEIGHTS),
    ]
    merged = parts[0].merge(parts[1])
    assert np.array_equal(merged.changes.count, whole.changes.count)
    assert numbers(merged) == pytest.approx(numbers(whole), rel=1e-7)
    without = parts[0].merge(summarise(values[cut:], None, ALL[cut:], LINKED[cut:], WEIGHTS))
    assert without.changes.count[0] == whole.changes.count[0] - LINKED[cut]


def test_a_channel_that_was_missing_before_has_no_change_from_there():
    values = drifting_states()
    before = list(values[5])
    before[1] = np.where(np.eye(4, 8) > 0, np.nan, before[1])
    found = summarise(values[6:9], before, ALL[:3], ALL[:3], WEIGHTS)
    whole = reference(values[6:9], changes_of(values[5:9], [False, True, True, True]))
    apart = reference(values[6:9], changes_of(values[6:9], [False, True, True]))
    assert found.changes.count.tolist() == [3, 2, 3]
    assert found.changes.std == pytest.approx(np.where([1, 0, 1], whole[4], apart[4]), rel=1e-6)


@pytest.mark.parametrize("masked", [(1,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("share", [1, 2, 9])
def test_masked_points_of_some_channels_count_nowhere(monkeypatch, masked, share):
    values, mask = drifting_states(), np.zeros((3, 4, 8), bool)
    for c in masked:
        mask[c, c : c + 2, 2 : 5 + c] = True
    values[:, mask] = np.nan
    monkeypatch.setattr(moments, "SUM_BYTES", share * values[0, 0].nbytes)
    found = summarise(values[1:], list(values[0]), ALL[1:], LINKED[1:], WEIGHTS, mask)
    want = reference(values[1:], changes_of(values, LINKED), ~mask)
    assert numbers(found) == pytest.approx(want, rel=1e-6)


def test_the_area_of_a_row_counts_as_often_as_it_is():
    maps = np.zeros((2, 1, 4, 8))
    maps[:, :, 0] = 4.0
    area = WEIGHTS / WEIGHTS.sum() / 8
    moments = moments_of(maps.copy(), area)
    share = WEIGHTS[0] / WEIGHTS.sum()
    assert moments.mean == pytest.approx([4 * share])
    assert moments.square == pytest.approx([2 * 16 * share * (1 - share)])
    assert moments.std == pytest.approx([4 * np.sqrt(share * (1 - share))])
    empty = moments_of(maps[:0], area)
    assert [empty.count[0], empty.mean[0], empty.std[0]] == [0, 0, 0]
    for merged in (empty.merge(moments), moments.merge(empty)):
        assert (merged.count[0], merged.mean[0]) == (2, moments.mean[0])
        assert merged.square == pytest.approx(moments.square)


def test_a_partial_comes_back_from_json_with_the_same_bits():
    partial = summarise(drifting_states(), None, ALL, LINKED, WEIGHTS)
    again = Partial.from_json(json.loads(json.dumps(partial.to_json())))
    for name in ("states", "changes"):
        for part in ("count", "mean", "square"):
            held, back = (getattr(getattr(p, name), part) for p in (partial, again))
            assert np.array_equal(held, back)
    assert np.array_equal(partial.low, again.low) and np.array_equal(partial.high, again.high)


def made(**changed):
    values = drifting_states()
    total = summarise(values, None, ALL, LINKED, WEIGHTS)
    period = (np.datetime64("2016-01-01", "s"), np.datetime64("2016-02-29", "s"))
    return replace(statistics_of(total, values.mean(0), period, ("z", "t", "q")), **changed)


def test_the_statistics_are_what_the_partials_come_to():
    statistics, values = made(), drifting_states()
    want = reference(values, changes_of(values, LINKED))
    for name, own in zip(module.NUMBERS, want, strict=True):
        assert getattr(statistics, name) == pytest.approx(own, rel=1e-6), name
    assert statistics.count == len(HOURS)
    told = statistics.to_json()
    assert told["hash"] == statistics.hash and told["tendency_std"] == pytest.approx(want[4])
    assert told["period"] == ["2016-01-01T00:00:00", "2016-02-29T00:00:00"]
    assert told["variables"] == ["z", "t", "q"] and told["count"] == len(HOURS)


def test_the_hash_tells_every_difference():
    statistics = made()
    moved = statistics.mean_map.copy()
    moved[2, 3, 7] += 1e-3
    day = np.datetime64("2016-01-02", "s")
    changes = [
        {"mean_map": moved}, {"count": 13}, {"variables": ("t", "z", "q")},
        {"period": (day, statistics.period[1])}, {"period": (statistics.period[0], day)},
        *({name: getattr(statistics, name) * 1.001} for name in module.NUMBERS),
    ]  # fmt: skip
    hashes = {made(**change).hash for change in changes} | {statistics.hash}
    assert len(hashes) == len(changes) + 1
    assert made().hash == statistics.hash


@pytest.mark.parametrize(
    ("last", "seasons"), [("2015-12-31T23", True), ("2015-12-30", False), ("2016-06-01", True)]
)
def test_two_years_less_a_day_have_seasons(last, seasons):
    assert has_seasons((np.datetime64("2014-01-01", "s"), np.datetime64(last, "s"))) is seasons


def test_each_step_has_its_binning():
    month, hour = np.timedelta64(1, "M"), np.timedelta64(3600, "s")
    assert binning_of(month, True) is binning_of(month, False) is BY_MONTH
    assert binning_of(hour, True).shape == (366, 24) and binning_of(hour, False).shape == (1, 24)
    assert [b.window for b in (by_day(4), by_hour(4), BY_MONTH)] == [WEATHERBENCH2, None, None]
    assert [b.name for b in (by_day(4, BOX), by_hour(4), BY_MONTH)] == ["box", "hours", "months"]


@pytest.mark.parametrize(
    ("hours", "parts"), [(1, 24), (3, 8), (5, 24), (6, 4), (24, 1), (36, 2), (120, 1), (1.5, 24)]
)
def test_the_day_has_the_parts_that_a_store_s_steps_meet(hours, parts):
    step = np.timedelta64(int(3600 * hours), "s")
    assert parts_of_day(step) == parts
    assert binning_of(step, True).shape == (366, parts)


def test_a_climatology_of_before_keeps_its_bin_of_every_hour():
    six = np.timedelta64(6 * 3600, "s")
    for seasons, days in ((True, 366), (False, 1)):
        assert binning_of(six, seasons, 24 * days).shape == (days, 24)
        assert binning_of(six, seasons, 4 * days).shape == (days, 4)
        assert binning_of(six, seasons, 7).shape == (days, 4)  # refused by whoever opens it


@pytest.mark.parametrize(
    ("binning", "shape", "want"),
    [
        (BY_HOUR, (1, 24), [20, 21, 6]),
        (by_day(24), (366, 24), [24 * 57 + 20, 24 * 60 + 21, 24 * 365 + 6]),
        (by_day(4), (366, 4), [4 * 57 + 3, 4 * 60 + 3, 4 * 365 + 1]),
        (BY_MONTH, (1, 12), [1, 2, 11]),
    ],
)
def test_the_bin_of_a_time_is_its_hour_its_day_or_its_month(binning, shape, want):
    times = np.array(["2015-02-27T20:40", "2015-03-01T21:00", "2016-12-31T06:00"], "M8[s]")
    assert binning.index(times).tolist() == want
    assert binning.shape == shape


@pytest.mark.parametrize(
    ("chunk", "want"),
    [(1, [(0, 1), (20, 21), (21, 22)]), (12, [(0, 1), (20, 22)]), (24, [(0, 22)])],
)
def test_a_climatology_gives_the_bin_of_each_time_and_reads_a_chunk_once(chunk, want):
    reads = []

    class Array:
        chunks = (chunk, 1, 2, 2)

        def __getitem__(self, key):
            reads.append((key[0].start, key[0].stop))
            held = np.arange(24.0)[key[0], None] + 100 * np.arange(2)[key[1]]
            return held[..., None, None] * np.ones((2, 2), np.float32)

    climatology = Climatology(Array(), BY_HOUR)
    found = climatology.at(drifting_times()[[0, 1, 4, 0]])
    assert found[:, 0, 0, 0].tolist() == [20, 21, 0, 20] and reads == want
    second = climatology.at(drifting_times()[[4, 0]], slice(1, 2))
    assert second.shape == (2, 1, 2, 2) and second[:, 0, 0, 0].tolist() == [100, 120]
    assert climatology.rule == BY_HOUR.rule
