"""Monthly means as CDS and NCEP stamp them are stored, trained on and scored as months."""

import numpy as np
import pytest
import xarray as xr
from archives import cf_source
from builders import LAT, LON, waves
from refusals import refused
from whole_way import forecast_of_files

import vgbdm
from climate.conversion.convert import convert
from climate.conversion.monthly import MONTH
from climate.store.layout import open_store
from climate.stream.views import open_view

MONTHS = np.arange(np.datetime64("2006-01"), np.datetime64("2010-01"))
SPLITS = {"train": ["2006", "2007"], "val": ["2008", "2008"], "test": ["2009", "2009"]}


def winds():
    """Monthly winds of another year's each, ascending latitudes."""
    times = MONTHS.astype("datetime64[ns]")
    fields = {
        name: (("time", "lat", "lon"), waves(times, k), {"units": "m s-1"})
        for k, name in enumerate(("u10", "v10"))
    }
    return xr.Dataset(fields, {"time": times, "lat": LAT, "lon": LON})


def cds(data):
    """`date` YYYYMM01, in place of a time."""
    digits = np.array([int(str(month).replace("-", "") + "01") for month in MONTHS])
    data = data.rename(time="date", lat="latitude", lon="longitude")
    return data.assign_coords(date=digits).isel(latitude=slice(None, None, -1))


def ncep(data):
    """Hours since 1800."""
    hours = (MONTHS.astype("datetime64[h]") - np.datetime64("1800-01-01", "h")).astype("f8")
    return data.assign_coords(time=("time", hours, {"units": "hours since 1800-01-01 00:00:0.0"}))


def moda(data):
    """`valid_time` in the middle of each month."""
    start, end = MONTHS.astype("datetime64[h]"), (MONTHS + 1).astype("datetime64[h]")
    middle = (start + (end - start) // 2).astype("datetime64[ns]")
    return data.rename(time="valid_time").assign_coords(valid_time=middle)


@pytest.mark.parametrize("stamped", [cds, ncep, moda])
def test_files_of_monthly_means_are_stored_as_months(tmp_path, stamped):
    stamped(winds()).to_netcdf(tmp_path / "a.nc")
    fields = {name: {"name": name} for name in ("u10", "v10")}
    dataset = cf_source(tmp_path, tuple(fields), fields=fields, static={}).open()
    convert(dataset, tmp_path / "STORE", SPLITS, source={}, scheduler="synchronous")
    store = open_store(tmp_path / "STORE")
    assert store.step == MONTH and np.array_equal(store.times, MONTHS.astype("M8[s]"))
    assert np.array_equal(store.read(5, 6)[0, 0], waves(MONTHS[5:6].astype("M8[ns]"), 0)[0])
    assert open_view(store.path, MONTH).path == store.path  # no means of means
    refused(lambda: store.stride(np.timedelta64(6 * 3600, "s")), "take task=monthly")


def test_from_a_file_to_a_forecast_and_its_scores(tmp_path):
    (tmp_path / "FILES").mkdir()
    cds(winds()).to_netcdf(tmp_path / "FILES/a.nc")
    monthly = ["task=monthly", "validation.lead=1mo"]
    reading = ["variables=[u10,v10]"]
    made = forecast_of_files(tmp_path / "FILES", tmp_path, SPLITS, reading, monthly, "3mo")
    assert made.sizes["lead_time"] == 3 and np.isfinite(made["u10"].values).all()
    table = vgbdm.evaluate(vgbdm.load(tmp_path / "RUN"), tmp_path / "STORE", leads="2mo")
    rows = table[(table["row"] == "model") & (table["variable"] == "u10")]
    assert len(rows) and np.isfinite(rows["rmse_root_of_mean"]).all()
