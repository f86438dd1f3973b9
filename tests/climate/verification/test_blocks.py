"""Blocks and their bootstrap."""

import numpy as np
import pytest

from climate.verification import blocks as module
from climate.verification.blocks import (
    BlockSums,
    assign_blocks,
    describe_blocks,
    draw_blocks,
    interval,
)

HOUR, DAY = np.timedelta64(1, "h"), np.timedelta64(1, "D")
START = np.datetime64("2017-01-01T00", "s")


def test_blocks_are_equal_stretches_no_shorter_than_the_rule():
    times = START + np.arange(0, 27 * 24) * HOUR
    blocks = assign_blocks(times, 2 * DAY)
    assert np.array_equal(np.unique(blocks), np.arange(5))  # 27 days hold 5 times 5 days
    assert set(np.bincount(blocks)) <= {129, 130}
    assert len(np.unique(assign_blocks(times, 9 * DAY))) == 3
    assert (np.diff(blocks) >= 0).all()


def test_stretches_without_a_start_are_no_blocks():
    hours = np.arange(30 * 24)
    times = START + hours[(hours < 100) | (hours > 400)] * HOUR
    blocks = assign_blocks(times, DAY)
    assert np.array_equal(np.unique(blocks), np.arange(blocks.max() + 1))
    assert blocks.max() + 1 == 4  # of six, two are empty
    assert assign_blocks(times[:1], DAY).tolist() == [0]


def test_too_few_blocks_have_no_interval():
    assert draw_blocks(4, 0) is None
    low, high = interval(None, (3,))
    assert np.isnan(low).all() and np.isnan(high).all()
    assert "no claim" in describe_blocks(np.arange(4), DAY)
    assert "95%" in describe_blocks(np.arange(5), DAY)


def test_draws_depend_on_the_seed_alone():
    assert np.array_equal(draw_blocks(8, 3), draw_blocks(8, 3))
    assert not np.array_equal(draw_blocks(8, 3), draw_blocks(8, 4))
    assert (draw_blocks(8, 3).sum(1) == 8).all()


def test_sums_do_not_depend_on_batches_and_weigh_starts_alike():
    generator = np.random.default_rng(0)
    values, blocks = generator.normal(size=(50, 3)), np.sort(generator.integers(0, 6, 50))
    once, parts = BlockSums(6, 3), BlockSums(6, 3)
    once.add(blocks, {"x": values})
    for part in (slice(0, 7), slice(7, 8), slice(8, 50)):
        parts.add(blocks[part], {"x": values[part]})
    assert once.means()["x"] == pytest.approx(values.mean(0))
    assert parts.means()["x"] == pytest.approx(values.mean(0))
    draws = draw_blocks(6, 0)
    again = np.concatenate([values[blocks == b] for b in range(6) for _ in range(int(draws[0, b]))])
    assert parts.means(draws)["x"][0] == pytest.approx(again.mean(0))


def test_the_interval_of_a_mean_of_independent_blocks_is_the_textbook_one():
    values = np.random.default_rng(0).normal(size=(100, 1))
    total = BlockSums(100, 1)
    total.add(np.arange(100), {"x": values})
    low, high = interval(total.means(draw_blocks(100, 0))["x"], (1,))
    half = 1.96 * values.std() / np.sqrt(100)
    assert low[0] == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high[0] == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_the_interval_covers_the_mean_of_correlated_starts():
    """Errors alike for a day: the interval holds the true mean about as often as it says."""
    hours, trials = 40 * 5 * 24, 300
    memory = np.exp(-1 / 24)
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(hours, trials))
    series = np.empty_like(noise)
    series[0] = noise[0]
    for t in range(1, hours):
        series[t] = memory * series[t - 1] + np.sqrt(1 - memory**2) * noise[t]
    total = BlockSums(40, trials)
    total.add(assign_blocks(START + np.arange(hours) * HOUR, DAY), {"x": series})
    low, high = interval(total.means(draw_blocks(40, 0))["x"], (trials,))
    hits = int(((low < 0) & (high > 0)).sum())
    naive = int((np.abs(series.mean(0)) < 1.96 * series.std(0) / np.sqrt(hours)).sum())
    assert hits / trials > 0.9
    assert naive / trials < 0.5


def test_the_rule_is_five_days():
    assert module.SHORTEST_BLOCK == 5 * DAY
    assert module.FEWEST == 5


def test_ends_are_the_percentiles_of_the_draws():
    drawn = np.random.default_rng(0).permutation(np.arange(1001.0))[:, None] * [1.0, -2.0]
    low, high = interval(drawn, (2,))
    assert low == pytest.approx([25.0, -1950.0]) and high == pytest.approx([975.0, -50.0])
