"""Which of two rows is better, over seeds and trajectories together.

Shapes: ``S`` seeds, ``N`` trajectories.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from physics_systems.evaluation.scoring import Row

REFERENCE = "vgbdm"
DRAWS = 2000
COLUMNS = (
    "objective", "variant", "reference", "difference", "low", "high", "seeds", "trajectories",
    "verdict",
)  # fmt: skip

Runs = dict[object, np.ndarray]
"""Seed → (N,) errors of each trajectory."""


def compare_rows(rows: Sequence[Row]) -> pd.DataFrame:
    """Every row less every variant of VGB-DM: differences of error over the same trajectories.

    Runs of one seed are a pair; a row without seeds is paired with each. ``low`` and ``high`` are
    the central 95 % of means over seeds and trajectories drawn again. The verdict is of the row:

    * ``better``, ``worse``: the interval leaves out 0, and every seed agrees;
    * ``undecided``: otherwise;
    * ``one seed``: no statement about training can be made;
    * ``failed``, ``reference failed``, ``both failed``: some forecast was not finite, and there is
      no interval.

    Args:
        rows: of one test set; those without a seed are no runs.
    """
    groups: dict[tuple[str, str], Runs] = {}
    for row in rows:
        name = (str(row.numbers["objective"]), str(row.numbers.get("variant") or ""))
        groups.setdefault(name, {})[row.numbers.get("seed")] = row.errors
    found = []
    for reference in (name for name in groups if name[0] == REFERENCE):
        for name in groups:
            if name != reference:
                found.append((*name, reference[1], *_compare(groups[name], groups[reference])))
    return pd.DataFrame(found, columns=list(COLUMNS))


def _compare(own: Runs, reference: Runs) -> tuple[float, float, float, int, int, str]:
    """Columns from ``difference`` on."""
    seeds = [seed for seed in reference if seed in own or None in own]
    if not seeds:
        return np.nan, np.nan, np.nan, 0, 0, "no seed in common"
    a = np.stack([own.get(seed, own.get(None)) for seed in seeds])  # type: ignore[misc]
    b = np.stack([reference[seed] for seed in seeds])
    count = a.shape[1]
    whole = (np.isfinite(a).all(), np.isfinite(b).all())
    if not all(whole):
        said = "both failed" if not any(whole) else "failed" if whole[1] else "reference failed"
        return _failed_difference(*whole), np.nan, np.nan, len(seeds), count, said
    differences = a - b
    low, high = interval(differences)
    return float(differences.mean()), low, high, len(seeds), count, verdict(differences, low, high)


def _failed_difference(own: bool, reference: bool) -> float:
    """Of means of which one is infinite, or both."""
    return np.nan if own == reference else np.inf if reference else -np.inf


def interval(differences: np.ndarray) -> tuple[float, float]:
    """The central 95 % of the mean of (S, N), seeds and trajectories drawn again together."""
    seeds, count = differences.shape
    generator = np.random.default_rng(0)
    means = np.empty(DRAWS)
    for k in range(DRAWS):
        rows, columns = generator.integers(0, seeds, seeds), generator.integers(0, count, count)
        means[k] = differences[rows].mean(0)[columns].mean()
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


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
