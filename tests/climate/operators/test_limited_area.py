"""Operators of a box: exactness, order of convergence, the skew form, and the refusals."""

import math

import numpy as np
import pytest
import torch

from climate.conventions.earth import EARTH_RADIUS
from climate.grids.grid import Grid
from climate.grids.regions import REGIONS, parse_region
from climate.operators.limited_area import LimitedAreaOperators, modal_operators
from climate.operators.sphere import FiniteDifferenceOperators, SpectralOperators, tangent_basis
from vgbdm.errors import InputError

LAT = -90 + 5.625 * (np.arange(32) + 0.5)
LON = np.arange(64) * 5.625


def region_grid(name="Europe", halo=4) -> Grid:
    cut = parse_region(name, halo).cut(LAT, LON)
    return Grid(LAT[cut.rows], cut.lon, halo)


def box_grid(refined: int) -> Grid:
    """10–70 north, 20 west to 60 east, in steps of 5° ÷ ``refined``; a halo of 20°."""
    step = 5.0 / refined
    return Grid(
        np.arange(10 + step / 2, 70, step), np.arange(-20 + step / 2, 60, step), 4 * refined
    )


def known(grid: Grid) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x y z² + z + cos³φ sin 3λ, and its exact gradient, east and north, per metre."""
    phi = torch.deg2rad(torch.from_numpy(grid.lat))[:, None]
    lam = torch.deg2rad(torch.from_numpy(grid.lon))[None]
    x, y, z = phi.cos() * lam.cos(), phi.cos() * lam.sin(), phi.sin() + 0 * lam
    field = x * y * z**2 + z + phi.cos() ** 3 * (3 * lam).sin()
    slope = torch.stack((y * z**2, x * z**2, 2 * x * y * z + 1))
    east, north = ((slope * basis).sum(0) for basis in tangent_basis(grid))
    east = east + 3 * phi.cos() ** 2 * (3 * lam).cos()
    north = north - 3 * phi.cos() ** 2 * phi.sin() * (3 * lam).sin()
    return field, east / EARTH_RADIUS, north / EARTH_RADIUS


def gradient_errors(kind, refined: int) -> tuple[float, float]:
    """Largest error of the gradient per radian: everywhere, and one fifth inside."""
    grid = box_grid(refined)
    field, east, north = known(grid)
    operators = kind(grid)
    if kind is FiniteDifferenceOperators:
        operators = operators.double()
        got = operators.gradient(field)
    else:
        got = operators.gradient(field.float())
    error = torch.maximum((got[0] - east).abs(), (got[1] - north).abs()) * EARTH_RADIUS
    inside = len(grid.lat) // 5
    return float(error.max()), float(error[inside:-inside, inside:-inside].max())


@pytest.mark.parametrize(
    ("kind", "edges", "inside"),
    [(LimitedAreaOperators, 1.8, 2.8), (FiniteDifferenceOperators, 2.5, 3.8)],
)
def test_gradients_converge(kind, edges, inside):
    coarse, fine = gradient_errors(kind, 1), gradient_errors(kind, 2)
    assert np.log2(coarse[0] / fine[0]) > edges
    assert np.log2(coarse[1] / fine[1]) > inside
    assert coarse[1] < 2e-3


@pytest.mark.parametrize("name", REGIONS)
def test_projection_is_orthogonal_and_comes_back(name):
    grid = region_grid(name)
    operators = LimitedAreaOperators(grid)
    field, other = torch.randn((2, 3, len(grid.lat), len(grid.lon)), generator=torch.manual_seed(0))
    once = operators.project(field)
    assert torch.allclose(operators.project(once), once, atol=1e-5)
    assert torch.allclose(
        operators.synthesis(operators.analysis(field)), operators.project(field), atol=1e-5
    )
    weights = operators.weights
    left = ((field - once) * operators.project(other) * weights).sum()
    assert abs(float(left)) < 1e-5


def test_smooth_fields_are_kept():
    field, _, _ = known(box_grid(1))
    operators = LimitedAreaOperators(box_grid(1))
    assert float((operators.project(field.float()) - field).abs().max()) < 1e-4


@pytest.mark.parametrize("name", ["Europe", "Australia"])
def test_skew_advection_conserves_the_square_whatever_the_wind(name):
    """Rough wind, rough field: ⟨x, A x⟩ = 0; with the plain form it is not."""
    grid = region_grid(name)
    operators = LimitedAreaOperators(grid)
    shape = (4, len(grid.lat), len(grid.lon))
    generator = torch.Generator().manual_seed(1)
    wind = [operators.project(torch.randn(shape, generator=generator)) * 30 for _ in range(2)]
    east, north, divergence = operators.confine(wind[0], wind[1], torch.zeros(shape))
    modes = operators.analysis(torch.randn(shape, generator=generator))
    field, gradient = operators.synthesis(modes), operators.gradient_of(modes)

    def growth(tendency: torch.Tensor) -> float:
        return abs(float((modes * tendency).sum() / (modes.norm() * tendency.norm())))

    skew = operators.skew_advection((east, north, divergence), field, gradient)
    assert growth(skew) < 1e-5
    assert growth(operators.analysis(east * gradient[0] + north * gradient[1])) > 1e-3


def test_skew_advection_is_the_advection_of_smooth_fields_inside():
    """Wind of a solid rotation about the axis: c·∇x = (U/R) ∂x/∂λ, and no divergence."""
    grid = box_grid(2)
    operators = LimitedAreaOperators(grid)
    field, _, _ = known(grid)
    phi = torch.deg2rad(torch.from_numpy(grid.lat))[:, None].float()
    east, north = 20 * phi.cos() + 0 * field.float(), 0 * field.float()
    modes = operators.analysis(field.float())
    wind = operators.confine(east, north, north)
    tendency = operators.skew_advection(
        wind, operators.synthesis(modes)[0], tuple(g[0] for g in operators.gradient_of(modes))
    )
    got = operators.synthesis(tendency)[0]
    want = (east * known(grid)[1]).float()
    inside = (slice(9, -9), slice(9, -9))
    assert float((got - want)[inside].abs().max() / want.abs().max()) < 0.02
    # the projection rings a little where the wind fades; this one only bounds the wind
    assert float(wind[2][inside].abs().max()) * EARTH_RADIUS / 20 < 0.1


def test_the_laplacian_is_symmetric_never_positive_and_below_its_bound():
    operators = LimitedAreaOperators(region_grid())
    count, pairs = operators.fit_y.shape[0], operators.fit_x.shape[1] // 2
    size = count * 2 * pairs
    unit = torch.eye(size).view(size, count, 2 * pairs)
    matrix = operators._unfolded(operators.laplacian(operators._folded(unit))).reshape(size, size)
    matrix = matrix.double() * EARTH_RADIUS**2
    assert torch.allclose(matrix, matrix.T, atol=1e-4 * float(matrix.abs().max()))
    values = torch.linalg.eigvalsh((matrix + matrix.T) / 2)
    degree = operators.truncation
    assert float(values.max()) < 1e-4 * degree**2
    assert 0.3 * degree * (degree + 1) < -float(values.min()) <= degree * (degree + 1)
    modes = torch.randn((count, 6, pairs), generator=torch.manual_seed(2))
    twice = operators.laplacian(operators.laplacian(modes))
    assert torch.allclose(operators.laplacian(modes, 2), twice, rtol=1e-4)


def test_the_laplacian_takes_as_much_of_the_square_as_there_is_in_the_faded_gradient():
    """⟨x, ∇²x⟩ = -⟨fade² |∇x|²⟩ for any field of the modes, once and, squared, twice."""
    grid = region_grid("SouthAsia", halo=3)
    operators = LimitedAreaOperators(grid)
    area = torch.from_numpy(grid.area_weights)[:, None]
    noise = torch.randn((2, len(grid.lat), len(grid.lon)), generator=torch.manual_seed(0))
    modes = operators.analysis(noise)
    field, (east, north) = operators.synthesis(modes), operators.gradient_of(modes)
    turned = operators.laplacian(modes)
    square = operators.fade**2 * (east.double() ** 2 + north.double() ** 2)
    want = -(square * area).mean((1, 2))
    got = (field.double() * operators.synthesis(turned) * area).mean((1, 2))
    assert torch.allclose(got, want, rtol=1e-3)
    twice, again = operators.laplacian(modes, 2), operators.laplacian(turned)
    assert torch.allclose(twice, again, rtol=1e-4, atol=1e-4 * float(again.abs().max()))
    largest = operators.truncation * (operators.truncation + 1) / EARTH_RADIUS**2
    assert float(-got.min() / (field**2 * area).mean()) < largest


def test_the_fade_is_a_squared_sine_over_the_halo():
    grid = region_grid("Europe", halo=4)
    fade = LimitedAreaOperators(grid).fade
    edge = np.sin(np.pi / 2 * (np.arange(4) + 0.5) / 4) ** 2
    assert np.allclose(fade[len(grid.lat) // 2, :4] / fade[len(grid.lat) // 2].max(), edge)
    assert np.allclose(fade[:4, len(grid.lon) // 2].flip(0), edge[::-1], atol=1e-6)
    assert bool((fade[4:-4, 4:-4] == 1).all())


def test_the_wind_fades_over_the_halo_and_is_untouched_inside():
    grid = region_grid("Australia", halo=4)
    operators = LimitedAreaOperators(grid)
    ones = torch.ones(len(grid.lat), len(grid.lon))
    east, _, _ = operators.confine(ones, ones, ones)
    assert torch.equal(east[4:-4, 4:-4], ones[4:-4, 4:-4])
    assert float(east[0].max()) < 0.05


def test_the_grid_chooses_the_operators():
    assert type(modal_operators(region_grid(), None)) is LimitedAreaOperators
    assert type(modal_operators(Grid(LAT, LON), None)) is SpectralOperators


def test_the_equivalent_degree_grows_with_the_metric_and_the_resolution():
    near_equator = LimitedAreaOperators(region_grid("SouthAsia")).truncation
    assert 21 < near_equator < LimitedAreaOperators(region_grid("Europe")).truncation < 84
    assert LimitedAreaOperators(region_grid(), 10).truncation < 30


@pytest.mark.parametrize(
    ("lat", "lon", "words"),
    [
        (np.arange(30, 70, 5.0), np.array([0.0, 5, 10, 16]), "evenly spaced"),
        (np.arange(50, 90.1, 5.0), np.arange(0, 90, 5.0), "cannot hold a pole"),
        (np.arange(70, 30, -5.0), np.arange(0, 90, 5.0), "evenly spaced"),
    ],
)
def test_boxes_that_are_not_regular_are_refused(lat, lon, words):
    with pytest.raises(InputError, match=words):
        Grid(lat, lon)


def test_boxes_and_truncations_without_a_wave_are_refused():
    with pytest.raises(InputError, match="7 × 18 points, halo included; at least 8 × 8"):
        LimitedAreaOperators(Grid(np.arange(30, 65, 5.0), np.arange(0, 90, 5.0)))
    with pytest.raises(InputError, match="truncation=40: this spacing resolves 1 to 31"):
        LimitedAreaOperators(region_grid(), 40)


def test_operators_stay_in_float32_under_autocast():
    operators = LimitedAreaOperators(box_grid(1))
    field, east, _ = known(box_grid(1))
    with torch.autocast("cpu", torch.bfloat16):
        got = operators.gradient(field.float())[0]
    assert got.dtype == torch.float32
    assert math.isclose(float(got.abs().max()), float(east.abs().max()), rel_tol=0.05)


def test_truncations_that_the_spacing_resolves_are_taken_and_no_others():
    """45 columns would go around: an odd number, of which wavenumber 22 is the last."""
    grid = Grid(np.arange(-50.0, 60.0, 8.0), np.arange(0.0, 160.0, 8.0), 2)
    coarse, fine = (LimitedAreaOperators(grid, degree).truncation for degree in (5, 22))
    assert coarse < fine
    for degree in (0, 23):
        with pytest.raises(InputError, match=f"truncation={degree}: this spacing resolves 1 to 22"):
            LimitedAreaOperators(grid, degree)
