"""CF NetCDF files: times and variables split over files, calendars, and the refusals."""

import pickle

import builders
import numpy as np
import pytest
import xarray as xr
from archives import archive, cf_source
from builders import hours

from climate.sources.select import parse_selection
from vgbdm.errors import InputError

TIMES = hours("2016-02-28", 72)
HELD = {"z": (builders.waves, 1), "z8": (builders.waves, 2), "t2m": (builders.warm, 3)}


def refused(source, *words):
    with pytest.raises(InputError) as caught:
        source.open()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def write(dataset, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.to_netcdf(path, **options)


def check(dataset, times=TIMES):
    assert np.array_equal(dataset["time"], times)
    for name, (make, k) in HELD.items():
        assert np.array_equal(dataset[name].values, make(times, k))


def test_one_file_of_everything(tmp_path):
    write(archive(TIMES), tmp_path / "all.nc")
    dataset = cf_source(tmp_path).open()
    check(dataset)
    assert {"orography", "lsm"} <= set(dataset.data_vars)


def test_a_lazy_dataset_can_be_sent_to_other_processes(tmp_path):
    write(archive(TIMES), tmp_path / "all.nc")
    check(pickle.loads(pickle.dumps(cf_source(tmp_path).open())))


def test_variables_and_times_over_folders_with_boundary_steps_twice(tmp_path):
    content = archive(TIMES)
    for k, (start, stop) in enumerate([(0, 25), (24, 49), (48, 72)]):
        part = content.isel(time=slice(start, stop))
        write(part[["geopotential"]], tmp_path / f"levels/{k}.nc")
        write(part[["2m_temperature"]], tmp_path / f"surface/{2 - k}.nc")
    write(content[["land_sea_mask"]], tmp_path / "ground.nc")
    dataset = cf_source(tmp_path).open()
    check(dataset)
    assert "lsm" in dataset and "orography" not in dataset


def test_levels_in_files_of_their_own(tmp_path):
    content = archive(TIMES)
    for level in (500, 850):
        part = content[["geopotential"]].sel(level=level)
        write(part, tmp_path / f"z{level}.nc")
    write(content[["2m_temperature"]], tmp_path / "t.nc")
    check(cf_source(tmp_path).open())


def test_names_of_the_climate_data_store(tmp_path):
    content = archive(TIMES).rename(time="valid_time", level="pressure_level").expand_dims("number")
    content = content.assign_coords(number=[0], expver=("valid_time", ["0001"] * len(TIMES)))
    write(content, tmp_path / "all.nc")
    check(cf_source(tmp_path).open())


def test_fractions_of_days_are_whole_seconds(tmp_path):
    clock = {"units": "days since 1900-01-01", "dtype": "float64"}
    write(archive(TIMES), tmp_path / "all.nc", encoding={"time": clock})
    check(cf_source(tmp_path).open())


def test_times_over_a_leap_day(tmp_path):
    dataset = archive(TIMES)
    write(dataset.isel(time=slice(0, 24)), tmp_path / "feb.nc")
    write(dataset.isel(time=slice(48, 72)), tmp_path / "mar.nc")
    assert np.array_equal(cf_source(tmp_path).open()["time"], np.delete(TIMES, range(24, 48)))


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_other_calendars(tmp_path, calendar):
    content = archive(TIMES)
    other = xr.date_range("2016-02-20", periods=72, freq="h", calendar=calendar, use_cftime=True)
    write(content.assign_coords(time=other), tmp_path / "all.nc")
    refused(cf_source(tmp_path), "not the Gregorian one", calendar)


def test_duplicate_times_that_disagree(tmp_path):
    write(archive(TIMES), tmp_path / "a.nc")
    other = archive(TIMES[-2:]).map(lambda field: field + 1, keep_attrs=True)
    write(other, tmp_path / "b.nc")
    refused(cf_source(tmp_path), "b.nc", "2016-03-01 22:00", "comes twice")


def test_variables_of_other_times(tmp_path):
    content = archive(TIMES)
    write(content[["geopotential"]], tmp_path / "z.nc")
    write(content[["2m_temperature"]].isel(time=slice(0, 70)), tmp_path / "t.nc")
    refused(cf_source(tmp_path), "t.nc", "its calendar (time: 70 values")


def test_a_variable_that_only_some_files_have_is_named_with_the_file(tmp_path):
    content = archive(TIMES)
    write(content.isel(time=slice(40)), tmp_path / "a.nc")
    write(content[["geopotential"]].isel(time=slice(40, None)), tmp_path / "b.nc")
    words = "a.nc: 2m_temperature: its calendar", "b.nc: geopotential has 2016-02-29 16:00 and t2m"
    refused(cf_source(tmp_path), *words)


@pytest.mark.parametrize("other", [None, 850])
def test_times_that_are_lost_with_files_of_no_or_another_level_are_said(tmp_path, caplog, other):
    level = archive(TIMES)[["geopotential"]].sel(level=500)
    rest = level.drop_vars("level") if other is None else level.assign_coords(level=other)
    write(level.isel(time=slice(40)), tmp_path / "a.nc")
    write(rest.isel(time=slice(40, None)), tmp_path / "b.nc")
    if other is None:
        words = "b.nc: geopotential names no level", "32 times from 2016-02-29 16:00", "pattern"
        refused(cf_source(tmp_path, ("z",)), *words)
        assert cf_source(tmp_path, ("z",), pattern="a.nc").open().sizes["time"] == 40
        inside = parse_selection(["2016-02-28", "2016-02-28"], None, None, 0, None)
        assert cf_source(tmp_path, ("z",)).open(inside).sizes["time"] == 24
    else:
        assert cf_source(tmp_path, ("z",)).open().sizes["time"] == 40
        assert "b.nc: geopotential: left out" in caplog.text and "32 of its times" in caplog.text


def test_nothing_is_said_of_files_of_other_levels_at_the_same_times(tmp_path, caplog):
    content = archive(TIMES)[["geopotential"]]
    for level in (500, 850):
        write(content.sel(level=level), tmp_path / f"{level}.nc")
    ground = content.sel(level=300, drop=True).isel(time=[0])
    write(ground.assign_coords(time=[np.datetime64("1979-01-01", "ns")]), tmp_path / "ground.nc")
    assert cf_source(tmp_path, ("z",)).open().sizes["time"] == 72
    assert not caplog.text


def test_what_is_not_there(tmp_path):
    refused(cf_source(tmp_path / "none"), "no such folder")
    refused(cf_source(tmp_path), "no file **/*.nc")
    for pattern in ("/data/*.nc", "/"):
        refused(cf_source(tmp_path, pattern=pattern), f"source.pattern={pattern}: want one inside")
    refused(cf_source(tmp_path, pattern=None), "no file that ends in .nc", "source.pattern others")
    (tmp_path / "zarr.json").touch()
    refused(cf_source(tmp_path, pattern=None), "is a Zarr store; give source=weatherbench2")


def test_files_are_found_by_their_endings_or_named_alone(tmp_path):
    content = archive(TIMES)
    write(content.isel(time=slice(30)), tmp_path / "a [1]/A.NC4")
    write(content.isel(time=slice(30, None)), tmp_path / "b.nc")
    for other in ("._b.nc", "readme.txt", "c.nc.part"):
        (tmp_path / other).write_text("nothing of the kind")
    check(cf_source(tmp_path, pattern=None).open())
    check(cf_source(tmp_path / "b.nc").open(), TIMES[30:])
    check(cf_source(tmp_path, pattern="a [1]/A.NC4").open(), TIMES[:30])


def test_no_times(tmp_path):
    write(archive(TIMES).isel(time=0), tmp_path / "a.nc")
    refused(cf_source(tmp_path), "holds 1 time; at least 2 are needed")
    (tmp_path / "a.nc").unlink()
    write(archive(TIMES).isel(time=0).drop_vars("time"), tmp_path / "a.nc")
    refused(cf_source(tmp_path), "has no time", "the coordinate time")
    write(archive(TIMES).assign_coords(time=np.arange(72)), tmp_path / "b/a.nc")
    refused(cf_source(tmp_path / "b"), "times cannot be read")


@pytest.mark.parametrize("names", [("time",), ("valid_time",), ("valid_time", "time")])
def test_one_time_to_a_file_that_is_no_dimension(tmp_path, names):
    content = archive(TIMES)
    for k in range(8):
        one = content.isel(time=k)
        stamped = dict.fromkeys(names[:1], one["time"].variable)
        if len(names) > 1:  # of a forecast, valid_time is what its values are of
            stamped["time"] = one["time"].variable - np.timedelta64(6, "h")
        write(one.drop_vars("time").assign_coords(stamped), tmp_path / f"{7 - k}.nc")
    dataset = cf_source(tmp_path).open()
    check(dataset, TIMES[:8])
    assert {"orography", "lsm"} <= set(dataset.data_vars)
    assert np.array_equal(dataset["t2m"][5:2:-2], builders.warm(TIMES, 3)[5:2:-2])


def test_one_time_to_a_file_with_the_bounds_of_its_interval(tmp_path):
    content = archive(TIMES)[["2m_temperature"]]
    content["2m_temperature"].attrs["cell_methods"] = "time: mean"
    ends = np.stack([TIMES, TIMES + np.timedelta64(1, "h")], 1)
    content["time"].attrs["bounds"] = "time_bnds"
    content = content.assign_coords(time_bnds=(("time", "two"), ends))
    write(content, tmp_path / "whole/a.nc")
    for k in range(24):
        write(content.isel(time=k), tmp_path / f"single/{k}.nc")
    six = parse_selection(None, "6h", None, 0, None)
    whole, single = (
        cf_source(tmp_path / name, ("t2m",)).open(six)["t2m"] for name in ("whole", "single")
    )
    assert np.array_equal(single["time"], whole["time"][: single.sizes["time"]])
    assert single.sizes["time"] == 4 and np.array_equal(single, whole[:4])


def test_settings_that_nothing_would_read_are_refused(tmp_path):
    write(archive(TIMES), tmp_path / "all.nc")
    for entry, words in (
        ({"absent": "fill"}, ("t2m.absent=fill", "is no Zarr store; leave it out")),
        ({"levl": 500}, ("t2m.levl: no such setting", "level")),
    ):
        source = cf_source(
            tmp_path, variables=("t2m",), fields={"t2m": {"name": "2m_temperature"} | entry}
        )
        refused(source, *words)


@pytest.mark.parametrize("count", [12, 13])
def test_up_to_twelve_variables_that_are_there_are_named(tmp_path, count):
    held = archive(hours("2016-01-01", 2))[["2m_temperature"]]
    names = [f"v{k:02d}" for k in range(count)]
    many = held.assign(dict.fromkeys(names, held["2m_temperature"])).drop_vars("2m_temperature")
    many.to_netcdf(tmp_path / "a.nc")
    shown = ", ".join(names[:12]) + (" …" if count > 12 else "")
    with pytest.raises(InputError) as caught:
        cf_source(tmp_path, ("t2m",)).open()
    assert str(caught.value).endswith(f": no variable 2m_temperature there; it holds {shown}")
