"""Static fields: which file, level and time is meant; what is ambiguous is refused."""

import shlex

import numpy as np
import pytest
import xarray as xr
from archives import FIELDS, STATIC, archive, cf_source, write_zarr, zarr_source
from builders import LAT, LON, hours, source, write_constants, write_variable
from entry import compose_config
from refusals import refused

from climate.sources.opening import open_source
from climate.sources.select import parse_selection

TIMES = hours("2016-01-01", 24)
GROUND = "geopotential_at_surface"


def told(message):
    """The settings that a message names, as the configuration of `orography` takes them."""
    words = [word.rstrip(",;") for word in shlex.split(message) if word.startswith("++")]
    pairs = [word.removeprefix("++source.static.orography.").split("=", 1) for word in words]
    return {key: value.strip('"') for key, value in pairs}


def with_static(root, make=cf_source, **entry):
    static = STATIC | {"orography": STATIC["orography"] | entry}
    return make(root, ("z",), fields={"z": FIELDS["z"]}, static=static).open()


def test_static_in_file(case):
    cfg = compose_config(
        "convert_era5",
        ["store=s", "source=cf_files", f"source.root={case('static_in_file')}", "variables=[z]",
         "source.static.orography.name=z"],
    )  # fmt: skip
    field = open_source(cfg)[0]["orography"]
    assert field.attrs["units"] == "m"
    assert np.allclose(field.values, 500.0)


def test_files_that_differ_are_refused_and_one_can_be_named(tmp_path):
    content = archive(TIMES)
    content[["geopotential"]].to_netcdf(tmp_path / "z.nc")
    content[[GROUND]].to_netcdf(tmp_path / "a.nc")
    content[[GROUND]].to_netcdf(tmp_path / "b.nc")
    assert with_static(tmp_path)["orography"].values.max() == pytest.approx(900)
    (content[[GROUND]] * 2).to_netcdf(tmp_path / "c.nc")
    message = refused(lambda: with_static(tmp_path), "a.nc", "c.nc", "hold other values")
    assert told(message) == {"file": "a.nc"}
    assert with_static(tmp_path, file="a.nc")["orography"].values.max() == pytest.approx(900)
    assert with_static(tmp_path, file="c*")["orography"].values.max() == pytest.approx(1800)
    refused(lambda: with_static(tmp_path, file="d.nc"), "names no file", "a.nc, b.nc, c.nc")


def test_a_level_can_be_named_and_must_be_where_there_is_no_ground(tmp_path):
    archive(TIMES[:1]).to_netcdf(tmp_path / "a.nc")
    archive(TIMES).rename(geopotential="z")[["z"]].to_netcdf(tmp_path / "z.nc")
    fields = {"z": {"name": "z", "level": 500}}

    def make(**entry):
        static = {"orography": {"name": "geopotential", **entry}}
        return cf_source(tmp_path, ("z",), fields=fields, static=static).open()["orography"]

    refused(make, "a.nc: geopotential has the levels 300, 500, 850", "orography.level=")
    assert np.array_equal(make(level=850).values * 9.80665 > 0, make(level=850).values > 0)
    assert not np.array_equal(make(level=850).values, make(level=300).values)
    refused(lambda: make(level=700), "level=700")


def test_what_changes_with_time_is_refused_and_a_time_can_be_named(tmp_path):
    content = archive(TIMES)
    grown = np.arange(24, dtype=np.float32)[:, None, None] * content[GROUND].values
    content[GROUND] = (("time", "longitude", "latitude"), grown)
    root = write_zarr(content, tmp_path / "a.zarr")
    message = refused(lambda: with_static(root, zarr_source), GROUND, "changes with time")
    assert told(message) == {"time": "2016-01-01T00:00", "name": "none"}
    named = with_static(root, zarr_source, time="2016-01-01T02:00")["orography"]
    assert named.values.max() == pytest.approx(1800)
    refused(lambda: with_static(root, zarr_source, time="2017-01-01"), "has no such time")
    assert "orography" not in with_static(root, zarr_source, name="none")


def test_constants_of_weatherbench_that_differ(tmp_path):
    write_variable(tmp_path, "z", TIMES)
    first = write_constants(tmp_path)
    other = first.with_name("other_5.625deg.nc")
    other.write_bytes(first.read_bytes())
    assert "lsm" in source(tmp_path, ("z",)).open()
    write_constants(tmp_path, LAT, LON)
    with xr.open_dataset(first) as dataset:
        changed = dataset.load()
    (changed + 1).to_netcdf(other)
    refused(source(tmp_path, ("z",)).open, "other_5.625deg.nc", "move the wrong file away")


def test_a_static_field_whose_chunk_is_absent(tmp_path):
    content = archive(TIMES)
    content["land_sea_mask"] = xr.ones_like(content["land_sea_mask"])
    root = write_zarr(content, tmp_path / "a.zarr", zarr_format=3)
    name = "land_sea_mask"
    (tmp_path / "a.zarr" / name / "c/0/0").unlink()
    refused(zarr_source(root, ("z",)).open, name, "++source.static.lsm.absent=fill")


def test_a_field_on_another_grid_can_be_left_out_or_brought_to_it(tmp_path):
    archive(TIMES)[["geopotential"]].to_netcdf(tmp_path / "z.nc")
    fine = archive(TIMES, lat=np.arange(-84.375, 90, 11.25), lon=np.arange(0.0, 360.0, 11.25))
    fine[[GROUND]].to_netcdf(tmp_path / "g.nc")
    said = refused(lambda: with_static(tmp_path), "g.nc: orography is on another grid", "regrid=")
    entry = told(said)
    assert entry == {"name": "none"} and "orography" not in with_static(tmp_path, **entry)
    source = cf_source(tmp_path, ("z",), fields={"z": FIELDS["z"]})
    assert source.open(parse_selection(None, None, None, 0, "6x16"))["orography"].shape == (6, 16)


@pytest.mark.parametrize(
    ("name", "attributes", "told"),
    [
        ("a", {"flag_values": np.arange(3)}, "categories"),
        ("a", {"flag_values": "0, 1, 2"}, "categories"),
        ("a", {"flag_meanings": "sea land ice"}, "categories"),
        ("a", {"flag_masks": np.array([1, 2])}, "categories"),
        ("a", {"short_name": "a", "GRIB_shortName": "tvh", "units": "~"}, "categories"),
        ("soil_type", {}, "categories"),
        ("SOTYP", {"long_name": "Soil Type"}, "categories"),
        ("a", {"long_name": "Mean wave direction", "units": "degrees"}, "directions"),
        ("a", {"standard_name": "wind_from_direction", "units": "Degree true"}, "directions"),
        ("anor", {"units": "radians"}, "directions"),
        ("a", {"flag_values": np.arange(2), "flag_meanings": "0: sea, 1: land"}, None),
        ("a", {"flag_masks": 1, "flag_meanings": "land"}, None),
        ("a", {"long_name": "direction", "units": "1"}, None),
        ("a", {"long_name": "gradient in x direction", "units": "degC km-1"}, None),
        ("a", {"standard_name": "sea_surface_wave_directional_spread", "units": "degree"}, None),
        ("angle", {"units": "degrees"}, None),
    ],
)
def test_no_means_are_made_of_what_has_none(tmp_path, name, attributes, told):
    content = archive(TIMES).rename(land_sea_mask=name)
    content[name].attrs = attributes
    content.to_netcdf(tmp_path / "a.nc")
    static = {"ground": {"name": name}}
    made = cf_source(tmp_path, ("z",), static=static)
    whole = made.open()["ground"]
    regrid = parse_selection(None, None, None, 0, "6x16")
    if told is None:
        assert made.open(regrid)["ground"].mean() == pytest.approx(float(whole.mean()), abs=0.1)
    else:
        refused(lambda: made.open(regrid), f"{name}", f"holds {told}", "leave it out")
        same = parse_selection(None, None, None, 0, "8x16")
        assert np.array_equal(made.open(same)["ground"], whole)
