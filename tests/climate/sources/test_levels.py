"""Levels by the unit of their coordinate; all files of a channel are of one."""

import shlex

import builders
import numpy as np
import pytest
import xarray as xr
from archives import archive, cf_source, write_zarr, zarr_source
from builders import FOLDERS, hours, write_variable
from entry import compose_config

from climate.sources.opening import open_source
from climate.sources.weatherbench import WeatherBenchSource
from vgbdm.errors import InputError

TIMES = hours("2016-01-01", 48)
HPA = np.array([300.0, 500.0, 850.0])


def refused(make, *words):
    with pytest.raises(InputError) as caught:
        make()
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def with_levels(values, name="level", **attributes):
    content = archive(TIMES)[["geopotential"]].rename(level=name)
    return content.assign_coords({name: (name, values, attributes)})


@pytest.mark.parametrize(
    ("values", "attributes"),
    [
        (HPA * 100, {"units": "Pa"}),
        (HPA * 100, {"units": "Pa", "positive": "up"}),
        (HPA, {"units": "hPa", "positive": "down"}),
        (HPA, {"units": "millibars"}),
        (HPA, {"units": "mb"}),
        (HPA / 10, {"units": "kPa"}),
        (HPA, {}),
    ],
)
@pytest.mark.parametrize("name", ["level", "plev", "p_axis"])
def test_a_level_is_500_hpa_whatever_the_unit(tmp_path, values, attributes, name):
    if name == "p_axis" and not attributes:
        attributes = {"positive": "down"}  # else nothing says that it is vertical
    root = write_zarr(with_levels(values, name, **attributes), tmp_path / "a.zarr")
    field = zarr_source(root, ("z",)).open()["z"]
    assert np.array_equal(field.values, builders.waves(TIMES, 1))


def test_500_pa_is_not_500_hpa(tmp_path):
    root = write_zarr(with_levels([50000.0, 500.0, 100.0], "plev", units="Pa"), tmp_path / "a.zarr")
    assert np.array_equal(zarr_source(root, ("z",)).open()["z"].values, builders.waves(TIMES, 0))


def test_pressures_without_a_unit_that_cannot_be_hpa(tmp_path):
    root = write_zarr(with_levels([50000.0, 500.0, 100.0], "plev"), tmp_path / "a.zarr")
    refused(zarr_source(root, ("z",)).open, "50000, 500, 100 without a unit", "level_units=Pa")
    fields = {"z": {"name": "geopotential", "level": 500, "level_units": "Pa"}}
    dataset = zarr_source(root, ("z",), fields=fields).open()
    assert np.array_equal(dataset["z"].values, builders.waves(TIMES, 0))


def test_heights_and_depths_are_in_their_own_unit(tmp_path):
    up = with_levels([10.0, 50.0, 100.0], "height", units="m", positive="up")
    root = write_zarr(up, tmp_path / "a.zarr")
    stranger = {"wind": {"name": "geopotential", "level": 100}}
    dataset = zarr_source(root, ("wind",), fields=stranger).open()
    assert np.array_equal(dataset["wind"].values, builders.waves(TIMES, 2))
    said = {"z": {"name": "geopotential", "level": 100, "level_units": "m"}}
    assert np.array_equal(zarr_source(root, ("z",), fields=said).open()["z"], dataset["wind"])
    refused(zarr_source(tmp_path / "a.zarr", ("z",)).open, "10, 50, 100 m, not 500")


NO_PRESSURES = [
    ("height", {"units": "m", "positive": "up"}),
    ("height", {}),
    ("level", {"units": "km"}),
    ("level", {"units": "K"}),
    ("lev", {"units": "level", "positive": "down"}),
    ("lev", {"units": "hybrid level"}),
    ("hybrid", {"units": "1", "positive": "down"}),
    ("hybrid", {"units": "level", "positive": "down"}),
    ("level", {"standard_name": "atmosphere_hybrid_sigma_pressure_coordinate"}),
    ("lev", {"units": "hPa", "standard_name": "atmosphere_hybrid_sigma_pressure_coordinate"}),
    ("level", {"long_name": "model level number"}),
]


@pytest.mark.parametrize(("name", "attributes"), NO_PRESSURES)
def test_heights_and_numbers_of_levels_are_no_pressures_of_known_channels(
    tmp_path, name, attributes
):
    with_levels(HPA, name, **attributes).to_netcdf(tmp_path / "a.nc")
    told = ["store=s", "source=cf_files", f"source.root={tmp_path}", "variables=[z]"]
    told.append("source.fields.z.name=geopotential")
    with pytest.raises(InputError) as caught:
        open_source(compose_config("convert_era5", told))
    message = str(caught.value)
    assert "no pressures, z is of 500 hPa" in message and f"along {name}" in message
    [say] = [word for word in shlex.split(message) if word.startswith("++")]
    field = open_source(compose_config("convert_era5", [*told, say]))[0]["z"]
    assert np.array_equal(field.values, builders.waves(TIMES, 1))


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("level", {"units": "1"}),
        ("lev", {"standard_name": "air_pressure", "positive": "down"}),
        ("plev", {"units": "millibars", "long_name": "pressure level"}),
        ("pressure_level", {"long_name": "pressure", "units": "hPa", "stored_direction": "up"}),
        ("isobaricInhPa", {"units": "hPa", "standard_name": "air_pressure"}),
    ],
)
def test_levels_that_may_be_pressures_are(tmp_path, name, attributes):
    with_levels(HPA, name, **attributes).to_netcdf(tmp_path / "a.nc")
    field = cf_source(tmp_path, ("z",)).open()["z"]
    assert np.array_equal(field.values, builders.waves(TIMES, 1))


def test_a_file_in_pa_and_one_in_hpa_are_of_one_level(tmp_path):
    for k, (factor, unit) in enumerate(((100.0, "Pa"), (1.0, "hPa"))):
        part = with_levels(HPA * factor, units=unit).isel(time=slice(24 * k, 24 * (k + 1)))
        part.to_netcdf(tmp_path / f"{k}.nc")
    dataset = cf_source(tmp_path, ("z",)).open()
    assert np.array_equal(dataset["z"].values, builders.waves(TIMES, 1))


def test_files_of_other_levels_without_a_level_asked_for(tmp_path):
    for k, level in enumerate((500, 850)):
        part = with_levels(HPA, units="hPa").sel(level=level).isel(time=slice(24 * k, 24 * k + 24))
        part.to_netcdf(tmp_path / f"{k}.nc")
    source = cf_source(tmp_path, ("z",), fields={"z": {"name": "geopotential"}})
    refused(source.open, "1.nc", "850 hPa", "500 hPa", "source.fields.z.level")


def folder(root, *levels, unit="millibars"):
    for k, level in enumerate(levels):
        path = write_variable(root, "z", TIMES[24 * k : 24 * k + 24], file=f"{k}")
        if level is not None:
            with xr.open_dataset(path) as dataset:
                content = dataset.load()
            path.unlink()
            content.assign_coords(level=((), level, {"units": unit})).to_netcdf(path)


def weatherbench(root, **fields):
    return WeatherBenchSource(str(root), ("z",), FOLDERS, "constants", (), "*.nc", fields)


def test_a_weatherbench_folder_is_of_one_level(tmp_path):
    folder(tmp_path, 500, 850)
    refused(weatherbench(tmp_path).open, "geopotential_500_1", "850 hPa", "500 hPa")
    refused(weatherbench(tmp_path, z={"level": 500}).open, "geopotential_500_1", "850", "500")


@pytest.mark.parametrize("levels", [(500, 500), (None, None), (500, None)])
def test_a_weatherbench_folder_of_its_level(tmp_path, levels):
    folder(tmp_path, *levels)
    field = weatherbench(tmp_path, z={"level": 500}).open()["z"]
    assert np.array_equal(field.values, np.concatenate([builders.waves(TIMES, 0)]))


def test_a_weatherbench_level_in_pa(tmp_path):
    folder(tmp_path, 50000, unit="Pa")
    assert weatherbench(tmp_path, z={"level": 500}).open().sizes["time"] == 24
    refused(weatherbench(tmp_path, z={"level": 850}).open, "500 hPa, not 850", "fields.z.level")


def test_the_reported_level_in_pa(case):
    given = ["store=s", "source=cf_files", f"source.root={case('levels_in_pa')}"]
    cfg = compose_config("convert_era5", [*given, "variables=[z,u10,v10]"])
    field = open_source(cfg)[0]["z"].sel(time=slice("2010-01-01", "2010-02-05"))
    mean = field.weighted(np.cos(np.deg2rad(field["lat"]))).mean()
    assert float(mean) == pytest.approx(54998, abs=1)


def test_the_reported_levels_in_one_folder(case):
    given = ["store=s", f"source.root={case('mixed_levels_in_folder')}", "variables=[z]"]
    cfg = compose_config("convert_era5", given)
    refused(lambda: open_source(cfg), "geopotential_500_1_5.625deg.nc", "850 hPa")


def test_a_level_that_comes_twice_is_refused(tmp_path):
    content = archive(TIMES).assign_coords(level=("level", [500, 500, 850], {"units": "hPa"}))
    content.to_netcdf(tmp_path / "a.nc")
    refused(
        lambda: cf_source(tmp_path).open(), "a.nc: geopotential: level 500 hPa comes twice",
        "drop one first",
    )  # fmt: skip
