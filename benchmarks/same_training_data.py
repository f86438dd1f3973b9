"""What the trainings of `same_training` read: files made once, and stores of each checkout."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr
from same_training_runs import SYSTEMS

Launch = Callable[..., None]
"""Name of a launcher and its options; runs it to its end."""

STARTS = {"train": 16, "val": 4}
"""Trajectories of a system."""
PLAIN = ("source=cf_files", "source.fields.z.level=null", "source.fields.t.level=null", "workers=1")
SPLITS = {
    "hours": (
        "split.train=[2006-01-01,2006-12-31]", "split.val=[2007-01-01,2007-01-20]",
        "split.test=[2007-01-21,2007-02-09]",
    ),
    "months": (
        "split.train=[2006-01,2008-06]", "split.val=[2008-07,2009-06]",
        "split.test=[2009-07,2009-12]",
    ),
}  # fmt: skip
"""Training sees whole cycles of the day and the year, and so has every feature of time."""
TIMES = {
    "hours": np.arange("2006-01-01T00", "2007-02-10T00", 6, dtype="M8[h]"),
    "months": np.arange("2006-01-01", "2010-01-01", dtype="M8[D]"),
}
LAT, LON = -90 + 11.25 * (np.arange(16) + 0.5), 11.25 * np.arange(32)
FIELDS = {
    # mean, of the equator over the poles, of waves, unit
    "z": (54000.0, 3000.0, 800.0, "m2 s-2"),
    "t": (270.0, 20.0, 5.0, "K"),
    "t2m": (278.0, 30.0, 6.0, "K"),
    "u10": (2.0, 5.0, 6.0, "m s-1"),
    "v10": (0.0, 1.0, 6.0, "m s-1"),
}


def make_files(folder: Path) -> None:
    """NetCDF files of an atmosphere that is a sum of waves: a year of six hours, years of days."""
    phi, lam = np.deg2rad(LAT), np.deg2rad(LON)
    axes = {
        "lat": ("lat", LAT, {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": ("lon", LON, {"units": "degrees_east", "standard_name": "longitude"}),
    }
    land = np.float32(np.cos(phi)[:, None] * np.sin(lam + phi[:, None]) > 0.2)
    for kind, times in TIMES.items():
        place = folder / kind
        place.mkdir(parents=True)
        for k, (name, (mean, contrast, size, units)) in enumerate(FIELDS.items()):
            values = (
                mean + contrast * (np.cos(phi)[:, None] - 0.6) + size * waves(times, phi, lam, k)
            )
            array = (("time", "lat", "lon"), values.astype(np.float32), {"units": units})
            coords = axes | {"time": times.astype("M8[ns]")}
            xr.Dataset({name: array}, coords).to_netcdf(place / f"{name}.nc")
        static = {
            "orography": (("lat", "lon"), 900 * land, {"units": "m"}), "lsm": (("lat", "lon"), land)
        }  # fmt: skip
        xr.Dataset(static, axes).to_netcdf(place / "static.nc")


def waves(times: np.ndarray, phi: np.ndarray, lam: np.ndarray, seed: int) -> np.ndarray:
    """Travelling waves, cycles of day and year, and a trend, all of order 1: (T, H, W)."""
    generator = np.random.default_rng(seed)
    days = (times - times[0]) / np.timedelta64(1, "D")
    t, phi, lam = days[:, None, None] / 365.25, phi[:, None], lam[None, :]
    total = np.sin(phi) * np.cos(2 * np.pi * t) + 0.1 * t * np.cos(phi + seed)
    total = total + 0.2 * np.cos(phi) * np.cos(2 * np.pi * 365.25 * t + lam)
    for degree in (1, 2, 3, 5):
        turns, phase, tilt = generator.normal(size=3)
        wave = degree * lam - 2 * np.pi * (6 + 3 * turns) * t + phase
        total = total + np.cos(phi) * np.sin(wave + tilt * degree * phi) / degree
    return total


def make_stores(files: Path, stores: Path, kinds: set[str], launch: Launch) -> None:
    """Stores of a checkout by its own launchers: hours, months, and trajectories of systems."""
    for kind in sorted(kinds & SPLITS.keys()):
        told = (f"source.root={files}/{kind}", f"store={stores}/{kind}")
        launch("convert_era5", *PLAIN, *told, *SPLITS[kind])
    for system in sorted(kinds & set(SYSTEMS)):
        for split, count in STARTS.items():
            launch(
                "simulate_system", f"system={system}", f"out={stores}/{system}-{split}",
                f"n={count}", f"split={split}", "seed=1", "parameters=prior",
            )  # fmt: skip
