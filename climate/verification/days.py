"""Sums of statistics over the starts of each day, from which scores and their intervals follow.

Errors of neighbouring starts are alike, so that what is drawn again for an interval
(`climate.verification.intervals`) are days in a row. Only sums per day are kept: memory grows
neither with starts nor, beyond `MOST`, with the period.

Shapes: ``N`` starts, ``K`` days, ``S`` leads, ``D`` draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

DAY = np.timedelta64(1, "D")
LONGEST_GAP = 10
"""Days without a start that are told from any longer gap: no error is remembered beyond."""
MOST = 1000
"""Days at most; of a longer period a "day" is several."""


def assign_days(times: np.ndarray) -> np.ndarray:
    """The day (N,) of each start of one period, see `assign_periods`."""
    return assign_periods([times])[0]


def assign_periods(periods: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The days of the starts of each period, from 0; where starts are further apart, each is a day.

    Long gaps, such as between two seasons of one forecast, count as `LONGEST_GAP` days. A day is
    as long in all periods.

    Args:
        periods: (N,) datetime64 of each, increasing.

    Returns:
        (N,) of each.
    """
    usual = np.concatenate([np.diff(times).astype("timedelta64[s]") for times in periods])
    sparse = len(usual) and np.median(usual) > DAY
    length = np.timedelta64(round(float(np.median(usual.astype(float)))), "s") if sparse else DAY
    found = [_places(times, length, bool(sparse)) for times in periods]
    together = sum(int(places[-1]) for places in found) // MOST + 1
    return [places // together for places in found]


def _places(times: np.ndarray, length: np.timedelta64, sparse: bool) -> np.ndarray:
    """The day (N,) of each start, of this length; of sparse starts no two are in one."""
    if sparse:
        steps = np.maximum(np.rint(np.diff(times) / length).astype(int), 1)
    else:
        steps = np.diff((times - times[0]) // length)
    return np.concatenate(([0], np.cumsum(np.minimum(steps, LONGEST_GAP))))


class DaySums:
    """Sums over the starts of each day.

    Args:
        days: K.
        leads: S.
        first: number of the first day; those of a part of the starts begin later.

    Attributes:
        periods: days of each period that was pooled; K alone where it is one.
        counts: (K, S) starts taken in.
        sums: of each statistic, (K, S).
    """

    def __init__(self, days: int, leads: int, first: int = 0) -> None:
        self.first = first
        self.periods: tuple[int, ...] = (days,)
        self.counts = np.zeros((days, leads))
        self.sums: dict[str, np.ndarray] = {}

    def add(self, days: np.ndarray, statistics: Mapping[str, np.ndarray], lead: int = 0) -> None:
        """Take in statistics, each (N, s) from a lead on, of starts on ``days`` (N,)."""
        places = days - self.first
        for name, values in statistics.items():
            sums = self.sums.setdefault(name, np.zeros_like(self.counts))
            leads = slice(lead, lead + values.shape[1])
            np.add.at(sums[:, leads], places, values)
        np.add.at(self.counts[:, leads], places, 1)

    def merge(self, other: DaySums) -> None:
        """Take in the sums of other starts or leads; their days are among these."""
        first = other.first - self.first
        part = slice(first, first + len(other.counts))
        self.counts[part] += other.counts
        for name, sums in other.sums.items():
            self.sums.setdefault(name, np.zeros_like(self.counts))[part] += sums

    @classmethod
    def pool(cls, periods: Sequence[DaySums]) -> DaySums:
        """The sums of all days of some periods, of the same leads, one after the other."""
        days = tuple(len(part.counts) for part in periods)
        own = cls(sum(days), periods[0].counts.shape[1])
        own.periods = days
        own.counts = np.concatenate([part.counts for part in periods])
        for name in dict.fromkeys(name for part in periods for name in part.sums):
            own.sums[name] = np.concatenate(
                [part.sums.get(name, np.zeros_like(part.counts)) for part in periods]
            )
        return own

    @property
    def count(self) -> int:
        """Starts taken in."""
        return int(self.counts[:, 0].sum())

    def means(self, draws: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Means over starts, each (S,); with ``draws`` (D, K) those of each draw, (D, S)."""
        weights = np.ones(len(self.counts)) if draws is None else draws
        total = weights @ self.counts
        return {name: (weights @ sums) / total for name, sums in self.sums.items()}

    def means_without(self) -> dict[str, np.ndarray]:
        """Means over the starts of all days but one, each (K, S)."""
        total = self.counts.sum(0) - self.counts
        return {name: (sums.sum(0) - sums) / total for name, sums in self.sums.items()}

    def of_leads(self, leads: Sequence[int]) -> DaySums:
        """The sums of some leads."""
        own = DaySums(len(self.counts), len(leads), self.first)
        own.periods = self.periods
        own.counts = self.counts[:, leads]
        own.sums = {name: sums[:, leads] for name, sums in self.sums.items()}
        return own
