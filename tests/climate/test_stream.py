"""The stream: every row equals the source, every start once an epoch, threads that end."""

import threading
import time

import numpy as np
import pytest
import torch
from builders import make_store

from climate.store.calendar import inside
from climate.stream import WindowStream, read_windows
from vgbdm.errors import InputError

SIX = np.timedelta64(6 * 3600, "s")
OPTIONS = {"step": SIX, "history": 3, "global_batch": 16}
SMALL_POOL = {"block_steps": 12, "pool_blocks": 8}


def take(store, batches, ranks=1, consumed=0, **options):
    """Sample id → (start, weight, window) of the first batches, all ranks together."""
    served = {}
    settings = OPTIONS | options
    for rank in range(ranks):
        with WindowStream(
            store, "train", rank=rank, ranks=ranks, consumed=consumed, **settings
        ) as stream:
            for _ in range(batches):
                batch = next(stream)
                for k in range(len(batch)):
                    window = batch.states[k].numpy().copy()
                    key = int(batch.ids[k])
                    assert key not in served
                    served[key] = (int(batch.times[k]), float(batch.weights[k]), window)
    return served


def check_contents(store, served):
    """Every window is the source's, for its own time."""
    seconds = store.times.astype(np.int64)
    for start, weight, window in served.values():
        if weight:
            anchor = int(np.searchsorted(seconds, start))
            assert np.array_equal(window, store.read(anchor - 18, anchor + 7)[::6])


def check_epoch(store, served, samples):
    """The first samples of the sequence are the epoch's starts, each once."""
    starts = sorted(s for k, (s, w, _) in served.items() if w and k < samples)
    anchors = store.anchors("train", SIX, 3, 1)
    assert starts == store.times[anchors].astype(np.int64).tolist()


@pytest.mark.parametrize("pool", [{}, SMALL_POOL], ids=["whole", "blocks"])
def test_every_row_is_the_source_and_every_start_comes_once_an_epoch(store, pool):
    served = take(store, 40, **pool)
    check_contents(store, served)
    slots = -(-264 // 8) * 8
    check_epoch(store, served, slots)
    assert sum(1 for k, (_, w, _) in served.items() if w and k < slots) == 264


def test_a_wrong_order_fails_the_check(store):
    served = take(store, 17)
    served[3] = served[4]
    with pytest.raises(AssertionError):
        check_epoch(store, served, 264)
    swapped = take(store, 17)
    swapped[3], swapped[4] = (
        (swapped[3][0], *swapped[4][1:]),
        (swapped[4][0], *swapped[3][1:]),
    )
    with pytest.raises(AssertionError):
        check_contents(store, swapped)


@pytest.mark.parametrize("pool", [{}, SMALL_POOL], ids=["whole", "blocks"])
@pytest.mark.parametrize("ranks", [2, 8])
def test_ranks_and_resumes_do_not_change_the_sequence(store, ranks, pool):
    whole = {k: v[:2] for k, v in take(store, 30, **pool).items()}
    shared = {k: v[:2] for k, v in take(store, 30, ranks, **pool).items()}
    assert shared == whole
    resumed = {k: v[:2] for k, v in take(store, 10, ranks, consumed=320, **pool).items()}
    assert resumed == {k: v for k, v in whole.items() if k >= 320}


def test_a_batch_stays_valid_until_the_next_but_one(store):
    with WindowStream(store, "train", **OPTIONS) as stream:
        first = next(stream)
        copy = first.states.clone()
        next(stream)
        time.sleep(0.3)
        assert torch.equal(first.states, copy)


def test_threads_end_on_close(store):
    before = threading.active_count()
    with WindowStream(store, "train", **OPTIONS) as stream:
        next(stream)
        assert threading.active_count() >= before + 2
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("stream-")]


def test_an_error_in_a_thread_reaches_the_consumer_with_its_cause(tmp_path):
    store = make_store(tmp_path)
    (store.path / "state/c/0/0/0/0").unlink()
    stream = WindowStream(store, "train", **OPTIONS)
    with pytest.raises(InputError, match="cannot be read"):
        next(stream)
    assert not [t for t in threading.enumerate() if t.name.startswith("stream-")]


def test_short_epochs_are_padded_with_weight_zero(tmp_path):
    store = make_store(tmp_path)
    served = take(store, 20, step=np.timedelta64(11 * 3600, "s"))
    anchors = store.anchors("train", np.timedelta64(11 * 3600, "s"), 3, 1)
    slots = -(-len(anchors) // 8) * 8
    weights = [w for k, (_, w, _) in served.items() if k < slots]
    assert len(anchors) % 8
    assert sum(weights) == len(anchors) < slots


def test_windows_read_by_hand_agree_with_the_store(store):
    anchors = store.anchors("test", SIX, 3, 7)[[0, 5, 40]]
    windows = read_windows(store, anchors, stride=6, history=3, ahead=7)
    assert windows.shape == (3, 11, 3, 8, 16)
    assert np.array_equal(windows[1], store.read(anchors[1] - 18, anchors[1] + 43)[::6])


def test_test_histories_may_reach_back_and_targets_stay_inside(store):
    anchors = store.anchors("test", SIX, 3, 7)
    assert store.times[anchors[0]] == store.splits["test"][0]
    assert inside(store.times[anchors + 42], store.splits["test"]).all()


def test_batches_that_do_not_divide_and_empty_splits_are_refused(store):
    with pytest.raises(InputError, match="does not divide by 8 lanes"):
        WindowStream(store, "train", step=SIX, history=3, global_batch=12)
    with pytest.raises(InputError, match="has no window"):
        WindowStream(store, "val", step=np.timedelta64(4 * 86400, "s"), history=3, global_batch=8)
