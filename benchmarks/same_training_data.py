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
HOURS = (
    "step=6h", "coarsen=2", "split.train=[2006-01-01,2006-01-14]",
    "split.val=[2006-01-15,2006-01-17]", "split.test=[2006-01-18,2006-01-20]",
)  # fmt: skip
MONTHS = (
    "source=cf_files", "split.train=[2006-01,2008-06]", "split.val=[2008-07,2009-06]",
    "split.test=[2009-07,2009-12]", "source.fields.z.level=null", "source.fields.t.level=null",
)  # fmt: skip
FIELDS = {
    # mean, of the equator over the poles, of waves, unit
    "z": (54000.0, 3000.0, 800.0, "m2 s-2"),
    "t": (270.0, 20.0, 5.0, "K"),
    "t2m": (278.0, 30.0, 6.0, "K"),
    "u10": (2.0, 5.0, 6.0, "m s-1"),
    "v10": (0.0, 1.0, 6.0, "m s-1"),
}


def make_files(folder: Path, launch: Launch) -> None:
    """A sample of hours by a checkout's launcher, and four years of days that are sums of waves."""
    launch(
        "make_sample", f"out={folder}/hours", "days=20", "seed=1", "spin_up_days=2", "truncation=10"
    )
    times = np.arange("2006-01-01", "2010-01-01", dtype="M8[D]")
    lat, lon = -90 + 11.25 * (np.arange(16) + 0.5), 11.25 * np.arange(32)
    place = folder / "months"
    place.mkdir()
    for k, (name, (mean, contrast, size, units)) in enumerate(FIELDS.items()):
        values = mean + contrast * (np.cos(np.deg2rad(lat))[:, None] - 0.6)
        values = values + size * waves(times, np.deg2rad(lat), np.deg2rad(lon), k)
        axes = {
            "time": times.astype("M8[ns]"),
            "lat": ("lat", lat, {"units": "degrees_north", "standard_name": "latitude"}),
            "lon": ("lon", lon, {"units": "degrees_east", "standard_name": "longitude"}),
        }
        array = (("time", "lat", "lon"), values.astype(np.float32), {"units": units})
        xr.Dataset({name: array}, axes).to_netcdf(place / f"{name}.nc")


def waves(times: np.ndarray, phi: np.ndarray, lam: np.ndarray, seed: int) -> np.ndarray:
    """Travelling waves, a cycle of the year and a trend, all of order 1: (T, H, W)."""
    generator = np.random.default_rng(seed)
    t = (times - times[0]).astype(float)[:, None, None] / 365.25
    phi, lam = phi[:, None], lam[None, :]
    total = np.sin(phi) * np.cos(2 * np.pi * t) + 0.1 * t * np.cos(phi + seed)
    for degree in (1, 2, 3, 5):
        turns, phase, tilt = generator.normal(size=3)
        wave = degree * lam - 2 * np.pi * (6 + 3 * turns) * t + phase
        total = total + np.cos(phi) * np.sin(wave + tilt * degree * phi) / degree
    return total


def make_stores(files: Path, stores: Path, kinds: set[str], launch: Launch) -> None:
    """Stores of a checkout by its own launchers: hours, months, and trajectories of systems."""
    for kind, options in (("hours", HOURS), ("months", MONTHS)):
        if kind in kinds:
            told = (f"source.root={files}/{kind}", f"store={stores}/{kind}", "workers=1")
            launch("convert_era5", *told, *options)
    for system in kinds & set(SYSTEMS):
        for split, count in STARTS.items():
            launch(
                "simulate_system", f"system={system}", f"out={stores}/{system}-{split}",
                f"n={count}", f"split={split}", "seed=1", "parameters=prior",
            )  # fmt: skip
