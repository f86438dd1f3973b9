"""Latent fields on the four systems: units, order, gradients, inference, rollouts."""

import pytest
import torch
from system_fields import PRESET, SYSTEMS, batch_of, make_field, parameters, smooth, trajectories

from vgbdm.dynamics.physics import PhysicsField, known_field, simulate_physics
from vgbdm.dynamics.rollout import Solver
from vgbdm.errors import InputError
from vgbdm.fields.grey_box import Window
from vgbdm.latents.latents import Latents
from vgbdm.latents.regression import WindowRegression
from vgbdm.objectives.matching import Matching
from vgbdm.objectives.places import WindowSampler
from vgbdm.paths.derivatives import derivatives
from vgbdm.paths.hermite import HermitePath
from vgbdm.paths.lagrange import LagrangePath
from vgbdm.paths.linear import LinearPath

NAMES = list(SYSTEMS)


def inferred(field, data, noise=None):
    cut = slice(0, field.window)
    return field.infer(Window(data.x[:, cut], data.t[:, cut]), None, noise)


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
    answer = field(state, data.t[:, 5], field.context(field.past(frames), latents))
    theta = field.prior(latents.theta)
    known = field.physics.known(state, data.t[:, 5], theta)
    if field.order == 2:
        assert torch.equal(answer.total[:, : field.size], state[:, field.size :])
        assert torch.allclose(answer.total[:, field.size :], known)
    else:
        assert torch.allclose(answer.total, known)
    assert not answer.residual["network"].any()
    half = field(state, data.t[:, 5], field.context(field.past(frames), latents), weight=0.5)
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
    context, t = field.context(field.past(None), latents), data.t[:, 5]
    state = data.x[:, 5]
    before = field(state, t, context).residual["network"]
    moved = state + torch.tensor([0.0, 5.0, 0.0])
    assert torch.equal(field(moved, t, context).residual["network"], before)
    assert torch.equal(field(state, t + 3, context).residual["network"], before)
    other = field(state + torch.tensor([5.0, 0.0, 0.0]), t, context).residual["network"]
    assert not torch.equal(other, before)


@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("inputs", ["state", "everything"])
@pytest.mark.parametrize("name", ["rlc", "pendulum", "reaction_diffusion"])
def test_the_field_is_physics_plus_network_in_units_of_the_rates(name, inputs, grey):
    data = smooth(name, 3)
    field = make_field(name, grey=grey, inputs=inputs, shake=0.3, data=data)
    x, t, size = data.x[:, 6], data.t[:, 6], field.size
    if field.order == 2:
        x = torch.cat((x, 0.7 * data.x[:, 2]), 1)
    generator = torch.Generator().manual_seed(1)
    zeta = torch.randn((3, 3), generator=generator)
    count = len(field.parameter_names)
    theta = torch.randn((3, count), generator=generator) if grey else None
    history = data.x[:, 3:7]
    context = field.context(field.past(history), Latents(zeta, theta))
    answer = field(x, t, context, 0.6)
    cells = [1] * (x.dim() - 2)
    parts = [(x - field.mean) / field.std]
    told = zeta if grey else torch.cat((zeta, field.physics.forcing(t).float()), 1)
    parts.append(told.reshape(*told.shape, *cells).expand(-1, -1, *x.shape[2:]))
    known = 0.0
    if grey:
        known = field.physics.known(x, t, field.prior(theta))
    if inputs == "everything":
        frames = (history[:, 2:] - field.mean[:size]) / field.std[:size]
        parts.append(torch.cat((frames[:, 0], frames[:, 1]), 1))
        parts += [known / field.rate] if grey else []
    own = field.network(torch.cat(parts, 1))
    change = 0.6 * known + own * field.rate
    exact = torch.cat((x[:, size:], change), 1) if field.order == 2 else change
    assert torch.allclose(answer.total, exact, rtol=1e-4, atol=1e-5)
    if grey:
        assert torch.allclose(answer.residual["network"], own.square())
    else:
        assert not answer.residual
    assert torch.equal(field.observe(x), x[:, :size])
    error = field.rate_units(exact)
    assert torch.allclose(error, change / field.rate, rtol=1e-4)


@pytest.mark.parametrize("name", ["rlc", "pendulum"])
def test_the_encoder_reads_frames_gaps_and_sources(name):
    data = smooth(name, 3)
    field, read = make_field(name, data=data), []
    field.encoder.register_forward_hook(lambda module, given, made: read.append(given[0]))
    frames, times = data.x[:, 2:12], data.t[:, 2:12]
    field.infer(Window(frames, times))
    gaps = torch.cat((torch.ones(3, 1), times.diff(dim=1) / field.interval), 1)
    parts = [(frames - field.mean[: field.size]) / field.std[: field.size], gaps[..., None]]
    parts.append(field.physics.forcing(times))
    assert torch.allclose(read[0], torch.cat(parts, 2).float(), atol=1e-5)


@pytest.mark.parametrize("name", ["rlc", "pendulum"])
def test_rates_are_less_the_physics_at_its_prior_mean(name):
    """And the answer to a parameter is half the difference a width above and below its mean."""
    data = smooth(name, 3)
    field = make_field(name, data=data)
    frames, times = data.x[:, 2:22], data.t[:, 2:22]
    found = field.window_rates(frames, times)
    slope, bend = derivatives(frames, times, 11)
    state, rate = (frames, slope) if name == "rlc" else (torch.cat((frames, slope), 2), bend)
    inside = slice(2, 18)
    middle = {n: torch.tensor([m]) for n, (m, _) in field.physics.prior.items()}
    names = list(middle)
    for k in (0, 9, 15):
        x, t = state[:, inside][:, k], times[:, inside][:, k]

        def known(x=x, t=t, **moved):
            theta = {n: v.expand(len(x)) for n, v in (middle | moved).items()}
            return field.physics.known(x, t, theta)

        missing = (rate[:, inside][:, k] - known()) / field.rate
        assert torch.allclose(found.missing[:, k], missing, rtol=1e-3, atol=1e-3)
        scaled = ((x - field.mean) / field.std)[:, field.seen]
        assert torch.allclose(found.seen[:, k], scaled, rtol=1e-4, atol=1e-5)
        for p, parameter in enumerate(names):
            mean, width = field.physics.prior[parameter]
            above, below = (
                known(**{parameter: torch.tensor([mean + side * width])}) for side in (1, -1)
            )
            exact = (above - below) / 2 / field.rate
            assert torch.allclose(found.sensitivity[:, k, p], exact, rtol=2e-2, atol=1e-3)
    assert found.missing.shape[1] == 16


def test_theta_is_inferred_from_the_window_as_it_would_be_without_what_is_missing():
    data = smooth("rlc", 3)
    field = make_field("rlc", shake=0.1, unmixing=True, data=data)
    torch.nn.init.normal_(field.unmixing.last.weight, 0, 0.5)
    frames, times = data.x[:, :10], data.t[:, :10]
    posterior, latents = field.infer(Window(frames, times))
    scaled = (frames - field.mean) / field.std
    change = field.unmixing(torch.cat((scaled.flatten(1), latents.zeta), 1)).reshape(3, 10, 2)
    cleaned = frames + change * field.std
    assert torch.allclose(field.unmix(frames, latents.zeta), cleaned, atol=1e-5)
    theta = field.theta_of(cleaned, times, latents.zeta)
    assert torch.allclose(theta.mean, posterior.theta.mean, atol=1e-4)
    plain = field.theta_of(frames, times, latents.zeta)
    assert not torch.allclose(plain.mean, posterior.theta.mean, atol=1e-4)


def test_a_parameter_that_does_not_act_leaves_the_window_no_gradient_of_rounding():
    """σ does not move the rate of Z: what the encoder makes of that may not blow up PhysVAE."""
    field, data = make_field("lorenz"), trajectories("lorenz")
    frames = data.x[:, : field.window].clone().requires_grad_()
    field._read(Window(frames, data.t[:, : field.window]))[0].square().mean().backward()
    assert float(frames.grad.abs().max()) < 1e4  # 1e14 by rounding, where 0 is divided by 1e-12


def test_only_a_driven_black_box_sees_its_source():
    for name, sees in (("rlc", True), ("lorenz", False)):
        field, data = make_field(name, grey=False, shake=1.0), trajectories(name)
        _, latents = inferred(field, data)
        context = field.context(field.past(None), latents)
        now, later = (field(data.x[:, 5], data.t[:, 5] + d, context).total for d in (0.0, 0.3))
        assert torch.equal(now, later) != sees


@pytest.mark.parametrize("grey", [True, False])
def test_one_window_does_not_touch_another(grey):
    field, data = make_field("rlc", grey=grey), trajectories("rlc")
    posterior, _ = inferred(field, data)
    cut = slice(0, field.window)
    one, _ = field.infer(Window(data.x[2:3, cut], data.t[2:3, cut]))
    assert torch.allclose(one.zeta.mean, posterior.zeta.mean[2:3], atol=1e-5)
    if grey:
        assert torch.allclose(one.theta.mean, posterior.theta.mean[2:3], atol=1e-5)


def test_regression_alone_is_exact_where_nothing_else_is_missing():
    """The rate of X is σ(Y - X), that of Z is XY - βZ: least squares gives σ and β."""
    field, data = make_field("lorenz"), trajectories("lorenz")
    rates = field.window_rates(data.x[:, 5:25], data.t[:, 5:25])
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
    field = make_field("pendulum", path=HermitePath(5))
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
    ones = torch.cat((torch.ones(len(data), 3), torch.zeros(len(data), 2)), 1)
    _, drawn = inferred(field, data, ones)
    assert torch.allclose(drawn.zeta, posterior.zeta.mean + posterior.zeta.log_std.exp())
    assert torch.allclose(means.zeta, posterior.zeta.mean)
    assert torch.allclose(means.theta, posterior.theta.mean)
    assert torch.equal(field.physical(means), field.prior.physical(posterior.theta.mean))


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


@pytest.mark.parametrize("name", NAMES)
def test_without_regression_the_posterior_follows_from_the_encoder_alone(name):
    field, data = make_field(name, regression=None), trajectories(name)
    posterior, _ = inferred(field, data)
    assert field.regression is None and field.merge.in_features == 12
    assert posterior.theta.mean.shape == (12, len(field.parameter_names))
    field.scale_regression(data.x, data.t)  # there is none, and nothing to do
    assert not any("regression" in key for key in field.state_dict())


@pytest.mark.parametrize("regression", [WindowRegression, None])
@pytest.mark.parametrize("grey", [True, False])
def test_every_parameter_learns_with_and_without_regression(regression, grey):
    data = smooth("lorenz", 6)
    field = make_field("lorenz", data=data, shake=0.3, grey=grey, regression=regression)
    objective = Matching(field.path, WindowSampler(2, "trajectory", 3), 3)
    values = {"beta_theta": 0.1, "beta_zeta": 0.1, "gauge": 0.1}
    objective(field, batch_of(data, field.path), values)["loss"].sum().backward()
    for name, parameter in field.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_all_derivatives_are_those_of_the_path():
    """Of `linear`: mean slopes at both sides of a frame, in features and where a rollout begins."""
    data = smooth("rlc", 3)
    field = make_field("rlc", data=data, path=LinearPath())
    frames, times = data.x[:, :10], data.t[:, :10]
    slopes = frames.diff(dim=1) / times.diff(dim=1)[..., None].float()
    rates = field.window_rates(frames, times)
    assert rates.missing.shape[1] == 10  # nothing is poorer at the ends
    theta = field.prior.named(field.prior.physical(torch.zeros(3, 2)))
    known = field.physics.known(frames[:, 4], times[:, 4], theta)
    exact = ((slopes[:, 3] + slopes[:, 4]) / 2 - known) / field.rate
    assert torch.allclose(rates.missing[:, 4], exact, rtol=1e-3, atol=1e-4)
    swing = smooth("pendulum", 3)
    field = make_field("pendulum", data=swing, path=HermitePath(7))
    x, t = swing.x[:, :10], swing.t[:, :10]
    slope, bend = derivatives(x, t, 7)
    assert torch.equal(field.begin(x, t, 9), torch.cat((x[:, 9], slope[:, 9]), 1))
    missing = field.window_rates(x, t).missing * field.rate
    known = field.physics.known(
        torch.cat((x, slope), 2)[:, 5], t[:, 5],
        field.prior.named(field.prior.physical(torch.zeros(3, 1))),
    )  # fmt: skip
    assert torch.allclose(missing[:, 4], bend[:, 5] - known, rtol=1e-3, atol=1e-3)


def test_a_window_shorter_than_the_path_needs_and_a_path_of_another_order_are_refused():
    with pytest.raises(InputError, match=r"model\.window=10: LagrangePath needs 11"):
        path = LagrangePath()
        path.frames = 11
        make_field("rlc", path=path)
    with pytest.raises(InputError, match="LinearPath gives no accelerations"):
        make_field("pendulum", path=LinearPath())
