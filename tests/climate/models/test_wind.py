"""Bounds of winds, point by point."""

import pytest
import torch
from weather import GRIDS

from climate.models.wind import (
    Strain,
    Wind,
    inverse_fourth_root,
    locally_bounded,
    spread_bounded,
    strained,
    wind_of,
)
from climate.operators.sphere import SpectralOperators

SPHERE = SpectralOperators(GRIDS["centred"])
LIMIT = torch.tensor([60.0, 90.0])[:, None, None]
ROTATION = torch.tensor([1.0, 1.0, 0.0, 0.0])[:, None, None]
"""The stream functions of two variables, without their potentials."""


def smooth_potentials(degree=4):
    """Stream functions and potentials (1, 4, 32, 64) of harmonics up to a degree."""
    noise = torch.randn((1, 4, 32, 64), generator=torch.Generator().manual_seed(3))
    modes = SPHERE.analysis(noise)
    modes[degree + 1 :], modes[..., degree + 1 :] = 0, 0
    return SPHERE.synthesis(modes).view_as(noise)


def smooth_wind(size, degree=4):
    """A wind (1, 2, 32, 64) of harmonics up to a degree, its fastest ``size`` m/s."""
    wind = wind_of(SPHERE, smooth_potentials(degree))
    fastest = (wind.east.square() + wind.north.square()).amax((2, 3), keepdim=True).sqrt()
    return Wind(*(part * size / fastest for part in wind))


def bounded(wind, limit=LIMIT):
    parts = strained(SPHERE, wind)
    return locally_bounded(Wind(*parts[:3]), Strain(*parts[3:]), limit)


def test_a_jet_of_90_metres_a_second_at_one_point_changes_no_wind_elsewhere():
    wind = smooth_wind(20.0)
    *_, stretch, shear = strained(SPHERE, wind)
    east = wind.east.clone()
    east[0, 0, 9, 20] = 90.0
    without, with_jet = (
        locally_bounded(Wind(part, wind.north, wind.divergence), Strain(stretch, shear), LIMIT)
        for part in (wind.east, east)
    )
    elsewhere = torch.ones(1, 2, 32, 64, dtype=torch.bool)
    elsewhere[0, 0, 9, 20] = False
    for a, b in zip(without, with_jet, strict=True):
        assert torch.equal(a[elsewhere], b[elsewhere])
    assert 50 < float(with_jet.east[0, 0, 9, 20]) < 60


def test_the_bound_is_that_of_each_variable_and_point():
    wind = smooth_wind(300.0)
    got = bounded(wind)
    speed, own = ((w.east.square() + w.north.square()).sqrt() for w in (got, wind))
    assert torch.allclose(speed, own * (1 + (own / LIMIT) ** 4) ** -0.25, rtol=1e-5)
    assert bool((speed < LIMIT).all()) and float((speed / LIMIT).amax((2, 3)).min()) > 0.95
    slow = own < 0.1 * LIMIT
    assert slow.any() and torch.allclose(got.east[slow], wind.east[slow], rtol=1e-4)


def test_the_divergence_is_that_of_the_bounded_wind():
    got = bounded(smooth_wind(60.0, degree=3))
    unbounded = smooth_wind(60.0, degree=3)
    want = SPHERE.divergence(got.east, got.north)
    size = float(want.abs().max())
    assert float((got.divergence - want).abs().max()) < 2e-3 * size
    assert float((unbounded.divergence - want).abs().max()) > 0.05 * size


def test_what_the_bounded_wind_carries_keeps_its_square():
    """Also where the bound takes most off the divergence."""
    wind = smooth_wind(90.0, degree=3)
    got = bounded(wind)
    field = SPHERE.project(1e6 * (wind.divergence - got.divergence))
    weights = torch.from_numpy(GRIDS["centred"].quadrature_weights).float()[:, None]

    def growth(carrier):
        modes = SPHERE.skew_advection(tuple(carrier), field, SPHERE.gradient(field))
        change = SPHERE.synthesis(modes).view_as(field) * field * weights
        return float((change.sum() / change.abs().sum()).abs())

    assert growth(got) < 1e-5
    assert growth(got._replace(divergence=wind.divergence)) > 5e-3


def test_a_wind_that_spreads_too_fast_is_scaled_as_a_whole():
    wind = smooth_wind(40.0)
    limit = torch.tensor([1e-6, 1.0])[:, None, None]
    got = spread_bounded(wind, limit)
    assert float(got.divergence[:, 0].abs().max()) == pytest.approx(1e-6, rel=1e-2)
    assert torch.allclose(got.east[:, 0] / wind.east[:, 0], got.divergence[0, 0, 0, 0]
                          / wind.divergence[0, 0, 0, 0])  # fmt: skip
    for part, own in zip(got, wind, strict=True):
        assert torch.allclose(part[:, 1], own[:, 1], rtol=1e-5)


def test_the_limit_of_divergence_scales_the_potential_part_alone():
    potentials = 1e6 * smooth_potentials()
    free, rotation = (wind_of(SPHERE, part) for part in (potentials, potentials * ROTATION))
    largest = free.divergence.abs().amax((2, 3), keepdim=True)
    got = wind_of(SPHERE, potentials, largest[0] * torch.tensor([0.1, 1e3])[:, None, None])
    factor = torch.tensor([0.1 * (1 + 1e-4) ** -0.25, 1.0])[:, None, None]
    for part, own, turning in zip(got, free, rotation, strict=True):
        want = turning + factor * (own - turning)
        assert torch.allclose(part, want, atol=1e-5 * float(own.abs().max()))
    assert bool((got.divergence.abs().amax((2, 3)) < 0.1 * largest[..., 0, 0])[0, 0])
    exact = SPHERE.divergence(got.east, got.north)
    assert torch.allclose(got.divergence, exact, atol=1e-4 * float(exact.abs().max()))
    assert not rotation.divergence.any() and bool((rotation.east.abs().amax((2, 3)) > 0.1).all())


@pytest.mark.parametrize(("degree", "excess", "elsewhere"), [(8, 1.02, 0.05), (21, 1.4, 0.15)])
def test_a_pointwise_limit_would_be_exceeded_and_change_divergence_below_it(
    degree, excess, elsewhere
):
    """Why the potential has one factor: what is cut off at points comes back by the truncation."""
    modes = SPHERE.analysis(smooth_potentials(degree))
    own = SPHERE.synthesis(SPHERE.laplacian(modes))
    own = 2 * own / own.abs().amax((1, 2), keepdim=True)  # in limits
    cut = own * inverse_fourth_root(1 + own**4)
    got = SPHERE.synthesis(SPHERE.analysis(cut) * (SPHERE.degree > 0))
    change = (got - own).abs()[own.abs() < 0.3]
    assert float(cut.abs().max()) < 1 and float(got.abs().max()) > excess
    assert float(change.max()) > elsewhere
