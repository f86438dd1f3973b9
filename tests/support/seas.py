"""Small stores with a channel that has no values on land."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from builders import LAT, LON, SPLITS, hours, warm, waves

from climate.conversion.convert import convert
from climate.store.layout import TrainingStore, open_store

LAND = np.zeros((8, 16), bool)
LAND[2:6, 3:9] = True
TIMES = hours("2016-01-01", 80, 6)


def sst(times: np.ndarray = TIMES, land: np.ndarray = LAND) -> np.ndarray:
    """The wave of t2m where there is sea: (T, H, W) float32."""
    return np.where(land, np.float32(np.nan), warm(times, 1))


def sea_dataset(
    times: np.ndarray = TIMES, values: np.ndarray | None = None, name: str = "sst"
) -> xr.Dataset:
    """u10, v10 and the sea-surface temperature, or other values of another name."""
    axes, wind = ("time", "lat", "lon"), {"units": "m s-1"}
    fields = {
        "u10": (axes, waves(times, 2), wind),
        "v10": (axes, waves(times, 3), wind),
        name: (axes, sst(times) if values is None else values, {"units": "K"}),
    }
    return xr.Dataset(fields, {"time": times, "lat": LAT, "lon": LON})


def make_sea_store(path: Path, dataset: xr.Dataset | None = None, **options) -> TrainingStore:
    """A finished store of it."""
    settings = {"source": {}, "scheduler": "synchronous"} | options
    convert(sea_dataset() if dataset is None else dataset, path, SPLITS, **settings)
    return open_store(path)


def driven_dataset(times: np.ndarray = TIMES, values: np.ndarray | None = None) -> xr.Dataset:
    """The same with temperatures of the air and precipitation, which is mostly none."""
    axes, dataset = ("time", "lat", "lon"), sea_dataset(times, values)
    rain = 2e-5 * np.maximum(waves(times, 4), 0.0)
    fields = {
        "t2m": (axes, warm(times, 0), {"units": "K"}),
        "tp": (axes, rain.astype(np.float32), {"units": "m"}),
    }
    return dataset.assign(fields)


def make_driven_store(path: Path, dataset: xr.Dataset | None = None, **options) -> TrainingStore:
    """A finished store of u10, v10, sst, t2m and tp."""
    return make_sea_store(path, driven_dataset() if dataset is None else dataset, **options)
