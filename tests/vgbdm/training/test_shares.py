"""Shares of the global batch: whole, even, of few lanes, at any number of ranks."""

import itertools

import numpy as np
import pytest

from vgbdm.errors import InputError
from vgbdm.training.order import Order
from vgbdm.training.shares import Share, share_size

RANKS = (1, 2, 3, 5, 48, 64)


def shares(batch, lanes, ranks, accumulation=1):
    return [Share.of(batch, lanes, rank, ranks, accumulation) for rank in range(ranks)]


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize(("batch", "lanes"), [(64, 64), (64, 8), (7, 7), (192, 64), (3, 1)])
@pytest.mark.parametrize("ranks", RANKS)
def test_every_place_is_one_rank_s_and_all_compute_as_many(batch, lanes, ranks, accumulation):
    every = shares(batch, lanes, ranks, accumulation)
    own = [share.places[share.weights > 0] for share in every]
    assert sorted(np.concatenate(own)) == list(range(batch))
    counts = [len(places) for places in own]
    assert max(counts) - min(counts) <= 1
    assert {len(s) for s in every} == {share_size(batch, ranks, accumulation)}
    assert max(counts) <= share_size(batch, ranks, accumulation) < max(counts) + accumulation
    for share in every:
        assert (np.diff(share.places) >= 0).all() and set(share.weights) <= {0.0, 1.0}
        assert share.weights.dtype == np.float32


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_ranks_that_divide_the_lanes_have_whole_ones_in_turn(ranks):
    for rank, share in enumerate(shares(32, 8, ranks)):
        assert share.places.tolist() == [p for p in range(32) if p % 8 % ranks == rank]
        assert share.weights.all() and share.lanes_read == 8 // ranks


@pytest.mark.parametrize("batch", [64, 128, 192, 64 * 7])
def test_at_48_of_64_a_rank_reads_at_most_twice_its_share(batch):
    assert max(share.lanes_read for share in shares(batch, 64, 48)) * 48 / 64 <= 2


def test_what_evens_shares_out_is_the_rank_s_own_and_of_no_more_lanes():
    for share in shares(10, 5, 4):
        own = share.places[share.weights > 0]
        assert set(share.places) == set(own)
    empty = Share.of(2, 2, 0, 3)
    assert len(empty) == 1 and not empty.weights.any()


def test_lanes_that_do_not_divide_the_batch_are_refused():
    with pytest.raises(InputError, match="batch of 12 does not divide by 8 lanes"):
        Share.of(12, 8)


@pytest.mark.parametrize("batch", [64, 128])
def test_blocks_that_48_of_64_read_are_at_most_twice_their_share(batch):
    """Ten years by the hour, one epoch; a pool copies what the one before it holds."""
    order = Order(np.arange(87660), block=96, lanes=64, pool=96, seed=1)

    def blocks_read(share):
        held, read = set(), 0
        for group in itertools.takewhile(lambda g: g.epoch == 0, order.groups(0, share)):
            blocks = set(order.blocks_of(group.anchors).tolist())
            read, held = read + len(blocks - held), blocks
        return read

    whole = blocks_read(Share.of(batch, 64))
    most = max(blocks_read(Share.of(batch, 64, rank, 48)) for rank in (0, 1, 2, 23, 47))
    assert len(np.unique(order.block_of(order.anchors))) <= whole
    assert 1.3 * whole <= 48 * most <= 2 * whole
