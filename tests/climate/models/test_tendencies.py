"""Each term of the advection model alone, on unlike channels over an uneven climate, by hand."""

import math
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from generic_weather import CHANGE, SCALE, with_unlike_channels
from weather import GRIDS, make_model

from climate.conventions.earth import EARTH_RADIUS
from climate.models.advection import Closure
from climate.models.wind import Wind, bounded, potential_unit, strained, wind_of, wind_unit
from climate.operators.sphere import SpectralOperators
from vgbdm.dynamics.tendency import Context

GRID = GRIDS["coarse"]
SPHERE = SpectralOperators(GRID)
QUARTER = 0.25
"""Of a day: the step of the models here."""


@pytest.fixture(scope="module")
def model():
    return make_model(GRID, alter=with_unlike_channels)


def fields(seed, count, batch=2):
    return torch.randn((batch, count, 16, 32), generator=torch.manual_seed(seed))


def no_theta(**rates):
    """Rates (1, G) or (B, G) by name, 0 where none is given."""
    names = ("wind_factor", "diffusion", "relaxation", "unresolved")
    return {name: torch.tensor([rates.get(name, [0.0] * 3)]) for name in names}


def tendency(model, x, theta, source=None, potentials=None, weight=1.0):
    state = model.transport.resolve(x - model.climate, model.climate_modes)
    potentials = torch.zeros(len(x), 6, 16, 32) if potentials is None else potentials
    wind = wind_of(SPHERE, potentials * potential_unit(SPHERE, float(model.wind_limit[0])))
    said = (state, Closure(strained(SPHERE, wind), source))
    with patch.object(model, "closure", lambda *_: said):
        return model(x, torch.zeros(len(x)), Context(theta, None, ()), weight)


def by_channel(rates):
    """Of z, t2m and the wind, for z, t2m, u10, v10."""
    return torch.tensor([rates[0], rates[1], rates[2], rates[2]])[:, None, None]


@pytest.mark.parametrize("weight", [1.0, 0.4])
def test_relaxation_draws_each_variable_to_its_own_climate(model, weight):
    x, rates = fields(0, 4), [0.3, 0.7, 1.9]
    got = tendency(model, x, no_theta(relaxation=rates), weight=weight).total
    want = -weight * QUARTER * by_channel(rates) * (x - model.climate)
    assert torch.allclose(got, want, atol=1e-5)
    resting = tendency(model, model.climate.expand(1, -1, -1, -1), no_theta(relaxation=rates))
    assert float(resting.total.abs().max()) < 1e-6


def test_what_is_not_resolved_is_damped_at_its_own_rate(model):
    x, rates = fields(1, 4), [0.3, 0.7, 1.9]
    got = tendency(model, x, no_theta(unresolved=rates)).total
    anomaly = x - model.climate
    rough = anomaly[:, :2] - SPHERE.project(anomaly[:, :2])
    want = -QUARTER * by_channel(rates)[:2] * rough
    assert torch.allclose(got[:, :2], want, atol=1e-4)
    vector = SPHERE.to_cartesian(anomaly[:, 2], anomaly[:, 3])
    east, north = SPHERE.to_tangent(vector - SPHERE.project(vector))
    assert torch.allclose(got[:, 2:], -QUARTER * 1.9 * torch.stack((east, north), 1), atol=1e-4)


def test_diffusion_damps_a_harmonic_by_the_square_of_its_laplacian(model):
    """Degree 2 of N at κ (2·3 / N (N + 1))² a day."""
    lat, lon = (torch.deg2rad(torch.from_numpy(axis)).float() for axis in (GRID.lat, GRID.lon))
    wave = (lat.cos() ** 2)[:, None] * (2 * lon).cos()
    x = model.climate[None].clone()
    x[:, :2] += torch.stack((wave, 3 * wave))
    rates, largest = [40.0, 90.0, 0.0], SPHERE.truncation * (SPHERE.truncation + 1)
    got = tendency(model, x, no_theta(diffusion=rates)).total
    size = QUARTER * (6 / largest) ** 2
    want = -size * torch.stack((40.0 * wave, 90.0 * 3 * wave))
    assert torch.allclose(got[0, :2], want, atol=2e-3 * float(want.abs().max()))
    assert float(got[0, 2:].abs().max()) < 1e-5


@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_the_source_is_in_units_of_each_channel_s_change_and_is_not_warmed_up(model, weight):
    x, source = fields(3, 4), fields(4, 4)
    answer = tendency(model, x, no_theta(), source, weight=weight)
    want = source * torch.tensor(CHANGE)[:, None, None]
    assert torch.allclose(answer.total, want, atol=1e-5)
    assert torch.equal(answer.residual["source"][:, 0], source.square())
    assert "source" not in tendency(model, x, no_theta()).residual


def test_a_learned_wind_carries_each_variable_by_its_own_potentials(model):
    """ψ = -A sin φ of the first variable alone is a zonal wind A cos φ / R: -u/(R cos φ) ∂x/∂λ."""
    lat, lon = (torch.deg2rad(torch.from_numpy(axis)).float() for axis in (GRID.lat, GRID.lon))
    wave = lat.cos()[:, None] * lon.cos()
    x = model.climate[None].clone() * 0
    flat = make_model(GRID, wind_limit=200.0)
    assert flat.solver.steps == 4
    x[:, :2] = wave
    unit = potential_unit(SPHERE, 200.0)
    potentials = torch.zeros(1, 6, 16, 32)
    potentials[:, 0] = -4.0 * EARTH_RADIUS / unit * lat.sin()[:, None]
    answer = tendency(flat, x, no_theta(), potentials=potentials)
    want = 4.0 / EARTH_RADIUS * 21600 * lat.cos()[:, None] * lon.sin()
    assert torch.allclose(answer.total[0, 0], want, atol=2e-3 * float(want.abs().max()))
    assert float(answer.total[0, 1].abs().max()) < 1e-6
    speed = (4.0 / 200.0 * lat.cos()) ** 2 / 3
    assert torch.allclose(answer.residual["wind"][0, 0], speed[:, None].expand(16, 32), rtol=1e-3)
    seconds = 21600 / flat.solver.steps
    courant = 4.0 * math.cos(float(lat[8])) * seconds * SPHERE.truncation / EARTH_RADIUS
    assert float(answer.diagnostics["courant"]) == pytest.approx(courant, rel=1e-3)


def test_the_state_s_own_wind_carries_it_by_its_factor_and_its_own_scale():
    """u = 8 cos φ m/s in units of u10's 0.25 m/s, half of it by the factor."""

    def over_nothing(domain):
        domain = with_unlike_channels(domain)
        return replace(domain, arrays=domain.arrays | {"climate": 0 * domain.arrays["climate"]})

    model = make_model(GRID, wind_limit=2000.0, alter=over_nothing)
    lat, lon = (torch.deg2rad(torch.from_numpy(axis)).float() for axis in (GRID.lat, GRID.lon))
    x = torch.zeros(1, 4, 16, 32)
    x[:, 0] = lat.cos()[:, None] * lon.cos()
    x[:, 2] = 8 / SCALE[2] * lat.cos()[:, None]
    answer = tendency(model, x, no_theta(wind_factor=[0.5] * 3))
    want = 4.0 / EARTH_RADIUS * 21600 * lat.cos()[:, None] * lon.sin()
    assert torch.allclose(answer.total[0, 0], want, atol=2e-3 * float(want.abs().max()))
    assert float(answer.residual["wind"].max()) == 0


def test_wind_of_a_stream_function_and_a_potential_is_turned_and_not():
    """ψ = z turns eastwards by -cos φ, χ = z blows north by cos φ, with ∇·c = -2 z / R²."""
    lat = torch.deg2rad(torch.from_numpy(GRID.lat)).float()[:, None].expand(16, 32)
    height = lat.sin() * EARTH_RADIUS
    potentials = torch.stack((height, 0 * height, 0 * height, 3 * height))[None]
    wind = wind_of(SPHERE, potentials)
    assert torch.allclose(wind.east[0, 0], -lat.cos(), atol=1e-4)
    assert torch.allclose(wind.north[0, 1], 3 * lat.cos(), atol=1e-4)
    for part in (wind.north[0, 0], wind.east[0, 1], wind.divergence[0, 0] * EARTH_RADIUS):
        assert float(part.abs().max()) < 1e-3
    want = -6 * lat.sin() / EARTH_RADIUS
    assert torch.allclose(wind.divergence[0, 1], want, atol=1e-3 * float(want.abs().max()))


def test_wind_along_the_slopes_of_both_potentials():
    """ψ = cos φ cos λ blows north by -sin λ, the same χ east by that; R times as large."""
    lat, lon = (torch.deg2rad(torch.from_numpy(axis)).float() for axis in (GRID.lat, GRID.lon))
    wave = lat.cos()[:, None] * lon.cos() * EARTH_RADIUS
    wind = wind_of(SPHERE, torch.stack((wave, 2 * wave))[None])
    east, north = -lon.sin().expand(16, 32), -lat.sin()[:, None] * lon.cos()
    assert torch.allclose(wind.east[0, 0], 2 * east - north, atol=1e-3)
    assert torch.allclose(wind.north[0, 0], 2 * north + east, atol=1e-3)


def test_an_ordinary_wind_is_a_twelfth_of_its_bound_and_its_potential_that_of_degree_8():
    assert wind_unit(60.0) == pytest.approx(5.0)
    assert potential_unit(SPHERE, 60.0) == pytest.approx(5.0 * EARTH_RADIUS / 8)


def test_the_bound_is_one_factor_of_speed_and_divergence():
    """(1 + (|c|/a)⁴ + (∇·c/b)⁴)^(-1/4) with the largest of each variable and sample."""
    east, north, spread = fields(5, 3), 2 * fields(6, 3), 1e-5 * fields(7, 3)
    got = bounded(SPHERE, Wind(east, north, spread), 4.0, 3e-5)
    speed = (east**2 + north**2).amax((2, 3), keepdim=True).sqrt() / 4.0
    most = spread.abs().amax((2, 3), keepdim=True) / 3e-5
    factor = (1 + speed**4 + most**4) ** -0.25
    for part, own in zip(got, (east, north, spread), strict=True):
        assert torch.allclose(part, own * factor, rtol=1e-5)
    assert got.courant(SPHERE, 100.0).tolist() == pytest.approx(
        ((got.east**2 + got.north**2).amax((1, 2, 3)).sqrt()
         * 100 * SPHERE.truncation / SPHERE.radius).tolist()
    )  # fmt: skip
