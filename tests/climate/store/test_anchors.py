"""Windows over gaps: which starts are usable and where their states are, for any missing times."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import refused

from climate.store.layout import CHUNK_STEPS, SHARD_BYTES, SHARD_STEPS, chunk_shape

HOUR, MONTH = np.timedelta64(3600, "s"), np.timedelta64(1, "M")
START = np.datetime64("2016-01-31", "s")
ENDS = {"train": (3, 40), "val": (41, 60), "test": (63, 79)}
"""First and last hours of the splits."""
shared = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def with_hours(store, hours):
    splits = {name: (START + a * HOUR, START + b * HOUR) for name, (a, b) in ENDS.items()}
    return replace(store, times=START + np.array(hours) * HOUR, step=HOUR, splits=splits)


@given(
    st.sets(st.integers(0, 79), max_size=25), st.sampled_from(sorted(ENDS)),
    st.integers(1, 4), st.integers(0, 3), st.integers(0, 3),
)  # fmt: skip
@shared
def test_usable_starts_are_those_whose_states_are_all_there_and_inside(
    store, missing, split, stride, history, ahead
):
    """Past states of validation and test may reach back over the border, those of training not."""
    hours = sorted(set(range(80)) - missing)
    gappy = with_hours(store, hours)
    first, last = ENDS[split]
    want = []
    for index, hour in enumerate(hours):
        window = [hour + stride * k for k in range(-history, ahead + 1)]
        inside = [first <= h <= last for h in window]
        held = all(h in hours for h in window)
        bounded = inside if split == "train" else inside[history:]
        want += [index] if held and all(bounded) else []
    found = gappy.anchors(split, stride * HOUR, history, ahead)
    assert found.tolist() == want


@given(st.sets(st.integers(0, 79), max_size=40), st.lists(st.integers(-5, 5), min_size=1))
@shared
def test_frames_are_found_by_their_times_and_known_to_be_there_or_not(store, missing, steps):
    hours = sorted(set(range(80)) - missing)
    gappy = with_hours(store, hours)
    index = np.arange(len(hours))
    frames, there = gappy.frames(index, np.array(steps)), gappy.has(index, np.array(steps))
    for i, hour in enumerate(hours):
        for k, step in enumerate(steps):
            assert bool(there[i, k]) == (hour + step in hours)
            if hour + step in hours:
                assert hours[frames[i, k]] == hour + step
    assert frames.min() >= 0 and frames.max() < len(hours)


def test_months_are_counted_by_the_calendar(store):
    months = np.array(["2015-11", "2015-12", "2016-01", "2016-03"], "M8[M]").astype("M8[s]")
    monthly = replace(store, times=months, step=MONTH)
    assert monthly.has(np.arange(4), np.array([1, 2])).tolist() == [
        [True, True], [True, False], [False, True], [False, False],
    ]  # fmt: skip
    assert monthly.frames(np.array([2]), np.array([2])).tolist() == [[3]]
    assert monthly.stride(2 * MONTH) == 2
    refused(lambda: monthly.stride(6 * HOUR), "step=6h", "task=monthly")


def test_steps_and_splits_that_cannot_be_are_refused(store):
    assert store.stride(6 * HOUR) == 6
    refused(lambda: store.stride(np.timedelta64(5400, "s")), "not a multiple of the store's step")
    refused(lambda: store.anchors("trian", HOUR), "split 'trian' is unknown", "train, val, test")


@pytest.mark.parametrize(
    ("shape", "chunks", "shards"),
    [
        ((5, 32, 64), (24, 5, 32, 64), (720, 5, 32, 64)),
        ((32, 64, 128), (24, 32, 64, 128), (120, 32, 64, 128)),
        ((33, 64, 128), (1, 1, 64, 128), (124, 33, 64, 128)),
        ((5, 721, 1440), (1, 1, 721, 1440), (6, 5, 721, 1440)),
        ((40, 721, 1440), (1, 1, 721, 1440), (1, 20, 721, 1440)),
        ((67, 721, 1440), (1, 1, 721, 1440), (1, 23, 721, 1440)),
    ],
)
def test_chunks_and_shards_of_states_by_their_size(shape, chunks, shards):
    assert chunk_shape(*shape) == (chunks, shards)


@given(st.integers(1, 80), st.integers(8, 800), st.integers(16, 1500))
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_shards_hold_whole_chunks_and_fit(channels, height, width):
    chunk, shard = chunk_shape(channels, height, width)
    assert shard[0] % chunk[0] == 0 and shard[2:] == chunk[2:] == (height, width)
    assert shard[0] <= SHARD_STEPS and chunk[0] in (1, CHUNK_STEPS)
    assert 4 * np.prod(shard) <= SHARD_BYTES or shard[:2] == (1, 1)
    assert shard[1] == channels or shard[0] == 1
