"""Axes: any order and origin of rows and columns, levels, and what counts as alike."""

import numpy as np
import pytest
import xarray as xr
from archives import archive, cf_source
from builders import LAT, hours, warm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import refused

from climate.sources.axes import Part, as_slice, open_part, same, shown

few = settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
BOX_LAT = np.array([10.0, 12.5, 15.0, 17.5])


@pytest.mark.parametrize(
    ("shift", "alike"), [(0.0, True), (9e-5, True), (1.5e-4, False), (1.0, False), (10.0, False)]
)
def test_grids_are_alike_to_a_ten_thousandth_of_a_degree(shift, alike):
    lat = np.linspace(-80, 80, 9)
    assert same(lat, lat + shift) is alike and same(lat, lat - shift) is alike
    assert not same(lat, lat[1:])
    times = np.datetime64("2016-01-01", "s") + np.arange(3)
    assert same(times, times.copy()) and not same(times, times + 1)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8))
@few
def test_a_slice_reads_what_its_indices_do(indices):
    values = np.arange(31)
    assert np.array_equal(values[as_slice(np.array(indices))], values[indices])


@given(st.integers(0, 9), st.integers(1, 4), st.integers(1, 6), st.booleans())
@few
def test_evenly_spaced_indices_become_a_slice(first, step, count, backwards):
    indices = first + step * np.arange(count)
    indices = indices[::-1] if backwards else indices
    found = as_slice(indices)
    assert isinstance(found, slice)
    assert np.array_equal(np.arange(40)[found], indices)


def part(levels, unit=None):
    levels = None if levels is None else np.array(levels)
    return Part(xr.Variable((), 0.0), None, levels, BOX_LAT, BOX_LAT, "file", "z", unit)


def test_a_level_is_found_where_it_is_stored():
    assert part([300.0, 500.0, 850.0]).level_index(850.0) == 2
    assert part([300.0, 500.001, 850.0]).level_index(500.0) == 1
    assert part([1000.0, 1100.0]).level_index(1100.0) == 1
    assert part(None).level_index(None) == part([500.0]).level_index(None) == 0
    refused(lambda: part([300.0, 500.0]).level_index(None), "300, 500", "give one by")
    refused(
        lambda: part(None).level_index(500.0), "has no levels, 500 is asked for", "NAME.level=null"
    )
    refused(lambda: part([300.0, 500.0], "hPa").level_index(700.0), "300, 500 hPa, not 700")
    refused(lambda: part([300.0, 500.1]).level_index(500.0), "not 500")
    refused(lambda: part([300.0, 1101.0]).level_index(300.0), "without a unit", "level_units=Pa")
    assert part([300.0, 1101.0], "m").level_index(300.0) == 0


def test_coordinates_and_times_are_shown_as_people_read_them():
    assert shown(np.float64(22.5)) == "22.5"
    assert shown(np.datetime64("2016-01-02T06:00", "s")) == "2016-01-02 06:00"


HOURS = hours("2016-01-01", 3)


def test_axes_are_found_in_the_order_they_are_stored():
    content = archive(HOURS)
    found = open_part(content, "geopotential", "file")
    assert found.variable.dims == ("time", "level", "lon", "lat")
    assert found.levels.tolist() == [300.0, 500.0, 850.0]
    assert np.array_equal(found.times, HOURS) and found.what == "file: geopotential"
    assert np.array_equal(found.lat, content["latitude"])
    assert np.array_equal(found.lon, content["longitude"])
    ground = open_part(content, "land_sea_mask", "file")
    assert ground.times is None and ground.levels is None
    assert ground.variable.dims == ("lon", "lat")


def test_a_level_of_its_own_and_axes_of_one_are_no_dimensions():
    content = archive(HOURS).sel(level=500).expand_dims(number=[3], axis=2)
    found = open_part(content, "geopotential", "file")
    assert found.variable.dims == ("time", "lon", "lat") and found.levels.tolist() == [500.0]
    assert np.array_equal(found.variable.values, content["geopotential"].values[:, :, 0])
    one = open_part(archive(HOURS[:1]), "geopotential", "file")
    assert one.variable.dims == ("time", "level", "lon", "lat") and len(one.times) == 1


def test_what_is_on_other_axes_is_refused():
    content = archive(HOURS)
    several = content.expand_dims(number=[0, 1])
    refused(lambda: open_part(several, "geopotential", "file"), "has 2 of number besides time")
    refused(lambda: open_part(content, "t", "file"), "file: holds geopotential, ", ", not t")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.drop_vars("longitude"), "x: its dimension longitude has no numbers; give"),
        (lambda d: d.isel(longitude=slice(0, 0)), "x: its longitude has no points"),
        (lambda d: d.assign_coords(latitude=[np.nan, *LAT[1:]]), "its latitude has missing"),
    ],
)
def test_an_axis_without_its_numbers_is_named(change, words):
    data = archive(hours("2016-01-01", 2))
    refused(lambda: open_part(change(data), "geopotential", "x"), words)


def test_a_level_is_known_by_five_digits():
    assert part([300.0, 500.0045, 850.0]).level_index(500.0) == 1
    refused(lambda: part([300.0, 500.006, 850.0]).level_index(500.0), "not 500")


def test_of_two_levels_the_pressure_is_taken_whatever_the_other_is_called():
    content = archive(HOURS).sel(level=500).assign_coords(height=2.0)
    content["height"].attrs = {"units": "m", "positive": "up"}
    content["level"].attrs = {"units": "hPa"}
    assert open_part(content, "geopotential", "file").levels.tolist() == [500.0]
    alone = open_part(content.drop_vars("level"), "geopotential", "file")
    assert (alone.levels.tolist(), alone.level_unit) == ([2.0], "m")


def test_levels_are_known_by_a_unit_of_pressure_alone():
    content = archive(HOURS).rename(level="surface_of")
    content["surface_of"] = content["surface_of"] * 100.0
    content["surface_of"].attrs = {"units": "Pa"}
    found = open_part(content, "geopotential", "file")
    assert (found.levels.tolist(), found.level_unit) == ([300.0, 500.0, 850.0], "hPa")


def test_rows_along_an_axis_go_before_a_place_of_the_same_kind():
    content = archive(HOURS).rename_dims(latitude="y", longitude="x")
    content = content.assign_coords(lat=52.5, lon=13.4)
    found = open_part(content, "2m_temperature", "file")
    assert found.variable.dims == ("time", "lon", "lat")
    assert np.array_equal(found.lat, content["latitude"])


ANGLES = [
    ("latitude", "radians", np.pi / 180),
    ("longitude", "radian", np.pi / 180),
    ("latitude", "degrees_south", -1.0),
    ("longitude", "degrees_west", -1.0),
    ("longitude", "degree_W", -1.0),
    ("latitude", "arcmin", 60.0),
    ("latitude", "degrees", 1.0),
    ("longitude", "degrees_E", 1.0),
    ("latitude", "of the model", 1.0),
]


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize(("name", "unit", "factor"), ANGLES)
def test_rows_and_columns_are_degrees_north_and_east_whatever_their_unit(
    name, unit, factor, bounded
):
    content = archive(HOURS)
    degrees = content[name].values
    content = content.assign_coords({name: (name, factor * degrees, {"units": unit})})
    edges = np.stack([degrees - 11.25, degrees + 11.25], 1)
    if bounded:
        content[name].attrs["bounds"] = "edges"
        content["edges"] = ((name, "two"), factor * edges)
    found = open_part(content, "2m_temperature", "file")
    k = ("latitude", "longitude").index(name)
    assert (found.lat, found.lon)[k] == pytest.approx(degrees)
    if bounded:
        assert found.cells[k].values == pytest.approx(edges)


def test_axes_that_count_southwards_and_westwards_are_found_by_their_units(tmp_path):
    content = archive(HOURS).rename(latitude="j", longitude="i")
    content = content.assign_coords(
        j=("j", -content["j"].values, {"units": "degrees_south"}),
        i=("i", (360 - content["i"].values) % 360, {"units": "degrees_west"}),
    )
    content[["2m_temperature"]].to_netcdf(tmp_path / "a.nc")
    dataset = cf_source(tmp_path, ("t2m",)).open()
    assert np.array_equal(dataset["t2m"].values, warm(HOURS, 3))
    assert np.allclose(dataset["lon"], 22.5 * np.arange(16))
