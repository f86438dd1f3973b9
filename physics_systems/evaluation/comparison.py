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
    "objective", "variant", "reference", "ratio", "low", "high", "ratio_median", "seeds",
    "trajectories", "n_failed", "verdict",
)  # fmt: skip

Runs = dict[object, np.ndarray]
"""Seed → (N,) errors of each trajectory."""


def compare_rows(rows: Sequence[Row]) -> pd.DataFrame:
    """Every row beside every variant of VGB-DM: ratios of error over the same trajectories.

    ``ratio`` is that of the mean errors, each a geometric mean over seeds, ``low`` and ``high`` are
    those of `interval`, ``ratio_median`` is that of medians over seeds and trajectories, and
    ``n_failed`` counts forecasts of either that failed: these two tell something where a mean is
    infinite. ``seeds`` are the row's. The verdict is of the row:

    * ``better``, ``worse``: the interval leaves out 1, and so does each of its seeds beside each of
      VGB-DM's;
    * ``undecided``: otherwise;
    * ``one seed``: of a row that is trained, or of VGB-DM: nothing can be said about training;
    * ``failed``, ``reference failed``, ``both failed``: some forecast was not finite, and there is
      no interval.

    Args:
        rows: of one test set; those that are not chosen are passed over, and those without a seed
            are not trained.
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
                told = compare_runs(groups[name], groups[reference])
                found.append((*name, reference[1], *told.values()))
    return pd.DataFrame(found, columns=list(COLUMNS))


def compare_runs(own: Runs, reference: Runs) -> dict[str, float | int | str]:
    """What `compare_rows` tells of two rows, from ``ratio`` on."""
    a, b = np.stack(list(own.values())), np.stack(list(reference.values()))
    with np.errstate(over="ignore", invalid="ignore"):
        median = float(np.median(_positive(a)) / np.median(_positive(b)))
    rest = median, len(a), a.shape[1], int((~np.isfinite(a)).sum() + (~np.isfinite(b)).sum())
    whole = bool(np.isfinite(a).all()), bool(np.isfinite(b).all())
    if not all(whole):
        said = "both failed" if not any(whole) else "failed" if whole[1] else "reference failed"
        ratio = {(True, False): 0.0, (False, True): np.inf}.get(whole, np.nan)
        numbers = (ratio, np.nan, np.nan, *rest, said)
    else:
        low, high = interval(a, b)
        trained = [runs for runs in (own, reference) if None not in runs]
        said = "one seed" if any(len(runs) < 2 for runs in trained) else verdict(a, b, low, high)
        ratio = np.exp(_log_of_means(a).mean() - _log_of_means(b).mean())
        numbers = (float(ratio), low, high, *rest, said)
    return dict(zip(COLUMNS[3:], numbers, strict=True))


def interval(own: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """95 % interval of the ratio of mean errors, over seeds and trajectories together.

    Of a ratio and not of a difference, since errors of seeds differ by factors, and over the seeds
    of each by themselves, since two networks have nothing in common for having the same seed:
    `docs/method.md` says how often it holds the truth, and how often it finds a row that is worse.

    The hull of two: the central 95 % of ratios with seeds and trajectories drawn again, and Welch's
    interval of the logarithms of seeds. The first alone is too narrow for a few seeds, whose spread
    a bootstrap takes for (S - 1)/S of itself and for a normal's; the second alone knows nothing of
    trajectories, which all seeds share. A row of one run adds no spread of seeds.

    Args:
        own: (S, N) errors.
        reference: (R, N) errors on the same trajectories.
    """
    generator = np.random.default_rng(0)
    count = own.shape[1]
    columns = _shares(generator.integers(0, count, (DRAWS, count)), count)
    drawn, middle, spread, freedom = np.zeros(DRAWS), 0.0, 0.0, 0.0
    for sign, errors in ((1, own), (-1, reference)):
        runs = len(errors)
        rows = _shares(generator.integers(0, runs, (DRAWS, runs)), runs)
        drawn += sign * (_log_of_means(errors, columns) * rows).sum(1)
        by_seed = _log_of_means(errors)
        middle += sign * by_seed.mean()
        if runs > 1:
            spread += (part := by_seed.var(ddof=1) / runs)
            freedom += part**2 / (runs - 1)
    reach = stats.t.ppf(0.975, spread**2 / freedom) * np.sqrt(spread) if freedom else 0.0
    low, high = np.quantile(drawn, [0.025, 0.975])
    with np.errstate(over="ignore"):
        return float(np.exp(min(low, middle - reach))), float(np.exp(max(high, middle + reach)))


def _log_of_means(errors: np.ndarray, shares: np.ndarray | None = None) -> np.ndarray:
    """Of (S, N) over trajectories: (S,), or (K, S) with (K, N) ``shares`` of each."""
    return np.log(_positive(errors.mean(1) if shares is None else shares @ errors.T))


def _positive(errors: np.ndarray) -> np.ndarray:
    """An error of 0 is the smallest there is, so that a ratio and its logarithm exist."""
    return np.maximum(errors, np.finfo(float).tiny)


def _shares(drawn: np.ndarray, size: int) -> np.ndarray:
    """How often each of ``size`` stands in each line of (K, n) draws, ÷ n: (K, size)."""
    places = drawn + size * np.arange(len(drawn))[:, None]
    counts = np.bincount(places.ravel(), minlength=size * len(drawn))
    return counts.reshape(-1, size) / drawn.shape[1]


def verdict(own: np.ndarray, reference: np.ndarray, low: float, high: float) -> str:
    """What may be said of a row with errors (S, N) beside one with (R, N) and their interval."""
    a, b = own.mean(1), reference.mean(1)
    if high < 1 and a.max() < b.min():
        return "better"
    return "worse" if low > 1 and a.min() > b.max() else "undecided"
