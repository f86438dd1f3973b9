"""Stores and forecasts of 1.5° that are made up, for benchmarks of memory.

Shapes: ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HEIGHT, WIDTH = 121, 240
FIRST, SIX = np.datetime64("2000-01-01", "ns"), np.timedelta64(6, "h")
VALIDATION = 8
"""Steps of validation."""


@dataclass(frozen=True)
class Case:
    """What is made up.

    Attributes:
        channels: of the store.
        training: steps of six hours that are trained on.
        starts: of the forecast, six hours apart.
        leads: of six hours.
    """

    channels: int
    training: int
    starts: int
    leads: int

    @property
    def first_start(self) -> int:
        """Index of the first start: after training and a few steps of validation."""
        return self.training + VALIDATION

    @property
    def times(self) -> int:
        """Steps of the store."""
        return self.first_start + self.starts + self.leads

    def name(self, channel: int) -> str:
        """Of a channel."""
        return ("z", "t", "t2m", "u10", "v10")[channel] if channel < 5 else f"x{channel}"

    def field(self, channel: int, step: int) -> np.ndarray:
        """A map (H, W) of blocks that a codec makes small."""
        noise = np.random.default_rng(channel).standard_normal((HEIGHT // 11, WIDTH // 10))
        phase = np.cos(0.3 * step + channel)
        return np.kron(noise * phase, np.ones((11, 10))).astype(np.float32)


def make_store(case: Case, path: Path) -> None:
    """Convert made-up fields."""
    import dask.array as da
    import xarray as xr

    from climate.conversion.convert import convert

    def lazy(channel: int) -> Any:
        def make(block_info: Any) -> np.ndarray:
            first, last = block_info[None]["array-location"][0]
            return np.stack([case.field(channel, step) for step in range(first, last)])

        steps = tuple(min(16, case.times - at) for at in range(0, case.times, 16))
        return da.map_blocks(make, chunks=(steps, (HEIGHT,), (WIDTH,)), dtype="f4")

    fields = {case.name(c): (("time", "lat", "lon"), lazy(c)) for c in range(case.channels)}
    flat = ("lat", "lon"), np.zeros((HEIGHT, WIDTH), np.float32)
    coords = {
        "time": FIRST + np.arange(case.times) * SIX,
        "lat": np.linspace(-90, 90, HEIGHT),
        "lon": np.arange(WIDTH) * 360 / WIDTH,
    }
    times = coords["time"].astype("M8[s]")
    ends = {
        "train": (0, case.training - 1),
        "val": (case.training, case.first_start - 1),
        "test": (case.first_start, case.times - 1),
    }
    splits = {name: [str(times[a]), str(times[b])] for name, (a, b) in ends.items()}
    data = xr.Dataset({**fields, "orography": flat, "lsm": flat}, coords)
    convert(data, path, splits, source={}, odd_maps="keep")


def make_forecast(case: Case, path: Path) -> None:
    """Write forecasts, a map a chunk and a start a file, sealed as ours are."""
    import xarray as xr
    import zarr

    from climate.forecasts.access import FORECAST_KIND
    from vgbdm.storage.sealing import seal_folder

    starts = case.first_start + np.arange(case.starts)
    leads = (np.arange(1, case.leads + 1) * SIX).astype("m8[ns]")
    lat, lon = np.linspace(-90, 90, HEIGHT), np.arange(WIDTH) * 360 / WIDTH
    coords = {"time": FIRST + starts * SIX, "lead_time": leads, "lat": lat, "lon": lon}
    xr.Dataset(coords=coords).to_zarr(path, zarr_format=3, consolidated=False)
    for c in range(case.channels):
        array = zarr.create_array(
            path / case.name(c), shape=(case.starts, case.leads, HEIGHT, WIDTH), dtype="f4",
            chunks=(1, 1, HEIGHT, WIDTH), shards=(1, case.leads, HEIGHT, WIDTH),
            dimension_names=["time", "lead_time", "lat", "lon"],
        )  # fmt: skip
        error = case.field(c + 1, 0)
        for k, start in enumerate(starts):
            maps = [case.field(c, start + s) + 0.1 * s * error for s in range(1, case.leads + 1)]
            array[k] = np.stack(maps)
    seal_folder(path, FORECAST_KIND, {})
