"""The fluid: steady flows stay steady, mass stays, the order of the scheme, tracers are carried."""

import math

import pytest
import torch

from climate.conventions.earth import EARTH_RADIUS
from climate.sample.harmonics import GaussianTransform
from climate.sample.shallow_water import (
    DIVERGENCE,
    EARTH_ROTATION,
    GEOPOTENTIAL,
    TRACERS,
    VORTICITY,
    Damping,
    ShallowWater,
)

HOUR = 3600.0


def make_fluid(truncation=21, *, hills=False, tracers=(), time_step=1800.0, **options):
    transform = GaussianTransform(truncation)
    ground = torch.zeros(transform.longitudes, len(transform.latitudes), dtype=torch.float64)
    if hills:
        longitude = torch.arange(transform.longitudes) * 2 * math.pi / transform.longitudes
        ground += 5000 * (transform.latitudes.cos() ** 4) * (2 * longitude[:, None]).cos()
    return ShallowWater(transform, 54000.0, ground, tracers, time_step, **options)


def solid_body(fluid: ShallowWater, speed: float, fields: int = TRACERS) -> torch.Tensor:
    """Williamson et al. (1992) case 2 along the equator, from its formula for ζ and φ."""
    sine = fluid.transform.latitudes.sin().expand(fluid.transform.longitudes, -1)
    vorticity = 2 * speed / EARTH_RADIUS * sine
    surface = -(EARTH_RADIUS * EARTH_ROTATION * speed + speed**2 / 2) * (sine**2 - 1 / 3)
    size = fluid.transform.truncation + 1
    state = torch.zeros(size, size, fields, dtype=torch.complex128)
    pair = fluid.transform.coefficients(torch.stack((vorticity, surface), -1))
    state[..., VORTICITY], state[..., GEOPOTENTIAL] = pair[..., 0], pair[..., 1]
    return state


def disturbed(fluid: ShallowWater, seed: int = 0) -> torch.Tensor:
    state = solid_body(fluid, 30.0)
    generator = torch.Generator().manual_seed(seed)
    size = state.shape[0]
    noise = torch.randn((size, size, 2), generator=generator, dtype=torch.float64)
    waves = torch.view_as_complex(noise).triu() * 3e-6
    waves[0], waves[:, 10:] = 0, 0
    state[..., VORTICITY] += waves
    return state


def run(fluid: ShallowWater, state: torch.Tensor, hours: float, damping=None) -> torch.Tensor:
    levels = fluid.start(state)
    for _ in range(round(hours * HOUR / fluid.time_step)):
        levels = fluid.step(levels, None, damping)
    return levels[0]


def test_geostrophic_flow_is_an_exact_solution():
    fluid = make_fluid()
    state = solid_body(fluid, 40.0)
    rates = fluid.tendencies(state)
    assert float(rates[..., VORTICITY].abs().max()) < 1e-21
    assert float(rates[..., DIVERGENCE].abs().max()) < 1e-18
    assert float(rates[..., GEOPOTENTIAL].abs().max()) < 1e-10
    torch.testing.assert_close(
        fluid.balanced(state[..., VORTICITY])[:, 1:], state[:, 1:, GEOPOTENTIAL], rtol=0, atol=1e-6
    )


def test_geostrophic_flow_stays_for_five_days():
    fluid = make_fluid(diffusion_hours=1e9)
    state = solid_body(fluid, 40.0)
    end = run(fluid, state, 120)
    for field in (VORTICITY, GEOPOTENTIAL):
        scale = float(state[..., field].abs().max())
        torch.testing.assert_close(end[..., field], state[..., field], rtol=0, atol=1e-9 * scale)


def test_mass_is_conserved_over_hills():
    fluid = make_fluid(hills=True)
    state = disturbed(fluid)
    end = run(fluid, state, 240)
    assert float((end - state)[..., GEOPOTENTIAL].abs().max()) > 100.0
    mass_change = (end - state)[0, 0, GEOPOTENTIAL].abs() / math.sqrt(4 * math.pi)
    assert float(mass_change) / fluid.mean_geopotential < 1e-13


def test_halving_the_step_converges_at_second_order():
    ends = []
    for time_step in (1800.0, 900.0, 450.0):
        fluid = make_fluid(time_step=time_step, filter_strength=0.0, hills=True)
        ends.append(run(fluid, disturbed(fluid), 12)[..., VORTICITY])
    ratio = float((ends[0] - ends[1]).norm() / (ends[1] - ends[2]).norm())
    assert ratio == pytest.approx(4.0, rel=0.25)


def test_tracer_goes_round_with_its_share_of_a_solid_rotation():
    """An equatorial cap turns rigidly by α u t / (R cos φ), the same angle at every latitude."""
    fluid = make_fluid(tracers=(0.5,), diffusion_hours=1e9)
    state = solid_body(fluid, 40.0, TRACERS + 1)
    state[1, 3, TRACERS] = 1.0 + 0.5j
    state[2, 4, TRACERS] = -0.7
    end = run(fluid, state, 48)
    angle = 0.5 * 40.0 * 48 * HOUR / EARTH_RADIUS
    order = torch.arange(state.shape[0], dtype=torch.float64)[:, None]
    expected = state[..., TRACERS] * torch.exp(-1j * order * angle)
    torch.testing.assert_close(end[..., TRACERS], expected, rtol=0, atol=5e-3)


def test_damping_draws_to_its_target_at_its_rate():
    fluid = make_fluid()
    state = solid_body(fluid, 40.0)
    target = solid_body(fluid, 20.0)
    rate = torch.full(state.shape, 1 / 86400.0, dtype=torch.float64)
    end = run(fluid, state, 24, Damping(rate, target))
    left = (end - target)[0, 1, VORTICITY] / (state - target)[0, 1, VORTICITY]
    assert left.real.item() == pytest.approx(math.exp(-1), rel=0.06)  # implicit: first order


def test_hyperdiffusion_spares_the_large_and_damps_the_small():
    fluid = make_fluid(diffusion_hours=3.0)
    assert float(fluid.diffusion[-1]) == pytest.approx(1 / (3 * HOUR))
    assert float(fluid.diffusion[10]) < 0.01 * float(fluid.diffusion[-1])


def test_the_planet_is_the_earth():
    """Its radius in m, and a turn in a sidereal day of 86164 s."""
    assert abs(EARTH_RADIUS / 6371e3 - 1) < 1e-4
    assert 2 * math.pi / EARTH_ROTATION == pytest.approx(86164.1, rel=1e-4)


def test_the_filter_moves_both_levels_as_williams_says():
    """By 0.53 and -0.47 of ν/2 times the curvature of three levels in time."""
    plain, filtered = (make_fluid(filter_strength=strength) for strength in (0.0, 0.2))
    before = disturbed(plain)
    now = before * 1.25 + disturbed(plain, 1)
    kept, after = plain.step((before, now), None, None)
    assert torch.equal(kept, now)
    nudge = 0.1 * (before - 2 * now + after)
    first, second = filtered.step((before, now), None, None)
    torch.testing.assert_close(first, now + 0.53 * nudge, rtol=1e-12, atol=1e-18)
    torch.testing.assert_close(second, after - 0.47 * nudge, rtol=1e-12, atol=1e-18)


def test_gravity_waves_are_averaged_over_the_step_before_and_after():
    fluid = make_fluid()
    before, now = disturbed(fluid), 1.25 * disturbed(fluid, 1)
    before[..., DIVERGENCE] = 1j * before[..., VORTICITY].real
    now[..., DIVERGENCE] = 0.5 * now[..., VORTICITY]
    rates = fluid.tendencies(now)
    after = fluid._implicit_gravity(before, now, rates)
    span, curvature = 2 * fluid.time_step, fluid.minus_laplacian
    middle = (before + after) / 2 - now
    slopes = (after - before) / span - rates
    divergence = slopes[..., DIVERGENCE] - curvature * middle[..., GEOPOTENTIAL]
    height = slopes[..., GEOPOTENTIAL] + fluid.mean_geopotential * middle[..., DIVERGENCE]
    for left, whole in ((divergence, slopes[..., DIVERGENCE]), (height, slopes[..., GEOPOTENTIAL])):
        assert float(left.abs().max()) < 1e-9 * float(whole.abs().max())
    assert float(slopes[..., VORTICITY].abs().max()) < 1e-9 * float(rates.abs().max())
