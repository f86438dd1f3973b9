"""Orientation: any order and origin of rows and columns; what is no regular grid, and why."""

import re

import numpy as np
import pytest
import xarray as xr
from archives import archive, cf_source, write_zarr, zarr_source
from builders import hours
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import refused

from climate.grids.named import parse_grid
from climate.sources.axes import open_part
from climate.sources.orientation import arrange, cell_edges, orient
from climate.sources.select import parse_selection

few = settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
BOX_LAT = np.array([10.0, 12.5, 15.0, 17.5])
TIMES = hours("2016-01-01", 2)
GAUSSIAN = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(16)[0]))
EVEN = -90 + 11.25 * (np.arange(16) + 0.5)
AROUND = 11.25 * np.arange(32)


@given(st.integers(0, 71), st.integers(4, 40), st.permutations(range(40)), st.booleans())
@few
def test_a_box_anywhere_is_read_eastwards_whatever_the_order_of_its_columns(
    west, count, order, signed
):
    """5° apart: its longitudes are the same modulo 360, without a jump, also across Greenwich."""
    wanted = 5.0 * west + 5.0 * np.arange(count)
    stored = wanted[[k for k in order if k < count]] % 360.0
    stored = np.where(stored >= 180, stored - 360, stored) if signed else stored
    grid, found = orient(BOX_LAT[::-1], stored, "x")
    assert np.array_equal(grid.lat, BOX_LAT)
    assert np.array_equal(BOX_LAT[::-1][found.rows], BOX_LAT)
    assert np.allclose(np.diff(grid.lon), 5.0)
    assert np.allclose((stored[found.columns] - wanted) % 360.0, 0.0)
    assert np.allclose((grid.lon - wanted) % 360.0, 0.0)
    assert -360 < grid.lon[0] < 360


def test_an_uneven_box_across_greenwich_begins_at_its_west():
    """Two columns west and four east: rolled the other way it would begin at 10 E."""
    stored = np.array([0.0, 5.0, 10.0, 15.0, 350.0, 355.0])
    grid, found = orient(BOX_LAT, stored, "x")
    assert grid.lon.tolist() == [-10.0, -5.0, 0.0, 5.0, 10.0, 15.0]
    assert found.columns.tolist() == [4, 5, 0, 1, 2, 3]


@given(st.permutations(range(16)), st.permutations(range(8)))
@few
def test_the_globe_is_read_from_0_and_from_the_south(columns, rows):
    lat, lon = -78.75 + 22.5 * np.arange(8), 22.5 * np.arange(16)
    grid, found = orient(lat[rows], lon[columns] - 1e-5 * (lon[columns] == 0), "x")
    assert np.allclose(grid.lon, lon, atol=2e-5)
    assert np.array_equal(np.array(columns)[found.columns], np.arange(16))
    assert np.array_equal(np.array(rows)[found.rows], np.arange(8))


def test_grids_that_are_not_regular_are_named():
    lon = 5.0 * np.arange(6)
    nodes = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(8)[0]))
    refused(lambda: orient(nodes, lon, "x"), "x: a Gaussian grid of 8 latitudes; ", "xESMF", "cdo")
    refused(lambda: orient(np.array([0.0, 1, 2, 4]), lon, "x"), "x: an irregular grid of 4")
    refused(lambda: orient(BOX_LAT, np.array([0.0, 5, 365, 10]), "x"), "x: longitude 5 comes twice")
    refused(lambda: orient(BOX_LAT, np.array([0.0, 1, 2, 3.3]), "x"), "x: grid: not regular")


@pytest.mark.parametrize(
    ("lat", "lon", "words"),
    [
        (GAUSSIAN[::-1], AROUND, "a Gaussian grid of 16 latitudes; give regrid=16x32"),
        (
            EVEN,
            AROUND + 5.625,
            "must start at 0, they start at 5.625; give regrid=16x32",
        ),
        (EVEN, AROUND - 180 + 5.625, "they start at 5.625; give regrid=16x32"),
        (EVEN + 3.0 * (EVEN > 60), AROUND, "an irregular grid of 16 latitudes; give regrid=16x32"),
        (EVEN, 360 / 34 * np.arange(34), "34 longitudes; give regrid=16x32"),
        (np.linspace(-88, 88, 23), AROUND, "poles included); give regrid=23x32"),
    ],
)
def test_a_grid_that_is_not_taken_is_told_which_one_is_and_that_works(tmp_path, lat, lon, words):
    source = zarr_source(write_zarr(archive(TIMES, lat, lon), tmp_path / "a.zarr"))
    said = refused(source.open, words)
    name = re.search("regrid=([0-9x]+)", said)[1]
    dataset = source.open(parse_selection(None, None, None, 0, name))
    wanted = parse_grid(name)
    assert np.array_equal(dataset["lat"], wanted.lat) and np.array_equal(dataset["lon"], wanted.lon)
    assert np.isfinite(dataset["z"].values).all()


def test_what_no_regridding_helps_is_told_so():
    band, lon = np.arange(-60.0, 61.0, 2.0), 4.0 * np.arange(90)
    said = refused(lambda: orient(band, lon, "x"), "do not span the globe")
    assert "regrid=" not in said
    for lat in (np.array([1.0]), np.array([1.0, 1.0, 2.0]), np.array([0.0, 91.0])):
        refused(lambda lat=lat: arrange(lat, lon, "x"), "x: ", "latitude")


def with_bounds(content, rows=None, columns=None, attribute="cells"):
    """With the bounds of its rows and columns, named by an attribute, or as usual where empty."""
    for axis, bounds in (("latitude", rows), ("longitude", columns)):
        if bounds is not None:
            name = f"{axis[:3]}_bnds" if not attribute else f"{axis}_{attribute}"
            content[name] = ((axis, "bnds"), bounds)
            if attribute:
                content[axis].attrs["bounds"] = name
    return content


@pytest.mark.parametrize("attribute", ["cells", ""])
@pytest.mark.parametrize("order", [1, -1])
def test_cells_end_where_their_bounds_say(tmp_path, attribute, order):
    """Not midway, as of a Gaussian grid; in either order, of rows too, and a turn away."""
    ends = np.concatenate(([-90], GAUSSIAN[:-1] + 0.4 * np.diff(GAUSSIAN), [90]))
    rows = np.stack((ends[:-1], ends[1:]), 1)[::order, ::order]
    columns = np.stack((AROUND - 4.0, AROUND + 7.25), 1) + 360.0 * (AROUND > 180)[:, None]
    content = with_bounds(archive(TIMES, GAUSSIAN[::order], AROUND), rows, columns, attribute)
    content.to_netcdf(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as file:
        part = open_part(file, "geopotential", "x")
        found = cell_edges(part, arrange(part.lat, part.lon, "x"))
    assert np.allclose(found[0], ends)
    assert np.allclose(found[1], np.append(AROUND - 4.0, 356.0))


def test_without_bounds_cells_end_midway():
    part = open_part(archive(TIMES, GAUSSIAN, AROUND), "geopotential", "x")
    rows, columns = cell_edges(part, arrange(part.lat, part.lon, "x"))
    assert np.allclose(rows[1:-1], (GAUSSIAN[1:] + GAUSSIAN[:-1]) / 2)
    assert rows[[0, -1]].tolist() == [-90, 90]
    assert np.allclose(columns, np.append(AROUND, 360) - 5.625)


@pytest.mark.parametrize(
    "bounds",
    [
        np.stack((EVEN - 5.0, EVEN + 5.0), 1),
        np.stack((EVEN - 7.0, EVEN + 4.25), 1) + 11.25,
        np.stack((EVEN, EVEN), 1),
        np.full((16, 2), np.nan),
        np.zeros((16, 4)),
    ],
    ids=["apart", "elsewhere", "empty", "missing", "of four corners"],
)
def test_bounds_that_are_no_cells_are_refused_where_they_are_used(tmp_path, bounds):
    content = with_bounds(archive(TIMES, EVEN, AROUND), bounds)
    content.to_netcdf(tmp_path / "a.nc")
    regrid = parse_selection(None, None, None, 0, "8x16")
    source = cf_source(tmp_path)
    refused(lambda: source.open(regrid), "a.nc: the bounds of its latitudes", "ncks -x -v")
    assert source.open()["z"].shape == (2, 16, 32)
    content.drop_vars("latitude_cells").to_netcdf(tmp_path / "b.nc")
    (tmp_path / "a.nc").unlink()
    assert source.open(regrid)["z"].shape == (2, 8, 16)
