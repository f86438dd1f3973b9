"""Ranks that meet in a store find each other, and nobody who is dead."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace

import pytest
from torch.distributed import DistStoreError, HashStore

from vgbdm.training.backends import rendezvous
from vgbdm.training.backends.rendezvous import agree_on_name

PATIENCE = timedelta(seconds=300)
HASTE = timedelta(seconds=0.2)


@pytest.fixture
def store():
    """Of a launcher that keeps it from start to start."""
    found = HashStore()
    found.set_timeout(PATIENCE)
    return found


@pytest.fixture
def ranks():
    """Where ranks run side by side."""
    with ThreadPoolExecutor(8) as pool:
        yield pool


def start(ranks, store, order, timeout=PATIENCE):
    """A start of as many ranks as there are in ``order``."""
    return {rank: ranks.submit(agree_on_name, store, rank, len(order), timeout) for rank in order}


def one_name(running):
    names = {future.result() for future in running.values()}
    assert len(names) == 1
    return names.pop()


@pytest.mark.parametrize("order", [[0], [0, 1], [1, 0], [3, 1, 0, 2]])
def test_the_ranks_of_a_start_share_a_name_that_no_other_start_has(store, ranks, order):
    names = [one_name(start(ranks, store, order)) for _ in range(5)]
    assert len(set(names)) == 5


def test_a_quick_rank_waits_for_the_living_rank_0(store, ranks):
    before = one_name(start(ranks, store, [0, 1]))
    quick = ranks.submit(agree_on_name, store, 1, 2, PATIENCE)
    with pytest.raises(TimeoutError):
        quick.result(HASTE.total_seconds())
    assert agree_on_name(store, 0, 2, PATIENCE) == quick.result() != before


def test_rank_0_waits_for_the_living(store, ranks):
    one_name(start(ranks, store, [0, 1, 2]))
    running = {rank: ranks.submit(agree_on_name, store, rank, 3, PATIENCE) for rank in (0, 2)}
    with pytest.raises(TimeoutError):
        running[0].result(HASTE.total_seconds())
    running[1] = ranks.submit(agree_on_name, store, 1, 3, PATIENCE)
    one_name(running)


def test_a_start_that_died_half_way_is_forgotten(store, ranks):
    store.set_timeout(HASTE)
    with pytest.raises(DistStoreError):  # its rank 0 never came
        agree_on_name(store, 1, 2, PATIENCE)
    with pytest.raises(TimeoutError, match="no sign of rank 1"):  # nor did its rank 1
        agree_on_name(store, 0, 2, HASTE)
    store.set_timeout(PATIENCE)
    one_name(start(ranks, store, [0, 1]))


def test_who_is_missing_is_named(store, ranks, monkeypatch):
    """Time passes for rank 0 only once it has answered the rank that is there."""
    rank_2, now = ranks.submit(agree_on_name, store, 2, 4, PATIENCE), [0.0]

    def sleep(seconds):
        time.sleep(seconds)
        now[0] += 0.5 if rank_2.done() else 0.0

    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
    monkeypatch.setattr(rendezvous, "time", clock)
    with pytest.raises(TimeoutError, match="no sign of rank 1, 3 within 0:00:02"):
        agree_on_name(store, 0, 4, timedelta(seconds=2))
    rank_2.result()
