"""Each variable is carried by the wind of its own level, within the limits of that level."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from weather import GRIDS, make_domain, make_model, mean_context

from climate.conventions.earth import EARTH_RADIUS

GRID = GRIDS["coarse"]
CHANNELS = ("z500", "z850", "t2m", "u500", "v500", "u850", "v850")
PAIRS = (("u500", "v500"), ("u850", "v850"))
SCALES = np.array([3000.0, 900.0, 15.0, 8.0, 8.0, 5.0, 5.0])


def with_two_levels(_=None, channels=CHANNELS, vectors=PAIRS, largest=(80.0, 30.0)):
    """A domain of standardised variables of two levels, 0 in the mean."""
    count = len(channels)
    arrays = {
        "mean": np.zeros(count), "scale": SCALES[:count], "change": np.full(count, 0.4),
        "climate": np.zeros((count, 16, 32)), "static": np.zeros((2, 16, 32)),
    }  # fmt: skip
    return replace(
        make_domain(GRID), channels=channels, vectors=vectors, arrays=arrays, largest_winds=largest
    )


def two_levels(**options):
    settings = {"wind": None, "wind_limit": None, "divergence_limit": None, **options}
    return make_model(GRID, alter=with_two_levels, **settings)


def test_a_wind_at_500_hpa_carries_what_lies_there_and_another_what_lies_below():
    """Two levels that move apart: dx/dt = -(a u / R cos φ) ∂x/∂λ of each by its own wind."""
    model = two_levels(wind_limit=2000.0)
    lat, lon = (torch.deg2rad(torch.from_numpy(axis)).float() for axis in (GRID.lat, GRID.lon))
    x = torch.zeros(1, 7, 16, 32)
    x[:, :3] = lat.cos()[:, None] * lon.cos()
    x[:, 3] = 24 / 8.0 * lat.cos()[:, None]
    x[:, 5] = -10 / 5.0 * lat.cos()[:, None]
    with torch.no_grad():
        for name in ("diffusion", "relaxation", "unresolved"):
            model.theta.raw[name].fill_(-200.0)
    got = model(x, torch.zeros(1), mean_context(model, x[:, None].expand(-1, 4, -1, -1, -1))).total
    turned = 21600 / EARTH_RADIUS * lat.cos()[:, None] * lon.sin()
    for channel, wind in ((0, 24.0), (1, -10.0), (2, -10.0)):
        want = wind * turned
        assert torch.allclose(got[0, channel], want, atol=2e-3 * float(want.abs().max()))


@pytest.mark.parametrize(
    ("wind", "expected"),
    [(None, (3, 4, 4, 3, 4)), (("u500", "v500"), (3,) * 5), (("u10", "v10"), (None,) * 5)],
)
def test_the_nearest_level_carries_a_variable_unless_one_pair_is_named(wind, expected):
    assert with_two_levels().carriers(wind) == expected


def test_without_a_pair_that_is_known_as_a_wind_nothing_is_carried_by_the_state():
    assert with_two_levels(vectors=()).carriers(None) == (None,) * 7
    strange = with_two_levels(
        channels=("z500", "wave_x", "wave_y"), vectors=(("wave_x", "wave_y"),), largest=(4.0,)
    )
    assert strange.carriers(None) == (None, None)


def test_limits_are_those_of_the_level_and_the_truncation():
    model = two_levels()
    assert model.wind_limit.flatten().tolist() == [120.0, 45.0, 45.0, 120.0, 45.0]
    want = model.wind_limit * model.transport.spectral.truncation / EARTH_RADIUS / 2
    assert torch.allclose(model.divergence_limit, want)
    courant = 120.0 * 10 / EARTH_RADIUS * 21600
    assert model.solver.steps == 2 * math.ceil(courant / 2 / 2.5)
    coarse = two_levels(truncation=5)
    assert torch.allclose(coarse.divergence_limit, model.divergence_limit / 2)


def test_one_number_bounds_all_levels():
    model = two_levels(wind_limit=50.0, divergence_limit=2e-5)
    assert set(model.wind_limit.flatten().tolist()) == {50.0}
    assert model.divergence_limit.flatten().tolist() == pytest.approx([2e-5] * 5)


def test_an_unknown_largest_wind_is_an_ordinary_one():
    domain = replace(with_two_levels(), largest_winds=None)
    assert domain.wind_limits(domain.carriers(None)) == [60.0] * 5
