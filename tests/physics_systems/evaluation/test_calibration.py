"""Ranks of the truth among draws: even where the posterior is right, and seen where it is not."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from physics_systems.evaluation.calibration import (
    COLUMNS,
    calibration_table,
    coverage_curve,
    rank_counts,
    rank_histogram,
    share_interval,
    smallest_p,
)
from physics_systems.evaluation.protocol import Forecasts
from physics_systems.evaluation.rows import Row
from vgbdm import scores


def posterior(width, seed=0, count=250, members=32, bias=0.0):
    """Draws (M, N) and truths of a normal posterior, ``width`` times as wide as it should be."""
    drawn = torch.Generator().manual_seed(seed)
    middle, error = torch.randn(2, count, generator=drawn, dtype=torch.float64)
    noise = torch.randn(members, count, generator=drawn, dtype=torch.float64)
    return middle + bias + width * noise, middle + error


def ranks(draws, truth):
    return (draws < truth).sum(0)[None].numpy()


def test_right_posteriors_give_even_ranks_and_wrong_ones_do_not():
    values = [rank_histogram(ranks(*posterior(1.0, seed)), 32).p_value for seed in range(200)]
    assert 0.01 < np.mean(np.array(values) < 0.05) < 0.1
    for wrong in ({"width": 0.5}, {"width": 2.0}, {"width": 1.0, "bias": 0.6}):
        found = rank_histogram(ranks(*posterior(**wrong)), 32)
        assert found.p_value < 1e-6
        assert ((found.counts < found.low) | (found.counts > found.high)).any()


@pytest.mark.parametrize(("members", "count", "bins"), [
    (32, 250, 11), (19, 250, 20), (19, 60, 10), (4, 250, 5), (2, 250, 3), (30, 250, 20),
    (32, 12, 2),
])  # fmt: skip
def test_every_rank_is_in_a_bin_that_expects_its_share(members, count, bins):
    each = np.arange(count)[None] % (members + 1)
    found = rank_histogram(each, members)
    assert len(found.counts) == bins and found.counts.sum() == count
    assert found.expected.sum() == pytest.approx(count)
    widths = np.diff(found.edges)
    assert np.allclose(found.expected, count * widths / (members + 1))
    if (members + 1) % bins == 0:
        assert (widths == widths[0]).all()
    low = stats.binom.ppf(0.005, count, widths / (members + 1))
    assert np.array_equal(found.low, low)


def test_few_trajectories_tell_nothing():
    assert np.isnan(rank_histogram(np.zeros((1, 9)), 32).p_value)
    assert not np.isnan(rank_histogram(np.zeros((1, 10)), 32).p_value)


def test_seeds_that_agree_are_no_more_draws_than_one():
    one = ranks(*posterior(0.8))
    alone, thrice = (rank_histogram(own, 32) for own in (one, np.repeat(one, 3, 0)))
    assert thrice.p_value == alone.p_value and np.array_equal(thrice.counts, alone.counts)


def test_the_interval_of_a_share_is_the_exact_one():
    want = stats.binomtest(225, 250).proportion_ci(0.99, "exact")
    assert share_interval(0.9, 250) == pytest.approx((want.low, want.high))
    assert share_interval(0.0, 20)[0] == 0.0 and share_interval(1.0, 20)[1] == 1.0


def test_the_smallest_p_is_paid_for_by_how_many_there_are():
    good, truth = posterior(1.0, 1)
    bad, other = posterior(0.5, 2)
    both = smallest_p(torch.stack((good, bad), 2), torch.stack((truth, other), 1))
    assert both == pytest.approx(2 * rank_histogram(ranks(bad, other), 32).p_value)
    assert smallest_p(good[..., None].expand(-1, -1, 3), truth[:, None].expand(-1, 3)) <= 1
    few = torch.zeros(4, 5, 2)
    assert np.isnan(smallest_p(few, torch.zeros(5, 2)))


def row(objective, seed, draws, names=("a", "b")):
    numbers = {"objective": objective, "variant": "v", "seed": seed}
    field = None if names is None else SimpleNamespace(parameter_names=names)
    return Row(numbers, np.zeros(1), Forecasts(None, None, None, draws), field)


def test_the_table_pools_seeds_and_has_a_line_of_each_parameter():
    (a, truth), (wide, _) = posterior(1.0, 3), posterior(3.0, 3)
    other = a.flip(0) + 0.01  # another seed of much the same posterior
    rows = [
        row("vgbdm", 1, torch.stack((a, wide), 2)), row("vgbdm", 2, torch.stack((other, wide), 2)),
        row("blackbox", 1, None, ()), row("oracle", None, None, None),
    ]  # fmt: skip
    table = calibration_table(rows, {"b": truth, "a": truth})
    assert list(table) == list(COLUMNS) and table["parameter"].tolist() == ["a", "b"]
    first, second = table.iloc[0], table.iloc[1]
    assert (first["seeds"], first["n"], first["members"]) == (2, 250, 32)
    assert first["coverage_90_low"] < 0.9 < first["coverage_90_high"]
    assert first["coverage_50_low"] < 0.5 < first["coverage_50_high"]
    assert first["rank_p"] > 0.01 and second["rank_p"] < 1e-6 and second["coverage_90"] > 0.98
    narrow = calibration_table(
        [row("vgbdm", 1, torch.stack((a, wide), 2)[:4])], {"a": truth, "b": truth}
    )
    assert narrow["coverage_90"].isna().all() and narrow["coverage_50"].notna().all()
    assert calibration_table([], {}).empty


def test_ranks_are_counted_where_all_members_are_finite():
    members = torch.tensor([[[1.0], [5.0], [torch.nan]], [[2.0], [6.0], [1.0]]])  # (M, N, n)
    truth = torch.tensor([[1.5], [4.0], [9.0]])
    assert rank_counts(members, truth).tolist() == [1, 1, 0]


def test_coverage_is_told_at_the_levels_that_members_tell_exactly():
    generator = torch.Generator().manual_seed(0)
    members = torch.randn((19, 4000, 1), generator=generator)
    truth = torch.randn((4000, 1), generator=generator)
    levels, shares = coverage_curve(rank_counts(members, truth))
    assert np.allclose(levels[[0, -1]], [0.0, 0.9]) and len(levels) == 10
    assert np.abs(shares - levels).max() < 0.03
    assert shares[-1] == pytest.approx(scores.coverage(members, truth, 0.9), abs=1e-9)
    assert len(coverage_curve(np.zeros(5))[0]) == 0
