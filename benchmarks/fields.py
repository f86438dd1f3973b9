"""Fields, stores and clocks of benchmarks/data.py.

Shapes: ``T`` times, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

CHANNELS = ("z", "t", "t2m", "u10", "v10")
HOUR = np.timedelta64(3600, "s")


def make_fields(steps: int, channels: int, height: int, width: int) -> np.ndarray:
    """Waves that travel, with noise in the last digits, as packed reanalysis has: (T, C, H, W)."""
    rng = np.random.default_rng(0)
    modes = rng.standard_normal((8, channels * height * width), np.float32)
    phases = np.arange(steps)[:, None] * (0.01 + 0.03 * np.arange(8))
    values = np.cos(phases).astype(np.float32) @ modes
    np.round(values * 512, out=values)
    values /= 512
    return values.reshape(steps, channels, height, width)


def as_dataset(values, count: int):
    """What a source gives: one variable per channel, and the static fields."""
    import xarray as xr

    height, width = values.shape[-2:]
    lat = -90 + (np.arange(height) + 0.5) * 180 / height
    coords = {
        "time": np.datetime64("2000-01-01", "ns") + np.arange(count) * np.timedelta64(1, "h"),
        "lat": lat,
        "lon": np.arange(width) * 360 / width,
    }
    names = [*CHANNELS, *(f"x{k}" for k in range(values.shape[1]))][: values.shape[1]]
    fields = {name: (("time", "lat", "lon"), values[:, c]) for c, name in enumerate(names)}
    flat = np.zeros((height, width), np.float32)
    static = dict.fromkeys(("orography", "lsm"), (("lat", "lon"), flat))
    return xr.Dataset({**fields, **static}, coords)


def split(count: int) -> dict[str, list[str]]:
    """All but the last tenth is for training."""
    times = np.datetime64("2000-01-01T00", "s") + np.arange(count) * HOUR
    a, b = count * 9 // 10, count * 19 // 20
    ends = {"train": (0, a - 1), "val": (a, b - 1), "test": (b, count - 1)}
    return {name: [str(times[i]), str(times[k])] for name, (i, k) in ends.items()}


def make_store(
    folder: Path, name: str, dataset, codec: str, threads: int, scheduler: str = "threads"
):
    """A converted store."""
    from climate.conversion.convert import convert
    from climate.store.layout import open_store

    count = dataset.sizes["time"]
    options = {"source": {}, "workers": threads, "codec": codec, "scheduler": scheduler}
    convert(dataset, folder / name, split(count), **options)
    return open_store(folder / name)


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def resident() -> int:
    """Bytes in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
