"""Statistics and climatology of the training period, from one pass over the shards.

Each shard gives float64 partials; they are merged in shard order, so that the result does not
depend on which task ended first.

Shapes: ``N`` times, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import zarr

from climate.store.boxed import BoxedArray
from climate.store.calendar import (
    Period,
    hour_of_day,
    is_monthly,
    leap_day_of_year,
    month_of_year,
)

YEARS_FOR_SEASONS = 2
"""Below two years of training the climatology has no seasons (METHOD §10, trivial rows)."""
HALF_WINDOW = 30
"""Days to either side over which the climatology is smoothed."""


@dataclass(frozen=True)
class Binning:
    """How a climatology divides the year.

    Attributes:
        rule: in words, for the scorecard.
        shape: days (smoothed over, or one) and parts of a day or of the year.
        index: times (N,) → their bins (N,), the second axis of ``shape`` fastest.
    """

    rule: str
    shape: tuple[int, int]
    index: Callable[[np.ndarray], np.ndarray]

    @property
    def smoothed(self) -> bool:
        """Whether a bin is the mean over the days around it."""
        return self.shape[0] > 1


HOURS = Binning("mean of the training period per hour of day", (1, 24), hour_of_day)
DAYS = Binning(
    f"mean of the training period per day of year and hour, over ±{HALF_WINDOW} days",
    (366, 24),
    lambda times: 24 * leap_day_of_year(times) + hour_of_day(times),
)
MONTHS = Binning("mean of the training period per month of the year", (1, 12), month_of_year)


@dataclass
class Partial:
    """What a stretch of training times adds up to.

    Attributes:
        count: of times.
        mean: (C,) area-weighted.
        square: (C,) sum of squared departures from the mean, ÷ points.
        bins: climatology bin → [times, sum (C, H, W)].
    """

    count: int
    mean: np.ndarray
    square: np.ndarray
    bins: dict[int, tuple[int, np.ndarray]]


def summarise(values: np.ndarray, bins: np.ndarray, weights: np.ndarray) -> Partial | None:
    """Partial sums of training states.

    Args:
        values: (N, C, H, W).
        bins: (N,) climatology bin of each time.
        weights: (H,) area weights of mean 1.
    """
    if not len(values):
        return None
    values = values.astype(np.float64)
    area = (weights / weights.sum() / values.shape[3])[:, None]
    mean = np.einsum("nchw,hw->c", values, np.broadcast_to(area, values.shape[2:])) / len(values)
    departure = values - mean[:, None, None]
    square = np.einsum("nchw,nchw,h->c", departure, departure, area[:, 0])
    sums = {int(b): (int((bins == b).sum()), values[bins == b].sum(0)) for b in np.unique(bins)}
    return Partial(len(values), mean, square, sums)


def merge(a: Partial, b: Partial) -> Partial:
    """Both stretches together (Chan, Golub & LeVeque 1983). ``a`` is used up."""
    count, delta = a.count + b.count, b.mean - a.mean
    a.mean = a.mean + delta * (b.count / count)
    a.square = a.square + b.square + delta**2 * (a.count * b.count / count)
    a.count = count
    for key, (times, total) in b.bins.items():
        old = a.bins.get(key)
        a.bins[key] = (times + old[0], total + old[1]) if old else (times, total)
    return a


def has_seasons(period: Period) -> bool:
    """Whether a training period is long enough for a climatology with seasons."""
    return bool((period[1] - period[0]) / np.timedelta64(1, "D") >= 365 * YEARS_FOR_SEASONS - 1)


def binning_of(step: np.timedelta64, seasons: bool) -> Binning:
    """The binning of a store with this step, trained on whole years or not."""
    if is_monthly(step):
        return MONTHS
    return DAYS if seasons else HOURS


def climatology_of(total: Partial, binning: Binning) -> np.ndarray:
    """(bins, C, H, W) float32 means; hours or months without data take the mean of those that have.

    With seasons, a bin is the mean over ±30 days of the year at its hour.
    """
    shape = next(iter(total.bins.values()))[1].shape
    counts = np.zeros(binning.shape)
    sums = np.zeros((*binning.shape, *shape), np.float32 if binning.smoothed else None)
    for key, (times, values) in total.bins.items():
        place = divmod(key, binning.shape[1])
        counts[place], sums[place] = times, values
    if binning.smoothed:
        counts = _running_sum(counts)
        for hour in range(24):
            sums[:, hour] = _running_sum(sums[:, hour].astype(np.float64))
    empty = counts == 0
    mean = sums / np.maximum(counts, 1)[..., None, None, None]
    fallback = sums.sum(1) / np.maximum(counts.sum(1), 1)[:, None, None, None]
    mean[empty] = np.broadcast_to(fallback[:, None], mean.shape)[empty]
    return mean.reshape(-1, *shape).astype(np.float32)


def _running_sum(values: np.ndarray) -> np.ndarray:
    """Sum over ±`HALF_WINDOW` places along the first axis, around the year."""
    padded = np.concatenate((values[-HALF_WINDOW:], values, values[:HALF_WINDOW]))
    total = np.concatenate((np.zeros_like(padded[:1]), padded.cumsum(0)))
    width = 2 * HALF_WINDOW + 1
    return total[width:] - total[:-width]


@dataclass(frozen=True)
class Statistics:
    """Numbers of the training period.

    Attributes:
        mean: (C,) area-weighted mean, physical units.
        std: (C,) area-weighted standard deviation over space and time.
        mean_map: (C, H, W) mean over time.
        count: times they are taken from.
        period: they are taken from.
        variables: the channels, in order.
    """

    mean: np.ndarray
    std: np.ndarray
    mean_map: np.ndarray
    count: int
    period: Period
    variables: tuple[str, ...]

    @property
    def hash(self) -> str:
        """SHA-256 of the numbers, the period and the variables."""
        key = [str(self.period[0]), str(self.period[1]), self.count, list(self.variables)]
        digest = hashlib.sha256(json.dumps(key).encode())
        for array in (self.mean, self.std, self.mean_map):
            digest.update(np.ascontiguousarray(array, "<f8").tobytes())
        return digest.hexdigest()

    def to_json(self) -> dict[str, Any]:
        """All but the map."""
        return {
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "count": self.count,
            "period": [str(self.period[0]), str(self.period[1])],
            "variables": list(self.variables),
            "hash": self.hash,
        }


def statistics_of(total: Partial, period: Period, variables: tuple[str, ...]) -> Statistics:
    """The statistics that merged partials come to."""
    mean_map = np.sum([values for _, values in total.bins.values()], 0) / total.count
    std = np.sqrt(total.square / total.count)
    return Statistics(total.mean, std, mean_map.astype(np.float32), total.count, period, variables)


class Climatology:
    """The training period's mean state at a date.

    Args:
        array: (bins, C, H, W) in the store.
        binning: of its first axis.
    """

    def __init__(self, array: zarr.Array | BoxedArray, binning: Binning) -> None:
        self.array, self.binning, self.rule = array, binning, binning.rule
        self._bin = lru_cache(maxsize=256)(self._read)

    def _read(self, index: int) -> np.ndarray:
        return np.asarray(self.array[index])

    def at(self, times: np.ndarray) -> np.ndarray:
        """Climatology (N, C, H, W) at datetime64 times (N,), physical units."""
        return np.stack([self._bin(int(b)) for b in self.binning.index(times)])
