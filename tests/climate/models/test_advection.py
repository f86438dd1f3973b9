"""The grey-box advection model: shapes, gradients, physics against exact answers, stability."""

import math

import numpy as np
import pytest
import torch
from poles import pole_spread
from weather import (
    CHANNELS,
    GRIDS,
    SCALES,
    VALUES,
    Batch,
    make_model,
    matching,
    mean_context,
    shake,
    silent_parameters,
    states,
)

from climate.conventions.earth import EARTH_RADIUS
from climate.grids.grid import Grid
from climate.models.networks import SphereConv
from climate.models.wind import strained, wind_of
from climate.operators.sphere import FiniteDifferenceOperators
from vgbdm.paths.hermite import HermitePath


@pytest.mark.parametrize("grid", ["centred", "poles"])
@pytest.mark.parametrize("operators", [None, FiniteDifferenceOperators])
@pytest.mark.parametrize("channels", [CHANNELS, ("u10", "v10"), ("z",)])
def test_every_parameter_gets_a_gradient_after_three_steps(grid, operators, channels):
    model = make_model(GRIDS[grid], channels=channels, operators=operators)
    objective = matching(HermitePath(), 0)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(3):
        optimiser.zero_grad()
        objective(model, Batch(states(model)), VALUES)["loss"].mean().backward()
        optimiser.step()
    assert silent_parameters(model) == []
    assert ("theta.raw.wind_factor" in dict(model.named_parameters())) == ("u10" in channels)


def test_training_starts_from_the_physics_alone():
    model = make_model(GRIDS["centred"])
    x = model.standardise(states(model)[:, 3])
    history = model.standardise(states(model)[:, :4])
    answer = model(x, torch.zeros(2), mean_context(model, history))
    context = mean_context(model, history)
    still = [torch.zeros_like(part) for part in model.slow(x, torch.zeros(2), context)]
    assert torch.equal(answer.total, model.fast(x, still, context))
    assert all(part.abs().max().item() == 0 for part in answer.residual.values())
    nothing = model(x, torch.zeros(2), mean_context(model, history), 0.0)
    assert nothing.total.abs().max().item() == 0


@pytest.mark.parametrize("operators", [None, FiniteDifferenceOperators])
def test_solid_body_wind_advects_with_its_known_tendency(operators):
    """Zonal wind u = U cos φ turns a field at U/R: dz/dt = -(U/R) ∂z/∂λ; no damping."""
    grid = GRIDS["centred"]
    model = make_model(grid, operators=operators, wind_limit=1000.0)
    with torch.no_grad():
        for name in ("diffusion", "relaxation", "unresolved"):
            model.theta.raw[name].fill_(-200.0)
    phi = torch.deg2rad(torch.tensor(grid.lat))[:, None]
    lam = torch.deg2rad(torch.tensor(grid.lon))[None, :]
    physical = torch.zeros(1, 4, 32, 64)
    physical[0, 0] = (3000 * phi.cos() ** 2 * (2 * lam).sin()).float()
    physical[0, 2] = (20 * phi.cos() + 0 * lam).float()
    x = model.standardise(physical)
    history = x.unsqueeze(1).expand(-1, 4, -1, -1, -1)
    got = model(x, torch.zeros(1), mean_context(model, history)).total * model.scale
    want = -(20 / EARTH_RADIUS) * 21600 * 3000 * phi.cos() ** 2 * 2 * (2 * lam).cos()
    limit = 1e-3 * float(want.abs().max())
    assert torch.allclose(got[0, 0], want.float(), atol=limit)
    # steady flow: the meridional force on the wind is the metric term, -u² tan φ / R
    metric = -(20**2) * phi.sin() * phi.cos() / EARTH_RADIUS * 21600 + 0 * lam
    assert torch.allclose(got[0, 3], -metric.float() * -1, atol=0.05 * float(metric.abs().max()))


@pytest.mark.parametrize("grid", ["centred", "poles"])
def test_ten_days_of_solid_body_rotation_move_a_bell_and_keep_its_mean(grid):
    """exp(10 (cos γ - 1)), carried across both poles by a turn of 8 days about an axis at 40° N."""
    grid, period, days = GRIDS[grid], 8.0, 10
    model = make_model(grid, channels=("z",), wind_limit=400.0, source=False)
    with torch.no_grad():
        for name in ("diffusion", "relaxation", "unresolved"):
            model.theta.raw[name].fill_(-200.0)
    phi, lam = (torch.deg2rad(torch.tensor(x)) for x in (grid.lat, grid.lon))
    phi, lam = phi[:, None].expand(-1, len(lam)), lam.expand(len(phi), -1)
    places = torch.stack((phi.cos() * lam.cos(), phi.cos() * lam.sin(), phi.sin()))
    north = math.radians(40.0)
    axis = torch.tensor([math.cos(north), 0.0, math.sin(north)]).double()
    speed = 2 * math.pi * EARTH_RADIUS / (period * 86400)
    stream = -speed * EARTH_RADIUS * torch.einsum("i,ihw->hw", axis, places)
    turning = torch.stack((stream, torch.zeros_like(stream))).float()[None]
    sphere = model.transport.spectral
    mean = sphere.synthesis(model.climate_modes)[None]
    model.slow = lambda *_: (*strained(sphere, wind_of(sphere, turning)), mean)

    def bell(turn):
        """Around the start (0, 1, 0) turned about the axis (Rodrigues)."""
        start = torch.tensor([0.0, 1.0, 0.0]).double()
        centre = start * math.cos(turn) + torch.linalg.cross(axis, start) * math.sin(turn)
        return torch.exp(10 * (torch.einsum("i,ihw->hw", centre, places) - 1))

    begin = model.unstandardise(bell(0.0).float()[None, None])
    forecast = model.forecast(begin[:, None].expand(-1, 4, -1, -1, -1), torch.zeros(1), 4 * days)
    got = model.standardise(forecast[0, -1])[0].double()
    want = bell(2 * math.pi * days / period)
    weights = torch.from_numpy(grid.quadrature_weights)[:, None]
    error = ((got - want).square() * weights).mean().sqrt() / (
        want.square() * weights
    ).mean().sqrt()
    assert float(error) < 0.01
    assert float((bell(0.0) - want).abs().max()) > 0.5
    kept = ((got - bell(0.0)) * weights).mean() / (bell(0.0) * weights).mean()
    assert abs(float(kept)) < 1e-5


@pytest.mark.parametrize("grid", ["centred", "poles"])
def test_wind_and_divergence_stay_below_their_limits(grid):
    model = make_model(GRIDS[grid])
    shake(model)
    x = 5 * model.standardise(states(model)[:, 3])
    history = model.standardise(states(model)[:, :4])
    context = mean_context(model, history)
    state, closure = model.closure(x, torch.zeros(2), context)
    wind = model.advecting_wind(context.theta, state, closure.wind)
    assert (wind.east**2 + wind.north**2).sqrt().max().item() <= 60.0
    assert closure.wind[2].abs().max().item() <= 1e-4
    assert closure.source.abs().max().item() <= 5.0


@pytest.mark.parametrize("grid", ["centred", "poles"])
@pytest.mark.parametrize("operators", [None, FiniteDifferenceOperators])
def test_thirty_day_rollouts_with_random_last_layers_stay_finite(grid, operators):
    model = make_model(GRIDS[grid], operators=operators)
    shake(model)
    forecast = model.forecast(states(model, batch=1, frames=4), torch.zeros(1), 120)
    assert forecast.shape == (1, 120, 4, *model.climate.shape[-2:])
    assert bool(forecast.isfinite().all())
    forecast = forecast / torch.tensor(SCALES)[:, None, None].float()
    assert 0.05 < float(forecast[0, -1].std()) < 100
    if grid == "poles":
        assert pole_spread(forecast, GRIDS[grid].lon, ((2, 3),)) < 1e-5


def test_forecast_steps_agree_with_restarts():
    """No state is kept between calls: two steps at once or one after the other."""
    model = make_model(GRIDS["centred"])
    shake(model)
    window = states(model, frames=4)
    times = torch.tensor([0, 86400])
    both = model.forecast(window, times, 2)
    one = model.forecast(window, times, 1)
    again = torch.cat((window[:, 1:], one), 1)
    two = model.forecast(again, times + 21600, 1)
    assert torch.allclose(both[:, 1], two[:, 0], rtol=1e-4, atol=1e-3)


def test_draws_depend_on_the_sample_and_not_on_the_batch():
    model = make_model(GRIDS["centred"])
    objective, whole = matching(HermitePath(), 3), Batch(states(model, batch=4))
    part = Batch(whole.states[2:])
    part.times, part.ids = whole.times[2:], whole.ids[2:]
    shake(model)
    all_terms, some = objective(model, whole, VALUES), objective(model, part, VALUES)
    assert torch.allclose(all_terms["loss"][2:], some["loss"], rtol=1e-5)
    other = matching(HermitePath(), 4)(model, part, VALUES)
    assert not torch.allclose(other["loss"], some["loss"], rtol=1e-3)


def test_gauge_penalty_is_finite_at_the_zero_start_and_grows_with_the_network():
    model, objective = make_model(GRIDS["centred"]), matching(HermitePath(), 3)
    batch = Batch(states(model))
    start = objective(model, batch, VALUES)["gauge"]
    assert torch.equal(start, torch.zeros(2))
    shake(model)
    assert bool((objective(model, batch, VALUES)["gauge"] > 0.01).all())


def test_missing_static_fields_are_absent():
    with_static, without = make_model(GRIDS["centred"]), make_model(GRIDS["centred"], static=0)
    gained = with_static.trunk.embed.conv.in_channels - without.trunk.embed.conv.in_channels
    assert gained == 2


def test_published_size_has_about_1_9_million_parameters():
    sizes = {"width": 128, "blocks": 6, "history_width": 64, "heads": 4}
    model = make_model(GRIDS["centred"], channels=CHANNELS, **sizes)
    count = sum(p.numel() for p in model.parameters())
    assert 1.8e6 < count < 2.1e6


def test_halo_continues_a_vector_across_the_pole():
    """A uniform flow over the pole has no kink: the box filter of its components sees none."""
    grid = GRIDS["centred"]
    lam = torch.deg2rad(torch.tensor(grid.lon)).float().expand(32, 64)
    flow = torch.stack((-lam.sin(), -lam.cos()))[None]  # towards +y across the north pole
    convolution = SphereConv(2, 2, poles=False, vector_inputs=(0, 1))
    with torch.no_grad():
        convolution.conv.weight.zero_()
        convolution.conv.bias.zero_()
        for c in range(2):  # the row beyond minus the row itself
            convolution.conv.weight[c, c, 2, 1], convolution.conv.weight[c, c, 1, 1] = 1.0, -1.0
        jump = convolution(flow)[0, :, -1]
    assert float(jump.abs().max()) < 1e-5
    scalar = SphereConv(2, 2, poles=False)
    scalar.load_state_dict(convolution.state_dict())
    assert float(scalar(flow)[0, :, -1].abs().max()) > 1.5


def test_solver_is_stable_for_the_fastest_wind():
    model = make_model(GRIDS["centred"])
    assert 60.0 * 21 / EARTH_RADIUS * 21600 / model.solver.steps < 2 * math.sqrt(2)


def test_the_courant_number_is_logged_and_stays_below_its_limit():
    model = make_model(GRIDS["centred"])
    shake(model)
    terms = matching(HermitePath(), 0)(model, Batch(states(model)), VALUES)
    assert terms["courant"].shape == (2,)
    assert 0 < terms["courant"].max().item() < 2 * math.sqrt(2)


@pytest.mark.parametrize(
    ("height", "spacing", "truncation", "days"),
    [
        (121, 1.5, 10, 30),
        pytest.param(121, 1.5, None, 30, marks=pytest.mark.slow),
        pytest.param(181, 1.0, None, 8, marks=pytest.mark.slow),
    ],
)
def test_rollouts_of_fine_grids_with_random_last_layers_stay_finite_and_single_valued(
    height, spacing, truncation, days
):
    grid = Grid(np.linspace(-90, 90, height), spacing * np.arange(2 * height - 2))
    channels = ("t2m", "u10", "v10")
    model = make_model(grid, channels=channels, width=4, history=0, truncation=truncation)
    shake(model)
    rollout = model.simulate(states(model, batch=1, frames=1), torch.zeros(1), 4 * days)
    with torch.no_grad():
        seen = [(float(x.abs().max()), pole_spread(x, grid.lon, ((1, 2),))) for x in rollout]
    assert len(seen) == 4 * days
    assert max(largest for largest, _ in seen) < 100
    assert max(spread for _, spread in seen) < 1e-5
