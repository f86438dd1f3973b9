"""What a rank reads of the store: its share, and at most twice that where lanes are shared."""

import itertools

import numpy as np
import pytest
from builders import source, write_folder

from climate.conversion.convert import convert
from climate.store.layout import open_store
from climate.stream.batches import WindowStream

SIX = np.timedelta64(6 * 3600, "s")
OPTIONS = {"step": SIX, "history": 3, "global_batch": 16}
SMALL_POOL = {"block_steps": 12, "pool_blocks": 8}


@pytest.fixture(scope="module")
def half_year(tmp_path_factory):
    """An hourly store of half a year; (lanes, rank, ranks) → bytes that an epoch reads of it."""
    base = tmp_path_factory.mktemp("half-year")
    root = write_folder(base / "files", days=200)
    splits = {
        "train": ["2016-01-01", "2016-06-30"], "val": ["2016-07-01", "2016-07-08"],
        "test": ["2016-07-09", "2016-07-18"],
    }  # fmt: skip
    convert(source(root).open(), base / "store", splits, source={}, codec="none")

    def bytes_of(lanes, rank=0, ranks=1):
        store, batch = open_store(base / "store"), 2 * lanes
        options = {"block_steps": 24, "pool_blocks": 2 * lanes, "global_batch": batch}
        with WindowStream(
            store, "train", rank=rank, ranks=ranks, lanes=lanes, **(OPTIONS | options)
        ) as stream:
            turns = itertools.cycle(stream.make_sources())
            for group in itertools.takewhile(
                lambda g: g.epoch < 2, stream.order.groups(0, stream.share)
            ):
                next(turns).load(group.anchors)
        return store.state.bytes_read

    return bytes_of


def test_one_rank_reads_the_store_once_an_epoch(half_year):
    blocks, edges, state = 182, 8, 4 * 3 * 8 * 16
    assert half_year(8) <= 2 * (blocks + edges) * 2 * 24 * state  # the halo is a chunk


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_rank_reads_its_own_lanes(half_year, ranks):
    whole = half_year(8)
    for rank in range(ranks):
        assert half_year(8, rank, ranks) <= 1.1 / ranks * whole


def test_where_lanes_are_shared_a_rank_reads_at_most_twice_its_share(half_year):
    """Six ranks to eight lanes, as 48 to 64: each has parts of two."""
    whole = half_year(8)
    for rank in range(6):
        assert half_year(8, rank, 6) <= 2 / 6 * whole


@pytest.mark.parametrize(("ranks", "times"), [(16, 2.0), (17, 2.125)])
def test_ranks_that_read_much_say_so(store, ranks, times, caplog):
    with WindowStream(store, "train", rank=3, ranks=ranks, **OPTIONS, **SMALL_POOL) as stream:
        next(stream)
        assert stream.reading == times
    assert ("17 ranks share 8 lanes" in caplog.text) == (times > 2)
