"""Situations that people report: right values, or one true line whose remedy works.

Each is called as in the folder of reported situations, and its kind tried with another input.
"""

import resource
import shlex
import subprocess
import sys
from pathlib import Path

import cftime
import netCDF4
import numpy as np
import pytest
import xarray as xr
from archives import archive, cf_source
from builders import CASE_SPLITS, hours, source, warm, waves, write_variable
from entry import compose_config
from refusals import refused

from climate.conversion.convert import convert
from climate.grids.grid import Grid
from climate.sources.opening import open_source
from climate.sources.select import parse_selection
from climate.store.layout import open_store
from vgbdm.errors import InputError

REPO = Path(__file__).resolve().parents[3]
TIMES = hours("2016-02-28", 72)
MEAN, STD = 281.987, 15.1527
"""Of t2m in training, K."""


def opened(root, variables="[t2m,u10,v10]", *more):
    told = ["store=s", "source=cf_files", f"source.root={root}", f"variables={variables}", *more]
    return open_source(compose_config("convert_era5", told))[0]


def check(dataset, tmp_path, mean=MEAN, std=STD):
    """The statistics of the first channel."""
    convert(dataset, tmp_path / "store", CASE_SPLITS, source={}, scheduler="synchronous")
    held = open_store(tmp_path / "store").statistics
    assert held.mean[0] == pytest.approx(mean, rel=1e-5)
    assert held.std[0] == pytest.approx(std, rel=1e-4)


def test_reference(case, tmp_path):
    check(opened(case("reference")), tmp_path)


def test_reference_in_zarr(case, tmp_path):
    told = ["store=s", "source=weatherbench2", f"source.root={case('reference')}/all.zarr"]
    dataset = open_source(compose_config("convert_era5", [*told, "variables=[t2m,u10,v10]"]))[0]
    check(dataset, tmp_path)


def test_new_cds(case, tmp_path):
    level = "source.fields.t.level=500"
    dataset = opened(case("new_cds"), "[z,t]", level)
    assert np.array_equal(dataset["time"], hours("2010-01-01", 240, 6))
    check(dataset, tmp_path, 54998, 2385.89)


def test_scalar_coordinates_of_other_names(tmp_path):
    content = archive(TIMES).rename(time="valid_time").assign_coords(realization=0, surface=0.0)
    content = content.assign_coords(version=("valid_time", ["a"] * 72))
    content.isel(latitude=slice(None, None, -1)).to_netcdf(tmp_path / "a.nc")
    assert np.array_equal(cf_source(tmp_path).open()["z"].values, waves(TIMES, 1))


def test_old_expver(case, tmp_path):
    """As in the case, final values where they are there and preliminary ones after them."""
    check(opened(case("old_expver")), tmp_path)


def test_members_are_chosen_first(tmp_path):
    content = archive(TIMES).expand_dims(number=[0, 1])
    content.to_netcdf(tmp_path / "a.nc")
    refused(lambda: cf_source(tmp_path).open(), "has 2 of number besides time", "choose one")
    (tmp_path / "one").mkdir()
    content.isel(number=1).to_netcdf(tmp_path / "one/a.nc")
    assert np.array_equal(cf_source(tmp_path / "one").open()["t2m"].values, warm(TIMES, 3))


@pytest.mark.parametrize("name", ["number", "realization", "member", "ensemble", "r"])
@pytest.mark.parametrize("other", [0, 5])
def test_files_of_several_members_are_no_series(tmp_path, name, other):
    for file, value, part in (("a", 0, slice(40)), ("b", other, slice(40, None))):
        content = archive(TIMES).isel(time=part).assign_coords({name: value})
        content[name].attrs = {"standard_name": "realization"} if name == "r" else {}
        content.to_netcdf(tmp_path / f"{file}.nc")
    if not other:
        assert cf_source(tmp_path).open().sizes["time"] == 72
        return
    words = f"b.nc: geopotential is of {name} 5", f"a.nc: geopotential of {name} 0", "pattern"
    refused(lambda: cf_source(tmp_path).open(), *words)
    assert cf_source(tmp_path, pattern="b*.nc").open().sizes["time"] == 32


def test_a_variable_of_another_member_and_one_that_does_not_say(tmp_path):
    content, files = archive(TIMES), ("geopotential", "2m_temperature")
    for held, number in zip(files, (0, 1), strict=True):
        one = content[[held]].expand_dims(number=[number]) if number else content[[held]]
        one.to_netcdf(tmp_path / f"{held}.nc")
    assert cf_source(tmp_path).open().sizes["time"] == 72
    content[[files[0]]].assign_coords(number=0).to_netcdf(tmp_path / f"{files[0]}.nc")
    refused(lambda: cf_source(tmp_path).open(), "2m_temperature.nc: 2m_temperature is of number 1")


def test_a_weatherbench_folder_of_several_members(tmp_path):
    for k in range(2):
        path = write_variable(tmp_path, "z", TIMES[36 * k : 36 * k + 36], file=f"{k}")
        content = xr.load_dataset(path).assign_coords(number=3 * k)
        content.to_netcdf(path)
    refused(lambda: source(tmp_path, ("z",)).open(), "_1_5.625deg.nc: z is of number 3", "number 0")


def test_packed_differently(case, tmp_path):
    root = case("packed_differently")
    dataset = opened(root)
    assert np.array_equal(dataset["lon"], 5.625 * np.arange(64))
    check(dataset, tmp_path)
    exact = opened(case("reference"))
    assert np.abs(dataset["t2m"].values - exact["t2m"].values).max() < 1e-3


def test_packed_in_one_file_and_not_in_the_other(tmp_path):
    content = archive(TIMES)
    packing = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -32767}
    content.isel(time=slice(40)).to_netcdf(tmp_path / "a.nc", encoding={"2m_temperature": packing})
    content.isel(time=slice(40, None)).to_netcdf(tmp_path / "b.nc")
    values = cf_source(tmp_path, variables=("t2m",)).open()["t2m"].values
    assert np.abs(values - warm(TIMES, 3)).max() < 6e-3
    assert np.array_equal(values[40:], warm(TIMES, 3)[40:])


def test_interval_middle(case, tmp_path):
    dataset = opened(case("interval_middle"))
    assert np.array_equal(dataset["time"], hours("2010-01-01T03", 240, 6))
    check(dataset, tmp_path)


def test_times_at_half_past(tmp_path):
    content = archive(TIMES + np.timedelta64(30, "m"))
    content.to_netcdf(tmp_path / "a.nc")
    dataset = cf_source(tmp_path).open()
    assert np.array_equal(dataset["time"], TIMES + np.timedelta64(30, "m"))
    six = parse_selection(None, "6h", None, 0, None)
    refused(
        lambda: cf_source(tmp_path).open(six), "no time at whole steps", "first is 2016-02-28 00:30"
    )


def test_year_one(case, tmp_path):
    dataset = opened(case("year_one"))
    assert np.array_equal(dataset["time"], hours("2010-01-01", 240, 6))
    check(dataset, tmp_path)


@pytest.mark.parametrize("since", ["1500-06-01", "1582-10-15", "1800-01-01"])
def test_other_old_origins_in_the_mixed_calendar(tmp_path, since):
    archive(TIMES).drop_vars("time").to_netcdf(tmp_path / "a.nc")
    text = np.datetime_as_string(TIMES, "h")
    days = [[int(part) for part in (*t[:10].split("-"), t[11:13])] for t in text]
    dates = [cftime.datetime(*day, calendar="standard") for day in days]
    with netCDF4.Dataset(tmp_path / "a.nc", "a") as file:
        time = file.createVariable("time", "f8", ("time",))
        time.units, time.calendar = f"days since {since}", "standard"
        time[:] = cftime.date2num(dates, time.units, "standard")
    assert np.array_equal(cf_source(tmp_path).open()["time"], TIMES)


def test_cyclic_longitude(case, tmp_path):
    root = case("cyclic_longitude")
    refused(lambda: opened(root), "longitude 0 comes twice; drop one first")
    (tmp_path / "mended").mkdir()
    xr.load_dataset(root / "all.nc").isel(longitude=slice(-1)).to_netcdf(tmp_path / "mended/a.nc")
    check(opened(tmp_path / "mended"), tmp_path)


def test_a_seam_at_180(tmp_path):
    lon = -180.0 + 22.5 * np.arange(17)
    archive(TIMES, lon=lon).to_netcdf(tmp_path / "a.nc")
    refused(lambda: cf_source(tmp_path).open(), "longitude 180 comes twice; drop one first")


def test_cds_area(case, tmp_path):
    root = case("cds_area")
    dataset = opened(root)
    assert np.array_equal(dataset["lat"], np.arange(34.0, 73.0))
    assert np.array_equal(dataset["lon"], np.arange(-12.0, 41.0))
    stored = xr.load_dataset(root / "europe.nc")
    assert np.array_equal(dataset["t2m"].values, stored["t2m"].values[:, ::-1])


def test_a_box_across_the_date_line(tmp_path):
    lat, lon = np.arange(-40.0, -9.0, 2.0), np.append(np.arange(160.0, 180.0, 2.0), -180.0)
    archive(TIMES, lat, lon).to_netcdf(tmp_path / "a.nc")
    dataset = cf_source(tmp_path).open()
    assert np.array_equal(dataset["lon"], np.arange(160.0, 181.0, 2.0))
    assert np.array_equal(dataset["z"].values, waves(TIMES, 1, lat, lon))


@pytest.mark.slow
def test_many_files(case, tmp_path, monkeypatch):
    """A process may open 200 files; there are 720."""
    root = case("many_files")
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, allowed[1]))
    try:
        check(opened(root), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, allowed)


def test_accumulated_rain(case):
    root = case("accumulated_rain")
    more = "+source.fields.tp={name: tp}"
    dataset = opened(root, "[u10,v10,tp]", more)
    stored = xr.load_dataset(root / "all.nc")["tp"].values
    assert np.array_equal(dataset["tp"].values, stored)
    said = refused(
        lambda: opened(root, "[u10,v10,tp]", more, "step=12h"), "tp looks like a sum or a mean"
    )
    point = "++source.fields.tp.method=point"
    assert point in said
    twelve = opened(root, "[u10,v10,tp]", more, point, "step=12h")
    assert np.array_equal(twelve["tp"].values, stored[::2])


def test_zip_named_nc(case, tmp_path):
    check(opened(case("zip_named_nc")), tmp_path)


def test_half_cell_longitudes(case, tmp_path):
    root = case("half_cell_longitudes")
    said = refused(lambda: opened(root), "longitudes must start at 0, they start at 2.8125; give")
    assert "regrid=32x64" in said
    dataset = opened(root, "[t2m,u10,v10]", "regrid=32x64")
    stored = xr.load_dataset(root / "all.nc")
    assert np.array_equal(dataset["lon"], 5.625 * np.arange(64))
    for name in ("t2m", "u10"):
        beside = stored[name].values.astype(float)
        mean = (beside + np.roll(beside, 1, -1)) / 2
        assert dataset[name].values == pytest.approx(mean, rel=1e-6)
    convert(dataset, tmp_path / "store", CASE_SPLITS, source={}, scheduler="synchronous")
    assert open_store(tmp_path / "store").statistics.mean[0] == pytest.approx(MEAN, rel=1e-5)


@pytest.mark.parametrize(
    ("lon", "start"), [(np.arange(-178.0, 180.0, 4.0), "2"), (np.arange(1.0, 360.0, 2.0), "1")]
)
def test_other_longitudes_that_do_not_start_at_0(tmp_path, lon, start):
    archive(TIMES, lon=lon).to_netcdf(tmp_path / "a.nc")
    refused(lambda: cf_source(tmp_path).open(), f"must start at 0, they start at {start};")
    refused(lambda: Grid(np.arange(-89.0, 90.0, 2.0), np.arange(180.0)), "evenly spaced")


def test_nc_groups(case, tmp_path):
    root = case("nc_groups")
    refused(lambda: opened(root), "all.nc: holds its variables in the groups instant;", "ncks -G :")
    (tmp_path / "mended").mkdir()
    xr.open_dataset(root / "all.nc", group="instant").to_netcdf(tmp_path / "mended/all.nc")
    check(opened(tmp_path / "mended"), tmp_path)


@pytest.mark.parametrize(
    ("at_top", "group"),
    [([], "data/instant"), (["time", "latitude", "longitude", "level"], "forecast"),
     (["time", "latitude", "longitude", "level"], "data/forecast"), (["land_sea_mask"], "instant")],
)  # fmt: skip
def test_the_remedy_of_groups_works_however_deep_they_are(tmp_path, at_top, group):
    content = archive(TIMES)
    if at_top:
        content[at_top].to_netcdf(tmp_path / "a.nc")
    own = at_top == ["land_sea_mask"]
    rest = content if own else content.drop_vars(at_top)
    rest.to_netcdf(tmp_path / "a.nc", group=group, mode="a" if at_top else "w")
    said = refused(lambda: cf_source(tmp_path).open(), "a.nc", f" {group}", "ncks -G : OLD NEW")
    statement = said.partition("by xarray: ")[2].replace("OLD", "old").replace("NEW", "new")
    (tmp_path / "new").mkdir()
    names = {"xr": xr, "old": tmp_path / "a.nc", "new": tmp_path / "new/all.nc"}
    exec(statement, names)
    mended = cf_source(tmp_path / "new").open()
    assert np.array_equal(mended["t2m"].values, warm(TIMES, 3))
    if own:
        assert "no variable geopotential there; it holds land_sea_mask; " in said


def test_several_groups(tmp_path):
    for name in ("surface", "levels"):
        archive(TIMES).to_netcdf(tmp_path / "a.nc", group=name, mode="a")
    refused(lambda: cf_source(tmp_path).open(), "in the groups surface, levels")


READ = ("é", "[a]", "a:b", "two  spaces", "(brackets)", "-", "a;b", "µ/ß", "@here")
NOT_READ = ("[a, b", "a=b", "x,y", "{braces}", "a~b", "#1", "50%", "a'b", "(a", "*", 'a"b')


@pytest.mark.parametrize("name", [*READ, *NOT_READ])
def test_odd_paths(name):
    """They are taken as they are, or the line says how to quote them, and that works."""
    path = f"/data/{name}/x"
    try:
        cfg = compose_config("convert_era5", ["store=s", f"source.root={path}"])
    except InputError as error:
        message = str(error)
        assert "\n" not in message and f"source.root={path}: not readable" in message
        (told,) = shlex.split(message.partition("quote the value: ")[2])
        cfg = compose_config("convert_era5", ["store=s", told])
    assert cfg.source.root == path


def test_an_odd_path_is_one_line(tmp_path):
    line = subprocess.run(
        [sys.executable, REPO / "launch/convert_era5.py", "source.root=/data/x,y", "store=s"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert line.returncode == 2 and line.stderr.count("\n") == 1
    assert "quote the value: 'source.root=\"/data/x,y\"'" in line.stderr


@pytest.mark.parametrize("value", ["~/st", '"~/st"', "'~/st'"])
def test_the_home_folder(value, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "my home"))
    cfg = compose_config("convert_era5", [f"store={value}", 'source.root="a~/b"'])
    assert cfg.store == f"{tmp_path}/my home/st"
    assert cfg.source.root == "a~/b"
