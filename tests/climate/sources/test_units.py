"""One unit over all files of a channel: converted and said, or refused in one line."""

import logging
import shlex
from types import SimpleNamespace

import builders
import numpy as np
import pytest
import xarray as xr
from archives import archive, cf_source, write_zarr, zarr_source
from builders import hours, source, write_constants, write_variable
from entry import compose_config
from refusals import refused

from climate.conventions.units import Conversion
from climate.sources import meaning
from climate.sources.opening import open_source
from climate.sources.weatherbench import WeatherBenchSource

TIMES = hours("2016-01-01", 48)
WARM = 280 + builders.waves(TIMES, 1)


def opened(root, *names, **fields):
    files = WeatherBenchSource(
        str(root), names, builders.FOLDERS, "constants", ("orography", "lsm"), "*.nc", fields
    )
    return files.open()


def halves(root, first, second, *units):
    for k, (values, unit) in enumerate(zip((first, second), units, strict=True)):
        part = slice(24 * k, 24 * (k + 1))
        write_variable(root, "t2m", TIMES[part], values=values[part], file=f"{k}", units=unit)


def test_files_of_other_units_become_one(tmp_path, caplog):
    halves(tmp_path, WARM, WARM - 273.15, "K", "degC")
    with caplog.at_level(logging.INFO):
        dataset = opened(tmp_path, "t2m")
    assert "t2m: degC is converted to K" in caplog.text and "2m_temperature_1" in caplog.text
    assert dataset["t2m"].attrs["units"] == "K"
    assert np.allclose(dataset["t2m"].values, WARM, atol=1e-4)
    assert dataset["t2m"].dtype == np.float32


def test_fahrenheit_then_kelvin(tmp_path):
    halves(tmp_path, (WARM - 273.15) * 1.8 + 32, WARM, "degF", "Kelvin")
    assert np.allclose(opened(tmp_path, "t2m")["t2m"].values, WARM, atol=1e-4)


def test_knots_become_metres_per_second(tmp_path):
    write_variable(tmp_path, "u10", TIMES, values=builders.waves(TIMES, 2), units="knots")
    field = opened(tmp_path, "u10")["u10"]
    assert field.attrs["units"] == "m s-1"
    assert np.allclose(field.values, 0.514444 * builders.waves(TIMES, 2), atol=1e-3)


@pytest.mark.parametrize(("unit", "factor"), [("gpm", 9.80665), ("m", 9.80665), ("dam", 98.0665)])
def test_geopotential_height_becomes_geopotential(tmp_path, unit, factor):
    write_variable(tmp_path, "z", TIMES, units=unit)
    field = opened(tmp_path, "z")["z"]
    assert field.attrs["units"] == "m2 s-2"
    assert np.allclose(field.values, factor * builders.waves(TIMES, 0), rtol=1e-6)


@pytest.mark.parametrize("unit", ["Pa", "furlongish", "C m"])
def test_another_quantity_or_no_unit_is_refused_naming_the_file(tmp_path, unit):
    halves(tmp_path, WARM, WARM, "K", unit)
    remedy = "++source.fields.t2m.units=K"
    refused(lambda: opened(tmp_path, "t2m"), "2m_temperature_1", repr(unit), remedy)


@pytest.mark.parametrize(
    ("name", "values", "field", "fits"),
    [
        ("t2m", WARM, {}, "K"),
        ("t2m", WARM - 273.15, {}, "degC"),
        ("z", 54000 + builders.waves(TIMES, 0), {"level": 500}, "m2 s-2"),
        ("z", 5500 + builders.waves(TIMES, 0), {"level": 500}, "m"),
        ("u10", builders.waves(TIMES, 2), {}, "m s-1"),
    ],
)
def test_a_file_without_a_unit_says_which_would_fit_and_the_remedy_works(
    tmp_path, name, values, field, fits
):
    write_variable(tmp_path, name, TIMES, values=values.astype(np.float32), units=None)
    message = refused(lambda: opened(tmp_path, name, **{name: field}), "has no unit", "would fit")
    [setting] = [word for word in shlex.split(message) if word.startswith("++")]
    cfg = compose_config(
        "convert_era5", ["store=s", f"source.root={tmp_path}", f"variables=[{name}]", setting]
    )
    assert cfg.source.fields[name].units == fits
    dataset, _ = open_source(cfg)
    assert np.isfinite(dataset[name].values).all()


def test_a_unit_that_is_said_goes_before_a_label(tmp_path, caplog):
    write_variable(tmp_path, "t2m", TIMES, values=WARM - 273.15, units="K")
    with caplog.at_level(logging.INFO):
        dataset = opened(tmp_path, "t2m", t2m={"units": "degC"})
    assert "the files say K" in caplog.text
    assert np.allclose(dataset["t2m"].values, WARM, atol=1e-4)


def test_a_channel_nobody_knows_keeps_its_unit_and_agrees_over_files(tmp_path):
    for k, (unit, factor) in enumerate((("g kg**-1", 1000.0), ("kg kg**-1", 1.0))):
        part = archive(TIMES[24 * k : 24 * (k + 1)])[["2m_temperature"]]
        part["2m_temperature"] = (part["2m_temperature"] * factor).assign_attrs(units=unit)
        part.to_netcdf(tmp_path / f"{k}.nc")
    fields = {"q2": {"name": "2m_temperature"}}
    dataset = cf_source(tmp_path, ("q2",), fields=fields).open()
    assert dataset["q2"].attrs["units"] == "g kg**-1"
    assert np.allclose(dataset["q2"].values, 1000 * builders.warm(TIMES, 3), rtol=1e-5)
    part["2m_temperature"].attrs["units"] = "Pa"
    part.to_netcdf(tmp_path / "2.nc")
    refused(cf_source(tmp_path, ("q2",), fields=fields).open, "2.nc", "'Pa'", "g kg**-1")
    (tmp_path / "2.nc").unlink()
    del part["2m_temperature"].attrs["units"]
    part.to_netcdf(tmp_path / "3.nc")
    refused(cf_source(tmp_path, ("q2",), fields=fields).open, "3.nc", "no unit", "q2.units=")


def test_levels_of_one_variable_with_units_of_their_own(tmp_path):
    root = write_zarr(archive(TIMES), tmp_path / "a.zarr")
    fields = {
        "z": {"name": "geopotential", "level": 500},
        "q": {"name": "geopotential", "level": 850},
    }
    dataset = zarr_source(root, ("z", "q"), fields=fields).open()
    assert [dataset[n].attrs["units"] for n in ("z", "q")] == ["m2 s-2", "m**2 s**-2"]
    assert np.array_equal(dataset["q"].values, builders.waves(TIMES, 2))


def test_differences_have_no_offset(tmp_path):
    path = write_variable(tmp_path, "t2m", TIMES, values=builders.waves(TIMES, 1), units="degC")
    with xr.open_dataset(path) as dataset:
        content = dataset.load()
    content["t2m"].attrs["units_metadata"] = "temperature: difference"
    content.to_netcdf(path)
    assert np.array_equal(opened(tmp_path, "t2m")["t2m"].values, builders.waves(TIMES, 1))


def test_files_that_share_a_time_agree_but_for_rounding(tmp_path):
    write_variable(tmp_path, "t2m", TIMES[:25], values=WARM[:25], file="a")
    write_variable(
        tmp_path, "t2m", TIMES[24:], values=WARM[24:] - np.float32(273.15), file="b", units="degC"
    )
    assert opened(tmp_path, "t2m").sizes["time"] == 48


def test_static_fields_have_known_units(tmp_path):
    write_variable(tmp_path, "z", TIMES)
    path = write_constants(tmp_path)
    with xr.open_dataset(path) as dataset:
        content = dataset.load()
    content["orography"] = (content["orography"] * 9.80665).assign_attrs(units="m**2 s**-2")
    content["lsm"] = (content["lsm"] * 100).assign_attrs(units="%")
    content.to_netcdf(path)
    dataset = source(tmp_path, ("z",)).open()
    assert set(np.unique(dataset["orography"].values).round(2)) == {0.0, 900.0}
    assert set(np.unique(dataset["lsm"].values)) == {0.0, 1.0}
    assert [dataset[n].attrs["units"] for n in ("orography", "lsm")] == ["m", "1"]
    content["lsm"].attrs["units"] = "K"
    content.to_netcdf(path)
    refused(source(tmp_path, ("z",)).open, "constants_5.625deg.nc: lsm", "'K'", "leave it out")


TRAIN = ["2010-01-01", "2010-02-05"]


def from_case(root):
    cfg = compose_config(
        "convert_era5",
        ["store=s", "source=cf_files", f"source.root={root}", "variables=[t2m,u10,v10]"],
    )
    return open_source(cfg)[0]


@pytest.mark.parametrize("name", ["mixed_units_over_files", "celsius"])
def test_reported_cases_become_kelvin(case, name):
    field = from_case(case(name))["t2m"].sel(time=slice(*TRAIN))
    weights = np.cos(np.deg2rad(field["lat"])) / np.cos(np.deg2rad(field["lat"])).mean()
    mean = float((field * weights).mean())
    assert mean == pytest.approx(281.987, abs=2e-3)
    assert float(((field - mean) ** 2 * weights).mean()) ** 0.5 == pytest.approx(15.1527, abs=2e-3)
    assert field.attrs["units"] == "K"


def test_a_setting_for_a_field_nobody_knows_is_refused(tmp_path):
    write_variable(tmp_path, "z", TIMES)
    refused(lambda: opened(tmp_path, "z", zz={"units": "m"}), "source.fields.zz", "known are")
    archive(TIMES).to_netcdf(tmp_path / "a.nc")
    fields = {"t2m": {"name": "2m_temperature"}, "tm2": {"units": "degC"}}
    refused(lambda: cf_source(tmp_path, ("t2m",), fields=fields), "source.fields.tm2", "t2m")


def test_a_label_that_is_overruled_is_said_and_one_that_agrees_is_not(caplog):
    caplog.set_level(logging.INFO)
    parts = [SimpleNamespace(units=unit, where=f"{unit}.nc") for unit in ("m", "km", "m", None)]
    none = [Conversion()] * 4
    meaning._say("z", "m", parts, None, none)
    meaning._say("z", "m", [parts[0], parts[3]], "m", none[:2])
    assert not caplog.messages
    meaning._say("z", "m", parts, "m", none)
    meaning._say("z", "m", parts, "ft", [Conversion(0.3048)] * 2 + none[:2])
    told = "z: taken in {}, as source.fields.z.units says; the files say {}"
    assert caplog.messages == [
        told.format("m", "km"),
        "z: ft is converted to m (m.nc and 1 more)",
        told.format("ft", "km, m"),
    ]


def test_a_channel_nobody_knows_in_no_unit_is_refused():
    part = SimpleNamespace(what="a.nc: q")
    refused(lambda: meaning._own("q", part, "a lot"), "a.nc: q is in 'a lot', which is no unit")
    assert meaning._own("q", part, "kg kg**-1") == "kg kg**-1"


@pytest.mark.parametrize(
    ("label", "fits", "factor", "level", "height"),
    [
        ("m**2 s**-2", "m", 1.0, 850, 1457.0),
        ("m**2 s**-2", "m", 1.0, 500, 5574.0),
        ("m**2 s**-2", "m", 1.0, 10, 31055.0),
        ("gpm", "m2 s-2", 9.80665, 850, 1457.0),
        ("gpm", "m2 s-2", 9.80665, 500, 5574.0),
    ],
)
def test_a_height_labelled_as_geopotential_and_the_reverse(
    tmp_path, label, fits, factor, level, height
):
    """Heights of the standard atmosphere."""
    values = np.float32(factor * height) + builders.waves(TIMES, 0)
    write_variable(tmp_path, "z", TIMES, values=values, units=label)
    told = ["store=s", f"source.root={tmp_path}", "variables=[z]", f"source.fields.z.level={level}"]

    def read(*more):
        return open_source(compose_config("convert_era5", [*told, *more]))[0]["z"].values

    message = refused(read, f"z at {level} hPa is", f"would fit {fits}:")
    words = shlex.split(message)
    says, confirms = [word.rstrip(";,") for word in words if word.startswith("++")]
    assert np.allclose(read(says), values * (9.80665 if fits == "m" else 1.0), rtol=1e-6)
    assert read(confirms).shape == values.shape


def test_geopotential_that_no_other_unit_explains_passes(tmp_path):
    for name, values, level in (("right", 1300.0, 1000), ("anomaly", 0.0, 500), ("low", 2e3, 925)):
        write_variable(tmp_path / name, "z", TIMES, values=values + builders.waves(TIMES, 0))
        dataset = opened(tmp_path / name, "z", z={"level": level})
        assert np.isfinite(dataset["z"].values).all()
