"""Statistics and climatology of the training period, from one pass over the shards.

Each shard gives float64 partials; they are merged in shard order, so that the result does not
depend on which task ended first.

Shapes: ``N`` times, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import zarr

from climate.store.calendar import Period, hour_of_day, leap_day_of_year

YEARS_FOR_SEASONS = 2
"""Below two years of training the climatology has no seasons (METHOD §10, trivial rows)."""
HALF_WINDOW = 30
"""Days to either side over which the climatology is smoothed."""
RULES = {
    False: "mean of the training period per hour of day",
    True: f"mean of the training period per day of year and hour, over ±{HALF_WINDOW} days",
}


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


def climatology_bins(times: np.ndarray, seasons: bool) -> np.ndarray:
    """The bin of each time: the hour, or 24 · day of year + hour."""
    hours = hour_of_day(times)
    return 24 * leap_day_of_year(times) + hours if seasons else hours


def climatology_of(total: Partial, seasons: bool) -> np.ndarray:
    """(bins, C, H, W) float32 means; hours without data take the mean over the hours that have.

    With seasons, a bin is the mean over ±30 days of the year at its hour.
    """
    shape = next(iter(total.bins.values()))[1].shape
    days = 366 if seasons else 1
    counts, sums = (
        np.zeros((days, 24)),
        np.zeros((days, 24, *shape), np.float32 if seasons else None),
    )
    for key, (times, values) in total.bins.items():
        counts[divmod(key, 24)], sums[divmod(key, 24)] = times, values
    if seasons:
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
        seasons: whether bins are days and hours, or hours.
    """

    def __init__(self, array: zarr.Array, seasons: bool) -> None:
        self.array, self.seasons, self.rule = array, seasons, RULES[seasons]
        self._bin = lru_cache(maxsize=256)(self._read)

    def _read(self, index: int) -> np.ndarray:
        return np.asarray(self.array[index])

    def at(self, times: np.ndarray) -> np.ndarray:
        """Climatology (N, C, H, W) at datetime64 times (N,), physical units."""
        return np.stack([self._bin(int(b)) for b in climatology_bins(times, self.seasons)])
