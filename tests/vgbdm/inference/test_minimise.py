"""The search of refined inference: known answers of small least-squares problems."""

import math

import pytest
import torch

from vgbdm.errors import InputError
from vgbdm.inference.refinement import Refinement, minimise

ANCHOR = 3e-5


def test_a_small_least_squares_problem_is_solved_in_every_row():
    target = torch.tensor([[1.0, -2.0], [30.0, 5.0]])

    def residuals(u):
        return torch.stack((u[:, 0] - target[:, 0], (u[:, 1] - target[:, 1]) * 3, u.sum(1) * 0), 1)

    found = minimise(residuals, torch.zeros(2, 2), Refinement(8))
    assert torch.allclose(found, target, atol=1e-3)
    assert torch.equal(minimise(residuals, target, Refinement(0)), target)


def test_near_answers_of_the_encoder_hold_and_far_ones_are_left():
    """A faint pull towards 0.1 and a stronger one towards 1000, both held by the anchor."""

    def residuals(u):
        return (u - torch.tensor([[0.1], [1000.0]])) * torch.tensor([[0.005], [0.1]])

    found = minimise(residuals, torch.zeros(2, 1), Refinement(20))
    exact = 0.1 * 0.005**2 / (0.005**2 + ANCHOR)  # both are parabolas so near to the start
    assert abs(float(found[0]) - exact) < 1e-3
    assert float(found[1]) > 900


def test_a_latent_that_means_little_stays_where_it_is():
    """Of two ways to explain a window the shorter is taken, whatever the encoder is sure of."""

    def residuals(u):
        return u @ torch.tensor([[1.0], [0.01]]) - 1.0

    found = minimise(residuals, torch.zeros(1, 2), Refinement(10))[0]
    assert abs(float(found[0]) - 1) < 1e-3 and abs(float(found[1])) < 0.02


def test_a_step_that_does_not_help_is_not_taken():
    """A valley with a wall: full steps climb it, so that damping must grow first."""

    def residuals(u):
        return torch.cat((10 * (u[:, 1:] - u[:, :1] ** 2), 1 - u[:, :1]), 1)

    start = torch.tensor([[-1.2, 1.0], [1.0, 1.0]])
    losses = []
    for steps in (0, 1, 2, 4, 8, 16, 40):
        at = minimise(residuals, start, Refinement(steps))
        losses.append(float(residuals(at)[0].square().mean()))
        assert torch.allclose(at[1], start[1], atol=1e-3)
    assert losses == sorted(losses, reverse=True) and losses[-1] < 1e-3


def test_the_anchor_is_where_the_search_begins():
    """Moved as a whole, a problem has the same answer, moved."""

    def residuals(u):
        return (u - torch.tensor([[0.1], [1000.0]])) * torch.tensor([[0.005], [0.1]])

    start = torch.tensor([[16.0], [-32.0]])
    found = minimise(lambda u: residuals(u - start), start, Refinement(20)) - start
    assert torch.allclose(
        found, minimise(residuals, torch.zeros(2, 1), Refinement(20)), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize(("gain", "taken"), [(2e-4, False), (5e-4, True)])
def test_a_step_must_gain_more_than_the_anchor_costs(gain, taken):
    """One step to u by the slope at 0, where the residual has gained as much as it is told."""
    slope, first = -0.01, 0.1
    step = -slope * first / (1.01 * slope**2 + ANCHOR)
    cost = 4 * ANCHOR * math.log1p(step**2 / 4)
    assert 2e-4 < cost < 5e-4
    bend = (math.sqrt(first**2 - gain) - first - slope * step) / step**2

    def residuals(u):
        return first + slope * u + bend * u.square()

    found = float(minimise(residuals, torch.zeros(1, 1), Refinement(1)))
    assert found == pytest.approx(step if taken else 0.0, rel=1e-4)


def test_the_anchor_of_a_step_is_that_of_a_students_t():
    """Two steps of one unknown towards 3, by hand: the pull is A u / (1 + u² / 4)."""
    gain, u, damping = math.sqrt(ANCHOR), 0.0, 1e-2
    for _ in range(2):
        hold = ANCHOR / (1 + u**2 / 4)
        u -= (ANCHOR * (u - 3) + hold * u) / (ANCHOR * (1 + damping) + hold)
        damping /= 5
    found = minimise(lambda at: gain * (at - 3), torch.zeros(1, 1), Refinement(2))
    assert float(found) == pytest.approx(u, rel=1e-4)


def test_what_cannot_be_explained_is_no_reason_to_move():
    """Of two windows with one pull, the one that noise leaves unexplained is held the more."""
    noise = torch.tensor([[0.0], [1.0]])

    def residuals(u):
        return torch.cat((0.1 * (u - 1), noise.expand_as(u)), 1)

    free = minimise(residuals, torch.zeros(2, 1), Refinement(20))
    assert torch.allclose(free, torch.ones(2, 1), atol=0.02)
    held = minimise(residuals, torch.zeros(2, 1), Refinement(20, doubt=10.0))
    assert float(held[0]) == pytest.approx(float(free[0]), abs=1e-3)
    assert float(held[1]) < 0.01
    with pytest.raises(InputError, match="doubt=-1"):
        Refinement(doubt=-1.0)
