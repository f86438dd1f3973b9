"""ClimODE: shapes, gradients, conservation, bounds, long runs, solvers and their gradients."""

import pytest
import torch
from climode import GRIDS, make_climode, make_solver, shake, smooth_states

from climate.conventions.earth import EARTH_RADIUS
from climate.operators.sphere import FiniteDifferenceOperators
from climate.stream.batches import WeatherBatch
from climate.training.likelihood import GaussianLikelihood
from vgbdm.errors import InputError

VALUES = {"prior": 1e-3}
SMALL = GRIDS["small"]


def make_batch(model, samples=2, ahead=2):
    windows = smooth_states(model, samples, model.history + 1 + ahead)
    past = model.standardise(windows[:, : model.history + 1])
    with torch.no_grad():
        fitted = model.fit_wind(past)
    times = torch.arange(samples) * 21600
    return WeatherBatch(windows, times, torch.arange(samples), torch.ones(samples), fitted)


def last_layers(model):
    return model.trunk.last, model.attention.mix, model.emission.trunk.last


def gradients(model, batch, ahead=2):
    """Of the mean loss, by parameter, as one vector."""
    model.zero_grad()
    GaussianLikelihood(ahead)(model, batch, VALUES)["loss"].mean().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()]).detach()


@pytest.mark.parametrize("grid", ["small", "poles"])
@pytest.mark.parametrize("operators", [None, FiniteDifferenceOperators])
@pytest.mark.parametrize("channels", [("z", "u10", "v10"), ("u10", "v10"), ("z",)])
def test_every_parameter_gets_a_gradient_after_three_steps(grid, operators, channels):
    model = make_climode(GRIDS[grid], channels=channels, operators=operators)
    batch, objective = make_batch(model, ahead=1), GaussianLikelihood(1)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(3):
        optimiser.zero_grad()
        objective(model, batch, VALUES)["loss"].mean().backward()
        optimiser.step()
    silent = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().max() > 0
    ]
    assert silent == []


def test_training_starts_from_constant_winds_and_errors_as_large_as_changes():
    model = make_climode(SMALL)
    batch = make_batch(model)
    now = model.standardise(batch.states[:, model.history])
    z = torch.cat((now, model.fit.potentials(batch.aside)), 1)
    rate = model(z, batch.times)
    assert rate[:, len(model.channels) :].abs().max() == 0
    assert rate[:, : len(model.channels)].abs().max() > 0
    answer = model.predict(now, batch.aside, batch.times, 2)
    assert torch.allclose(answer.std, model.change.expand_as(answer.std), atol=1e-6)
    whole = model.solver.integrate(model, [], z, batch.times, 21600, 2)
    assert torch.equal(answer.mean, whole[:, :, : len(model.channels)])


def test_solid_body_wind_advects_with_its_known_tendency():
    """ψ = -U R sin φ is u = U cos φ: dz/dt = -(U/R) ∂z/∂λ; no damping."""
    grid = GRIDS["centred"]
    model = make_climode(grid, wind_limit=1000.0)
    with torch.no_grad():
        for name in ("diffusion", "unresolved"):
            model.theta.raw[name].fill_(-200.0)
    phi = torch.deg2rad(torch.tensor(grid.lat))[:, None]
    lam = torch.deg2rad(torch.tensor(grid.lon))[None, :]
    x = torch.zeros(1, 4, 32, 64)
    x[0, 0] = (0.1 * phi.cos() ** 2 * (2 * lam).sin()).float()
    potentials = torch.zeros(1, 6, 32, 64)
    potentials[0, 0] = (-20 * 8 / (1000 / 12) * phi.sin() + 0 * lam).float()
    got = model(torch.cat((x, potentials), 1), torch.zeros(1))
    want = -(20 / EARTH_RADIUS) * 21600 * 0.1 * phi.cos() ** 2 * 2 * (2 * lam).cos()
    assert torch.allclose(got[0, 0], want.float(), atol=1e-3 * float(want.abs().max()))
    assert got[0, 1:].abs().max() == 0


def test_advection_moves_the_square_about_and_creates_none():
    model = make_climode(GRIDS["centred"])
    with torch.no_grad():
        for name in ("diffusion", "unresolved"):
            model.theta.raw[name].fill_(-200.0)
    batch = make_batch(model)
    x = model.standardise(batch.states[:, 0])
    sphere, transport = model.transport.spectral, model.transport
    wind = model.wind(10 * model.fit.potentials(batch.aside))
    rate = model.advection(model.resolve(x), wind).detach()
    weight = torch.full((22, 1, 1), 2.0)
    weight[0] = 1.0
    a, b = (sphere.analysis(transport.from_channels(part)) for part in (x, rate))
    product = (weight * a * b).unflatten(1, (2, -1)).sum((0, 1, 3))
    norm = (weight * a * a).sum().sqrt() * (weight * b * b).sum().sqrt()
    assert float(product.sum().abs() / norm) < 3e-3


@pytest.mark.parametrize("grid", ["centred", "poles"])
def test_winds_tendencies_and_corrections_stay_below_their_limits(grid):
    model = make_climode(GRIDS[grid])
    shake(*last_layers(model))
    batch = make_batch(model)
    wind = model.wind(1e3 * model.fit.potentials(batch.aside))
    assert (wind.east**2 + wind.north**2).sqrt().max().item() <= 60.0
    assert wind.divergence.abs().max().item() <= 1e-4
    x = 1e3 * model.standardise(batch.states[:, 0])
    state, sphere = model.resolve(x), model.transport.spectral
    moved = 100 * sphere.analysis(state.smooth)
    slowed = sphere.synthesis(moved * model.slowing(moved, state)).view_as(state.smooth)
    rms = (slowed[:, 0].square() * model.area).mean((1, 2)).sqrt()
    assert rms.max().item() <= 5 * 0.4 * 1.001
    answer = model.predict(x / 1e3, batch.aside, batch.times, 1)
    assert bool((answer.std > 0).all())


@pytest.mark.parametrize("operators", [None, FiniteDifferenceOperators])
def test_thirty_day_rollouts_with_random_last_layers_stay_finite(operators):
    model = make_climode(SMALL, operators=operators)
    shake(*last_layers(model))
    forecast = model.forecast(smooth_states(model, batch=1), torch.zeros(1), 120)
    assert forecast.shape == (1, 120, 4, 16, 32)
    assert bool(forecast.isfinite().all())
    spread = (forecast[0, -1] / model.scale).std()
    assert 0.05 < float(spread) < 100


def test_explicit_steps_in_the_fastest_wind_do_not_run_away():
    """Euler's steps feed every wave; unbounded, states grow 1e8-fold in ten days."""
    model = make_climode(GRIDS["centred"])
    x = model.standardise(smooth_states(model, batch=1))[:, -1]
    phi = torch.deg2rad(torch.tensor(GRIDS["centred"].lat)).float()[:, None]
    potentials = (-1000 * phi.sin()).expand(1, 6, 32, 64)
    z = torch.cat((x, potentials), 1)
    with torch.no_grad():
        states = model.solver.integrate(model, [], z, torch.zeros(1), 21600, 40)[0, :, :4]
    assert float(states.std() / x.std()) < 10


def test_a_batch_is_its_samples():
    """Nothing is shared: neither statistics nor, of adaptive solvers, steps."""
    for method in ("euler", "dopri5"):
        model = make_climode(SMALL, solver=make_solver(method))
        shake(*last_layers(model))
        batch, objective = make_batch(model, 3), GaussianLikelihood(2)
        whole, part = objective(model, batch, VALUES), objective(model, batch.part(1, 2), VALUES)
        assert torch.allclose(whole["loss"][1:2], part["loss"], rtol=1e-5)
        assert not torch.allclose(whole["loss"][:1], part["loss"], rtol=1e-3)


def test_the_likelihood_is_that_of_a_normal_distribution_by_area():
    model = make_climode(SMALL)
    shake(*last_layers(model))
    batch = make_batch(model)
    terms = GaussianLikelihood(2)(model, batch, {"prior": 0.5})
    frames = model.standardise(batch.states)
    answer = model.predict(frames[:, 3], batch.aside, batch.times, 2)
    log = torch.distributions.Normal(answer.mean, answer.std).log_prob(frames[:, 4:])
    constant = 0.5 * torch.log(torch.tensor(2 * torch.pi))
    want = -(log * model.area).mean((1, 2, 3, 4)) - constant
    assert torch.allclose(terms["likelihood"], want, atol=1e-4)
    penalty = model.theta.penalty()
    assert torch.allclose(terms["loss"], want + 0.5 * penalty, atol=1e-4)
    assert terms["courant"].shape == (2,)
    assert 0 < float(terms["courant"].max()) < 2


def test_euler_and_runge_kutta_converge_with_their_orders():
    """To the solution of 15-minute Runge–Kutta steps."""
    answers = {}
    for method, steps in (
        ("euler", 6), ("euler", 12), ("midpoint", 6), ("midpoint", 12), ("rk4", 12), ("dopri5", 1),
    ):  # fmt: skip
        model = make_climode(SMALL, solver=make_solver(method, "direct", steps, 1e-6))
        shake(*last_layers(model), size=0.1)
        batch = make_batch(model)
        now = model.standardise(batch.states[:, 3])
        with torch.no_grad():
            answers[method, steps] = model.predict(now, batch.aside, batch.times, 1).mean
    exact = answers["rk4", 12]
    error = {key: float((value - exact).square().mean().sqrt()) for key, value in answers.items()}
    assert error["euler", 6] / error["euler", 12] > 2**0.8
    assert error["midpoint", 6] / error["midpoint", 12] > 2**1.8
    assert error["dopri5", 1] < 1e-3 * error["euler", 6]


def test_checkpointing_computes_twice_and_gives_the_same_gradient():
    calls, answers = {}, {}
    for gradient in ("direct", "checkpoint"):
        model = make_climode(SMALL, solver=make_solver(gradient=gradient))
        shake(*last_layers(model))
        count = []
        model.trunk.register_forward_hook(lambda *_, count=count: count.append(1))
        answers[gradient], calls[gradient] = gradients(model, make_batch(model)), len(count)
    assert calls == {"direct": 12, "checkpoint": 24}
    assert torch.equal(answers["direct"], answers["checkpoint"])


def test_the_adjoint_gradient_is_the_direct_one_up_to_the_solver():
    """Of fixed steps the two differ by their error, of adaptive ones by their tolerance."""
    errors = []
    for method, steps in (("euler", 3), ("euler", 6), ("dopri5", 1)):
        both = []
        for gradient in ("direct", "adjoint"):
            model = make_climode(SMALL, solver=make_solver(method, gradient, steps, 1e-5))
            shake(*last_layers(model), size=0.1)
            both.append(gradients(model, make_batch(model, ahead=1), ahead=1))
        errors.append(float((both[0] - both[1]).norm() / both[0].norm()))
    assert errors[0] / errors[1] > 2**0.8
    assert errors[2] < 1e-3


def test_forecast_is_the_mean_in_physical_units_from_the_last_of_the_past():
    model = make_climode(SMALL)
    shake(*last_layers(model))
    past, times = smooth_states(model), torch.tensor([0, 86400])
    history = model.standardise(past)
    answer = model.predict(history[:, -1], model.fit_wind(history), times, 3)
    want = answer.mean * model.scale + model.mean
    assert torch.equal(model.forecast(past, times, 3), want)
    assert torch.allclose(model.forecast(past, times, 1), want[:, :1], rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "leapfrog"}, "there are euler"),
        ({"gradient": "none"}, "there are auto, direct"),
        ({"substeps": 0}, "positive"),
        ({"tolerance": 0.0}, "positive"),
    ],
)
def test_solvers_that_cannot_be_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        make_climode(SMALL, solver=make_solver(**options))


def test_a_likelihood_of_nothing_is_refused():
    with pytest.raises(InputError, match="at least 1 state"):
        GaussianLikelihood(0)
