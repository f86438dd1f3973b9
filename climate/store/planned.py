"""A training store that is not there: its axes and layout, and no numbers.

It stands for a store where only shapes, times and places in files are asked for. Its reanalysis has
winds of up to `LARGEST_WIND`, on which the substeps of a model step depend, not the memory.

Shapes: ``T`` times, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from climate.conventions.calendar import SPLITS, Period, step_seconds
from climate.conventions.variables import channel_attributes
from climate.grids.grid import Grid
from climate.store.layout import TrainingStore, chunk_shape
from climate.store.reader import ShardedArray
from climate.store.statistics import Climatology, Statistics, binning_of
from vgbdm.errors import InputError

SURFACE = ("z", "t", "t2m", "u10", "v10")
LEVELS = (850, 500, 250, 700, 300, 1000, 200, 925, 400, 600, 150, 100, 50)
"""hPa, those that are taken first of WeatherBench 2."""
ON_LEVELS = ("z", "t", "u", "v", "q")
STATIC = ("orography", "lsm")
LARGEST_WIND = 100.0
"""m/s, about the largest component of a jet in ERA5."""
FIRST_YEAR = 1979


@dataclass(frozen=True)
class PlannedArray:
    """Where values would lie.

    Attributes:
        shape: of the array.
        chunks: of what is read at once.
        shards: of a file.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of the values in float32, before compression."""
        return 4 * math.prod(self.shape)

    @property
    def files(self) -> int:
        """How many."""
        return math.prod(-(-n // k) for n, k in zip(self.shape, self.shards, strict=True))


def channels_of(count: int) -> tuple[str, ...]:
    """So many channels: the five of WeatherBench, then z, t, u, v, q level by level.

    Raises:
        InputError: for more than 13 levels have.
    """
    names = [*SURFACE, *(f"{name}{level}" for level in LEVELS for name in ON_LEVELS)]
    if count > len(names):
        raise InputError(
            f"check.channels={count}: want at most {len(names)}; name more of them: [z500,t2m,…]"
        )
    return tuple(names[:count])


def wind_pairs(channels: Sequence[str]) -> list[list[str]]:
    """The winds among channels, level by level."""
    pairs = [("u10", "v10"), *((f"u{level}", f"v{level}") for level in LEVELS)]
    return [list(pair) for pair in pairs if {*pair} <= {*channels}]


def planned_store(
    grid: Grid, channels: Sequence[str], step: np.timedelta64, years: int
) -> TrainingStore:
    """A store of so many years of training, then one of validation and one of tests.

    Args:
        grid: of its states.
        channels: of its states.
        step: between its times, hours.
        years: of training.
    """
    ends = [np.datetime64(f"{FIRST_YEAR + n}", "s") for n in (0, years, years + 1, years + 2)]
    times = np.arange(ends[0], ends[-1], np.timedelta64(step_seconds(step), "s"))
    second = np.timedelta64(1, "s")
    splits: dict[str, Period] = {
        name: (begin, end - second)
        for name, begin, end in zip(SPLITS, ends[:-1], ends[1:], strict=True)
    }
    count, maps = len(channels), (len(grid.lat), len(grid.lon))
    chunks, shards = chunk_shape(count, *maps)
    ones, nothing = np.ones(count), np.broadcast_to(0.0, (count, *maps))
    binning = binning_of(step, years > 1)
    bins = PlannedArray((math.prod(binning.shape), count, *maps), (1, 1, *maps), (1, count, *maps))
    return TrainingStore(
        path=Path("planned"),
        channels=tuple(channels),
        lat=grid.lat,
        lon=grid.lon,
        times=times,
        step=step,
        static=dict.fromkeys(STATIC, nothing[0]),
        splits=splits,
        channel_attrs={name: channel_attributes(name, {}) for name in channels},
        statistics=Statistics(
            0 * ones, ones, -LARGEST_WIND * ones, LARGEST_WIND * ones, ones, nothing,
            int((times < ends[1]).sum()), splits["train"], tuple(channels), ones,
        ),
        climatology=Climatology(cast(Any, bins), binning),
        provenance={},
        state=cast(ShardedArray, PlannedArray((len(times), count, *maps), chunks, shards)),
        digest="",
    )  # fmt: skip
