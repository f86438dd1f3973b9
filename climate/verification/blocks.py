"""Blocks of consecutive starts: sums of statistics, and bootstrap intervals of any score.

Errors of neighbouring starts are alike, so whole blocks are drawn again, not starts (Carlstein
1986). Only sums per block are kept: memory grows with the length of the period, not with starts.

Shapes: ``N`` starts, ``K`` blocks, ``S`` leads, ``D`` draws.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vgbdm.randomness import keyed_seed

SHORTEST_BLOCK = np.timedelta64(5, "D")
"""Weather's errors are hardly correlated beyond this."""
FEWEST = 5
"""Below so many blocks there are no intervals (docs/weather.md#intervals)."""
DRAWS, LEVEL = 2000, 0.95


def assign_blocks(times: np.ndarray, longest_lead: np.timedelta64) -> np.ndarray:
    """The block (N,) of each start, from 0: as many equal stretches of time as fit.

    Each is at least five days long and at least the longest lead. Stretches without a start are
    no blocks.

    Args:
        times: (N,) datetime64, increasing.
        longest_lead: of the forecasts.
    """
    steps = np.diff(times)
    reach = times[-1] - times[0] + (steps.min() if len(steps) else np.timedelta64(1, "s"))
    count = max(1, int(reach // max(SHORTEST_BLOCK, longest_lead)))
    stretch = (times - times[0]) * count // reach
    return np.asarray(np.unique(stretch, return_inverse=True)[1])


class BlockSums:
    """Sums over the starts of each block.

    Args:
        blocks: K.
        leads: S.
        first: number of the first block; those of a part of the starts begin later.

    Attributes:
        counts: (K, S) starts taken in.
        sums: of each statistic, (K, S).
    """

    def __init__(self, blocks: int, leads: int, first: int = 0) -> None:
        self.first = first
        self.counts = np.zeros((blocks, leads))
        self.sums: dict[str, np.ndarray] = {}

    def add(self, blocks: np.ndarray, statistics: Mapping[str, np.ndarray], lead: int = 0) -> None:
        """Take in statistics, each (N, s) from a lead on, of starts in ``blocks`` (N,)."""
        places = blocks - self.first
        for name, values in statistics.items():
            sums = self.sums.setdefault(name, np.zeros_like(self.counts))
            leads = slice(lead, lead + values.shape[1])
            np.add.at(sums[:, leads], places, values)
        np.add.at(self.counts[:, leads], places, 1)

    def merge(self, other: BlockSums) -> None:
        """Take in the sums of other starts or leads; their blocks are among these."""
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

    def without_empty(self) -> BlockSums:
        """The blocks that hold starts."""
        held = self.counts.any(1)
        kept = BlockSums(int(held.sum()), self.counts.shape[1])
        kept.counts = self.counts[held]
        kept.sums = {name: sums[held] for name, sums in self.sums.items()}
        return kept


def draw_blocks(blocks: int, seed: int) -> np.ndarray | None:
    """How often each draw holds each block, (D, K); None where there are too few blocks."""
    if blocks < FEWEST:
        return None
    generator = np.random.default_rng(keyed_seed(seed, "bootstrap", blocks))
    return generator.multinomial(blocks, np.full(blocks, 1 / blocks), DRAWS).astype(np.float64)


def interval(drawn: np.ndarray | None, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % percentile interval, each of ``shape``; NaN where there are no draws.

    Args:
        drawn: a score under each draw, (D, S).
        shape: of the score.
    """
    if drawn is None:
        return np.full(shape, np.nan), np.full(shape, np.nan)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def describe_blocks(blocks: np.ndarray, longest_lead: np.timedelta64) -> str:
    """The rule used, and what it came to."""
    count, days = int(blocks.max()) + 1, max(SHORTEST_BLOCK, longest_lead) / np.timedelta64(1, "D")
    found = f"{count} blocks of consecutive starts, each at least {days:.3g} days long"
    if count < FEWEST:
        return (
            f"{found}: fewer than {FEWEST}, so there are no intervals and no claim of a difference"
        )
    return f"{LEVEL:.0%}, percentiles of {DRAWS} block-bootstrap draws of {found}"
