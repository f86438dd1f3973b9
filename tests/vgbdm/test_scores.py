"""Scores against brute force and known answers."""

import math

import pytest
import torch

from vgbdm import scores
from vgbdm.scores import crps, expected_square, half_distance, variance


def test_crps_is_the_fair_estimator():
    generator = torch.manual_seed(0)
    members = torch.randn((5, 7), generator=generator).double()
    truth = torch.randn(7, generator=generator).double()
    error = (members - truth).abs().mean(0)
    pairs = (members[:, None] - members[None]).abs().sum((0, 1)) / (5 * 4)
    assert torch.allclose(scores.crps(members, truth), error - 0.5 * pairs)


def test_crps_of_a_perfect_ensemble_is_that_of_its_distribution():
    members = torch.randn((4000, 50), generator=torch.manual_seed(1)).double()
    truth = torch.zeros(50).double()
    exact = (2**0.5 - 1) / torch.pi**0.5  # Gneiting & Raftery 2007, at the mean of a normal
    assert float(scores.crps(members, truth).mean()) == pytest.approx(exact, abs=5e-3)


def test_coverage_and_spread_skill_of_a_calibrated_ensemble():
    generator = torch.manual_seed(2)
    members = torch.randn((64, 20000), generator=generator).double()
    truth = torch.randn(20000, generator=generator).double()
    assert scores.coverage(members, truth) == pytest.approx(0.9, abs=0.02)
    assert scores.spread_skill(members, truth) == pytest.approx(1.0, abs=0.02)
    assert scores.coverage(members[:24], truth) == pytest.approx(0.9, abs=0.015)
    assert scores.coverage(0.2 * members, truth) < 0.35
    ranks = scores.ranks(members, truth)
    assert ranks.min() >= 0 and ranks.max() <= 64
    assert float(ranks.double().mean()) == pytest.approx(32, abs=0.5)


def test_scores_of_pairs_are_those_of_independent_members():
    """Of a nonlinear function of opposite numbers, whose pairs' means differ too."""
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(4, 200_000, generator=generator, dtype=torch.float64)
    free = torch.randn(8, 200_000, generator=generator, dtype=torch.float64)
    truth = torch.randn(200_000, generator=generator, dtype=torch.float64)
    pairs = torch.stack((numbers, -numbers), 1).flatten(0, 1)
    pairs, free, truth = (x + 0.3 * x.square() for x in (pairs, free, truth))
    wanted, found = crps(free, truth).mean(), crps(pairs, truth, pairs=True).mean()
    assert float(found) == pytest.approx(float(wanted), rel=0.005)
    assert float(crps(pairs, truth).mean()) < 0.99 * float(wanted)
    square = (pairs.mean(0) - truth).square().mean()
    assert float(expected_square(pairs, pairs=True).mean() / square) == pytest.approx(1, abs=0.01)
    assert float(square) < 0.95 * float((free.mean(0) - truth).square().mean())
    assert float(expected_square(pairs).mean() / square) > 1.1
    independent = expected_square(free, pairs=True).mean() / expected_square(free).mean()
    assert float(independent) == pytest.approx(1, abs=0.01)


def test_scores_of_two_pairs_by_hand():
    members = torch.tensor([0.0, 4.0, 1.0, 2.0])
    assert float(half_distance(members, pairs=True)) == (1 + 2 + 3 + 2) / 8
    assert float(variance(members, pairs=True)) == 0.125 + (4 + 0.25) / 2
    assert float(expected_square(members, pairs=True)) == 1.5 * 0.125 + (4 + 0.25) / 2


def test_errors_by_hand():
    truth = torch.tensor([[[0.0, 10.0], [2.0, 30.0]]]).transpose(0, 1)  # (2, 1, 2)
    forecast = truth + torch.tensor([1.0, 2.0])
    assert scores.mean_square_errors(forecast, truth).tolist() == [2.5, 2.5]
    # variances about each component's own mean: 1 and 100
    relative = scores.relative_mean_square_error(forecast, truth)
    assert relative == pytest.approx((1 / 1 + 4 / 100) / 2)


def test_theta_errors_are_relative_to_the_spread_of_the_truth():
    truth = torch.tensor([[1.0, 10.0], [3.0, 30.0]])
    assert scores.theta_errors(truth.mean(0).expand(2, 2), truth).tolist() == [1.0, 1.0]
    assert scores.theta_errors(truth, truth).tolist() == [0.0, 0.0]


def test_coverage_counts_the_quantiles_in():
    """Of 19 members the central 90 % reach from the lowest to the highest."""
    members = torch.arange(19.0).flip(0)[:, None].expand(19, 6)
    truth = torch.tensor([0.0, 18.0, -0.1, 18.1, 9.0, 50.0])
    assert scores.coverage(members, truth) == 0.5
    # 80 %: at 20 · 0.1 - 1 = 1 and 17; between members in proportion
    truth = torch.tensor([1.0, 0.9, 17.0, 17.1, 5.0, 5.0])
    assert scores.coverage(members, truth, 0.8) == pytest.approx(4 / 6)
    few = torch.tensor([[0.0], [1.0], [4.0], [8.0]]).expand(4, 4)
    # 50 %: at 5 · 0.25 - 1 = 0.25 and 2.75: 0.25 and 7
    assert scores.coverage(few, torch.tensor([0.24, 0.26, 6.9, 7.1]), 0.5) == 0.5


def test_too_few_members_tell_no_coverage():
    """Four drawn like the truth held .60 of it between lowest and highest, and were called .90."""
    generator = torch.manual_seed(5)
    members, truth = torch.randn((19, 20000), generator=generator), torch.randn(20000)
    assert scores.coverage(members, truth) == pytest.approx(0.9, abs=0.01)
    assert math.isnan(scores.coverage(members[:18], truth))
    assert math.isnan(scores.coverage(members[:4], truth))
    assert scores.coverage(members[:4], truth, 0.6) == pytest.approx(0.6, abs=0.015)


def test_spread_skill_and_ranks_by_hand():
    members = torch.tensor([[1.0, 2.0], [3.0, 8.0], [5.0, 2.0]])
    truth = torch.tensor([2.5, 9.0])
    # variances 4 and 12; means 3 and 4, errors 0.5 and -5
    exact = (4 / 3 * 8 / ((0.25 + 25) / 2)) ** 0.5
    assert scores.spread_skill(members, truth) == pytest.approx(exact)
    assert scores.ranks(members, truth).tolist() == [1, 3]
    assert scores.ranks(members, members[0]).tolist() == [0, 0]


def test_theta_errors_by_hand():
    truth = torch.tensor([[1.0, 10.0], [3.0, 30.0]]).double()
    estimate = truth + torch.tensor([[0.5, -1.0], [1.0, 2.0]])
    assert scores.theta_errors(estimate, truth).tolist() == pytest.approx([0.625, 0.025])
