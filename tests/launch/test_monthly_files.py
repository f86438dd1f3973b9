"""Months as input: task=monthly trains from files of monthly means, converted and checked."""

import sys
from pathlib import Path

import numpy as np
import xarray as xr
from builders import LAT, LON, SPLITS, waves
from processes import finish

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
MONTHS = np.arange(np.datetime64("2006-01"), np.datetime64("2010-01"))


def launch(name, *options, code=0):
    done = finish([sys.executable, LAUNCH / f"{name}.py", *options], code)
    return done.stdout if code == 0 else done.stderr


def test_monthly_files_are_trained_on(tmp_path):
    stamps = (MONTHS.astype("datetime64[D]") + 14).astype("datetime64[ns]")
    fields = {
        name: (("time", "lat", "lon"), waves(stamps, k), {"units": "m s-1"})
        for k, name in enumerate(("u10", "v10"))
    }
    (tmp_path / "files").mkdir()
    coords = {"time": stamps, "lat": LAT, "lon": LON}
    xr.Dataset(fields, coords).to_netcdf(tmp_path / "files" / "a.nc")
    periods = zip(SPLITS, ("2006,2007", "2008,2008", "2009,2009"), strict=True)
    store = f"store={tmp_path}/store"
    said = launch(
        "convert_era5", "source=cf_files", f"source.root={tmp_path}/files", store,
        "variables=[u10,v10]", *(f"split.{name}=[{ends}]" for name, ends in periods),
    )  # fmt: skip
    assert "24 times, 20 windows of 5 states 1 month apart" in said
    options = ["size=tiny", "batch=8", "trainer.total_steps=2", "trainer.validations=1"]
    launch("train_era5", store, f"run_dir={tmp_path}/run", "task=monthly", *options)
    assert (tmp_path / "run" / "checkpoints").is_dir()
    refused = launch("train_era5", store, f"run_dir={tmp_path}/hourly", *options, code=2)
    assert "not a multiple of the store's step, 1 month; take task=monthly" in refused
