"""Moments of the training period, from one pass over the shards.

Each shard gives float64 partials; they are merged in shard order, so that the result does not
depend on which task ended first.

Shapes: ``N`` times, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from climate.conventions.calendar import Period
from climate.store.statistics import Statistics

SUM_BYTES = 2**20
"""States summed at a time: they stay in the cache."""


@dataclass(frozen=True)
class Moments:
    """Area-weighted mean and squared departures of some maps, by channel.

    Attributes:
        count: (C,) maps.
        mean: (C,).
        square: (C,) sum over the maps of the area-weighted squared departure from the mean.
    """

    count: np.ndarray
    mean: np.ndarray
    square: np.ndarray

    @property
    def std(self) -> np.ndarray:
        """(C,); 0 where there is no map."""
        return np.sqrt(self.square / np.maximum(self.count, 1))

    @property
    def rms(self) -> np.ndarray:
        """(C,) root of the mean square; 0 where there is no map."""
        return np.sqrt(self.mean**2 + self.square / np.maximum(self.count, 1))

    def merge(self, other: Moments) -> Moments:
        """Both together (Chan, Golub & LeVeque 1983)."""
        count = self.count + other.count
        share, delta = other.count / np.maximum(count, 1), other.mean - self.mean
        square = self.square + other.square + delta**2 * self.count * share
        return Moments(count, self.mean + delta * share, square)


def moments_of(maps: np.ndarray, area: np.ndarray) -> Moments:
    """Of maps (N, C, H, W) float64 with weights (H,) that sum to 1 over a map; changes the maps."""
    count, channels = maps.shape[:2]
    if not count:
        return Moments(np.zeros(channels), np.zeros(channels), np.zeros(channels))
    mean = maps.sum((0, 3)) @ area / count
    maps -= mean[:, None, None]
    square = np.einsum("nchw,nchw->ch", maps, maps) @ area
    return Moments(np.full(channels, float(count)), mean, square)


@dataclass(frozen=True)
class Partial:
    """What the training states of a shard add up to; its JSON form gives back the same bits.

    Attributes:
        states: moments of the states.
        changes: moments of the changes over one step.
        low: (C,) smallest value.
        high: (C,) largest value.
    """

    states: Moments
    changes: Moments
    low: np.ndarray
    high: np.ndarray

    def merge(self, other: Partial) -> Partial:
        """Both stretches together."""
        return Partial(
            self.states.merge(other.states),
            self.changes.merge(other.changes),
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    def to_json(self) -> dict[str, Any]:
        """Numbers as lists."""
        groups = {name: getattr(self, name) for name in ("states", "changes")}
        lists = {
            name: [m.count.tolist(), m.mean.tolist(), m.square.tolist()]
            for name, m in groups.items()
        }
        return {**lists, "low": self.low.tolist(), "high": self.high.tolist()}

    @classmethod
    def join(cls, parts: Sequence[Partial]) -> Partial:
        """Of the same times: the channels one after the other."""

        def joined(moments: list[Moments]) -> Moments:
            names = ("count", "mean", "square")
            return Moments(*(np.concatenate([getattr(m, n) for m in moments]) for n in names))

        return cls(
            joined([part.states for part in parts]),
            joined([part.changes for part in parts]),
            np.concatenate([part.low for part in parts]),
            np.concatenate([part.high for part in parts]),
        )

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Partial:
        """What `to_json` gave."""
        states, changes = (Moments(*map(np.array, facts[name])) for name in ("states", "changes"))
        return cls(states, changes, np.array(facts["low"]), np.array(facts["high"]))


def summarise(
    values: np.ndarray,
    before: Sequence[np.ndarray] | None,
    chosen: np.ndarray,
    linked: np.ndarray,
    weights: np.ndarray,
    mask: np.ndarray | None = None,
) -> Partial:
    """Partial sums of a shard's training states, of which there is one or more.

    Args:
        values: (N, C, H, W) finite, but for masked points.
        before: C maps (H, W), the state before the first; a channel with missing values gives no
            change from there.
        chosen: (N,) whether a time is one of training.
        linked: (N,) whether it and the time one step before are.
        weights: (H,) area weights.
        mask: (C, H, W) points that are left out; None: no mask.
    """
    area = weights / weights.sum() / values.shape[3]
    share = max(1, SUM_BYTES // values[0, 0].nbytes)
    hidden = np.zeros(values.shape[1], bool)
    if mask is not None:
        hidden |= mask.any((1, 2))
    parts = []
    for some in _groups(hidden, share):
        first = None if before is None else np.stack(before[some]).astype(np.float32)
        own, weight = values[:, some], area
        if mask is not None and hidden[some].any():  # its points as one column
            here = ~mask[some][0]
            own = own[:, :, here][..., None]
            first = None if first is None else first[:, here][..., None]
            weight = np.broadcast_to(area[:, None], here.shape)[here]
            weight = weight / weight.sum()
        parts.append(_summarise_channels(own, first, chosen, linked, weight))
    return Partial.join(parts)


def _groups(hidden: np.ndarray, share: int) -> Iterator[slice]:
    """Channels summed together: up to ``share``, but each masked one alone."""
    start = 0
    while start < len(hidden):
        masked = np.flatnonzero(hidden[start : start + share])
        stop = start + (share if not len(masked) else max(1, int(masked[0])))
        yield slice(start, min(stop, len(hidden)))
        start = stop


def _summarise_channels(
    values: np.ndarray,
    before: np.ndarray | None,
    chosen: np.ndarray,
    linked: np.ndarray,
    area: np.ndarray,
) -> Partial:
    """As `summarise`, block by block of times; ``area`` (H,) sums to 1 over a map."""
    parts = []
    block = max(1, SUM_BYTES // values[0].nbytes)
    for start in range(0, len(values), block):
        index = start + np.flatnonzero(chosen[start : start + block])
        if not len(index):
            continue
        later = index[linked[index] & (index > 0)]
        earlier, states = values[_span(later - 1)], values[_span(index)]
        changes = moments_of(np.subtract(values[_span(later)], earlier, dtype=np.float64), area)
        if start == 0 and linked[0] and before is not None:
            whole = np.isfinite(before).all((1, 2))
            first = np.where(whole[:, None, None], values[0].astype(np.float64) - before, 0.0)
            own = moments_of(first[None], area)
            changes = Moments(own.count * whole, own.mean, own.square).merge(changes)
        low, high = (f(states, (0, 2, 3)).astype(np.float64) for f in (np.min, np.max))
        parts.append(Partial(moments_of(states.astype(np.float64), area), changes, low, high))
    return reduce(Partial.merge, parts)


def _span(index: np.ndarray) -> slice | np.ndarray:
    """The same places as a slice where they follow each other: nothing is copied then."""
    if len(index) and index[-1] - index[0] == len(index) - 1:
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


def statistics_of(
    total: Partial, mean_map: np.ndarray, period: Period, variables: tuple[str, ...]
) -> Statistics:
    """The statistics that merged partials come to."""
    return Statistics(
        mean=total.states.mean,
        std=total.states.std,
        min=total.low,
        max=total.high,
        tendency_std=total.changes.std,
        mean_map=mean_map,
        count=int(total.states.count[0]),
        period=period,
        variables=variables,
        change=total.changes.rms,
    )
