"""Refined inference: known answers, better than the encoder, row by row."""

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
)
from vgbdm.latents.latents import Latents
from vgbdm.paths.hermite import HermitePath
from vgbdm.paths.lagrange import LagrangePath


def windows(field, name):
    data = trajectories(name)
    return data.x[:, : field.window], data.t[:, : field.window]


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
