"""Posterior widths from the model's own simulations, and from held-out trajectories."""

import numpy as np
import pytest
import torch
from system_fields import make_field, smooth, trajectories

from vgbdm.dynamics.rollout import Solver
from vgbdm.fields.grey_box import Window
from vgbdm.inference import refinement
from vgbdm.inference.calibration import (
    calibrate,
    calibrate_theta,
    calibrate_zeta,
    calibrated,
    describe,
    factor_of_pairs,
    with_misfit,
)
from vgbdm.inference.laplace import Laplace
from vgbdm.inference.refinement import Explained, laplace_of, posterior_of
from vgbdm.inference.sandwich import sandwich_factor
from vgbdm.latents.latents import Latents
from vgbdm.randomness import keyed_normal


def window_of(field, name):
    data = trajectories(name, 60)
    return data.x[:, : field.window], data.t[:, : field.window]


def test_widths_that_are_too_narrow_are_widened_by_as_much(monkeypatch):
    field = make_field("rlc", shake=0.05)
    frames, times = window_of(field, "rlc")
    calibrate_theta(field, frames, times, seed=0)
    first = field.theta_factor.clone()
    assert (first < 200).all()
    width = Laplace.theta_width
    monkeypatch.setattr(Laplace, "theta_width", lambda self: width(self) / 2.71828)
    calibrate_theta(field, frames, times, seed=0)
    assert torch.allclose(field.theta_factor, first * 2.71828, rtol=1e-3)


def scripted(monkeypatch, field, error, width):
    """Laplace's answers that miss draws by as much as is written down; the windows asked for."""
    asked = []

    def laplace_of(field, frames, times):
        asked.append(frames)
        rows = torch.arange(len(frames))
        y = keyed_normal(5, "calibration", rows, len(field.parameter_names))
        means = torch.cat((torch.zeros(len(frames), 3), y - error), 1)
        certain = torch.cat((torch.zeros(len(frames), 3), width**-2), 1)
        variance = torch.ones(len(frames)).double()
        return Laplace(means.float(), torch.diag_embed(certain.double()), 3, variance)

    monkeypatch.setattr("vgbdm.inference.calibration.laplace_of", laplace_of)
    return asked


@pytest.mark.parametrize("name", ["rlc", "reaction_diffusion"])
def test_the_width_is_the_quantile_of_the_factors_that_windows_want(monkeypatch, name):
    """Nine in ten of |error| ≤ 1.645 σ, where 1 / σ² = 1 / (factor · width)² + 1."""
    data = smooth(name, 24)
    field = make_field(name, data=data)
    draws = 1 if name == "reaction_diffusion" else 2
    generator = torch.Generator().manual_seed(0)
    error = 0.8 * torch.rand((24 * draws, 2), generator=generator)
    width = 0.1 + 0.5 * torch.rand((24 * draws, 2), generator=generator)
    asked = scripted(monkeypatch, field, error, width)
    frames, times = data.x[:, : field.window], data.t[:, : field.window]
    calibrate_theta(field, frames, times, seed=5)
    precision = 1 / (error.numpy() / 1.6448536) ** 2
    factors = 1 / np.sqrt(precision - 1) / width.numpy()
    assert field.theta_factor.tolist() == pytest.approx(
        np.quantile(factors, 0.9, axis=0, method="higher"), rel=1e-3
    )
    assert asked[0].shape == (24 * draws, *frames.shape[1:])
    assert torch.equal(asked[0][::draws, 0], frames[:, 0])


def test_windows_are_made_by_a_finer_solver_from_prior_draws(monkeypatch):
    data = smooth("rlc", 24)
    field, used = make_field("rlc", data=data), []
    asked = scripted(monkeypatch, field, torch.full((48, 2), 0.1), torch.full((48, 2), 0.4))
    simulate = field.simulate

    def watched(start, history, times, latents, solver):
        used.append((latents, solver))
        return simulate(start, history, times, latents, solver)

    field.simulate = watched
    frames, times = data.x[:, :10], data.t[:, :10]
    calibrate_theta(field, frames, times, seed=5)
    latents, solver = used[0]
    y = keyed_normal(5, "calibration", torch.arange(48), 2)
    assert torch.allclose(latents.theta, y)
    assert solver == Solver(field.solver.method, 2 * field.solver.substeps)
    _, held_out = field.infer(Window(frames, times))
    assert torch.allclose(latents.zeta, held_out.zeta.repeat_interleave(2, 0), atol=1e-5)
    first, clock = (values.repeat_interleave(2, 0) for values in (frames[:, :1], times))
    made = simulate(first[:, 0], first, clock, latents, solver)
    assert torch.allclose(asked[0][:, 1:], made, atol=1e-5)


def test_windows_that_are_not_finite_do_not_count(monkeypatch):
    data = smooth("rlc", 24)
    field = make_field("rlc", data=data)
    error, width = torch.full((48, 2), 0.3), torch.full((48, 2), 0.5)
    error[:40] = 1e3  # of windows that are not finite
    scripted(monkeypatch, field, error, width)
    simulate = field.simulate

    def partly(*given):
        states = simulate(*given)
        states[:40, -1] = torch.nan
        return states

    field.simulate = partly
    found = calibrate_theta(field, data.x[:, :10], data.t[:, :10], seed=5)
    assert found.usable == 8 and found.variance == 1
    factor = 1 / ((1.6448536 / 0.3) ** 2 - 1) ** 0.5 / 0.5
    assert field.theta_factor.tolist() == pytest.approx([factor] * 2, rel=1e-4)


def test_few_trajectories_set_widths_all_the_same_and_that_is_said():
    """Of 3 it drew 6 windows, which were too few, and left every factor at 1 without a word."""
    data = trajectories("rlc", 60)
    few = make_field("rlc", shake=0.05)
    assert "not said" in describe(few)
    calibrate(few, data.x[:3], data.t[:3], seed=0)
    assert few.calibrated_on.tolist() == [42, 3]
    assert (few.theta_factor != 1).all() and (few.zeta_factor != 1).all()
    assert describe(few) == (
        "widths of the posterior: θ by 42 windows of its own making and by held-out ones, ζ by "
        "forecasts of 3 held-out trajectories; fewer than 20: take them for rough"
    )
    many = make_field("rlc", shake=0.05)
    calibrate(many, data.x, data.t, seed=0)
    assert many.calibrated_on.tolist() == [120, 60] and "rough" not in describe(many)
    ratio = few.theta_factor / many.theta_factor
    assert ((ratio > 0.2) & (ratio < 5)).all()


def erring_by_window(field, size):
    """Trajectories whose halves have errors of their own, as if each were of another θ; the true y.

    That is what a network's mistake is to a window. The model's own simulations hold none.
    """
    data = trajectories("rlc", 60)
    half, count = data.x.shape[1] // 2, len(field.parameter_names)
    rows = torch.arange(60)
    y, first, last = (
        keyed_normal(11, name, rows, count).float() for name in ("true", "first", "last")
    )
    _, held_out = field.infer(Window(data.x[:, : field.window], data.t[:, : field.window]))
    fine = Solver(field.solver.method, 8)
    frames = data.x[:, :1]
    for error in (first, last):
        clock = data.t[:, frames.shape[1] - 1 :][:, : half + 1]
        drawn = Latents(held_out.zeta, y + size * error)
        made = field.simulate(frames[:, -1], frames, clock, drawn, fine)
        frames = torch.cat((frames, made), 1)
    return frames, data.t[:, : frames.shape[1]], y


def test_two_windows_of_one_trajectory_see_what_simulations_cannot():
    """No true parameter tells; by simulations alone fewer than half were covered."""
    field = make_field("rlc", shake=0.05)
    frames, times, y = erring_by_window(field, 0.3)
    calibrate(field, frames, times, seed=0)
    context, clock = frames[:, : field.window], times[:, : field.window]

    def covered():
        q = posterior_of(field, context, clock).theta
        return ((y - q.mean).abs() < 1.6449 * q.log_std.exp()).float().mean(0)

    assert (covered() > 0.65).all(), covered()  # both windows do not say as much
    calibrate_theta(field, context, clock, seed=0)
    assert (covered() < 0.5).all(), covered()


def test_where_windows_agree_simulations_set_the_factor():
    field = make_field("rlc", shake=0.05)
    frames, times, _ = erring_by_window(field, 0.0)
    calibrate_theta(field, frames[:, : field.window], times[:, : field.window], seed=0)
    alone = field.theta_factor.clone()
    calibrate(field, frames, times, seed=0)
    assert (field.theta_factor >= alone).all()
    assert (field.theta_factor < 2 * alone).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_simulations_tell_of_as_much_of_the_misfit_as_they_have(share):
    generator = torch.Generator().manual_seed(0)
    residuals = torch.randn((50, 12), generator=generator)
    jacobian = torch.randn((50, 12, 3), generator=generator)
    variance = residuals.double().square().mean(1)
    found = Laplace(torch.zeros(50, 3), torch.eye(3).double().repeat(50, 1, 1), 1, variance)
    own = sandwich_factor(jacobian, residuals, 1)
    made = with_misfit(
        torch.tensor([3.0, 0.2]), share * variance.median(), Explained(found, residuals, jacobian)
    )
    want = (share * torch.tensor([9.0, 0.04]) + (1 - share) * own.square()).sqrt()
    assert made.tolist() == pytest.approx(want.tolist(), rel=1e-5)


@pytest.mark.parametrize("variance", [torch.nan, 1e9])
def test_without_simulations_held_out_windows_tell_and_the_other_way_round(variance):
    """None finite: the sandwich alone; a misfit as large as theirs: simulations alone."""
    residuals, jacobian = torch.ones(50, 12), torch.eye(12)[:, :2].repeat(50, 1, 1)
    found = Laplace(torch.zeros(50, 2), torch.eye(2).double().repeat(50, 1, 1), 0, torch.ones(50))
    held_out = Explained(found, residuals, jacobian)
    made = with_misfit(torch.tensor([3.0, 0.2]), torch.tensor(variance), held_out)
    own = sandwich_factor(jacobian, residuals, 0).tolist()
    assert made.tolist() == pytest.approx(own if np.isnan(variance) else [3.0, 0.2], rel=1e-5)
    few = Explained(found, residuals[:, :2], jacobian[:, :2])  # no more residuals than unknowns
    assert with_misfit(torch.tensor([3.0, 0.2]), torch.tensor(variance), few).tolist() == [
        pytest.approx(3.0), pytest.approx(0.2)
    ]  # fmt: skip


def test_windows_whose_misfit_is_not_the_paths_are_not_told_by_it():
    """Noise that differs by frame: by simulations alone, which have none, widths are too large."""
    field = make_field("rlc", shake=0.05)
    frames, times, y = erring_by_window(field, 0.0)
    generator = torch.Generator().manual_seed(0)
    frames = frames + 0.01 * field.std * torch.randn(frames.shape, generator=generator)
    context, clock = frames[:, : field.window], times[:, : field.window]

    def covered():
        q = posterior_of(field, context, clock).theta
        return ((y - q.mean).abs() < 1.6449 * q.log_std.exp()).float().mean(0)

    calibrate_theta(field, context, clock, seed=0)
    alone = field.theta_factor.clone()
    calibrate(field, frames, times, seed=0)
    assert field.theta_factor[0] < 0.7 * alone[0]
    assert ((covered() > 0.8) & (covered() < 0.95)).all(), covered()


def test_the_factor_of_pairs_is_the_quantile_of_differences_in_widths_of_both():
    generator = torch.Generator().manual_seed(0)
    width = 0.1 + torch.rand((2, 40, 2), generator=generator)
    means = torch.randn((2, 40, 2), generator=generator)
    found = [
        Laplace(m, torch.diag_embed(w.double() ** -2), 0, torch.ones(40).double())
        for m, w in zip(means, width, strict=True)
    ]
    apart = (means[0] - means[1]).numpy() / np.sqrt((width**2).sum(0).numpy()) / 1.6448536
    want = np.quantile(np.abs(apart), 0.9, axis=0, method="higher")
    assert factor_of_pairs(*found).tolist() == pytest.approx(want, rel=1e-4)
    found[1].means[:36] = torch.nan  # the others count
    want = np.quantile(np.abs(apart[36:]), 0.9, axis=0, method="higher")
    assert factor_of_pairs(*found).tolist() == pytest.approx(want, rel=1e-4)
    found[1].means[:] = torch.nan
    assert factor_of_pairs(*found).tolist() == [0.0, 0.0]


def forecast_by_draws(field, wider):
    """Trajectories that go on as the field forecasts with ζ from its own posterior, made wider."""
    data = trajectories("rlc", 60)
    context = data.x[:, : field.window]
    posterior = posterior_of(field, context, data.t[:, : field.window])
    rows = torch.arange(60)
    zeta = wider * keyed_normal(7, "zeta", rows, 3).float()
    drawn = posterior.draw(zeta, torch.zeros(60, len(field.parameter_names)))
    return torch.cat((context, field.forecast(context, data.t, drawn)), 1), data.t


@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("wider", [0.2, 2.0])
def test_zeta_is_as_wide_as_held_out_forecasts_ask(grey, wider):
    field = make_field("rlc", shake=0.02, grey=grey)
    if grey:
        field.theta_factor.fill_(1e-3)
    frames, times = forecast_by_draws(field, wider)
    field.zeta_factor.fill_(3.0)  # where it was does not count
    assert calibrate_zeta(field, frames, times) == 60
    assert float(field.zeta_factor) == pytest.approx(wider, rel=0.3)


def test_members_that_lie_to_one_side_are_drawn_wider():
    """To first order nothing is seen of a bend: differences to either side cancel it."""
    field = make_field("rlc", shake=0.02)
    field.theta_factor.fill_(1e-3)
    frames, times = forecast_by_draws(field, 1.0)
    calibrate_zeta(field, frames, times)
    straight, forecast = float(field.zeta_factor), field.forecast
    found = laplace_of(field, frames[:, : field.window], times[:, : field.window])
    base = forecast(frames[:, : field.window], times, calibrated(field, found).mean)
    spread = (frames[:, field.window :] - base).square().mean().sqrt()

    def bent(context, clock, latents):
        own = base.repeat(len(context) // 60, 1, 1)
        if not torch.equal(context[: len(base)], frames[:, : field.window]):  # members side by side
            own = base.repeat_interleave(len(context) // 60, 0)
        apart = forecast(context, clock, latents) - own
        return own + apart + 0.3 * apart.square() / spread

    field.forecast = bent
    calibrate_zeta(field, frames, times)
    assert float(field.zeta_factor) > 1.1 * straight


def test_what_theta_explains_of_a_forecast_is_not_laid_on_zeta():
    field = make_field("rlc", shake=0.02)
    field.theta_factor.fill_(1e-3)
    frames, times = forecast_by_draws(field, 1.0)
    calibrate_zeta(field, frames, times)
    alone = float(field.zeta_factor)
    field.theta_factor.fill_(1e4)  # as wide as the prior
    calibrate_zeta(field, frames, times)
    assert float(field.zeta_factor) < 0.1 * alone


def test_a_forecast_that_is_not_finite_does_not_count_and_without_any_the_factor_is_one():
    field = make_field("rlc", shake=0.02)
    field.theta_factor.fill_(1e-3)
    frames, times = forecast_by_draws(field, 1.0)
    frames[:30, -1] = torch.nan
    assert calibrate_zeta(field, frames, times) == 30
    assert float(field.zeta_factor) == pytest.approx(1.0, rel=0.4)
    frames[:, -1] = torch.nan
    assert calibrate_zeta(field, frames, times) == 0
    assert field.zeta_factor.tolist() == [1.0]


def test_of_a_grid_a_few_forecasts_say_enough():
    data = smooth("reaction_diffusion", 6)
    field = make_field("reaction_diffusion", shake=0.05, data=data)
    calibrate(field, data.x, data.t, seed=0)
    assert field.calibrated_on.tolist() == [24, 4] and "rough" not in describe(field)


def test_what_the_field_itself_makes_is_covered_as_asked():
    """Nine in ten of windows made with other draws than those the factors were taken from."""
    field = make_field("rlc", shake=0.05)
    frames, times = window_of(field, "rlc")
    calibrate_theta(field, frames, times, seed=0)
    frames, times = frames.repeat(6, 1, 1), times.repeat(6, 1)
    y = keyed_normal(1, "calibration", torch.arange(360), 2).float()
    _, held_out = field.infer(Window(frames, times))
    drawn = Latents(held_out.zeta, y)
    fine = Solver(field.solver.method, 2 * field.solver.substeps)
    states = field.simulate(field.begin(frames, times, 0), frames[:, :1], times, drawn, fine)
    q = refinement.posterior_of(field, torch.cat((frames[:, :1], states), 1), times).theta
    inside = ((y - q.mean).abs() < 1.6449 * q.log_std.exp()).float().mean(0)
    assert ((inside - 0.9).abs() < 0.08).all(), inside  # 3 standard errors of 120 draws


def test_it_is_deterministic_and_a_black_box_has_only_zeta():
    field = make_field("rlc")
    frames, times = window_of(field, "rlc")
    calibrate_theta(field, frames, times, seed=0)
    once = field.theta_factor.clone()
    calibrate_theta(field, frames, times, seed=0)
    assert torch.equal(field.theta_factor, once)
    black = make_field("rlc", grey=False)
    data = trajectories("rlc", 24)
    calibrate(black, data.x, data.t, seed=0)
    assert not hasattr(black, "theta_factor")
    assert black.calibrated_on.tolist() == [0, 24] and "θ" not in describe(black)


def test_the_factor_multiplies_all_of_zetas_width():
    """Also the part that its prior bounds: latents of a trained field do not keep to N(0, 1)."""
    field = make_field("rlc", shake=0.02)
    frames, times = window_of(field, "rlc")
    found = laplace_of(field, frames, times)
    once = calibrated(field, found)
    field.zeta_factor.fill_(30.0)
    assert torch.allclose(calibrated(field, found).zeta_factor, 30 * once.zeta_factor)
    assert torch.equal(calibrated(field, found).theta_factor, once.theta_factor)
