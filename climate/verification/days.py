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
    """The day (N,) of each start, counted from 0; where starts are further apart, each is a day.

    Long gaps, such as between two seasons that are verified together, count as `LONGEST_GAP` days.

    Args:
        times: (N,) datetime64, increasing.
    """
    steps = np.diff(times)
    if len(steps) and np.median(steps) > DAY:
        apart = np.maximum(np.rint(steps / np.median(steps)).astype(int), 1)
        places = np.concatenate(([0], np.cumsum(apart)))
    else:
        places = (times - times[0]) // DAY
    steps = np.diff(places)
    places = np.concatenate(([0], np.cumsum(np.minimum(steps, LONGEST_GAP))))
    return np.asarray(places // (places[-1] // MOST + 1))


class DaySums:
    """Sums over the starts of each day.

    Args:
        days: K.
        leads: S.
        first: number of the first day; those of a part of the starts begin later.

    Attributes:
        counts: (K, S) starts taken in.
        sums: of each statistic, (K, S).
    """

    def __init__(self, days: int, leads: int, first: int = 0) -> None:
        self.first = first
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
        own.counts = self.counts[:, leads]
        own.sums = {name: sums[:, leads] for name, sums in self.sums.items()}
        return own
