"""One forecast is a series of its valid times; ERA5T fills what ERA5 has not yet."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from archives import archive, cf_source, write_zarr, zarr_source
from builders import hours, warm, waves
from refusals import refused

TIMES = hours("2016-01-01", 24, 6)
START = TIMES[0]
UNITS = {"hours": 1.0, "h": 1.0, "days": 24.0, "nanoseconds": 1 / 3.6e12, "minutes": 1 / 60}


def opened(root, *variables):
    return cf_source(root, variables or ("z", "z8", "t2m"), pattern=None).open()


def one_forecast(units="hours", dim="step", **about):
    data = archive(TIMES).rename(time=dim)
    leads = 6 * np.arange(len(TIMES)) / UNITS[units]
    return data.assign_coords({dim: (dim, leads, {"units": units, **about}), "time": START})


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("whole", [True, False])
def test_valid_times_are_initial_time_and_step(tmp_path, units, whole):
    data = one_forecast(units)
    (data.expand_dims("time") if whole else data).to_netcdf(tmp_path / "a.nc")
    dataset = opened(tmp_path)
    assert np.array_equal(dataset["time"], TIMES)
    assert np.array_equal(dataset["z"].values, waves(TIMES, 1))
    assert np.array_equal(dataset["t2m"].isel(time=[3, 7]).values, warm(TIMES[[3, 7]], 3))


def test_valid_times_that_are_stored_are_taken(case):
    """The layout that cfgrib gives a forecast."""
    root = case("time_and_step")
    fields = {name: {"name": name} for name in ("t2m", "u10", "v10")}
    dataset = cf_source(root, tuple(fields), fields=fields, static={}, pattern=None).open()
    assert np.array_equal(dataset["time"], hours("2010-01-01", 61, 6))


@pytest.mark.parametrize("kind", ["times", "one"])
@pytest.mark.parametrize("step", [6, 0])
def test_the_only_lead_of_a_file_is_added_to_its_initial_times(tmp_path, kind, step):
    """As cfgrib gives forecasts of one step; a scalar coordinate was passed over."""
    data = archive(TIMES).assign_coords(step=((), step, {"units": "hours"}))
    if kind == "times":
        data.to_netcdf(tmp_path / "a.nc")
    else:
        for k in range(len(TIMES)):
            data.isel(time=k).to_netcdf(tmp_path / f"{k:02}.nc")
    assert np.array_equal(opened(tmp_path)["time"], TIMES + np.timedelta64(step, "h"))


def test_the_only_lead_of_valid_times_is_not_added(tmp_path):
    data = archive(TIMES).assign_coords(step=((), 6, {"units": "hours"}))
    data.assign_coords(valid_time=("time", TIMES)).to_netcdf(tmp_path / "a.nc")
    assert np.array_equal(opened(tmp_path)["time"], TIMES)
    del data["step"].attrs["units"]
    data.to_netcdf(tmp_path / "a.nc")
    refused(lambda: opened(tmp_path), "step 6 before what it holds", "no unit of time")


@pytest.mark.parametrize("name", ["forecast_period", "step"])
def test_times_beside_a_reference_time_or_a_period_of_cf_are_valid(tmp_path, name):
    """As Iris writes forecasts: time is when they are valid, whatever lies beside it."""
    about = {"units": "hours", "standard_name": "forecast_period"}
    data = archive(TIMES).assign_coords({name: ((), 6, about)})
    if name == "step":
        data = data.assign_coords(forecast_reference_time=("time", TIMES - np.timedelta64(6, "h")))
    data.to_netcdf(tmp_path / "a.nc")
    assert np.array_equal(opened(tmp_path)["time"], TIMES)


def test_leads_are_known_by_their_standard_name(tmp_path):
    data = one_forecast(dim="hence", standard_name="forecast_period")
    data.to_netcdf(tmp_path / "a.nc")
    assert np.array_equal(opened(tmp_path)["time"], TIMES)
    del data["hence"].attrs["standard_name"]
    data.to_netcdf(tmp_path / "b.nc")
    (tmp_path / "a.nc").unlink()
    refused(lambda: opened(tmp_path), "has 24 of hence besides time", "choose one of them first")


def test_leads_without_a_unit_say_so(tmp_path):
    data = one_forecast()
    del data["step"].attrs["units"]
    data.to_netcdf(tmp_path / "a.nc")
    refused(lambda: opened(tmp_path), "24 of step after the initial time 2016-01-01", "no unit of")
    data["step"].attrs["units"] = "hours"
    data.to_netcdf(tmp_path / "b.nc")
    (tmp_path / "a.nc").unlink()
    assert np.array_equal(opened(tmp_path)["time"], TIMES)


def test_forecasts_of_many_initial_times_are_named(tmp_path):
    content = archive(hours("2016-01-01", 12, 12)).expand_dims(lead_time=[0, 6, 12])
    content.to_netcdf(tmp_path / "a.nc")
    words = (
        "3 of lead_time for each of 12 initial times",
        "forecasts, not a series",
        "choose one of",
    )
    refused(lambda: opened(tmp_path), *words)


def test_forecasts_that_overlap_in_files_of_their_own_are_named(tmp_path):
    for k, start in enumerate(TIMES[[0, 4]]):
        data = archive(start + np.arange(8) * np.timedelta64(6, "h"))
        data["2m_temperature"] = (data["2m_temperature"] + k).assign_attrs(units="K")
        step = ("step", 6 * np.arange(8), {"units": "hours"})
        data = data.rename(time="step").assign_coords(step=step, time=start)
        data.to_netcdf(tmp_path / f"{k}.nc")
        data.isel(step=slice(4)).to_netcdf(tmp_path / f"{k}.cut")
    said = refused(
        lambda: opened(tmp_path, "t2m"), "1.nc: 2016-01-02 comes of the forecasts from 2016-01-01 "
        "and from 2016-01-02", "no series of states", "keep one of each time",
    )  # fmt: skip
    assert "wrong file" not in said and "leads before 24 h of each" in said
    for k in range(2):
        (tmp_path / f"{k}.cut").rename(tmp_path / f"{k}.nc")
    assert len(opened(tmp_path, "t2m")["time"]) == 8


@pytest.mark.parametrize("versions", [[1, 5], [5, 1], ["0001", "0005"], [1.0, 5.0]])
def test_preliminary_values_stand_where_there_are_no_final_ones(tmp_path, versions):
    data = archive(TIMES)
    late = xr.DataArray(np.arange(24) >= 18, dims="time")
    final, early = data.where(~late), data.where(late)
    early["2m_temperature"][20, 3, 4] = np.nan
    final = final.map(lambda held: held if "time" in held.dims else data[held.name])
    early["2m_temperature"][2, 3, 4] = 250.0  # the final value is there
    both = [final, early] if str(versions[0]).startswith(("1", "0001")) else [early, final]
    whole = xr.concat([one[["geopotential", "2m_temperature"]] for one in both],
                      xr.Variable("expver", versions))  # fmt: skip
    for name in whole.data_vars:
        whole[name].attrs = data[name].attrs
    packing = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -32767,
               "chunksizes": (1, 8, 16, 8)}  # fmt: skip
    whole.to_netcdf(tmp_path / "a.nc", encoding={"2m_temperature": packing})
    dataset = opened(tmp_path)
    assert np.array_equal(dataset["z8"].values, waves(TIMES, 2))
    wanted = warm(TIMES, 3)
    wanted[20, 4, 3] = np.nan
    assert np.allclose(dataset["t2m"].values, wanted, atol=6e-3, equal_nan=True)


@pytest.mark.parametrize("version", [2, 3])
def test_versions_in_a_zarr_store_are_merged_and_a_lost_chunk_is_named(tmp_path, version):
    data = archive(TIMES)[["2m_temperature"]]
    late = xr.DataArray(np.arange(24) >= 18, dims="time")
    both = xr.concat([data.where(~late), data.where(late)], xr.Variable("expver", [1, 5]))
    both = both.transpose("time", "expver", ...)
    both["2m_temperature"].attrs["units"] = "K"
    coding = {"2m_temperature": {"chunks": (6, 1, 16, 8)}}
    root = write_zarr(
        both, tmp_path / "a.zarr", encoding=coding, zarr_format=version, consolidated=False
    )
    held = Path(root, "2m_temperature")  # older xarray and Zarr fill by 0, and write what is NaN
    if version == 3:
        document = json.loads((held / "zarr.json").read_text()) | {"fill_value": "NaN"}
        (held / "zarr.json").write_text(json.dumps(document))
    for chunk in ("3.0.0.0", "0.1.0.0", "1.1.0.0", "2.1.0.0"):
        name = chunk if version == 2 else "c/" + chunk.replace(".", "/")
        (held / name).unlink(missing_ok=True)
    fields = {"t2m": {"name": "2m_temperature", "absent": "fill"}}
    assert np.array_equal(
        zarr_source(root, ("t2m",), fields=fields).open()["t2m"].values, warm(TIMES, 3)
    )
    refused(
        zarr_source(root, ("t2m",)).open()["t2m"].load, "2016-01-01T00:00 … 2016-01-02T06:00",
        "would read as nan", "t2m.absent=fill",
    )  # fmt: skip


def test_other_versions_are_to_be_chosen(tmp_path):
    data = archive(TIMES)
    xr.concat([data, data], xr.Variable("expver", [1, 7])).to_netcdf(tmp_path / "a.nc")
    refused(lambda: opened(tmp_path), "has 2 of expver besides time", "choose one of them first")
