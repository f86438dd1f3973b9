"""Conservative regridding keeps what is on the sphere: by exact areas, whatever the grids."""

import numpy as np
import pytest
import xarray as xr
import xarray_regrid  # noqa: F401
from refusals import refused

from climate.grids.cells import column_edges, row_edges
from climate.grids.grid import Grid
from climate.grids.named import parse_grid
from climate.grids.regridding import BLOCK_BYTES, describe_regridding, nearest_grid, regridding

AROUND = 7.5 * np.arange(48)
LATS = {
    "gaussian": np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(24)[0])),
    "poles": np.linspace(-90, 90, 25),
    "centred": -90 + 7.5 * (np.arange(24) + 0.5),
    "uneven": 90 * np.sin(np.linspace(-1.5, 1.5, 27)),
}
LONS = {
    "from 0": AROUND,
    "half a cell": AROUND + 3.75,
    "from -180": AROUND - 180,
    "uneven": 7.2 * (np.arange(50) + 0.3 * np.sin(np.arange(50))),
}
TARGETS = ("8x16", "9x16", "12x24", "13x20", "24x48")


def edges(lat, lon):
    return row_edges(lat), column_edges(lon)


def areas(lat):
    """Of the rows of cells, sum 2."""
    return np.diff(np.sin(np.deg2rad(row_edges(lat))))


def field(*shape):
    return np.random.default_rng(0).normal(3, 2, shape).astype(np.float32)


@pytest.mark.parametrize("target", TARGETS[:-1])
@pytest.mark.parametrize("lon", LONS)
@pytest.mark.parametrize("lat", LATS)
def test_the_integral_is_kept_and_a_constant_is_one(lat, lon, target):
    lat, lon, grid = LATS[lat], LONS[lon], parse_grid(target)
    change = regridding(*edges(lat, lon), grid, "x")
    fine = field(2, len(lat), len(lon))
    coarse = change(fine)
    assert coarse.dtype == np.float32 and coarse.shape == (2, len(grid.lat), len(grid.lon))
    want = (fine.astype(float) @ np.diff(column_edges(lon))) @ areas(lat) / 720
    got = coarse.astype(float).mean(-1) @ areas(grid.lat) / 2
    assert got == pytest.approx(want, rel=1e-6)
    for value in (0.1, 7.0, 287.3, -1e-12):
        same = np.float32(value)
        assert (change(np.full_like(fine, same)) == same).all()


@pytest.mark.parametrize(("lat", "lon"), [("gaussian", "half a cell"), ("uneven", "uneven")])
@pytest.mark.parametrize("target", ["9x16", "8x20"])
def test_each_value_is_the_mean_over_its_cell(lat, lon, target):
    """Cell by cell, by what each shares with each, in area."""
    lat, lon, grid = LATS[lat], LONS[lon], parse_grid(target)
    values = field(len(lat), len(lon))
    got = regridding(*edges(lat, lon), grid, "x")(values)
    own, wanted = (np.sin(np.deg2rad(row_edges(a))) for a in (lat, grid.lat))
    east, to = column_edges(lon), column_edges(grid.lon)
    for i in range(len(grid.lat)):
        rows = np.minimum(own[1:], wanted[i + 1]) - np.maximum(own[:-1], wanted[i])
        for j in range(len(grid.lon)):
            columns = sum(
                (np.minimum(east[1:] + t, to[j + 1]) - np.maximum(east[:-1] + t, to[j])).clip(0)
                for t in (-360, 0, 360)
            )
            weights = np.outer(rows.clip(0), columns)
            assert got[i, j] == pytest.approx((weights * values).sum() / weights.sum(), rel=1e-5)


@pytest.mark.parametrize(("source", "target"), [("64x128", "16x32"), ("96x192", "32x64")])
def test_a_public_package_agrees_where_the_edges_are_the_same(source, target):
    fine, coarse = parse_grid(source), parse_grid(target)
    values = field(len(fine.lat), len(fine.lon))
    held = xr.DataArray(values, {"lat": fine.lat, "lon": fine.lon}, ("lat", "lon"))
    wanted = xr.Dataset(coords={"lat": coarse.lat, "lon": coarse.lon})
    theirs = held.regrid.conservative(wanted, latitude_coord="lat").values
    ours = regridding(*edges(fine.lat, fine.lon), coarse, "x")(values)
    inner = slice(1, -1), slice(1, None)  # theirs do not go around, and have other polar cells
    assert ours[inner] == pytest.approx(theirs[inner], abs=1e-5)


def test_a_mean_wind_is_that_of_its_components_and_waves_are_exact_where_cells_nest():
    """Cell means of sin φ and cos λ, whose integrals are known."""
    fine, coarse = parse_grid("48x96"), parse_grid("16x32")

    def means(grid):
        sine, lam = np.sin(np.deg2rad(row_edges(grid.lat))), np.deg2rad(column_edges(grid.lon))
        rows = (sine[1:] ** 2 - sine[:-1] ** 2) / 2 / np.diff(sine)
        return np.outer(rows, np.diff(np.sin(lam)) / np.diff(lam))

    change = regridding(*edges(fine.lat, fine.lon), coarse, "x")
    assert change(means(fine)) == pytest.approx(means(coarse), abs=1e-6)
    assert "of vectors by component" in describe_regridding(coarse)


@pytest.mark.parametrize("name", ["24x48", "25x48"])
def test_the_same_grid_is_not_changed_at_all(name):
    grid = parse_grid(name)
    values = field(3, len(grid.lat), 48)
    values[0, 3, 4] = np.nan
    assert np.array_equal(regridding(*edges(grid.lat, grid.lon), grid, "x")(values), values, True)


def test_many_maps_are_regridded_as_each_alone():
    grid = parse_grid("24x48")
    change = regridding(*edges(grid.lat, grid.lon), parse_grid("8x16"), "x")
    count = BLOCK_BYTES // (8 * 24 * 48) + 3
    maps = np.broadcast_to(field(5, 24, 48), (count // 5 + 1, 5, 24, 48))
    got = change(maps)
    assert np.array_equal(got[-1], change(maps[0])) and got.shape == (*maps.shape[:2], 8, 16)
    assert np.array_equal(got[0, 3], change(maps[0, 3]))


def test_what_is_missing_leaves_the_mean_of_the_rest_down_to_half_of_the_cell():
    grid = parse_grid("24x48")
    change = regridding(*edges(grid.lat, grid.lon), parse_grid("8x16"), "x")
    values = field(2, 24, 48)
    cell = (slice(3, 6), slice(5, 8))  # of row 1 and column 2, whole cells all of them
    weights = areas(grid.lat)[3:6, None] * np.ones(3)
    whole = change(values)
    one = values.copy()
    one[0, 4, 6] = np.nan
    want = np.average(values[0][cell], weights=weights * ~np.isnan(one[0][cell]))
    assert change(one)[0, 1, 2] == pytest.approx(want, rel=1e-6)
    assert (change(one) != whole).sum() == 1
    for columns, left in ((slice(5, 6), 1), (slice(5, 7), 0)):
        more = values.copy()
        more[1, 3:6, columns] = np.nan
        got = change(more)
        assert np.isfinite(got[1, 1, 2]) == left
        assert np.isfinite(got).sum() == got.size - (1 - left)
    half = parse_grid("48x96")
    change = regridding(*edges(half.lat, half.lon), parse_grid("48x48"), "x")
    steps = np.ones((48, 96), np.float32)
    steps[10, 1::2] = np.nan  # of each cell the outer quarters: just half of it
    assert np.array_equal(change(steps), np.ones((48, 48)))
    steps[10, 1::2], steps[10, ::2] = 1.0, np.nan
    assert np.array_equal(change(steps), np.ones((48, 48)))
    steps[10, 1] = np.nan
    assert np.isnan(change(steps)[10, [0, 1]]).all() and np.isnan(change(steps)).sum() == 2


def test_a_mask_stays_where_it_stands_and_all_missing_stays_so():
    grid = parse_grid("24x48")
    change = regridding(*edges(grid.lat, grid.lon), parse_grid("8x16"), "x")
    values = field(4, 24, 48)
    values[:, 2:15, 7:30] = np.nan
    missing = np.isnan(change(values))
    assert (missing == missing[0]).all() and 0 < missing[0].mean() < 1
    assert np.isnan(change(values * np.nan)).all()


BOX_LAT, BOX_LON = np.arange(20.0, 71.0), np.arange(-30.0, 41.0)


def test_cells_that_a_source_all_but_holds_have_means_of_what_it_holds():
    """A spacing that was rounded leaves a gap of half a per cent of the last column."""
    ends = np.linspace(-90.0, 90.0, 33), np.linspace(-2.8125, 357.1375, 65)
    means = regridding(*ends, parse_grid("16x32"), "regrid=16x32")
    assert np.abs(means(np.full((32, 64), 7.0)) - 7.0).max() < 1e-6


def test_a_box_is_regridded_to_the_cells_that_it_holds_wholly():
    change = regridding(*edges(BOX_LAT, BOX_LON), parse_grid(2.5), "x")
    assert change.lat.tolist() == np.arange(22.5, 68.0, 2.5).tolist()
    assert change.lon.tolist() == np.arange(-27.5, 38.0, 2.5).tolist()
    assert Grid(change.lat, change.lon).is_global is False
    ramp = np.broadcast_to(BOX_LON, (len(BOX_LAT), len(BOX_LON)))
    assert change(ramp)[4] == pytest.approx(change.lon, abs=1e-5)


def test_a_box_beside_a_pole_ends_short_of_it():
    change = regridding(*edges(np.arange(40.5, 90.0), BOX_LON), parse_grid(2.5), "x")
    assert change.lat[-1] == 87.5
    Grid(change.lat, change.lon)


@pytest.mark.parametrize(
    ("lat", "lon", "target", "words"),
    [
        (LATS["centred"], AROUND, "32x64", "finer than the source's 7.5° × 7.5°"),
        (LATS["centred"], AROUND, "24x64", "5.625° are finer"),
        (LATS["gaussian"], AROUND, "30x48", "6° × 7.5° are finer"),
        (BOX_LAT, BOX_LON, 0.5, "0.5° × 0.5° are finer than the source's 1° × 1°"),
        (BOX_LAT, BOX_LON, 10, "holds 4 × 6 of its cells; at least 8 × 8"),
        (BOX_LAT, BOX_LON + 0.25, "5x8", "holds 1 × 1 of its cells"),
        (np.arange(-60.0, 61), np.arange(360.0), 5, "-55 to 55 north and 0 to 355 east"),
    ],
)
def test_what_cannot_be_is_told_why(lat, lon, target, words):
    said = refused(lambda: regridding(*edges(lat, lon), parse_grid(target), "x"), "x: ", words)
    if "give regrid=" in said:
        name = said.partition("give regrid=")[2].partition(" ")[0]
        regridding(*edges(lat, lon), parse_grid(name), "x")


def test_the_grid_next_to_a_source_is_never_finer():
    for lat in LATS.values():
        for lon in LONS.values():
            ends = edges(lat, lon)
            regridding(*ends, parse_grid(nearest_grid(*ends)), "x")
    assert nearest_grid(*edges(np.linspace(-90, 90, 721), np.arange(1440) / 4)) == "721x1440"
    assert nearest_grid(*edges(np.array([-45.0, 45.0]), AROUND)) == ""


def test_a_box_that_a_source_must_hold_wholly():
    box = Grid(np.arange(30.0, 61.0, 2.5), np.arange(-20.0, 31.0, 2.5))
    for lat, lon in ((BOX_LAT, BOX_LON), (np.linspace(-90, 90, 181), np.arange(360.0))):
        change = regridding(*edges(lat, lon), box, "x", whole=True)
        assert np.array_equal(change.lat, box.lat) and np.array_equal(change.lon, box.lon)
    said = lambda: regridding(*edges(BOX_LAT, BOX_LON - 15), box, "x", whole=True)  # noqa: E731
    refused(said, "x: reaches beyond the source, which holds 19.5 to 70.5 north")


def test_only_what_a_part_needs_is_read():
    grid = parse_grid("96x192")
    change = regridding(*edges(grid.lat, grid.lon), parse_grid("24x48"), "x")
    values = field(96, 192)
    columns = np.array([46, 47, 0, 1])
    part = change.part(slice(5, 9), columns, np.arange(-15.0, 15.0, 7.5))
    fewer, rows, needed = part.needed()
    assert rows.tolist() == list(range(20, 36)) and len(needed) == 17
    assert np.array_equal(fewer(values[rows][:, needed]), change(values)[5:9][:, columns])
    assert fewer.lon[0] == -15.0
