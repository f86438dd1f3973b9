"""Which of two rows is better, over seeds and trajectories together.

Shapes: ``S`` seeds, ``N`` trajectories.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from physics_systems.evaluation.rows import Row

REFERENCE = "vgbdm"
DRAWS = 2000
COLUMNS = (
    "objective", "variant", "reference", "difference", "low", "high", "difference_median", "seeds",
    "trajectories", "n_failed", "verdict",
)  # fmt: skip

Runs = dict[object, np.ndarray]
"""Seed → (N,) errors of each trajectory."""


def compare_rows(rows: Sequence[Row]) -> pd.DataFrame:
    """Every row less every variant of VGB-DM: differences of error over the same trajectories.

    Runs of one seed are a pair; a row without seeds is paired with each. ``low`` and ``high`` are
    those of `interval`, ``difference_median`` is the median over seeds and trajectories, and
    ``n_failed`` counts pairs of which one forecast failed, or both: these two are finite where the
    mean is not. The verdict is of the row:

    * ``better``, ``worse``: the interval leaves out 0, and every seed agrees;
    * ``undecided``: otherwise;
    * ``one seed``: no statement about training can be made;
    * ``failed``, ``reference failed``, ``both failed``: some forecast was not finite, and there is
      no interval.

    Args:
        rows: of one test set; those that are not chosen are passed over, and those without a seed
            are no runs.
    """
    groups: dict[tuple[str, str], Runs] = {}
    for row in rows:
        if not row.numbers.get("chosen", True):
            continue
        groups.setdefault(row.name, {})[row.numbers.get("seed")] = row.errors
    found = []
    for reference in (name for name in groups if name[0] == REFERENCE):
        for name in groups:
            if name != reference:
                found.append((*name, reference[1], *_compare(groups[name], groups[reference])))
    return pd.DataFrame(found, columns=list(COLUMNS))


def _compare(own: Runs, reference: Runs) -> tuple[float | int | str, ...]:
    """Columns from ``difference`` on."""
    seeds = [seed for seed in reference if seed in own or None in own]
    if not seeds:
        return (*[np.nan] * 4, 0, 0, 0, "no seed in common")
    a = np.stack([own.get(seed, own.get(None)) for seed in seeds])  # type: ignore[misc]
    b = np.stack([reference[seed] for seed in seeds])
    lost = ~(np.isfinite(a) & np.isfinite(b))
    counts = len(seeds), a.shape[1], int(lost.sum())
    # of two failures neither is better
    differences = np.subtract(a, b, out=np.zeros(a.shape), where=np.isfinite(a) | np.isfinite(b))
    median = float(np.median(differences))
    if lost.any():
        whole = (np.isfinite(a).all(), np.isfinite(b).all())
        said = "both failed" if not any(whole) else "failed" if whole[1] else "reference failed"
        return _failed_difference(*whole), np.nan, np.nan, median, *counts, said
    low, high = interval(differences)
    said = verdict(differences, low, high)
    return float(differences.mean()), low, high, median, *counts, said


def _failed_difference(own: bool, reference: bool) -> float:
    """Of means of which one is infinite, or both."""
    return np.nan if own == reference else np.inf if reference else -np.inf


def interval(differences: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of (S, N) over seeds and trajectories together.

    The hull of two: the central 95 % of means with both drawn again, and Student's interval of the
    means of seeds. The first alone is too narrow for a few seeds, whose spread a bootstrap takes
    for (S - 1)/S of itself and for a normal's; the second alone knows nothing of trajectories,
    which all seeds share. Of one seed the first is all there is, over trajectories.
    """
    seeds, count = differences.shape
    generator = np.random.default_rng(0)
    rows = _shares(generator.integers(0, seeds, (DRAWS, seeds)), seeds)
    columns = _shares(generator.integers(0, count, (DRAWS, count)), count)
    means = ((rows @ differences) * columns).sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    if seeds > 1:
        by_seed = differences.mean(1)
        reach = stats.t.ppf(0.975, seeds - 1) * by_seed.std(ddof=1) / np.sqrt(seeds)
        low, high = min(low, by_seed.mean() - reach), max(high, by_seed.mean() + reach)
    return float(low), float(high)


def _shares(drawn: np.ndarray, size: int) -> np.ndarray:
    """How often each of ``size`` stands in each line of (K, n) draws, ÷ n: (K, size)."""
    places = drawn + size * np.arange(len(drawn))[:, None]
    counts = np.bincount(places.ravel(), minlength=size * len(drawn))
    return counts.reshape(-1, size) / drawn.shape[1]


def verdict(differences: np.ndarray, low: float, high: float) -> str:
    """What may be said of a row, whose errors less the reference's are (S, N)."""
    by_seed = differences.mean(1)
    if high < 0 and (by_seed < 0).all():
        said = "better"
    elif low > 0 and (by_seed > 0).all():
        said = "worse"
    else:
        return "undecided"
    return said if len(differences) > 1 else "one seed"
