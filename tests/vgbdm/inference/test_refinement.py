"""Refined inference: known answers, better than the encoder, row by row."""

import math

import pytest
import torch
from systems import SYSTEMS, make_field, parameters, smooth, trajectories

from vgbdm.fields.grey_box import Window
from vgbdm.inference.refinement import (
    ANCHOR,
    likelihood_width,
    matching_residuals,
    means_of,
    minimise,
    posterior_of,
)
from vgbdm.latents.latents import Latents
from vgbdm.paths.hermite import HermitePath


def windows(field, name):
    data = trajectories(name)
    return data.x[:, : field.window], data.t[:, : field.window]


def test_a_small_least_squares_problem_is_solved_in_every_row():
    target = torch.tensor([[1.0, -2.0], [30.0, 5.0]])

    def residuals(u):
        return torch.stack((u[:, 0] - target[:, 0], (u[:, 1] - target[:, 1]) * 3, u.sum(1) * 0), 1)

    found = minimise(residuals, torch.zeros(2, 2), 8)
    assert torch.allclose(found, target, atol=1e-3)
    assert torch.equal(minimise(residuals, target, 0), target)


def test_near_answers_of_the_encoder_hold_and_far_ones_are_left():
    """A faint pull towards 0.1 and a stronger one towards 1000, both held by the anchor."""

    def residuals(u):
        return (u - torch.tensor([[0.1], [1000.0]])) * torch.tensor([[0.005], [0.1]])

    found = minimise(residuals, torch.zeros(2, 1), 20)
    exact = 0.1 * 0.005**2 / (0.005**2 + ANCHOR)  # both are parabolas so near to the start
    assert abs(float(found[0]) - exact) < 1e-3
    assert float(found[1]) > 900


def test_a_latent_that_means_little_stays_where_it_is():
    """Of two ways to explain a window the shorter is taken, whatever the encoder is sure of."""

    def residuals(u):
        return u @ torch.tensor([[1.0], [0.01]]) - 1.0

    found = minimise(residuals, torch.zeros(1, 2), 10)[0]
    assert abs(float(found[0]) - 1) < 1e-3 and abs(float(found[1])) < 0.02


def test_refinement_explains_the_window_better_and_treats_rows_alone():
    for name in SYSTEMS:
        field = make_field(name, shake=0.05).double()
        frames, times = (x.double() for x in windows(field, name))
        residuals = matching_residuals(field, frames, times)
        posterior, _ = field.infer(Window(frames, times))
        refined = posterior_of(field, frames, times)

        def error(q, residuals=residuals):
            return residuals(torch.cat((q.zeta.mean, q.theta.mean), 1)).square().mean(1)

        assert error(refined).mean() < error(posterior).mean()
        one = posterior_of(field, frames[3:4], times[3:4])
        assert torch.allclose(one.zeta.mean, refined.zeta.mean[3:4], atol=1e-9)


def test_it_finds_the_parameters_that_alone_explain_the_data():
    """Where nothing but θ is free and the residual is zero, σ and β follow from X and Z."""
    field = make_field("lorenz")
    data = trajectories("lorenz")
    frames, times = data.x[:, 15:25], data.t[:, 15:25]
    field.refinement = 10
    theta = field.physical(posterior_of(field, frames, times).mean)
    assert (theta[:, 0] - parameters("lorenz")["sigma"]).abs().max() < 0.1
    assert (theta[:, 1] - parameters("lorenz")["beta"]).abs().max() < 0.05


@pytest.mark.parametrize(("count", "first", "last"), [(22, 2, 18), (5, 0, 3)])
@pytest.mark.parametrize("options", [{}, {"inputs": "everything"}, {"grey": False}])
def test_residuals_are_the_matching_errors_at_the_middles_inside_the_window(
    options, count, first, last
):
    data = smooth("rlc", 4)
    field = make_field("rlc", shake=0.3, data=data, **options)
    frames, times = data.x[:, 3 : 3 + count], data.t[:, 3 : 3 + count]
    unknowns = torch.randn((4, 3 + 2 * field.grey), generator=torch.Generator().manual_seed(0))
    found = matching_residuals(field, frames, times)(unknowns).reshape(4, -1, 2)
    path = HermitePath(11)
    # a history of two frames has none before the first
    nodes, places = path.nodes(frames, times), range(max(first, field.everything), last + 1)
    latents = Latents(unknowns[:, :3], unknowns[:, 3:] if field.grey else None)
    assert found.shape[1] == len(places)
    for column, k in enumerate(places):
        begin, end = times[:, k], times[:, k + 1]
        point = path(nodes[:, k], nodes[:, k + 1], end - begin, torch.full((4,), 0.5))
        history = frames[:, k - 1 : k + 1] if field.everything else None
        context = field.context(field.past(history), latents)
        answer = field(point.state, (begin + end) / 2, context).total
        exact = (answer - point.velocity) / field.rate
        assert torch.allclose(found[:, column], exact, rtol=1e-3, atol=1e-4)


def test_a_step_that_does_not_help_is_not_taken():
    """A valley with a wall: full steps climb it, so that damping must grow first."""

    def residuals(u):
        return torch.cat((10 * (u[:, 1:] - u[:, :1] ** 2), 1 - u[:, :1]), 1)

    start = torch.tensor([[-1.2, 1.0], [1.0, 1.0]])
    losses = []
    for steps in (0, 1, 2, 4, 8, 16, 40):
        at = minimise(residuals, start, steps)
        losses.append(float(residuals(at)[0].square().mean()))
        assert torch.allclose(at[1], start[1], atol=1e-3)
    assert losses == sorted(losses, reverse=True) and losses[-1] < 1e-3


def test_means_alone_are_those_of_the_posterior():
    for grey in (True, False):
        field = make_field("rlc", shake=0.05, grey=grey)
        frames, times = windows(field, "rlc")
        alone, whole = means_of(field, frames, times), posterior_of(field, frames, times)
        expected = whole.mean
        assert torch.equal(alone.zeta, expected.zeta)
        assert grey == (alone.theta is not None)
        assert not grey or torch.equal(alone.theta, expected.theta)


def test_black_boxes_and_histories_are_inferred_too():
    for options in ({"grey": False}, {"inputs": "everything"}):
        field = make_field("rlc", shake=0.05, **options)
        frames, times = windows(field, "rlc")
        posterior = posterior_of(field, frames, times)
        drawn = posterior.draw(torch.ones(len(frames), 3), torch.ones(len(frames), 2))
        assert torch.allclose(drawn.zeta, posterior.zeta.mean + posterior.zeta.log_std.exp())
        assert (drawn.theta is None) == (not field.grey)


def test_the_width_of_a_linear_problem_is_that_of_its_normal_posterior():
    """Residuals A u - b with u = (ζ, y): the marginal of y under ζ ~ N(0, 1) and a flat y."""
    design = torch.randn(40, 3, generator=torch.Generator().manual_seed(1)).double()
    answer = torch.randn(40, generator=torch.Generator().manual_seed(2)).double()

    def residuals(u):
        return u @ design.T - answer

    at = torch.linalg.lstsq(design, answer[:, None]).solution.T
    variance = residuals(at).square().mean()
    precision = design.T @ design / 40 / variance + torch.diag(torch.tensor([1.0, 0.0, 0.0]))
    exact = torch.linalg.inv(precision).diagonal().sqrt()[1:]
    assert torch.allclose(likelihood_width(residuals, at, 1)[0], exact, rtol=1e-4)


def test_what_a_window_does_not_tell_keeps_the_width_of_the_prior():
    """No current, and no voltage across the inductor: neither L nor C moves anything."""
    field = make_field("rlc")
    frames, times = windows(field, "rlc")
    still = torch.zeros_like(frames)
    still[:, :, 0] = 1 + 2.5 * torch.sin(2 * times)
    told = posterior_of(field, frames, times).theta.log_std.exp()
    untold = posterior_of(field, still, times).theta.log_std.exp()
    assert (told.mean(0) < 0.8).all() and (untold > 0.99).all()


def test_the_calibrated_width_scales_what_the_window_leaves_open():
    field = make_field("lorenz")
    frames, times = windows(field, "lorenz")
    plain = posterior_of(field, frames, times)
    field.width.fill_(3.0)
    wide = posterior_of(field, frames, times)

    def precision(q):  # less that of the prior
        return (-2 * q.theta.log_std).exp() - 1

    assert torch.allclose(precision(plain), 9 * precision(wide), rtol=1e-3, atol=1e-4)
    assert torch.equal(wide.zeta.log_std, plain.zeta.log_std)


def test_the_anchor_is_where_the_search_begins():
    """Moved as a whole, a problem has the same answer, moved."""

    def residuals(u):
        return (u - torch.tensor([[0.1], [1000.0]])) * torch.tensor([[0.005], [0.1]])

    start = torch.tensor([[16.0], [-32.0]])
    found = minimise(lambda u: residuals(u - start), start, 20) - start
    assert torch.allclose(found, minimise(residuals, torch.zeros(2, 1), 20), rtol=1e-3, atol=1e-4)


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

    found = float(minimise(residuals, torch.zeros(1, 1), 1))
    assert found == pytest.approx(step if taken else 0.0, rel=1e-4)


def test_the_anchor_of_a_step_is_that_of_a_students_t():
    """Two steps of one unknown towards 3, by hand: the pull is A u / (1 + u² / 4)."""
    gain, u, damping = math.sqrt(ANCHOR), 0.0, 1e-2
    for _ in range(2):
        hold = ANCHOR / (1 + u**2 / 4)
        u -= (ANCHOR * (u - 3) + hold * u) / (ANCHOR * (1 + damping) + hold)
        damping /= 5
    found = minimise(lambda at: gain * (at - 3), torch.zeros(1, 1), 2)
    assert float(found) == pytest.approx(u, rel=1e-4)
