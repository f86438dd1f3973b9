"""Statistics of the training period, from one pass over the shards.

Each shard gives float64 partials; they are merged in shard order, so that the result does not
depend on which task ended first.

Shapes: ``N`` times, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import zarr

from climate.conventions.calendar import (
    Period,
    is_monthly,
    leap_day_of_year,
    month_of_year,
    part_of_day,
    step_seconds,
)
from climate.store.boxed import BoxedArray
from climate.store.reader import EVERY
from climate.store.windows import WEATHERBENCH2, Window

YEARS_FOR_SEASONS = 2
"""Below two years of training climatology has no seasons (docs/method/weather.md#trivial-rows)."""
HOURS = 24
NUMBERS = ("mean", "std", "min", "max", "tendency_std")
"""The statistics with one number per channel."""
CHANGE = "change"
"""One more, which stores from before it was kept do not have."""


@dataclass(frozen=True)
class Binning:
    """How a climatology divides the year.

    Attributes:
        name: in one word, for tables.
        rule: in words, for the scorecard.
        shape: days (smoothed over, or one) and parts of a day or of the year.
        index: times (N,) → their bins (N,), the second axis of ``shape`` fastest.
        window: of the days around a bin that it is the mean of; None: of its own alone.
    """

    name: str
    rule: str
    shape: tuple[int, int]
    index: Callable[[np.ndarray], np.ndarray]
    window: Window | None = None


def by_hour(parts: int) -> Binning:
    """Parts of the day alone."""
    rule = "mean of the training period per hour of day"
    return Binning("hours", rule, (1, parts), partial(part_of_day, parts))


def by_day(parts: int, window: Window = WEATHERBENCH2) -> Binning:
    """Days of a leap year, smoothed over a window, and parts of the day."""
    rule = f"mean of the training period per day of year and hour, {window.words}"
    return Binning(window.name, rule, (366, parts), partial(_day_and_part, parts), window)


def _day_and_part(parts: int, times: np.ndarray) -> np.ndarray:
    return parts * leap_day_of_year(times) + part_of_day(parts, times)


BY_MONTH = Binning(
    "months", "mean of the training period per month of the year", (1, 12), month_of_year
)


def has_seasons(period: Period) -> bool:
    """Whether a training period is long enough for a climatology with seasons."""
    return bool((period[1] - period[0]) / np.timedelta64(1, "D") >= 365 * YEARS_FOR_SEASONS - 1)


def binning_of(
    step: np.timedelta64, seasons: bool, bins: int | None = None, window: Window = WEATHERBENCH2
) -> Binning:
    """The binning of a store with this step, trained on whole years or not.

    Args:
        step: between its times.
        seasons: whether days of the year are told apart.
        bins: that its climatology has; None: what is made today, a part for each time of the day
            that its steps meet. Stores of before had one for every hour, whatever their step.
        window: over which days are smoothed, where they are told apart.
    """
    if is_monthly(step):
        return BY_MONTH
    found = partial(by_day, window=window) if seasons else by_hour
    if bins is not None and bins == math.prod(found(HOURS).shape):
        return found(HOURS)
    return found(parts_of_day(step))


def parts_of_day(step: np.timedelta64) -> int:
    """How many times of the day, at most every hour, are met by steps of this length."""
    apart = math.gcd(step_seconds(step), 3600 * HOURS)
    return HOURS if apart % 3600 else 3600 * HOURS // apart


@dataclass(frozen=True)
class Statistics:
    """Numbers of the training period.

    Attributes:
        mean: (C,) area-weighted mean, physical units.
        std: (C,) area-weighted standard deviation over space and time.
        min: (C,) smallest value.
        max: (C,) largest value.
        tendency_std: (C,) area-weighted standard deviation of the change over one step.
        mean_map: (C, H, W) mean over time; NaN where masked.
        count: times they are taken from.
        period: they are taken from.
        variables: the channels, in order.
        change: (C,) area-weighted rms of the change over one step; None in stores from before it
            was kept. It is in no hash: it follows from what is.
    """

    mean: np.ndarray
    std: np.ndarray
    min: np.ndarray
    max: np.ndarray
    tendency_std: np.ndarray
    mean_map: np.ndarray
    count: int
    period: Period
    variables: tuple[str, ...]
    change: np.ndarray | None = None

    @property
    def hash(self) -> str:
        """SHA-256 of the numbers, the period and the variables."""
        key = [str(self.period[0]), str(self.period[1]), self.count, list(self.variables)]
        digest = hashlib.sha256(json.dumps(key).encode())
        for array in (*(getattr(self, name) for name in NUMBERS), *self.mean_map):
            digest.update(np.ascontiguousarray(array, "<f8").data)
        return digest.hexdigest()

    def to_json(self) -> dict[str, Any]:
        """All but the map."""
        return {
            **{name: getattr(self, name).tolist() for name in NUMBERS},
            **({} if self.change is None else {CHANGE: self.change.tolist()}),
            "count": self.count,
            "period": [str(self.period[0]), str(self.period[1])],
            "variables": list(self.variables),
            "hash": self.hash,
        }


class Climatology:
    """The training period's mean state at a date.

    Args:
        array: (bins, C, H, W) in the store.
        binning: of its first axis.
    """

    def __init__(self, array: zarr.Array | BoxedArray, binning: Binning) -> None:
        self.array, self.binning, self.rule = array, binning, binning.rule

    def at(self, times: np.ndarray, channels: slice = EVERY) -> np.ndarray:
        """Climatology (N, c, H, W) at datetime64 times (N,), physical units; a chunk is read once.

        Args:
            times: of any order.
            channels: of the state.
        """
        bins, place = np.unique(self.binning.index(times), return_inverse=True)
        chunk, held = self.array.chunks[0], []
        for part in np.split(bins, np.flatnonzero(np.diff(bins // chunk)) + 1):
            values = np.asarray(self.array[int(part[0]) : int(part[-1]) + 1, channels])
            held.append(values[part - part[0]])
        return np.concatenate(held)[place]
