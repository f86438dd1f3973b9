"""Latent fields on the four systems: units, order, gradients, inference, rollouts."""

import pytest
import torch
from systems import PRESET, SYSTEMS, make_field, parameters, trajectories

from vgbdm.errors import InputError
from vgbdm.latent_field import PhysicsField, known_field, simulate_physics
from vgbdm.latents import Latents
from vgbdm.rollout import Solver

NAMES = list(SYSTEMS)


def inferred(field, data, noise=None):
    cut = slice(0, field.window)
    return field.infer(data.x[:, cut], data.t[:, cut], noise)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("inputs", ["preset", "state", "everything"])
def test_an_untrained_field_is_the_known_physics(name, inputs):
    field, data = (
        make_field(name, inputs=None if inputs == "preset" else inputs),
        trajectories(name),
    )
    _, latents = inferred(field, data)
    frames = data.x[:, :6]
    state = field.begin(frames, data.t[:, :6], -1)
    answer = field(state, data.t[:, 5], field.condition(latents, frames))
    theta = field.prior.named(latents.theta)
    known = field.physics.known(state, data.t[:, 5], theta)
    if field.order == 2:
        assert torch.equal(answer.total[:, : field.size], state[:, field.size :])
        assert torch.allclose(answer.total[:, field.size :], known)
    else:
        assert torch.allclose(answer.total, known)
    assert not answer.residual["network"].any()
    half = field(state, data.t[:, 5], field.condition(latents, frames), weight=0.5)
    assert torch.allclose(half.total[:, -field.size :], known / 2)


@pytest.mark.parametrize("name", NAMES)
def test_forecasts_have_the_shape_of_what_is_wanted(name):
    field, data = make_field(name, shake=0.1), trajectories(name)
    _, latents = inferred(field, data)
    forecast = field.forecast(data.x[:, : field.window], data.t, latents)
    assert forecast.shape == data.x[:, field.window :].shape
    assert forecast.isfinite().all()


def test_the_residual_sees_its_inputs_and_nothing_else():
    field, data = make_field("lorenz", shake=1.0), trajectories("lorenz")
    _, latents = inferred(field, data)
    context, t = field.condition(latents), data.t[:, 5]
    state = data.x[:, 5]
    before = field(state, t, context).residual["network"]
    moved = state + torch.tensor([0.0, 5.0, 0.0])
    assert torch.equal(field(moved, t, context).residual["network"], before)
    assert torch.equal(field(state, t + 3, context).residual["network"], before)
    other = field(state + torch.tensor([5.0, 0.0, 0.0]), t, context).residual["network"]
    assert not torch.equal(other, before)


def test_only_a_driven_black_box_sees_its_source():
    for name, sees in (("rlc", True), ("lorenz", False)):
        field, data = make_field(name, grey=False, shake=1.0), trajectories(name)
        _, latents = inferred(field, data)
        context = field.condition(latents)
        now, later = (field(data.x[:, 5], data.t[:, 5] + d, context).total for d in (0.0, 0.3))
        assert torch.equal(now, later) != sees


@pytest.mark.parametrize("grey", [True, False])
def test_one_window_does_not_touch_another(grey):
    field, data = make_field("rlc", grey=grey), trajectories("rlc")
    posterior, _ = inferred(field, data)
    cut = slice(0, field.window)
    one, _ = field.infer(data.x[2:3, cut], data.t[2:3, cut])
    assert torch.allclose(one.zeta.mean, posterior.zeta.mean[2:3], atol=1e-5)
    if grey:
        assert torch.allclose(one.theta.mean, posterior.theta.mean[2:3], atol=1e-5)


def test_regression_alone_is_exact_where_nothing_else_is_missing():
    """The rate of X is σ(Y - X), that of Z is XY - βZ: least squares gives σ and β."""
    field, data = make_field("lorenz"), trajectories("lorenz")
    rates = field._rates(data.x[:, 5:25], data.t[:, 5:25])
    alone = field.regression.coefficients(rates)[:, :6].view(-1, 2, 3)
    true = parameters("lorenz")
    sigma, beta = 10 + 1.2 * alone[:, 0, 0], 2.7 + 0.3 * alone[:, 1, 2]
    assert (sigma - true["sigma"]).abs().max() < 0.05
    assert (beta - true["beta"]).abs().max() < 0.02


def test_theta_is_named_in_the_order_of_the_system_whatever_the_config_says():
    assert list(SYSTEMS["lorenz"].prior) == ["sigma", "beta"]
    assert make_field("lorenz").parameter_names == ("sigma", "beta")
    assert make_field("lorenz", grey=False).parameter_names == ()


def test_an_initial_velocity_is_estimated_with_the_order_of_its_stencil():
    field = make_field("pendulum")
    errors = []
    for gap in (0.1, 0.05):
        times = (1.0 - gap * torch.arange(8).flip(0))[None].double()
        state = field.begin(times.sin()[..., None], times, -1)
        assert float(state[0, 0]) == pytest.approx(float(times[0, -1].sin()))
        errors.append(abs(float(state[0, 1] - times[0, -1].cos())))
    assert errors[0] / errors[1] > 2**3.7


@pytest.mark.parametrize("name", NAMES)
def test_the_true_dynamics_forecast_the_data(name):
    system, data = SYSTEMS[name], trajectories(name)
    field = make_field(name)
    start = field.begin(data.x[:, :10].double(), data.t[:, :10], 9)
    true = PhysicsField(system.full, len(system.components))
    states = simulate_physics(true, start, data.t[:, 9:], parameters(name), Solver("rk4", 8))
    error = (states[:, :, : field.size] - data.x[:, 10:]).square().mean()
    # the pendulum's velocity is estimated from positions
    assert float(error) < (1e-7 if name == "pendulum" else 1e-9)
    known = simulate_physics(
        known_field(system), start, data.t[:, 9:], parameters(name), Solver("rk4", 8)
    )
    assert float((known[:, :, : field.size] - data.x[:, 10:]).square().mean()) > 1e-4


def test_draws_follow_the_posterior():
    field, data = make_field("lorenz"), trajectories("lorenz")
    posterior, means = inferred(field, data)
    ones = (torch.ones(len(data), 3), torch.zeros(len(data), 2))
    _, drawn = inferred(field, data, ones)
    assert torch.allclose(drawn.zeta, posterior.zeta.mean + posterior.zeta.log_std.exp())
    assert torch.allclose(means.zeta, posterior.zeta.mean)
    assert torch.allclose(means.theta, field.prior(posterior.theta.mean))


def test_unknown_components_are_refused():
    for bad in (["W"], [], "current"):
        with pytest.raises(InputError, match="residual_inputs"):
            make_field("rlc", inputs=bad or ["nothing"])
    assert make_field("rlc", inputs=PRESET["rlc"]).seen.tolist() == [1]


def test_latents_may_lack_theta():
    field, data = make_field("lorenz", grey=False), trajectories("lorenz")
    posterior, latents = inferred(field, data)
    assert posterior.theta is None
    assert isinstance(latents, Latents) and latents.theta is None
