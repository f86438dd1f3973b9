"""Grids and derivatives against exact answers and by order of convergence."""

import numpy as np
import pytest
import torch

from climate.conventions.earth import EARTH_RADIUS
from climate.grids.grid import Grid
from climate.operators import harmonics, legendre
from climate.operators.sphere import FiniteDifferenceOperators, SpectralOperators, tangent_basis
from vgbdm.errors import InputError


def make_grid(height: int, width: int, *, poles: bool) -> Grid:
    spacing = 180.0 / height
    lat = np.linspace(-90, 90, height) if poles else -90 + spacing * (np.arange(height) + 0.5)
    return Grid(lat, np.arange(width) * 360.0 / width)


GRIDS = {"centred": make_grid(32, 64, poles=False), "poles": make_grid(33, 64, poles=True)}


@pytest.fixture(params=GRIDS)
def grid(request):
    return GRIDS[request.param]


@pytest.fixture(autouse=True, params=["whole", "banded"])
def tables(request, monkeypatch, tmp_path):
    """Both kinds of tables on the same small grids, the second in several bands."""
    if request.param == "banded":
        monkeypatch.setattr(harmonics, "FINE", 1)
        monkeypatch.setattr(legendre, "BAND", 8)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def unit_sphere(grid: Grid) -> torch.Tensor:
    east, north = tangent_basis(grid)
    return torch.linalg.cross(east, north, dim=0)


def polynomial(grid: Grid) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """f = x y z² + z on the sphere (degree 4) and its exact gradient, east and north, per metre."""
    x, y, z = unit_sphere(grid)
    slope = torch.stack((y * z**2, x * z**2, 2 * x * y * z + 1))
    east, north = tangent_basis(grid)
    exact = ((slope * basis).sum(0) / EARTH_RADIUS for basis in (east, north))
    return (x * y * z**2 + z).float(), *(part.float() for part in exact)


def random_coefficients(operators: SpectralOperators, count: int, degree: int) -> torch.Tensor:
    """Coefficients of ``count`` real fields up to ``degree``."""
    size = operators.truncation + 1
    generator = torch.Generator().manual_seed(3)
    modes = torch.randn((size, 2 * count, size), generator=generator)
    for m in range(size):
        modes[m, :, :m] = 0
    modes[0, count:] = 0
    modes[:, :, degree + 1 :] = 0
    return modes


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got - want).abs().max() / want.abs().max())


def test_truncation_of_the_weatherbench_grid_is_21():
    assert SpectralOperators(GRIDS["centred"]).truncation == 21


def test_no_table_underflows():
    """The Legendre functions of a finer grid do near the poles; products with them are slow."""
    operators = SpectralOperators(make_grid(121, 240, poles=True))
    tables = [t for t in operators.harmonics.buffers() if t.dim() > 2]
    assert len(tables) >= 4
    for table in tables:
        assert float(table[table != 0].abs().min() / table.abs().max()) > 1e-16
    field, east, north = polynomial(make_grid(121, 240, poles=True))
    assert relative(torch.stack(operators.gradient(field)), torch.stack((east, north))) < 1e-4


def test_every_harmonic_up_to_the_truncation_comes_back(grid):
    operators = SpectralOperators(grid)
    modes = random_coefficients(operators, 4, operators.truncation)
    assert torch.allclose(operators.analysis(operators.synthesis(modes)), modes, atol=5e-6)


def test_projection_is_idempotent_and_keeps_no_more_than_the_truncation(grid):
    operators = SpectralOperators(grid, truncation=5)
    field = torch.randn((2, 3, *unit_sphere(grid).shape[1:]), generator=torch.manual_seed(0))
    once = operators.project(field)
    assert once.shape == field.shape
    assert relative(operators.project(once), once) < 1e-5
    assert relative(once, field) > 0.1


@pytest.mark.parametrize("kind", [SpectralOperators, FiniteDifferenceOperators])
def test_gradient_of_a_polynomial(grid, kind):
    field, east, north = polynomial(grid)
    got = kind(grid).gradient(field)
    tolerance = 6e-6 if kind is SpectralOperators else 1e-3
    scale = float(torch.stack((east, north)).abs().max())
    assert float((got[0] - east).abs().max()) / scale < tolerance
    assert float((got[1] - north).abs().max()) / scale < tolerance


@pytest.mark.parametrize("poles", [False, True])
def test_finite_differences_converge_with_fourth_order(poles):
    errors = []
    for height in (24, 48):
        grid = make_grid(height + poles, 2 * height, poles=poles)
        field, east, north = polynomial(grid)
        got = FiniteDifferenceOperators(grid).to(torch.float64).gradient(field)
        errors.append(
            max(float((g - e).abs().max()) for g, e in zip(got, (east, north), strict=True))
        )
    assert np.log2(errors[0] / errors[1]) > 3.8


@pytest.mark.parametrize("axis", [(0, 0, 1), (1, 0, 0), (1, -2, 0.5)])
@pytest.mark.parametrize("kind", [SpectralOperators, FiniteDifferenceOperators])
def test_solid_body_rotation_about_any_axis_has_no_divergence_and_known_advection(grid, axis, kind):
    """c = Ω × r: ∇·c = 0, and c·∇ of the height along another axis n is Ω·(r × n)."""
    operators, points = kind(grid), unit_sphere(grid)
    spin = torch.tensor(axis, dtype=torch.float64)[:, None, None].expand_as(points)
    wind = torch.linalg.cross(spin, points, dim=0) * 30
    east, north = operators.to_tangent(wind.float())
    divergence = operators.divergence(east, north)
    limit = 6e-6 if kind is SpectralOperators else 2e-4
    assert float(divergence.abs().max()) < limit * 100 / EARTH_RADIUS
    other = torch.tensor((0.3, 1.0, -0.4), dtype=torch.float64)[:, None, None].expand_as(points)
    d_east, d_north = operators.gradient((other * points).sum(0).float())
    want = (torch.linalg.cross(spin, points, dim=0) * other).sum(0) * 30 / EARTH_RADIUS
    assert relative(east * d_east + north * d_north, want.float()) < limit


@pytest.mark.parametrize("kind", [SpectralOperators, FiniteDifferenceOperators])
def test_flow_across_the_poles_has_the_divergence_of_its_potential(grid, kind):
    """c = ∇χ with χ = x² - y² + x (degree 2 and 1): ∇·c = -(6 (x² - y²) + 2 x) / R²."""
    operators, (x, y, _) = kind(grid), unit_sphere(grid)
    east, north = SpectralOperators(grid).gradient((x**2 - y**2 + x).float())
    want = -(6 * (x**2 - y**2) + 2 * x).float() / EARTH_RADIUS**2
    limit = 3e-5 if kind is SpectralOperators else 3e-3
    assert relative(operators.divergence(east, north), want) < limit


def harmonics_by_degree(x, y, z):
    """Solid harmonics on the sphere, by their degree."""
    return {
        1: 3 * x - 2 * y + z,
        2: x**2 - y**2 + 0.5 * y * z,
        3: x * y * z + 0.3 * x * (5 * z**2 - 1),
        4: (35 * z**4 - 30 * z**2 + 3) / 8 - x * y * (7 * z**2 - 1),
    }


@pytest.mark.parametrize("radius", [EARTH_RADIUS, 2.0])
def test_the_laplacian_of_a_harmonic_is_l_l_plus_1_over_the_square_of_the_radius(grid, radius):
    """Within 1e-3 of it in absolute value: l² is 20 to 50 % off."""
    operators = SpectralOperators(grid, truncation=6, radius=radius)
    for degree, field in harmonics_by_degree(*unit_sphere(grid)).items():
        modes = operators.analysis(field.float()[None])
        for power in (1, 2):
            got = operators.synthesis(operators.laplacian(modes, power))[0]
            want = field * (-degree * (degree + 1) / radius**2) ** power
            assert relative(got, want.float()) < 1e-3, (degree, power)


def test_skew_advection_is_the_advection_of_a_harmonic_and_half_its_divergence(grid):
    """c = ∇z, x = 2 x - y: c·∇x = -z x / R², ∇·c = -2 z / R², both of degree 2 at most."""
    operators, (x, y, z) = SpectralOperators(grid), unit_sphere(grid)
    field = (2 * x - y).float()
    wind = operators.gradient(z.float())
    moved = operators.skew_advection(
        (*wind, (-2 * z).float() / EARTH_RADIUS**2), field, operators.gradient(field)
    )
    want = (-2 * z * (2 * x - y)).float() / EARTH_RADIUS**2
    assert relative(operators.synthesis(moved)[0], want) < 1e-4


def test_a_coefficient_is_the_mean_over_the_sphere_with_its_harmonic():
    """Y₁₀ = √(3/4π) z: sizes are those of orthonormal harmonics, also where latitudes crowd."""
    grid = GRIDS["poles"]
    operators, (_, _, z) = SpectralOperators(grid), unit_sphere(grid)
    modes = operators.analysis((2 + 5 * z).float()[None])
    assert float(modes[0, 0, 0]) == pytest.approx(2 * np.sqrt(4 * np.pi), rel=1e-5)
    assert float(modes[0, 0, 1]) == pytest.approx(5 * np.sqrt(4 * np.pi / 3), rel=1e-5)


@pytest.mark.parametrize(
    ("height", "width", "poles"), [(10, 20, False), (11, 20, True), (6, 40, False)]
)
def test_the_largest_truncation_is_what_rows_and_columns_resolve(height, width, poles):
    grid = make_grid(height, width, poles=poles)
    limit = min((width - 1) // 2, height - (3 if poles else 1))
    assert SpectralOperators(grid, truncation=limit).truncation == limit
    assert SpectralOperators(grid).truncation == min((width - 1) // 3, limit)
    for wrong in (0, -1, limit + 1):
        with pytest.raises(InputError, match=f"resolves 1 to {limit}"):
            SpectralOperators(grid, truncation=wrong)


def test_vector_components_as_scalars_would_be_wrong_at_the_poles():
    """The control: what the Cartesian components are for."""
    grid = GRIDS["centred"]
    operators, points = SpectralOperators(grid), unit_sphere(grid)
    wind = torch.linalg.cross(torch.tensor([1.0, 0, 0])[:, None, None].expand_as(points).double(),
                              points, dim=0)  # fmt: skip
    east, north = operators.to_tangent(wind.float())
    assert relative(operators.project(north), north) > 0.1
    back = operators.to_tangent(operators.project(operators.to_cartesian(east, north)))
    assert relative(back[1], north) < 1e-5


def test_skew_advection_conserves_the_square_and_the_plain_form_does_not():
    operators = SpectralOperators(GRIDS["centred"])
    field_modes = random_coefficients(operators, 6, 21)
    chi = random_coefficients(operators, 6, 20).flip(1)
    chi[0, 6:] = 0
    field, (east, north) = operators.synthesis(field_modes), operators.gradient_of(chi)
    d_east, d_north = operators.gradient_of(field_modes)
    plain = east * d_east + north * d_north
    skew = plain + 0.5 * field * operators.synthesis(operators.laplacian(chi))
    weight = torch.full((22, 1, 1), 2.0)
    weight[0] = 1.0

    def growth(moved: torch.Tensor) -> float:
        modes = operators.analysis(moved)
        norm = ((modes**2 * weight).sum() * (field_modes**2 * weight).sum()).sqrt()
        return abs(float((modes * field_modes * weight).sum() / norm))

    assert growth(skew) < 3e-3 < growth(plain)


def test_quadrature_weights_integrate_harmonics(grid):
    z = np.sin(np.deg2rad(grid.lat))
    weights = grid.quadrature_weights
    assert weights.min() > 0
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert weights @ z**8 == pytest.approx(1 / 9, abs=1e-12)
    assert weights @ z**9 == pytest.approx(0, abs=1e-12)


def test_area_weights_are_cosines_with_mean_one():
    weights = GRIDS["centred"].area_weights
    assert weights.mean() == pytest.approx(1)
    assert weights[16] / weights[0] == pytest.approx(
        np.cos(np.deg2rad(2.8125)) / np.cos(np.deg2rad(87.1875))
    )


def test_spectral_operators_stay_in_float32_under_autocast():
    operators = SpectralOperators(GRIDS["centred"])
    field, east, _ = polynomial(GRIDS["centred"])
    with torch.autocast("cpu", torch.bfloat16):
        got = operators.gradient(field)[0]
    assert got.dtype == torch.float32
    assert relative(got, east) < 1e-4


@pytest.mark.parametrize(
    ("lat", "lon", "word"),
    [
        (np.linspace(-60, 60, 32), np.arange(64) * 5.625, "span the globe"),
        (np.array([-90, *np.linspace(-80, 70, 31), 90]), np.arange(64) * 5.625, "regular"),
        (np.linspace(-90, 90, 33), np.arange(64) * 5.0, "regular"),
        (np.linspace(-90, 90, 33), np.arange(62) * 360 / 62, "multiple of 4"),
    ],
)  # fmt: skip
def test_irregular_grids_are_refused(lat, lon, word):
    with pytest.raises(InputError, match=word):
        Grid(lat, lon)


def test_truncation_beyond_the_grid_is_refused():
    with pytest.raises(InputError, match="truncation=40"):
        SpectralOperators(GRIDS["centred"], truncation=40)


@pytest.mark.parametrize("kind", [SpectralOperators, FiniteDifferenceOperators])
def test_slopes_are_per_metre_of_the_earth(kind):
    """The sine of latitude rises by 1 / 6371 km at the equator."""
    grid = GRIDS["poles"]
    sine = torch.sin(torch.deg2rad(torch.from_numpy(grid.lat))).float()[:, None].expand(-1, 64)
    _, north = kind(grid).gradient(sine)
    assert float(north[16, 5]) * 6.371e6 == pytest.approx(1.0, rel=1e-3)
