"""The order of samples: complete, shuffled, and the same at any number of ranks."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vgbdm.errors import InputError
from vgbdm.training.order import PADDING, Order
from vgbdm.training.shares import Share

ANCHORS = np.concatenate((np.arange(30, 500), np.arange(540, 1003)))


def make_order(**options) -> Order:
    settings = {"anchors": ANCHORS, "block": 24, "lanes": 8, "pool": 16, "seed": 5} | options
    return Order(**settings)


def sequence(
    order: Order, samples: int, ranks: int, consumed: int = 0, batch: int = 8
) -> dict[int, int]:
    """Sample id → anchor of so many samples after ``consumed``, of all ranks together."""
    served: dict[int, int] = {}
    for rank in range(ranks):
        share = Share.of(batch, order.lanes, rank, ranks)
        for group in order.groups(consumed, share):
            own = (group.ids < consumed + samples) & (
                (group.weights > 0) | (group.anchors == PADDING)
            )
            found = dict(zip(group.ids[own].tolist(), group.anchors[own].tolist(), strict=True))
            assert all(served.get(i, a) == a for i, a in found.items())
            served |= found
            if group.ids.size and group.ids[-1] >= consumed + samples:
                break
    return served


@pytest.mark.parametrize("pool", [16, 1000])
def test_an_epoch_holds_every_sample_once(pool):
    order = make_order(pool=pool)
    for epoch in (0, 3):
        table = order.epoch(epoch)
        assert np.array_equal(np.sort(table[table != PADDING]), ANCHORS)
        assert (table[:-1] != PADDING).all()
        assert table.shape == (order.slots, 8)


def test_a_wrong_order_is_noticed():
    """The control: swapping two samples changes what the checks above and below compare."""
    order = make_order()
    right = sequence(order, 8 * order.slots, 1)
    wrong = dict(right) | {3: right[4], 4: right[3]}
    assert wrong != right
    doubled = dict(right) | {3: right[4]}
    assert sorted(v for v in doubled.values() if v != PADDING) != ANCHORS.tolist()


@pytest.mark.parametrize("pool", [16, 1000])
@pytest.mark.parametrize("ranks", [2, 3, 5, 8, 48])
@pytest.mark.parametrize("batch", [8, 24])
def test_ranks_do_not_change_the_order(ranks, pool, batch):
    order = make_order(pool=pool)
    samples = 8 * (2 * order.slots + 5) // batch * batch
    whole = sequence(order, samples, 1)
    assert list(whole) == list(range(samples))
    assert sequence(order, samples, ranks, batch=batch) == whole


@pytest.mark.parametrize("consumed", [8, 96, 8 * 117, 8 * 118, 8 * 300])
def test_resuming_continues_at_any_number_of_ranks(consumed):
    order = make_order()
    whole = sequence(order, 3200, 1)
    for ranks in (4, 5):
        rest = sequence(order, 3200 - consumed, ranks, consumed)
        assert rest == {i: a for i, a in whole.items() if i >= consumed}


def test_epochs_and_seeds_differ_and_the_digest_tells_seeds_apart():
    order, other = make_order(), make_order(seed=6)
    assert not np.array_equal(order.epoch(0), order.epoch(1))
    assert not np.array_equal(order.epoch(0), other.epoch(0))
    assert order.digest == make_order().digest != other.digest
    assert make_order(lanes=4).digest != order.digest


def test_lanes_and_their_groups_are_shuffled_anew_in_every_epoch():
    """Groups that are one block each: how each is shuffled is seen, wherever the block went."""
    order = make_order(anchors=np.arange(96), block=12, lanes=2, pool=2)
    assert order.group_slots == 12 and not order.fits_pool
    patterns = set()
    for epoch in range(3):
        for lane in order.epoch(epoch).T:
            for part in lane.reshape(4, 12):
                assert part.max() - part.min() == 11 and part.min() % 12 == 0
                patterns.add(tuple(part - part.min()))
    assert len(patterns) == 3 * 2 * 4


def test_blocks_are_permuted_and_lanes_cut_one_after_the_other():
    order = make_order(anchors=np.arange(96), block=12, lanes=2, pool=2)
    firsts = [order.epoch(e).T.reshape(8, 12).min(1) // 12 for e in range(3)]
    assert all(sorted(blocks) == list(range(8)) for blocks in firsts)
    assert len({tuple(blocks) for blocks in firsts}) == 3
    assert any(list(blocks) != sorted(blocks) for blocks in firsts)


def test_what_fits_the_pool_is_shuffled_over_all_blocks():
    order = make_order(pool=1000)
    assert order.fits_pool and order.group_slots == order.slots
    column = order.epoch(0)[:100, 0]
    assert len(np.unique(column // 24)) > 20
    assert np.array_equal(order.blocks_of(column[:1]), np.unique(ANCHORS // 24))
    few = make_order()
    assert not few.fits_pool
    assert few.blocks_of(np.array([PADDING, 48, 30])).tolist() == [1, 2]


def test_blocks_begin_at_the_origin():
    order = make_order(block=10, origin=7)
    assert order.block_of(np.array([7, 16, 17, 36, 37])).tolist() == [0, 0, 1, 2, 3]


def test_the_digest_tells_every_option_apart():
    changes = [
        {}, {"block": 25}, {"lanes": 4}, {"pool": 17}, {"seed": 6}, {"origin": 1},
        {"anchors": ANCHORS[:-1]},
    ]  # fmt: skip
    assert len({make_order(**change).digest for change in changes}) == len(changes)


def test_the_digest_is_that_of_runs_begun_before():
    """Of 47f9d50: ranks were never in it, lanes are, so those runs go on at any number of ranks."""
    assert make_order().digest == (
        "ccfd14a6d53ddd1ce70fe51a33aad6098b1ae0b636db0bf751b2ea3e9eb54bb9"
    )


def test_groups_end_with_their_epoch_and_begin_anywhere():
    order = make_order(anchors=np.arange(96), block=12, lanes=2, pool=2)
    found = list(itertools.islice(order.groups(2 * 5, Share.of(2, 2)), 6))
    assert [(g.epoch, g.ids[0], len(g.ids)) for g in found] == [
        (0, 10, 14), (0, 24, 24), (0, 48, 24), (0, 72, 24), (1, 96, 24), (1, 120, 24),
    ]  # fmt: skip
    assert all(np.array_equal(g.ids, g.ids[0] + np.arange(len(g.ids))) for g in found)
    assert np.array_equal(found[0].anchors, order.epoch(0)[5:12].ravel())
    assert np.array_equal(found[4].anchors, order.epoch(1)[:12].ravel())
    second = next(order.groups(2 * 5, Share.of(2, 2, 1, 2)))
    assert np.array_equal(second.anchors, order.epoch(0)[5:12, 1])
    assert second.ids.tolist() == [*range(11, 25, 2)]


def test_padding_and_what_evens_shares_out_weigh_nothing():
    order = make_order(anchors=np.arange(10), block=10, lanes=4, pool=4)
    share = Share.of(4, 4, 1, 3)
    assert share.places.tolist() == [3, 3] and share.weights.tolist() == [1, 0]
    group = next(order.groups(0, share))
    assert group.ids.tolist() == [3, 3, 7, 7, 11, 11]
    assert group.anchors[-1] == PADDING != group.anchors[0] == group.anchors[1]
    assert group.weights.tolist() == [1, 0, 1, 0, 0, 0] and group.weights.dtype == np.float32


@given(
    st.sets(st.integers(0, 200), min_size=1, max_size=60), st.integers(1, 40),
    st.integers(1, 4), st.integers(0, 6), st.integers(0, 5),
)  # fmt: skip
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_order_holds_every_sample_once_an_epoch(anchors, block, lanes, more, seed):
    anchors = np.array(sorted(anchors))
    order = Order(anchors, block, lanes, lanes + more, seed)
    for epoch in (0, 1):
        table = order.epoch(epoch)
        assert table.shape == (-(-len(anchors) // lanes), lanes)
        assert sorted(table[table != PADDING]) == anchors.tolist()
        assert (table[:-1] != PADDING).all()


def test_a_rank_reads_its_own_share_of_the_blocks():
    order, ranks = make_order(block=8), 4
    for rank in range(ranks):
        seen: set[tuple[int, int]] = set()
        groups = order.groups(0, Share.of(8, 8, rank, ranks))
        for group in itertools.takewhile(lambda g: g.epoch == 0, groups):
            inside = group.anchors[group.anchors != PADDING]
            seen |= {(int(group.ids[0]), int(b)) for b in np.unique(inside // order.block)}
        total = len(np.unique(ANCHORS // order.block))
        assert len(seen) <= 1.3 * total / ranks + order.lanes


def test_a_group_needs_no_more_blocks_than_the_pool_and_the_borders_of_its_lanes():
    order = make_order()
    for group in itertools.takewhile(lambda g: g.epoch < 2, order.groups(0, Share.of(8, 8))):
        inside = group.anchors[group.anchors != PADDING]
        assert len(np.unique(inside // order.block)) <= order.pool + 3 * order.lanes


def test_no_group_needs_more_blocks_than_are_held():
    """Blocks of very different sizes, as gaps make them, are counted as they are."""
    ragged = np.concatenate([np.arange(24 * k, 24 * k + (24 if k % 3 else 1)) for k in range(90)])
    for ranks in (1, 3, 4):
        order, share = make_order(anchors=ragged), Share.of(24, 8, 0, ranks)
        held = order.blocks_held(share.lanes_read)
        for group in itertools.takewhile(lambda g: g.epoch < 5, order.groups(0, share)):
            assert len(order.blocks_of(group.anchors)) <= held
    assert order.blocks_held(1) < order.blocks_held(8) <= 90


def test_a_late_position_needs_no_earlier_epoch():
    order = make_order()
    with_epochs = order.epoch.cache_info().misses
    group = next(order.groups(8 * order.slots * 10**6 + 8 * 50, Share.of(8, 8)))
    assert (group.epoch, group.ids[0]) == (10**6, 8 * (order.slots * 10**6 + 50))
    assert order.epoch.cache_info().misses == with_epochs + 1


def test_batches_mix_almost_like_a_full_shuffle():
    """Variance of batch means of slow, weekly and daily signals: 2 years by the hour."""
    hours = np.arange(2 * 8766)
    periods = np.array([8766.0, 168.0, 24.0])
    signals = np.cos(2 * np.pi * hours[:, None] / periods)
    order = make_order(anchors=hours, block=96, pool=96)

    def spread(sequence: np.ndarray) -> np.ndarray:
        batches = sequence[: len(sequence) // 32 * 32].reshape(-1, 32)
        return signals[batches].mean(1).var(0)

    ours = np.mean([spread(order.epoch(e)[:-1].ravel()) for e in range(4)], 0)
    shuffled = np.random.default_rng(0)
    full = np.mean([spread(shuffled.permutation(hours)) for _ in range(4)], 0)
    assert (ours <= 2 * full).all()
    assert (spread(hours) > 2 * full)[0]


@pytest.mark.parametrize(
    "options",
    [{"anchors": ANCHORS[:0]}, {"lanes": 0}, {"block": 0}, {"pool": 4}],
)
def test_orders_that_cannot_be_are_refused(options):
    with pytest.raises(InputError):
        make_order(**options)


def test_shares_of_other_lanes_and_positions_inside_a_batch_are_refused():
    with pytest.raises(InputError, match="from 4 lanes"):
        next(make_order().groups(0, Share.of(8, 4)))
    with pytest.raises(InputError, match="from sample 8"):
        next(make_order().groups(8, Share.of(16, 8)))
