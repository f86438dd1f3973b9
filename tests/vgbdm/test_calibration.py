"""Posterior widths from the model's own simulations."""

import torch
from systems import make_field, trajectories

from vgbdm import inference
from vgbdm.calibration import calibrate_width
from vgbdm.latents import Latents
from vgbdm.randomness import keyed_normal
from vgbdm.rollout import Solver


def window_of(field, name):
    data = trajectories(name, 60)
    return data.x[:, : field.window], data.t[:, : field.window]


def test_widths_that_are_too_narrow_are_widened_by_as_much(monkeypatch):
    field = make_field("rlc", shake=0.05)
    frames, times = window_of(field, "rlc")
    calibrate_width(field, frames, times, seed=0)
    first = field.width.clone()
    assert (first < 30).all()
    original = inference.likelihood_width
    monkeypatch.setattr(inference, "likelihood_width", lambda *a: original(*a) / 2.71828)
    calibrate_width(field, frames, times, seed=0)
    assert torch.allclose(field.width, first * 2.71828, rtol=1e-3)


def test_what_the_field_itself_makes_is_covered_as_asked():
    """Nine in ten of windows made with other draws than those the factors were taken from."""
    field = make_field("rlc", shake=0.05)
    frames, times = window_of(field, "rlc")
    calibrate_width(field, frames, times, seed=0)
    frames, times = frames.repeat(6, 1, 1), times.repeat(6, 1)
    y = keyed_normal(1, "calibration", torch.arange(360), 2).float()
    _, held_out = field.infer(frames, times)
    drawn = Latents(held_out.zeta, field.prior(y))
    fine = Solver(field.solver.method, 2 * field.solver.substeps)
    states = field.simulate(field.begin(frames, times, 0), frames[:, :1], times, drawn, fine)
    q = inference.posterior_of(field, torch.cat((frames[:, :1], states), 1), times).theta
    inside = ((y - q.mean).abs() < 1.6449 * q.log_std.exp()).float().mean(0)
    assert ((inside - 0.9).abs() < 0.08).all(), inside  # 3 standard errors of 120 draws


def test_it_is_deterministic_and_leaves_a_black_box_alone():
    field = make_field("rlc")
    frames, times = window_of(field, "rlc")
    calibrate_width(field, frames, times, seed=0)
    once = field.width.clone()
    calibrate_width(field, frames, times, seed=0)
    assert torch.equal(field.width, once)
    black = make_field("rlc", grey=False)
    calibrate_width(black, frames, times, seed=0)
    assert not hasattr(black, "width")
