"""Posterior widths from the model's own simulations."""

import numpy as np
import pytest
import torch
from systems import make_field, smooth, trajectories

from vgbdm.dynamics.rollout import Solver
from vgbdm.fields.grey_box import Window
from vgbdm.inference import refinement
from vgbdm.inference.calibration import calibrate_width
from vgbdm.inference.laplace import Laplace
from vgbdm.latents.latents import Latents
from vgbdm.randomness import keyed_normal


def window_of(field, name):
    data = trajectories(name, 60)
    return data.x[:, : field.window], data.t[:, : field.window]


def test_widths_that_are_too_narrow_are_widened_by_as_much(monkeypatch):
    field = make_field("rlc", shake=0.05)
    frames, times = window_of(field, "rlc")
    calibrate_width(field, frames, times, seed=0)
    first = field.theta_factor.clone()
    assert (first < 200).all()
    width = Laplace.theta_width
    monkeypatch.setattr(Laplace, "theta_width", lambda self: width(self) / 2.71828)
    calibrate_width(field, frames, times, seed=0)
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
        return Laplace(means.float(), torch.diag_embed(certain.double()), 3)

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
    calibrate_width(field, frames, times, seed=5)
    precision = 1 / (error.numpy() / 1.6448536) ** 2
    factors = 1 / np.sqrt(precision - 1) / width.numpy()
    assert field.theta_factor.tolist() == pytest.approx(np.quantile(factors, 0.9, axis=0), rel=1e-3)
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
    calibrate_width(field, frames, times, seed=5)
    latents, solver = used[0]
    y = keyed_normal(5, "calibration", torch.arange(48), 2)
    assert torch.allclose(latents.theta, y)
    assert solver == Solver(field.solver.method, 2 * field.solver.substeps)
    _, held_out = field.infer(Window(frames, times))
    assert torch.allclose(latents.zeta, held_out.zeta.repeat_interleave(2, 0), atol=1e-5)
    first, clock = (values.repeat_interleave(2, 0) for values in (frames[:, :1], times))
    made = simulate(first[:, 0], first, clock, latents, solver)
    assert torch.allclose(asked[0][:, 1:], made, atol=1e-5)


@pytest.mark.parametrize(("broken", "kept"), [(28, True), (29, False)])
def test_too_few_finite_windows_set_no_width(monkeypatch, broken, kept):
    data = smooth("rlc", 24)
    field = make_field("rlc", data=data)
    error, width = torch.full((48, 2), 0.3), torch.full((48, 2), 0.4)
    error[:broken] = 1e3  # of windows that were not finite: they do not count
    scripted(monkeypatch, field, error, width)
    simulate = field.simulate

    def partly(*given):
        states = simulate(*given)
        states[:broken, -1] = torch.nan
        return states

    field.simulate = partly
    calibrate_width(field, data.x[:, :10], data.t[:, :10], seed=5)
    factor = 1 / ((1.6448536 / 0.3) ** 2 - 1) ** 0.5 / 0.4
    assert field.theta_factor.tolist() == pytest.approx([factor if kept else 1.0] * 2, rel=1e-4)


def test_what_the_field_itself_makes_is_covered_as_asked():
    """Nine in ten of windows made with other draws than those the factors were taken from."""
    field = make_field("rlc", shake=0.05)
    frames, times = window_of(field, "rlc")
    calibrate_width(field, frames, times, seed=0)
    frames, times = frames.repeat(6, 1, 1), times.repeat(6, 1)
    y = keyed_normal(1, "calibration", torch.arange(360), 2).float()
    _, held_out = field.infer(Window(frames, times))
    drawn = Latents(held_out.zeta, y)
    fine = Solver(field.solver.method, 2 * field.solver.substeps)
    states = field.simulate(field.begin(frames, times, 0), frames[:, :1], times, drawn, fine)
    q = refinement.posterior_of(field, torch.cat((frames[:, :1], states), 1), times).theta
    inside = ((y - q.mean).abs() < 1.6449 * q.log_std.exp()).float().mean(0)
    assert ((inside - 0.9).abs() < 0.08).all(), inside  # 3 standard errors of 120 draws


def test_it_is_deterministic_and_leaves_a_black_box_alone():
    field = make_field("rlc")
    frames, times = window_of(field, "rlc")
    calibrate_width(field, frames, times, seed=0)
    once = field.theta_factor.clone()
    calibrate_width(field, frames, times, seed=0)
    assert torch.equal(field.theta_factor, once)
    black = make_field("rlc", grey=False)
    calibrate_width(black, frames, times, seed=0)
    assert not hasattr(black, "theta_factor")
