"""Regions: which points they hold, across Greenwich too, and the refusals."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from climate.grids.grid import Grid
from climate.grids.regions import REGIONS, parse_region
from vgbdm.errors import InputError

LAT = -90 + 5.625 * (np.arange(32) + 0.5)
LON = np.arange(64) * 5.625


@pytest.mark.parametrize("name", REGIONS)
def test_a_region_holds_every_point_of_its_box_and_no_other(name):
    south, north, west, east = REGIONS[name]
    cut = parse_region(name, 3).cut(LAT, LON)
    rows, columns = cut.interior
    lat = LAT[(south <= LAT) & (north >= LAT)]
    lon = LON[(west <= LON) & (east >= LON)]
    assert np.array_equal(LAT[cut.rows][rows], lat)
    assert np.array_equal(LON[cut.columns][columns], lon)
    assert np.allclose(cut.lon % 360, LON[cut.columns])
    assert np.allclose(np.diff(cut.lon), 5.625)
    assert len(cut.lon) == len(lon) + 6
    assert not Grid(LAT[cut.rows], cut.lon, 3).is_global


@pytest.mark.parametrize("west", [350, -10])
def test_a_box_may_cross_greenwich(west):
    cut = parse_region([35, 70, west, 40], 2).cut(LAT, LON)
    _, columns = cut.interior
    assert cut.lon[columns].tolist() == [-5.625 + 5.625 * k for k in range(9)]
    assert LON[cut.columns][columns][0] == 354.375


def test_a_box_that_ends_at_greenwich_keeps_it():
    cut = parse_region([0, 40, 300, 360], 0).cut(LAT, LON)
    assert LON[cut.columns][-1] == 0.0
    assert cut.lon[-1] == 0.0
    assert cut.lon[0] == -56.25


def test_a_halo_stops_short_of_the_pole():
    cut = parse_region([50, 83, 0, 60], 4).cut(LAT, LON)
    rows, _ = cut.interior
    assert LAT[cut.rows][-1] == LAT[-2]
    assert LAT[cut.rows][rows][-1] == LAT[30]


@pytest.mark.parametrize("name", ["south asia", "South_Asia", "SouthAsia"])
def test_names_are_read_as_people_write_them(name):
    assert parse_region(name, 4).name == "SouthAsia"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("Atlantis", "region=Atlantis: unknown; there are NorthAmerica, SouthAmerica, Europe"),
        ([30, 65, 0], r"want \[south, north, west, east\]"),
        (["a", 1, 2, 3], r"want \[south, north, west, east\]"),
        ([65, 30, 0, 40], "south < north"),
        ([30, 65, 0, 400], "degrees east from -180 to 360"),
        ([30, 65, 0, 360], "spans all longitudes"),
    ],
)
def test_boxes_that_cannot_be_are_refused(value, words):
    with pytest.raises(InputError, match=words):
        parse_region(value, 4)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([30, 40, 0, 40], "2 × 8 points of this grid; at least 4 × 4"),
        ([60, 90, 0, 40], "reaches a pole"),
        ([30, 65, 0, 350], "spans all longitudes; take task=hourly"),
    ],
)
def test_boxes_that_do_not_fit_the_grid_are_refused(value, words):
    with pytest.raises(InputError, match=words):
        parse_region(value, 4).cut(LAT, LON)


def test_a_negative_halo_is_refused():
    with pytest.raises(InputError, match="halo=-1"):
        parse_region("Europe", -1)


GLOBE = {n: (-90 + 180 / n * (np.arange(n) + 0.5), 180 / n * np.arange(2 * n)) for n in (24, 36)}


@given(
    st.sampled_from(sorted(GLOBE)), st.integers(-60, 20), st.integers(30, 60),
    st.integers(-180, 360), st.integers(40, 200), st.integers(0, 3),
)  # fmt: skip
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_a_box_anywhere_holds_its_points_eastwards_and_a_halo_around(
    count, south, height, west, width, halo
):
    lat, lon = GLOBE[count]
    east = west + width if west + width <= 360 else west + width - 360
    box = parse_region([south, min(south + height, 75), west, east], halo)
    cut = box.cut(lat, lon)
    rows, columns = cut.interior
    held, there = lat[cut.rows], cut.lon[columns]
    assert np.array_equal(held[rows], lat[(lat >= south) & (lat <= box.north)])
    assert ((there - west) % 360.0 <= width).all()
    assert len(there) == ((lon - west) % 360.0 <= width).sum()
    assert np.allclose(np.diff(cut.lon), lon[1]) and -360 <= cut.lon[0] < 360
    assert np.allclose((lon[cut.columns] - cut.lon + 180) % 360.0, 180)
    assert len(cut.lon) == len(there) + 2 * halo
    south_halo, north_halo = rows.start, len(held) - rows.stop
    assert max(south_halo, north_halo) <= halo
    assert held[0] > lat[0] and held[-1] < lat[-1]
    assert south_halo == halo or held[0] == lat[1]
    assert north_halo == halo or held[-1] == lat[-2]


BOX_LAT, BOX_LON = np.arange(20.0, 60.0, 2.0), np.arange(-20.0, 30.0, 2.0)
"""20 rows and 25 columns of a store that is a box itself."""


@pytest.mark.parametrize("halo", [0, 3])
@pytest.mark.parametrize("side", ["none", "south", "north", "west", "east"])
def test_a_box_of_a_box_keeps_its_halo_inside(side, halo):
    """By a point less on any side the halo, or the box itself, is not wholly there."""
    beyond = {side: 2.0}
    south = 20.0 + 2 * halo - beyond.get("south", 0)
    north = 58.0 - 2 * halo + beyond.get("north", 0)
    west = -20.0 + 2 * halo - beyond.get("west", 0)
    east = 28.0 - 2 * halo + beyond.get("east", 0)
    region = parse_region([south, north, west, east], halo)
    if side != "none":
        with pytest.raises(InputError, match=f"with a halo of {halo} it is not inside the store"):
            region.cut(BOX_LAT, BOX_LON)
        return
    cut = region.cut(BOX_LAT, BOX_LON)
    assert np.array_equal(BOX_LAT[cut.rows], BOX_LAT)
    assert np.array_equal(BOX_LON[cut.columns], BOX_LON) and np.array_equal(cut.lon, BOX_LON)
    assert cut.interior == (slice(halo, 20 - halo), slice(halo, 25 - halo))


def test_columns_that_leave_half_a_step_free_do_not_close_the_circle():
    """22 columns of 16° end half a step before 360°: a box, whose ends are no neighbours."""
    lat, lon = np.arange(-84.0, 90.0, 8.0), 16.0 * np.arange(22)
    assert parse_region([-40, 40, 32, 200], 1).cut(lat, lon).lon[0] == 16.0
    with pytest.raises(InputError, match="is not inside the store"):
        parse_region([-40, 40, 300, 40], 0).cut(lat, lon)


def test_the_named_boxes_are_those_of_the_document():
    assert REGIONS == {
        "NorthAmerica": (15, 65, 220, 300), "SouthAmerica": (-55, 20, 270, 330),
        "Europe": (30, 65, 0, 40), "SouthAsia": (-15, 45, 25, 110),
        "EastAsia": (5, 65, 70, 150), "Australia": (-50, 10, 100, 180),
    }  # fmt: skip


def test_a_box_whose_halo_closes_the_circle_is_refused():
    """58 columns and a halo of 3 are all 64; a column less leaves a gap."""
    with pytest.raises(InputError, match="spans all longitudes; take task=hourly"):
        parse_region([30, 65, 0, 57 * 5.625], 3).cut(LAT, LON)
    assert len(parse_region([30, 65, 0, 56 * 5.625], 3).cut(LAT, LON).lon) == 63
