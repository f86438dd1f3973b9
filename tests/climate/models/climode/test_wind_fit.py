"""The fitted wind against a known flow; and what it refuses."""

import pytest
import torch
from climode import CHANNELS, GRIDS, make_climode, make_domain

from climate.models.climode.wind_fit import WindFit, check_order, end_velocity, harmonics
from climate.models.transport import Transport
from climate.operators.sphere import SpectralOperators
from vgbdm.errors import InputError
from vgbdm.paths.bridge import BridgePath
from vgbdm.paths.hermite import HermitePath
from vgbdm.paths.lagrange import LagrangePath
from vgbdm.paths.linear import LinearPath

DEGREE, TRACER, HOUR = 8, 15, 3600.0


def random_modes(sphere: SpectralOperators, degree: int, count: int, seed: int) -> torch.Tensor:
    """Coefficients (M, 2·count, L) of random fields of degree 1…``degree``."""
    basis, _ = harmonics(sphere, degree)
    size = basis.shape[1] // 2
    weights = torch.randn((count, size), generator=torch.Generator().manual_seed(seed))
    modes = torch.einsum("nk,mpkl->mpnl", weights, basis.unflatten(1, (2, size)))
    return modes.flatten(1, 2)


def known_flow(model, samples: int):
    """Fits (B, G, 2·K) of random flows of about 10 m/s, without anything fitted."""
    shape = (samples, *model.fit.shape)
    return torch.randn(shape, generator=torch.Generator().manual_seed(4)) * 10 / shape[2] ** 0.5


def tracers(model, samples: int) -> torch.Tensor:
    """States (B, C, H, W) of degree up to 15; vectors are rotated gradients plus gradients."""
    sphere, grid = model.transport.spectral, model.climate.shape[-2:]
    states = torch.empty(samples, len(model.channels), *grid)
    for g, variable in enumerate(model.domain.variables):
        modes = random_modes(sphere, TRACER, 2 * samples, 10 + g)
        if len(variable) == 1:
            states[:, variable[0]] = sphere.synthesis(modes)[:samples]
        else:
            east, north = sphere.gradient_of(modes * sphere.radius / TRACER)
            states[:, variable[0]] = (east[:samples] - north[samples:]) / 5
            states[:, variable[1]] = (north[:samples] + east[samples:]) / 5
    return states


def tendency(model, x, potentials):
    """-(c·∇x + ½ x ∇·c) per model step at every point, neither projected nor bounded."""
    state, wind, owner = model.resolve(x), model.wind(potentials), model.transport.owner
    moved = wind.east[:, owner] * state.east + wind.north[:, owner] * state.north
    moved = moved + 0.5 * wind.divergence[:, owner] * state.smooth
    return -model.transport.to_channels(moved) * model.step_seconds


def flow_error(model, got, want):
    """Relative rms error of the wind (G,), over the sphere and the samples."""

    def wind(fitted):
        parts = model.wind(model.fit.potentials(fitted))
        return torch.stack((parts.east, parts.north))

    square = ((wind(got) - wind(want)).square() * model.area).mean((0, 1, 3, 4))
    return (square / (wind(want).square() * model.area).mean((0, 1, 3, 4))).sqrt()


def make(grid="centred", **options):
    settings = {"degree": DEGREE, "smoothness": 1e-5, "wind_limit": 600.0, "divergence_limit": 1.0}
    return make_climode(GRIDS[grid], **(settings | options))


@pytest.mark.parametrize("grid", ["centred", "poles"])
def test_a_known_flow_of_degree_8_comes_back_from_an_analytic_tendency(grid):
    """To 1 %, from a tracer of degree 15, by its own wind (docs/method/weather.md#initial-wind)."""
    model, want = make(grid), known_flow(make(grid), 3)
    x = tracers(model, 3)
    got = model.fit(model.resolve(x), tendency(model, x, model.fit.potentials(want)), model.change)
    assert float(flow_error(model, got, want).max()) < 0.01


def frames_of(model, x, potentials, spacing, count):
    """States ``spacing`` seconds apart that a constant wind moves, the last one is ``x``."""
    substeps, frames = 60, [x]
    length = -spacing / substeps / model.step_seconds

    def rate(y):
        return tendency(model, y, potentials)

    for _ in range(count - 1):
        for _ in range(substeps):
            k1 = rate(x)
            k2 = rate(x + length / 2 * k1)
            k3 = rate(x + length / 2 * k2)
            x = x + length / 6 * (k1 + 2 * k2 + 2 * k3 + rate(x + length * k3))
        frames.insert(0, x)
    return torch.stack(frames, 1)


def test_differences_of_states_give_the_flow_with_second_order():
    """The error of the fit is that of the differences: a quarter at half the spacing."""
    model = make(channels=("z", "t2m"), smoothness=1e-4)
    want = known_flow(model, 2) / 2
    x = tracers(model, 2)
    errors = []
    for spacing in (HOUR, HOUR / 2):
        frames = frames_of(model, x, model.fit.potentials(want), spacing, 3)
        rate = end_velocity(LagrangePath(), frames) * model.step_seconds / spacing
        got = model.fit(model.resolve(x), rate, model.change)
        errors.append(flow_error(model, got, want).max())
    assert errors[0] / errors[1] > 2**1.8
    assert errors[1] < 0.02


def test_samples_and_variables_are_fitted_apart():
    model = make(smoothness=0.1)
    x, want = tracers(model, 3), known_flow(model, 3)
    rate = tendency(model, x, model.fit.potentials(want))
    together = model.fit(model.resolve(x), rate, model.change)
    alone = model.fit(model.resolve(x[1:2]), rate[1:2], model.change)
    assert torch.allclose(together[1:2], alone, atol=1e-3)
    other = rate.clone()
    other[:, CHANNELS.index("z")] = 0
    assert torch.equal(model.fit(model.resolve(x), other, model.change)[:, 1:], together[:, 1:])


def test_no_tendency_is_no_wind_and_more_smoothness_is_less_wind():
    model, smoother = make(smoothness=0.1), make(smoothness=100.0)
    x = tracers(model, 2)
    state, rate = model.resolve(x), tendency(model, x, model.fit.potentials(known_flow(model, 2)))
    assert model.fit(state, 0 * rate, model.change).abs().max() == 0
    sizes = [m.fit(state, rate, m.change).square().mean((1, 2)) for m in (model, smoother)]
    assert bool((sizes[1] < 0.9 * sizes[0]).all())


def test_unit_fits_are_winds_of_one_metre_per_second():
    model = make()
    count = model.fit.shape[1]
    units = torch.eye(count)[:, None].expand(-1, model.fit.shape[0], -1)
    wind = model.wind(model.fit.potentials(units))
    square = ((wind.east**2 + wind.north**2) * model.area).mean((2, 3))
    assert torch.allclose(square.sqrt(), torch.ones_like(square), atol=2e-3)


def test_only_paths_of_second_order_give_a_tendency():
    for path in (LagrangePath(), HermitePath()):
        check_order(path, 3)
        check_order(path, 4)
    for path in (LinearPath(), BridgePath()):
        with pytest.raises(InputError, match="choose path=lagrange3"):
            check_order(path, 4)
    with pytest.raises(InputError, match="2 frames"):
        check_order(LagrangePath(), 2)


def test_the_truncation_bounds_the_degree():
    assert make(degree=30).fit.shape == make(degree=21).fit.shape == (3, 2 * (22**2 - 1))


@pytest.mark.parametrize("options", [{"degree": 0}, {"smoothness": 0.0}])
def test_fits_that_cannot_be_are_refused(options):
    domain = make_domain(GRIDS["centred"])
    transport = Transport(domain.grid, domain.variables, None, None)
    settings = {"degree": 8, "smoothness": 1e-2, "path": LagrangePath()} | options
    with pytest.raises(InputError, match=r"model\.fit"):
        WindFit(transport, domain, 60.0, **settings)
