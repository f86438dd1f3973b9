"""Rows without training: what each is, and that those that simulate begin where models begin."""

import numpy as np
import pytest
import torch
from system_fields import SYSTEMS, WINDOW, make_field, parameters, smooth, trajectories

from physics_systems.evaluation import sanity
from physics_systems.evaluation.protocol import begin_states
from physics_systems.evaluation.sets import EvaluationSet

T = 10


def started(name, count=3):
    """Smooth curves, the states at their last context frame, and the times from then on."""
    data = smooth(name, count)
    start = begin_states(make_field(name, data=data), data).double()
    return data, start, data.t[:, T - 1 : T + 3]


@pytest.mark.parametrize("name", ["pendulum", "reaction_diffusion"])
def test_trivial_rows_are_the_last_frame_and_the_mean(name):
    data = smooth(name, 3)
    last = sanity.persistence(data, 4)
    mean = sanity.training_mean(data, 4, torch.arange(data.x.shape[2]) + 0.5)
    assert last.shape == mean.shape == data.x[:, 4:].shape
    assert torch.equal(last[:, -1], data.x[:, 3]) and torch.equal(last[:, 0], data.x[:, 3])
    assert mean.dtype == torch.float32
    for component in range(data.x.shape[2]):
        assert (mean[:, :, component] == component + 0.5).all()


def test_the_sanity_rows_differ_by_what_the_physics_lacks():
    """A pendulum from the context's own velocity: with friction it slows, without it does not."""
    system, (_, start, times) = SYSTEMS["pendulum"], started("pendulum")
    truth = {
        "omega": torch.tensor([1.0, 2.0, 3.0]).double(),
        "gamma": torch.tensor([0.2, 0.7, 1.1]).double(),
    }
    full = sanity.oracle(system, start, times, truth)
    known = sanity.physics_only(system, start, times, truth)
    still = sanity.oracle(system, start, times, truth | {"gamma": 0 * truth["gamma"]})
    assert torch.allclose(known, still, atol=1e-6) and not torch.allclose(known, full, atol=1e-2)
    gap = (times[:, 1] - times[:, 0])[:, None]
    bend = -(truth["omega"][:, None] ** 2) * torch.sin(start[:, :1])
    taylor = start[:, :1] + gap * start[:, 1:] + gap**2 / 2 * bend
    assert torch.allclose(known[:, 0].double(), taylor, atol=float(gap.max()) ** 3 * 40)


def test_simulated_rows_begin_where_the_models_do(monkeypatch):
    """They had an estimator of velocities of their own."""
    data, start, _ = started("pendulum")
    asked = []

    def integrate(dynamics, start, times, parameters, label):
        asked.append((start, times))
        return start[:, None].expand(-1, times.shape[1], -1)

    monkeypatch.setattr(sanity, "solve_system", integrate)
    test = EvaluationSet(data, parameters={"omega": torch.ones(3), "gamma": torch.ones(3)})
    made = sanity.sanity_forecasts(SYSTEMS["pendulum"], test, start.float(), T, torch.zeros(1))
    assert tuple(made) == sanity.SANITY and len(asked) == 3
    for begun, clock in asked:
        assert torch.equal(begun, start.float().double())
        assert torch.equal(clock, data.t[:, T - 1 :])
    assert all(own.mean.shape == data.x[:, T:].shape for own in made.values())
    bare = sanity.sanity_forecasts(
        SYSTEMS["pendulum"], EvaluationSet(data), start, T, torch.zeros(1)
    )
    assert tuple(bare) == ("prior_mean", "persistence", "training_mean")


def test_the_prior_mean_guesses_theta_and_simulates_with_it():
    system, (data, start, _) = SYSTEMS["lorenz"], started("lorenz")
    theta = sanity.prior_mean(system, 3)
    assert np.allclose(theta, [[10.0, 2.7]] * 3, rtol=1e-4)  # σ and β, in the system's order
    made = sanity.sanity_forecasts(system, EvaluationSet(data), start, T, torch.zeros(3))
    named = {"sigma": theta[:, 0], "beta": theta[:, 1]}
    known = sanity.physics_only(system, start, data.t[:, T - 1 :], named)
    assert torch.equal(made["prior_mean"].mean, known)
    assert torch.equal(made["prior_mean"].theta, theta)
    assert made["prior_mean"].theta_draws is None


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_oracle_is_right_on_every_system(name):
    data, truth, window = trajectories(name), parameters(name), WINDOW[name]
    start = begin_states(make_field(name), data)
    forecast = sanity.oracle(SYSTEMS[name], start, data.t[:, window - 1 :], truth)
    assert (forecast - data.x[:, window:]).square().mean() < 1e-7
