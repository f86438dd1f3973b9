"""Refined inference: known answers, better than the encoder, row by row."""

import math

import pytest
import torch
from system_fields import SYSTEMS, make_field, parameters, smooth, trajectories

from vgbdm.errors import InputError
from vgbdm.fields.grey_box import Window
from vgbdm.inference import refinement as refinement_module
from vgbdm.inference.laplace import laplace
from vgbdm.inference.refinement import (
    MatchingResiduals,
    Refinement,
    columns_of,
    laplace_of,
    means_of,
    minimise,
    posterior_of,
    weights_of,
)
from vgbdm.latents.latents import Latents
from vgbdm.paths.hermite import HermitePath
from vgbdm.paths.lagrange import LagrangePath

ANCHOR = 3e-5


def windows(field, name):
    data = trajectories(name)
    return data.x[:, : field.window], data.t[:, : field.window]


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


def test_refinement_explains_the_window_better_and_treats_rows_alone():
    for name in SYSTEMS:
        field = make_field(name, shake=0.05).double()
        frames, times = (x.double() for x in windows(field, name))
        residuals = MatchingResiduals(field, frames, times)
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
    field.refinement = Refinement(10)
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
    found = MatchingResiduals(field, frames, times)(unknowns).reshape(4, -1, 2)
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
        at = minimise(residuals, start, Refinement(steps))
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
        none = torch.zeros(len(frames), len(field.parameter_names))
        drawn = posterior.draw(torch.ones(len(frames), 3), none)
        moved = posterior.zeta.mean + posterior.zeta_factor.sum(2)
        assert torch.allclose(drawn.zeta, moved, atol=1e-5)
        assert (drawn.theta is None) == (not field.grey)


def linear_problem():
    """Residuals A u - b of R = 40 numbers, their least squares, and J, r there."""
    design = torch.randn(40, 4, generator=torch.Generator().manual_seed(1)).double()
    answer = 3 * torch.randn(40, generator=torch.Generator().manual_seed(2)).double()
    at = torch.linalg.lstsq(design, answer[:, None]).solution.T
    return design, at, at @ design.T - answer


def test_the_posterior_of_a_linear_problem_is_its_normal_posterior():
    """u = (ζ, y): as many normal residuals as there are, and standard normal priors."""
    design, at, misfit = linear_problem()
    precision = design.T @ design / misfit.square().mean() + torch.eye(4)
    exact = torch.linalg.inv(precision)
    found = laplace(design[None], misfit, at, 2).calibrated(torch.ones(2), torch.ones(1))
    assert torch.allclose(found.theta.log_std.exp()[0], exact.diagonal()[2:].sqrt())
    assert torch.allclose(found.zeta.log_std.exp()[0], exact.diagonal()[:2].sqrt())
    numbers = torch.randn(20000, 4, generator=torch.Generator().manual_seed(3)).double()
    drawn = found.map(lambda x: x.expand(20000, *x.shape[1:])).draw(numbers[:, :2], numbers[:, 2:])
    draws = torch.cat((drawn.zeta, drawn.theta), 1)
    assert torch.allclose(draws.mean(0), at[0], atol=0.02)
    assert torch.allclose(draws.T.cov(), exact, atol=0.02 * float(exact.diagonal().max()))
    correlation = exact / exact.diagonal().sqrt() / exact.diagonal().sqrt()[:, None]
    assert (correlation - torch.eye(4)).abs().max() > 0.1  # so that the joint one differs
    # without its prior: the marginal of y under ζ ~ N(0, 1) alone
    flat = torch.linalg.inv(precision - torch.diag(torch.tensor([0.0, 0, 1, 1])).double())
    width = laplace(design[None], misfit, at, 2).theta_width()[0]
    assert torch.allclose(width, flat.diagonal()[2:].sqrt(), rtol=1e-5)


def test_factors_widen_y_and_zeta_given_y_each_by_its_own():
    design, at, misfit = linear_problem()
    found = laplace(design[None], misfit, at, 2)
    theta, zeta = torch.tensor([2.0, 5.0]), torch.tensor([3.0])
    plain, wide = found.calibrated(torch.ones(2), torch.ones(1)), found.calibrated(theta, zeta)
    eye = torch.eye(2).double()
    one, many = (
        torch.linalg.inv(q.theta_factor @ q.theta_factor.mT)[0] - eye for q in (plain, wide)
    )
    assert torch.allclose(one, many * theta * theta[:, None])
    assert torch.allclose(wide.zeta_factor, 3 * plain.zeta_factor)
    assert torch.equal(plain.slope, wide.slope) and torch.equal(wide.mean.theta, at[:, 2:])
    given = wide.zeta_given(at[:, 2:] + 1)
    assert torch.allclose(given, at[:, :2] + wide.slope.sum(2))


def test_windows_explained_exactly_and_parameters_that_do_nothing_have_a_posterior():
    """A vanishing misfit, two columns that are one, and one of zeros: no square root fails."""
    column = torch.randn(50, generator=torch.Generator().manual_seed(1))
    jacobian = torch.stack((column, 0 * column, column, 1e3 * column, 0 * column), 1)[None]
    for misfit in (0.0, 1e-7, 1.0):
        found = laplace(jacobian, torch.full((1, 50), misfit), torch.zeros(1, 5), 2)
        q = found.calibrated(torch.ones(3), torch.ones(1))
        assert all(x.isfinite().all() for x in q)
        assert q.theta.log_std.exp()[0, 2] == pytest.approx(1)


@pytest.mark.parametrize("grey", [True, False])
def test_a_field_is_inferred_refined_or_not_as_asked(grey):
    field = make_field("rlc", shake=0.05, grey=grey)
    frames, times = windows(field, "rlc")
    encoded = field.infer(Window(frames, times))[0].mean
    for refinement, default in ((Refinement(3), True), (Refinement(0), False), (None, False)):
        field.refinement = refinement
        plain, moved, own = (means_of(field, frames, times, r) for r in (False, True, None))
        assert torch.equal(plain.zeta, encoded.zeta) and not torch.equal(moved.zeta, encoded.zeta)
        assert torch.equal(own.zeta, (moved if default else plain).zeta)
        for refined, means in ((False, plain), (True, moved)):
            q = posterior_of(field, frames, times, refined)
            assert torch.equal(q.mean.zeta, means.zeta)
            assert grey == (q.theta is not None)
    plan = Refinement(0, anchor=1e6)
    field.refinement = plan  # what it holds to stands, though it takes no steps by itself
    held = means_of(field, frames, times, True)
    assert torch.allclose(held.zeta, encoded.zeta, atol=1e-4)


def test_widths_are_those_at_the_means_that_are_asked_for():
    field = make_field("pendulum", shake=0.1)
    frames, times = windows(field, "pendulum")
    found = laplace_of(field, frames, times, False)
    residuals = MatchingResiduals(field, frames, times)
    jacobian = torch.func.jacrev(residuals)(found.means).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    misfit = residuals(found.means).square().mean(1)
    exact = jacobian.mT @ jacobian / misfit[:, None, None]
    assert torch.allclose(found.precision.float(), exact, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("name", list(SYSTEMS))
@pytest.mark.parametrize("options", [{}, {"inputs": "everything"}, {"grey": False}])
def test_a_jacobian_backwards_is_that_forward(name, options):
    field = make_field(name, shake=0.3, data=smooth(name, 3), **options)
    data = smooth(name, 3)
    frames, times = data.x[:, : field.window], data.t[:, : field.window]
    residuals = MatchingResiduals(field, frames, times)
    unknowns = torch.randn(3, 3 + len(field.parameter_names), generator=torch.Generator())
    with torch.no_grad():
        found, exact = residuals.jacobian(unknowns), columns_of(residuals, unknowns)
    assert found.shape == exact.shape == (3, residuals(unknowns).shape[1], unknowns.shape[1])
    assert torch.allclose(found, exact, rtol=1e-3, atol=1e-4 * float(exact.abs().max()))
    assert not found.requires_grad and all(p.grad is None for p in field.parameters())


def test_many_windows_are_inferred_as_few_are(monkeypatch):
    """A grid's windows are taken some at a time, so that memory is bounded."""
    field = make_field("reaction_diffusion", shake=0.05)
    frames, times = windows(field, "reaction_diffusion")
    whole = posterior_of(field, frames, times)
    asked = []
    original = refinement_module.jacobian_of

    def watched(residuals, means):
        asked.append(len(means))
        return original(residuals, means)

    monkeypatch.setattr(refinement_module, "jacobian_of", watched)
    monkeypatch.setattr(refinement_module, "JACOBIAN_BYTES", 5 * 8 * frames[0].numel() * 5)
    few = posterior_of(field, frames, times)
    assert max(asked) == 5 and asked.count(5) > 1
    for a, b in zip(whole, few, strict=True):
        assert torch.allclose(a, b, rtol=1e-2, atol=1e-3)


def test_the_path_of_the_field_gives_what_it_is_compared_with():
    data = smooth("rlc", 4)
    frames, times = data.x[:, :12], data.t[:, :12]
    unknowns, found = torch.zeros(4, 5), []
    for path in (LagrangePath(), HermitePath(5)):
        field = make_field("rlc", data=data, path=path)
        nodes, inside = path.nodes(frames, times), path.inside(12)
        k = inside.start
        gap, half = times[:, k + 1] - times[:, k], torch.full((4,), 0.5)
        point = path(nodes[:, k], nodes[:, k + 1], gap, half)
        theta = field.prior(unknowns[:, 3:])
        known = field.physics.known(point.state, (times[:, k] + times[:, k + 1]) / 2, theta)
        exact = (known - point.velocity) / field.rate
        found.append(MatchingResiduals(field, frames, times)(unknowns).reshape(4, -1, 2))
        assert torch.allclose(found[-1][:, 0], exact, rtol=1e-3, atol=1e-4)
    assert found[0].shape[1] == 11 and found[1].shape[1] == 9


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"anchor": -1.0}, {"anchor_width": 0.0}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match="want 0 … 1000"):
        Refinement(**wrong)


def test_what_a_window_does_not_tell_keeps_the_width_of_the_prior():
    """No current, and no voltage across the inductor: neither L nor C moves anything."""
    field = make_field("rlc")
    frames, times = windows(field, "rlc")
    still = torch.zeros_like(frames)
    still[:, :, 0] = 1 + 2.5 * torch.sin(2 * times)
    told = posterior_of(field, frames, times).theta.log_std.exp()
    untold = posterior_of(field, still, times).theta.log_std.exp()
    assert (told.mean(0) < 0.8).all() and (untold > 0.99).all()


def test_the_calibrated_factors_scale_what_the_window_leaves_open():
    field = make_field("pendulum", shake=0.1)
    frames, times = windows(field, "pendulum")
    plain = posterior_of(field, frames, times)
    field.theta_factor.fill_(3.0)
    wide = posterior_of(field, frames, times)

    def precision(spread):  # less that of the prior
        covariance = (spread @ spread.transpose(1, 2)).double()
        return torch.linalg.inv(covariance) - torch.eye(covariance.shape[-1])

    theta = [precision(q.theta_factor) for q in (plain, wide)]
    assert torch.allclose(theta[0], 9 * theta[1], rtol=1e-3, atol=1e-3)
    assert torch.equal(wide.zeta_factor, plain.zeta_factor)
    field.zeta_factor.fill_(2.0)
    both = posterior_of(field, frames, times)
    assert torch.allclose(both.zeta_factor, 2 * plain.zeta_factor)
    assert torch.equal(both.theta_factor, wide.theta_factor)
    assert torch.equal(both.slope, plain.slope)


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


def test_misfits_of_great_rates_are_relative_and_a_usual_rate_has_weight_one():
    rates = torch.tensor([[1.0, -1.0], [100.0, 100.0], [1e-4, 0.0]])
    weight = weights_of(rates, 0.1)
    assert weight.shape == (3, 1)
    assert float(weight[0]) == pytest.approx(1.0)
    assert float(weight[1]) == pytest.approx(math.sqrt(1.01) / 100, rel=1e-4)
    assert float(weight[2]) == pytest.approx(math.sqrt(1.01) / 0.1, rel=1e-4)
    grid = weights_of(torch.ones(2, 3, 4, 4), 0.1)
    assert grid.shape == (2, 1, 1, 1) and torch.allclose(grid, torch.ones_like(grid))


def test_residuals_are_weighted_by_the_rate_of_their_point_and_so_are_jacobians():
    for name in SYSTEMS:
        field = make_field(name, shake=0.05)
        frames, times = windows(field, name)
        plain = MatchingResiduals(field, frames, times)
        field.refinement = Refinement(5, floor=0.1)
        weighted = MatchingResiduals(field, frames, times)
        latents = field.infer(Window(frames, times))[0].mean
        unknowns = torch.cat((latents.zeta, latents.theta), 1)
        rates = field.rate_units(plain.rate)
        size = rates.square().flatten(1).mean(1).sqrt().view(len(frames), -1)
        before, after = (
            each(unknowns).view(*size.shape, -1).square().mean(2).sqrt()
            for each in (plain, weighted)
        )
        expected = before * ((1 + 0.01) / (0.01 + size.square())).sqrt()
        assert torch.allclose(after, expected, rtol=1e-4), name
        columns = columns_of(weighted, unknowns)
        assert torch.allclose(weighted.jacobian(unknowns), columns, atol=1e-4), name


def test_a_floor_that_is_none_is_refused():
    with pytest.raises(InputError, match=r"floor=0\.0; want a positive number, or null"):
        Refinement(floor=0.0)


def test_a_slow_passage_counts_beside_a_fast_one():
    """Two points, one a hundred times as fast, where the field errs by a hundredth of the rate:
    what only the slow one says of the unknown is found with the weights, and not without."""
    rates = torch.tensor([[10.0], [0.1]])

    def found(weight):
        def residuals(u):
            misfit = torch.stack((0.1 + 0.001 * (u[:, 0] + 1), 0.01 * (u[:, 0] - 1)), 1)
            return misfit * weight.T

        return float(minimise(residuals, torch.zeros(1, 1), Refinement(20, anchor=0.0)))

    assert abs(found(torch.ones(2, 1)) - 1) > 0.9
    assert abs(found(weights_of(rates, 0.1)) - 1) < 0.05


@pytest.mark.parametrize("name", SYSTEMS)
def test_latents_stay_where_the_network_was_trained(name):
    """A network that explains any window by a latent far off: θ may go there, ζ may not."""
    field = make_field(name, shake=0.05)
    frames, times = windows(field, name)
    field.refinement = Refinement(20, anchor=0.0)
    means, latents = means_of(field, frames, times), field.infer(Window(frames, times))[0].mean
    furthest = latents.zeta.abs().clamp_min(4.0)
    assert (means.zeta.abs() <= furthest).all()

    def residuals(u):
        return u - 50.0

    start = torch.tensor([[0.0, 0.0], [-7.0, 1.0]])
    found = minimise(residuals, start, Refinement(20, anchor=0.0), bounded=1)
    assert torch.allclose(found, torch.tensor([[4.0, 50.0], [4.0, 50.0]]), atol=1e-3)
    none = minimise(lambda u: u + 50.0, start, Refinement(20, anchor=0.0), bounded=1)
    assert torch.allclose(none[:, 0], torch.tensor([-4.0, -7.0]))


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


def test_misfits_of_noise_are_alike_at_all_rates():
    field = make_field("lorenz", shake=0.05)
    field.refinement = Refinement(5, floor=0.1)
    frames, times = windows(field, "lorenz")
    assert MatchingResiduals(field, frames, times).weight is not None
    field.path = HermitePath(noise=[0.1] * 3, smoothing=1.0)
    assert MatchingResiduals(field, frames, times).weight is None
