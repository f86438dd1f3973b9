"""What the network is told of gradients, and how channels become transported scalars and return."""

import pytest
import torch
from weather import GRIDS

from climate.conventions.earth import EARTH_RADIUS
from climate.models.transport import Transport
from climate.operators.sphere import FiniteDifferenceOperators

GRID = GRIDS["coarse"]
VARIABLES = ((0,), (1, 3), (2,))
"""z; a wind whose parts do not stand side by side; t."""
LAT, LON = (torch.deg2rad(torch.from_numpy(axis)).float() for axis in (GRID.lat, GRID.lon))
HEIGHT, COSINE = LAT.sin()[:, None].expand(16, 32), LAT.cos()[:, None].expand(16, 32)
X = COSINE * LON.cos()
STATE = torch.stack((5 * HEIGHT, COSINE, X, 3 * COSINE))[None]
"""z = 5 sin φ, wind (cos φ, 3 cos φ), t = cos φ cos λ: (1, 4, H, W)."""


def noise(seed, rows=2):
    return torch.randn((rows, 4, 16, 32), generator=torch.manual_seed(seed))


def resolved(transport, x, climate=None):
    climate = torch.zeros_like(x[:1]) if climate is None else climate
    return transport.resolve(x - climate, transport.modes(climate))


@pytest.mark.parametrize(("operators", "limit"), [(None, 1e-3), (FiniteDifferenceOperators, 0.05)])
@pytest.mark.parametrize("climate", [0.0, 1.0])
def test_slopes_are_gradients_divergence_and_vorticity(operators, limit, climate):
    """Per metre times 2 R / N; whatever part of the state is climate."""
    transport = Transport(GRID, VARIABLES, 8, operators)
    got = transport.slopes(resolved(transport, STATE, climate * STATE)) * 8 / 2
    of_t = -LON.sin().expand(16, 32), -HEIGHT * LON.cos()
    want = (0 * X, 5 * COSINE, -6 * HEIGHT, 2 * HEIGHT, *of_t)
    for k, exact in enumerate(want):
        assert torch.allclose(got[0, k], exact, atol=limit), k


def test_another_gradient_is_used_where_it_is_given():
    transport = Transport(GRID, VARIABLES, 8, FiniteDifferenceOperators)
    state = resolved(transport, noise(0))
    east, north = FiniteDifferenceOperators(GRID).gradient(state.smooth)
    assert torch.equal(state.east, east) and torch.equal(state.north, north)
    own = resolved(Transport(GRID, VARIABLES, 8, None), noise(0))
    for got, want in zip(transport.spectral.gradient(state.smooth), own[3:5], strict=True):
        assert torch.allclose(got, want, atol=1e-4 * float(want.abs().max()))
    assert float((own.east - east).abs().max()) > 0.01 * float(east.abs().max())


def test_the_gradient_of_a_vector_is_given_once_in_four_parts():
    """Of the winds (cos φ, 0), (sin φ cos φ, 0) and (0, sin φ cos φ), per radian."""
    transport = Transport(GRID, VARIABLES, 8, None)
    x = torch.zeros(3, 4, 16, 32)
    x[0, 1], x[1, 1], x[2, 3] = COSINE, HEIGHT * COSINE, HEIGHT * COSINE
    ((g, got),) = resolved(transport, x).vectors.items()
    up, squared = HEIGHT.square(), COSINE.square()
    want = {
        "divergence": (0 * X, 0 * X, squared - 2 * up),
        "vorticity": (2 * HEIGHT, 2 * up - squared, 0 * X),
        "stretch": (0 * X, 0 * X, -squared),
        "shear": (0 * X, squared, 0 * X),
    }
    assert g == 1
    for name, exact in want.items():
        part = got.strain if name in got.strain._fields else got
        assert torch.allclose(getattr(part, name) * EARTH_RADIUS, torch.stack(exact), atol=1e-5)


def test_a_state_is_what_is_smooth_and_what_is_rough_of_its_anomaly():
    transport = Transport(GRID, VARIABLES, 8, None)
    x, climate = noise(1), noise(2, 1)
    state = resolved(transport, x, climate)
    scalars, still = transport.from_channels(x), transport.from_channels(climate)
    assert scalars.shape == (2, 5, 16, 32)
    assert torch.allclose(state.smooth, transport.spectral.project(scalars), atol=1e-4)
    beyond = scalars - still - transport.spectral.project(scalars - still)
    assert torch.allclose(state.rough, beyond, atol=1e-4)


def test_channels_come_back_in_their_own_places():
    transport = Transport(GRID, VARIABLES, 8, None)
    assert torch.allclose(
        transport.to_channels(transport.from_channels(noise(2))), noise(2), atol=1e-5
    )
    assert transport.variable_of.tolist() == [0, 1, 2, 1]
    assert transport.owner.tolist() == [0, 1, 1, 1, 2]
    assert transport.slices == [slice(0, 1), slice(1, 4), slice(4, 5)]


def test_damping_is_the_bilaplacian_at_each_variable_s_own_rate():
    transport = Transport(GRID, VARIABLES, 8, None)
    state = resolved(transport, noise(3))
    rate = torch.tensor([[1.0, 2.0, 4.0], [3.0, 5.0, 7.0]])
    sphere, largest = transport.spectral, 8 * 9 / EARTH_RADIUS**2
    got = sphere.synthesis(transport.damping(state, rate)).view_as(state.smooth)
    want = sphere.synthesis(sphere.laplacian(state.anomaly, 2)).view_as(got) / largest**2
    want = want * rate[:, [0, 1, 1, 1, 2]][..., None, None]
    assert torch.allclose(got, want, atol=1e-4 * float(want.abs().max()))
