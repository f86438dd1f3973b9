"""Posterior widths from the model's own simulations."""

import torch
from systems import make_field, trajectories

from vgbdm.calibration import calibrate_width
from vgbdm.latents import DiagonalGaussian


def window_of(field, name):
    data = trajectories(name, 60)
    return data.x[:, : field.window], data.t[:, : field.window]


def test_a_posterior_that_is_too_narrow_is_widened_by_as_much(monkeypatch):
    field = make_field("lorenz")
    field.refinement = 0
    frames, times = window_of(field, "lorenz")
    calibrate_width(field, frames, times, seed=0)
    first = field.width.clone()
    head = type(field.theta_head)
    original = head.forward

    def narrow(self, features):
        q = original(self, features)
        return DiagonalGaussian(q.mean, q.log_std - 1.0) if self is field.theta_head else q

    monkeypatch.setattr(head, "forward", narrow)
    calibrate_width(field, frames, times, seed=0)
    unbounded = first < 30
    assert unbounded.any()
    ratio = (field.width / first)[unbounded]
    assert torch.allclose(ratio, torch.full_like(ratio, 2.71828), rtol=1e-3)


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
