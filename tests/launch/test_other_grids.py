"""Gaussian files and later ones offset by half a cell: one store, trained on and forecast."""

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from builders import SPLITS, hours, waves
from processes import finish

from climate.grids.named import parse_grid
from climate.store.layout import open_store

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
GAUSSIAN = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(24)[0]))[::-1]
CENTRED = -90 + 7.5 * (np.arange(24) + 0.5)
AROUND = 7.5 * np.arange(48)
NAMES = ("z", "u10", "v10")


def launch(name, *options, code=0):
    done = finish([sys.executable, LAUNCH / f"{name}.py", *options], code)
    return done.stdout if code == 0 else done.stderr


def write(folder, lat, lon, times):
    units = ("m2 s-2", "m s-1", "m s-1")
    fields = {
        name: (("time", "lat", "lon"), waves(times, k, lat, lon), {"units": unit})
        for k, (name, unit) in enumerate(zip(NAMES, units, strict=True))
    }
    folder.mkdir()
    coords = {"time": times, "lat": lat, "lon": lon}
    xr.Dataset(fields, coords).to_netcdf(folder / "a.nc")
    return f"source.root={folder}"


def test_files_on_other_grids_are_trained_on_and_forecast(tmp_path):
    early, late = hours("2016-01-01", 15 * 24), hours("2016-01-16", 5 * 24)
    gaussian = write(tmp_path / "gaussian", GAUSSIAN, AROUND, early)
    offset = write(tmp_path / "offset", CENTRED, AROUND + 3.75, late)
    path = tmp_path / "store"
    told = [f"store={path}", "source=cf_files", f"variables=[{','.join(NAMES)}]",
            "source.fields.z.level=null"]  # fmt: skip
    train = f"split.train=[{','.join(SPLITS['train'])}]"
    within = [train, "split.val=[2016-01-13,2016-01-14]",
              "split.test=[2016-01-15,2016-01-15]"]  # fmt: skip
    said = launch("convert_era5", gaussian, *told, *within, code=2)
    assert "a Gaussian grid of 24 latitudes; give regrid=24x48, or a coarser grid" in said
    launch("convert_era5", gaussian, *told, *within, "regrid=22.5")
    later = [train, "split.val=[2016-01-13,2016-01-15]", "split.test=[2016-01-16,2016-01-20]"]
    launch("convert_era5", offset, *told, *later, "append=true", f"regrid.like={path}")
    store, grid = open_store(path), parse_grid("8x16")
    assert np.array_equal(store.lat, grid.lat) and len(store.times) == 20 * 24
    smooth = waves(store.times, 0, grid.lat, grid.lon)
    assert store.read(0, 480)[:, 0] == pytest.approx(smooth, abs=0.8)  # of 10: means, not points
    run = f"run_dir={tmp_path}/run"
    launch("train_era5", f"store={path}", run, "size=tiny", "backend=single",
           "trainer.total_steps=3", "trainer.validations=1", "validation.starts=2",
           "validation.lead=6h")  # fmt: skip
    launch("forecast_era5", run, f"store={path}", f"out={tmp_path}/forecast", "leads=12h")
    with xr.open_zarr(tmp_path / "forecast", consolidated=False) as forecast:
        assert np.array_equal(forecast["lat"], grid.lat) and np.isfinite(forecast["z"]).all()
