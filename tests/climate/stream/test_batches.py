"""The stream: every row equals the source, every start once an epoch, threads that end."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import SPLITS, make_store, source, write_folder
from left import Left

from climate.conventions.calendar import inside
from climate.conversion.convert import convert
from climate.store.crop import band
from climate.store.layout import open_store
from climate.stream.batches import RING, WindowStream, read_windows
from climate.stream.pool import Pool, WindowShape, Workers
from vgbdm.errors import InputError
from vgbdm.training.order import PADDING, Order

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
                    if key in served and not batch.weights[k]:  # evens out the ranks' shares
                        assert np.array_equal(window, served[key][2])
                        continue
                    assert key not in served or not served[key][1]
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


def check_ranks_and_resumes(store, ranks, pool):
    """The same samples under the same ids at any number of ranks, and after a resume with more."""
    whole = {k: v[:2] for k, v in take(store, 30, **pool).items()}
    shared = {k: v[:2] for k, v in take(store, 30, ranks, **pool).items()}
    assert shared == whole
    resumed = {k: v[:2] for k, v in take(store, 10, ranks, consumed=320, **pool).items()}
    assert resumed == {k: v for k, v in whole.items() if k >= 320}


@pytest.mark.parametrize("pool", [{}, SMALL_POOL], ids=["whole", "blocks"])
@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_ranks_and_resumes_do_not_change_the_sequence(store, ranks, pool):
    check_ranks_and_resumes(store, ranks, pool)


@pytest.mark.parametrize("resumed", [False, True])
def test_two_samples_that_swap_fail_the_check(store, monkeypatch, resumed):
    """The control: one of two ranks serves two of its samples the other way round."""
    right = Order.groups

    def swapped(order, consumed, share):
        for group in right(order, consumed, share):
            if 1 in share.places and bool(consumed) == resumed and len(group.anchors) > 1:
                group.anchors[[0, 1]] = group.anchors[[1, 0]]
            yield group

    monkeypatch.setattr(Order, "groups", swapped)
    with pytest.raises(AssertionError):
        check_ranks_and_resumes(store, 2, SMALL_POOL)


def test_a_batch_stays_valid_until_the_next_but_one(store):
    with WindowStream(store, "train", **OPTIONS) as stream:
        first = next(stream)
        copy = first.states.clone()
        next(stream)
        time.sleep(0.3)
        assert torch.equal(first.states, copy)


def test_threads_end_on_close(store):
    left = Left(store.path)
    with WindowStream(store, "train", **OPTIONS) as stream:
        next(stream)
        assert {"stream-loader", "stream-assembler"} <= set(left.threads())
    assert not left.threads()


def test_an_error_in_a_thread_reaches_the_consumer_with_its_cause(tmp_path):
    store = make_store(tmp_path)
    (store.path / "state/c/0/0/0/0").unlink()
    stream, left = WindowStream(store, "train", **OPTIONS), Left(store.path)
    with pytest.raises(InputError, match="cannot be read"):
        next(stream)
    assert not left.threads()


def test_short_epochs_are_padded_with_weight_zero(tmp_path):
    store = make_store(tmp_path)
    served = take(store, 20, step=np.timedelta64(11 * 3600, "s"))
    anchors = store.anchors("train", np.timedelta64(11 * 3600, "s"), 3, 1)
    slots = -(-len(anchors) // 8) * 8
    weights = [w for k, (_, w, _) in served.items() if k < slots]
    assert len(anchors) % 8
    assert sum(weights) == len(anchors) < slots


def test_a_group_of_nothing_but_padding_is_zeros(store):
    """A rank's share of the last group of an epoch, where its lanes are the shorter ones."""
    order = Order(store.anchors("train", SIX, 3, 1), 12, 8, 8, seed=0, origin=18)
    workers = Workers(1)
    pool = Pool(store, order, WindowShape(6, 3, 1), 2, None, workers)
    states, padding = torch.ones(2, 5, *store.state.shape[1:]), np.full(2, PADDING)
    pool.load(padding)
    pool.cut(padding, states, None)
    workers.close()
    assert not states.any()


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


class Failing:
    """A store's states of which some cannot be read."""

    def __init__(self, state, after):
        self.inner, self.left = state, after
        self.shape, self.chunks = state.shape, state.chunks

    def read(self, *which):
        self.left -= 1
        if self.left < 0:
            raise OSError("the disk is gone")
        return self.inner.read(*which)


@pytest.fixture(scope="module")
def big_store(tmp_path_factory):
    """The store of the tests, stored map by map as a grid of 0.25° is."""
    base = tmp_path_factory.mktemp("big")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("climate.store.layout.SMALL_FIELD_BYTES", 1)
        patch.setattr("climate.store.layout.SHARD_STEPS", 50)
        dataset = source(write_folder(base / "files")).open()
        convert(dataset, base / "store", SPLITS, source={}, codec="none")
    return open_store(base / "store")


@pytest.mark.parametrize("ranks", [1, 2])
def test_big_maps_come_in_the_same_order_without_pools(store, big_store, ranks):
    assert big_store.is_big and not store.is_big
    with WindowStream(big_store, "train", **OPTIONS) as stream:
        assert stream.pools == 0
    served, whole = take(big_store, 20, ranks, **SMALL_POOL), take(store, 20, **SMALL_POOL)
    assert {k: v[:2] for k, v in served.items()} == {k: v[:2] for k, v in whole.items()}
    assert all(np.array_equal(served[k][2], whole[k][2]) for k in served)


def test_windows_of_big_maps_read_by_hand(store, big_store):
    anchors = store.anchors("test", SIX, 3, 7)[[3, 9]]
    options = {"stride": 6, "history": 3, "ahead": 7}
    windows = read_windows(big_store, anchors, **options)
    assert np.array_equal(windows, read_windows(store, anchors, **options))


def test_a_latitude_band_of_big_maps_is_the_band_of_the_whole(store, big_store):
    part = band(big_store, 0, 60)
    assert part.lat.tolist() == [11.25, 33.75, 56.25]
    whole, served = take(big_store, 4), take(part, 4)
    assert all(np.array_equal(served[k][2], whole[k][2][..., 4:7, :]) for k in whole)
    climatology = big_store.climatology.at(store.times[:3])
    assert np.array_equal(part.climatology.at(store.times[:3]), climatology[..., 4:7, :])
    assert part.statistics.hash == big_store.statistics.hash
    with pytest.raises(InputError, match="no row from 1 to 2 north"):
        band(big_store, 1, 2)


@pytest.mark.parametrize("after", [0, 9])
@pytest.mark.parametrize("kind", ["blocks", "big"])
def test_a_failing_disk_stops_the_consumer_and_leaves_nothing_open(store, big_store, kind, after):
    whole = big_store if kind == "big" else store
    broken = replace(whole, state=Failing(whole.state, after))
    left = Left(whole.path)
    stream = WindowStream(broken, "train", **OPTIONS, **SMALL_POOL, threads=2)
    with pytest.raises(InputError, match="the disk is gone") as info:
        for _ in range(200):
            next(stream)
    assert isinstance(info.value.__cause__, OSError)
    assert not left.threads() and not left.files()


@pytest.mark.parametrize("kind", ["blocks", "big"])
def test_nothing_is_left_open_by_a_stream_closed_anywhere(store, big_store, kind):
    whole = big_store if kind == "big" else store
    left = Left(whole.path)
    for batches in (0, 1, 7):
        with WindowStream(whole, "train", **OPTIONS, **SMALL_POOL, threads=2) as stream:
            for _ in range(batches):
                next(stream)
    assert not left.threads() and not left.files()


def test_memory_is_what_was_said_and_refused_above_the_budget(store):
    with WindowStream(store, "train", **OPTIONS, **SMALL_POOL) as stream:
        seen = {next(stream).states.data_ptr() for _ in range(40)}
        assert len(seen) == RING == 4
        assert len(stream.sources) == 2
        held = sum(pool.memory_bytes for pool in stream.sources)
        ring = RING * 16 * (5 * 3 * 8 * 16 * 4 + 20)
        assert stream.memory_bytes == held + ring
    with pytest.raises(InputError, match="lower pool_blocks"):
        WindowStream(
            store, "train", **OPTIONS, **SMALL_POOL, memory_gib=stream.memory_bytes / 2**31
        )


@pytest.mark.slow
def test_memory_does_not_grow_over_ten_thousand_batches(store):
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1])

    with WindowStream(store, "train", **OPTIONS, **SMALL_POOL) as stream:
        for _ in range(1000):
            next(stream)
        before = resident()
        for _ in range(9000):
            next(stream)
        assert resident() < 1.05 * before


class Copying:
    """The event of a copy that takes its time."""

    def __init__(self):
        self.done = threading.Event()

    def synchronize(self):
        assert self.done.wait(300)


def test_memory_is_filled_again_only_when_its_copy_is_done(store):
    with WindowStream(store, "train", **OPTIONS, **SMALL_POOL) as stream:
        first = next(stream)
        kept, first.copied = first.states.clone(), Copying()
        for _ in range(RING - 1):
            next(stream)  # the first one has been given back, and is next to be filled
        time.sleep(0.3)
        assert torch.equal(first.states, kept)
        first.copied.done.set()
        for _ in range(RING):
            next(stream)
        assert not torch.equal(first.states, kept) and first.copied is None


class Beside:
    """Two numbers of each time, which say which one it is."""

    shape = (2,)

    def read(self, start, stop):
        return np.stack((np.arange(start, stop), -np.arange(start, stop)), 1).astype(np.float32)


@pytest.mark.parametrize("kind", ["whole", "blocks", "big"])
def test_what_stands_aside_of_a_sample_comes_with_it(store, big_store, kind):
    """Also for the last block, which the store's end cuts, and 0 where there is no sample."""
    used, pool = big_store if kind == "big" else store, SMALL_POOL if kind == "blocks" else {}
    seconds = used.times.astype(np.int64)
    with WindowStream(used, "test", **OPTIONS, **pool, aside=Beside()) as stream:
        for _ in range(12):
            batch = next(stream)
            anchors = np.searchsorted(seconds, batch.times.numpy())
            want = np.stack((anchors, -anchors), 1) * (batch.weights.numpy() > 0)[:, None]
            assert np.array_equal(batch.aside.numpy(), want)
        held = sum(pool.memory_bytes for pool in stream.sources)
        assert stream.memory_bytes == held + 4 * 16 * (5 * 3 * 8 * 16 * 4 + 20 + 8)
