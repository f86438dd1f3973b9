"""What is declared missing is missing; what no atmosphere holds is refused with file and time."""

import shlex

import builders
import netCDF4
import numpy as np
import pytest
import xarray as xr
from archives import archive, cf_source, write_zarr, zarr_source
from builders import ABOUT, CASE_SPLITS, SPLITS, hours, write_variable
from entry import compose_config
from refusals import refused

from climate.conversion.convert import convert
from climate.sources.opening import open_source
from climate.sources.select import parse_selection
from climate.sources.weatherbench import WeatherBenchSource
from vgbdm.errors import InputError
from vgbdm.storage.sentinels import find_sentinels
from vgbdm.storage.validity import Validity, validity_of

TIMES = hours("2016-01-01", 48)
WARM = builders.warm(TIMES, 1)


def opened(root, *names, **fields):
    files = WeatherBenchSource(str(root), names, builders.FOLDERS, "constants", (), "*.nc", fields)
    return files.open()


def from_case(root, *options, source="cf_files"):
    told = ["store=s", f"source={source}", f"source.root={root}", "variables=[t2m,u10,v10]"]
    return open_source(compose_config("convert_era5", [*told, *options]))[0]


def converted(dataset, store, **options):
    convert(dataset, store, CASE_SPLITS, source=ABOUT, scheduler="synchronous", **options)


@pytest.mark.parametrize(
    ("name", "time"), [("undeclared_fill", "2010-01-26T00"), ("valid_range", "2010-01-13T12")]
)
def test_reported_cases_of_missing_values(case, tmp_path, name, time):
    dataset = from_case(case(name))
    refused(lambda: converted(dataset, tmp_path / "s"), "all.nc: t2m", "missing", time, "mend")


def test_kelvin_label_celsius_values(case, tmp_path):
    root = case("kelvin_label_celsius_values")
    message = refused(
        lambda: converted(from_case(root), tmp_path / "s"),
        "all.nc: t2m at 2010-01-01T00:00", " K, no temperature of the air", "would fit degC",
    )  # fmt: skip
    [setting] = [w.rstrip(";") for w in shlex.split(message.replace(";", " ;")) if w[:2] == "++"]
    converted(from_case(root, setting), tmp_path / "s", restart=True)


def holes(path, values, name="t2m", kind="f4", **attributes):
    """A NetCDF whose last time was never written, with no word of a fill."""
    write_variable(path, name, TIMES)
    file = next((path / builders.FOLDERS[name]).glob("*.nc"))
    with xr.open_dataset(file) as dataset:
        plain = dataset.load().drop_vars(name)
    plain.to_netcdf(file, mode="w")
    with netCDF4.Dataset(file, "a") as content:
        content.set_auto_maskandscale(False)
        variable = content.createVariable(name, kind, ("time", "lat", "lon"))
        variable.set_auto_maskandscale(False)
        variable.setncatts({"units": builders.UNITS[name], **attributes})
        variable[:-1] = values[:-1]
        variable[3, 2, 1] = netCDF4.default_fillvals[kind]


@pytest.mark.parametrize("kind", ["f4", "f8", "i2", "i4"])
def test_default_fills_of_every_type_are_missing(tmp_path, kind):
    packing = {} if kind[0] == "f" else {"scale_factor": 0.01, "add_offset": 280.0}
    stored = WARM if kind[0] == "f" else np.round((WARM - 280) / 0.01)
    holes(tmp_path, stored, kind=kind, **packing)
    field = opened(tmp_path, "t2m")["t2m"].values
    assert np.isnan(field[-1]).all() and np.isnan(field[3, 2, 1])
    assert np.isnan(field).sum() == field[0].size + 1
    assert np.nanmax(np.abs(field - WARM)) < 0.0051


@pytest.mark.parametrize(
    ("bounds", "stored"),
    [
        ({"valid_max": np.int16(3000)}, "packed"),
        ({"valid_range": np.array([-32000, 3000], np.int16)}, "packed"),
        ({"valid_max": np.float32(310.0)}, "packed"),
        ({"valid_max": np.float32(310.0)}, "plain"),
        ({"valid_range": np.array([150.0, 310.0], np.float32)}, "plain"),
    ],
)
def test_bounds_in_packed_or_in_values_units(tmp_path, bounds, stored):
    packing = (
        {"dtype": "int16", "scale_factor": 0.01, "add_offset": 280.0} if stored != "plain" else {}
    )
    values = WARM.copy()
    values[7, 3] = 340.0
    file = write_variable(tmp_path, "t2m", TIMES, values=values, **packing)
    with netCDF4.Dataset(file, "a") as content:
        content["t2m"].setncatts(bounds)
    missing = np.isnan(opened(tmp_path, "t2m")["t2m"].values)
    assert missing[7, 3].all() and missing.sum() == missing[7, 3].size


def test_a_value_at_its_bound_is_a_value():
    packed = xr.Variable(
        ("x",), np.array([-0.1, 0.7], np.float32), {"valid_range": np.array([-1, 7], np.int16)},
        {"dtype": np.dtype("int16"), "scale_factor": 0.1},
    )  # fmt: skip
    assert np.isfinite(validity_of(packed, "f: x")(packed.values)).all()
    turned = packed.copy()
    turned.encoding = packed.encoding | {"scale_factor": -0.1}
    assert validity_of(turned, "f: x").low == pytest.approx(-0.7)
    unsigned = xr.Variable(
        ("x",), np.zeros(1, np.float32), {"valid_range": np.array([0, -6], np.int8)},
        {"dtype": np.dtype("int8"), "scale_factor": 1.0, "_Unsigned": "true"},
    )  # fmt: skip
    assert validity_of(unsigned, "f: x").high == 250.0
    assert Validity()(np.zeros(0)).size == 0
    with pytest.raises(InputError, match="f: x has valid_range 'high', which is no pair"):
        validity_of(_texted(packed), "f: x")


def _texted(variable):
    told = variable.copy()
    told.attrs["valid_range"] = "high"
    return told


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("t2m", -999.0, "-999 K, no temperature of the air"),
        ("u10", 1e5, "1e+05 m s**-1, no wind"),
        ("z", 1e20, "1e+20 m**2 s**-2, no geopotential"),
        ("z", np.inf, "is inf, which is no number"),
    ],
)
def test_a_single_impossible_value_names_file_and_time(tmp_path, name, value, words):
    values = builders.warm(TIMES, 1) if name == "t2m" else builders.waves(TIMES, 0)
    values[30, 2, 5] = value
    write_variable(tmp_path, name, TIMES, values=values)
    field = opened(tmp_path, name)[name]
    field[:30].load()
    refused(
        field.load, f"{builders.FOLDERS[name]}_2016", f"{name} at 2016-01-02T06:00", words,
        "mend the file", f"leave {name} out",
    )  # fmt: skip


def test_the_remedy_of_a_period_without_that_time_works(tmp_path):
    content = archive(TIMES)
    content["geopotential"][30, 1, 3, 3] = -1e9
    root = write_zarr(content, tmp_path / "a.zarr")
    refused(zarr_source(root).open()["z"].load, "geopotential at 2016-01-02T06:00", "period=")
    early = parse_selection(["2016-01-01", "2016-01-01"], None, None, 0, None)
    assert zarr_source(root).open(early)["z"].load().sizes["time"] == 24
    assert zarr_source(root, ("z8",)).open()["z8"].load().sizes["time"] == 48


def test_celsius_labelled_kelvin_in_another_source(tmp_path):
    write_variable(tmp_path, "t2m", TIMES, values=WARM - 273.15)
    message = refused(opened(tmp_path, "t2m")["t2m"].load, "no temperature", "degC")
    assert "++source.fields.t2m.units=degC" in message
    fields = {"t2m": {"units": "degC"}}
    assert np.allclose(opened(tmp_path, "t2m", **fields)["t2m"].values, WARM, atol=1e-4)


def test_impossible_values_are_seen_before_they_are_regridded(tmp_path):
    lat, lon = builders.FINE_LAT, builders.FINE_LON
    content = archive(TIMES, lat, lon)
    content["2m_temperature"][5, 3, 3] = 130.0
    root = write_zarr(content, tmp_path / "a.zarr")
    coarse = parse_selection(None, None, None, 0, "8x16")
    refused(zarr_source(root, ("t2m",)).open(coarse)["t2m"].load, "130 K", "2016-01-01T05:00")


def test_channels_nobody_knows_have_no_bounds(tmp_path):
    content = archive(TIMES)
    content["2m_temperature"] = (content["2m_temperature"] * 0 - 1e6).assign_attrs(units="Pa")
    content.to_netcdf(tmp_path / "a.nc")
    fields = {"q": {"name": "2m_temperature"}}
    assert (cf_source(tmp_path, ("q",), fields=fields).open()["q"].values == -1e6).all()


def test_missing_values_name_the_file_among_many(tmp_path):
    for k in range(2):
        part = slice(240 * k, 240 * (k + 1))
        times = hours("2016-01-01", 480)
        values = builders.warm(times, 1)
        values[300, 0, 0] = np.nan
        write_variable(tmp_path, "t2m", times[part], values=values[part], file=f"{k}")
    dataset = opened(tmp_path, "t2m")
    refused(
        lambda: convert(dataset, tmp_path / "s", SPLITS, source=ABOUT, scheduler="synchronous"),
        "2m_temperature_1_5.625deg.nc: t2m", "2016-01-13T12",
    )  # fmt: skip


@pytest.mark.parametrize("fill", [1e20, -9999.0, 1e-3])
def test_a_fill_is_known_by_six_digits_whatever_its_size(fill):
    near, apart = (np.float32(fill * (1 + k * 1e-6)) for k in (0.8, 1.2))
    values = np.array([fill, near, apart, 2 * fill - apart, 5.0], np.float32)
    missing = np.isnan(Validity(fills=(fill,))(values))
    assert missing.tolist() == [True, True, False, False, False]


def test_packed_numbers_are_fills_and_bounds_within_half_their_spacing():
    validity = Validity(-5.0, 5.0, (-9.0,), slack=0.5)
    values = np.array([-9.4, -5.4, -4.0, 0.0, 5.4, 5.6, np.nan], np.float32)
    assert np.isnan(validity(values)).tolist() == [True, False, False, False, False, True, True]
    alone = np.array([-9.4, 1.0], np.float32)
    assert np.isnan(Validity(fills=(-9.0,), slack=0.5)(alone)).tolist() == [True, False]
    whole = np.array([-5.5, 5.5], np.float32)
    assert validity(whole) is whole


SEA = {"sst": {"name": "sst"}}


def sea(root, land, stored="f4", **declared):
    """Temperatures of a sea with land (4 rows, 5 columns) that is so many."""
    values = WARM.astype(stored)
    values[:, 2:6, 3:8] = land
    content = archive(TIMES)[["2m_temperature"]].rename({"2m_temperature": "sst"})
    content["sst"] = (("time", "latitude", "longitude"), values, {"units": "K"})
    coding = {"sst": {"_FillValue": None}}
    content.to_netcdf(root / "a.nc", encoding=coding)
    with netCDF4.Dataset(root / "a.nc", "a") as file:
        file["sst"].setncatts(declared)
    return cf_source(root, ("sst",), fields=SEA).open()["sst"].values


@pytest.mark.parametrize("fill", [-999.0, -9999.0, 1e20, -32767.0, 3.4028235e38, 1e15])
def test_undeclared_fills_of_channels_nobody_knows_are_missing_and_said(tmp_path, caplog, fill):
    values = sea(tmp_path, fill)
    assert np.isnan(values[:, 2:6, 3:8]).all() and np.isnan(values).sum() == 20 * len(TIMES)
    assert f"a.nc: sst holds {fill:.6g}, far from all its other numbers" in caplog.text
    assert caplog.text.count("far from") == 1


@pytest.mark.parametrize("fill", [1e20, -9.99e8, 1.1e5])
@pytest.mark.parametrize("stored", ["f4", "f8"])
def test_declared_fills_of_another_precision_are_missing(tmp_path, caplog, fill, stored):
    values = sea(tmp_path, np.float32(fill), stored, missing_value=np.float64(fill))
    assert np.isnan(values).sum() == 20 * len(TIMES)
    assert "far from" not in caplog.text


def test_sentinels_among_values_are_values():
    near = np.linspace(-1500, 3000, 4501)
    for values in (near, near[near >= -999], np.array([-999.0, 0.0, 2000.0]), np.zeros(0)):
        bad, found = find_sentinels(values)
        assert not found and not bad.any()
    for values in ([-999.0, 1.0, 2.0], [-999.0, -999.0, 0.0, 2000.0], [-9999.0] * 3):
        assert find_sentinels(np.array(values, np.float32))[1] == [values[0]]
    both = np.array([1e20, np.nan, 3.0, -999.0, np.inf, 4.0], np.float32)
    bad, found = find_sentinels(both)
    assert bad.tolist() == [True, False, False, True, False, False] and len(found) == 2


def test_undeclared_fills_of_a_zarr_store_are_missing(tmp_path, caplog):
    content = archive(TIMES).rename({"2m_temperature": "sst"})
    content["sst"][:, 3:8, 2:6] = -9999.0
    root = write_zarr(content, tmp_path / "a.zarr", encoding={"sst": {"chunks": (12, 16, 8)}})
    values = zarr_source(root, ("sst",), fields=SEA).open()["sst"].values
    assert np.isnan(values).sum() == 20 * len(TIMES) and "a.zarr: sst holds -9999" in caplog.text
