"""Simulation-based calibration: where true parameters lie among draws from their posteriors.

Were θ of the test set drawn from the prior and the posterior exact, the rank of the true value
among M draws would be uniform on 0 … M (Talts et al. 2018). Of a set drawn otherwise ranks say
nothing of the kind, see `EvaluationSet.from_prior`. Seeds share their trajectories: their ranks
are averaged, not added up as if each seed had brought trajectories of its own, and all bands and
intervals are those of N trajectories.

Shapes: ``S`` seeds, ``N`` trajectories, ``M`` draws, ``P`` parameters, ``K`` bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from physics_systems.evaluation.rows import Row
from vgbdm import scores

BAND = 0.99
MOST_BINS, LEAST_IN_A_BIN = 20, 5
LEVELS = (0.5, 0.9)
COLUMNS = (
    "objective", "variant", "parameter", "seeds", "n", "members", "coverage_50", "coverage_50_low",
    "coverage_50_high", "coverage_90", "coverage_90_low", "coverage_90_high", "rank_p",
)  # fmt: skip


class Histogram(NamedTuple):
    """Ranks of one parameter in bins.

    Attributes:
        edges: (K + 1,) ranks, halves between whole ones.
        counts: (K,) trajectories, averaged over seeds.
        expected: (K,) of uniform ranks.
        low: (K,) lower end of the central 99 % of uniform ranks.
        high: (K,) upper end.
        p_value: of Pearson's χ² test that ranks are uniform; NaN below 10 trajectories.
    """

    edges: np.ndarray
    counts: np.ndarray
    expected: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: float


def rank_histogram(ranks: np.ndarray, members: int) -> Histogram:
    """Ranks (S, N) among M draws, against uniform ones.

    Bins are as many as give `LEAST_IN_A_BIN` each, and divide M + 1 ranks evenly where they can;
    where not, each is expected to hold its own share.
    """
    count = ranks.shape[1]
    most = max(2, min(MOST_BINS, members + 1, count // LEAST_IN_A_BIN))
    bins = next((k for k in range(most, 2, -1) if (members + 1) % k == 0), most)
    edges = np.round(np.linspace(0, members + 1, bins + 1)) - 0.5
    counts = np.histogram(ranks, edges)[0] / len(ranks)
    shares = np.diff(edges) / (members + 1)
    expected = count * shares
    low, high = (stats.binom.ppf(q, count, shares) for q in ((1 - BAND) / 2, (1 + BAND) / 2))
    distance = ((counts - expected) ** 2 / expected).sum()
    p_value = float(stats.chi2.sf(distance, bins - 1)) if count >= 2 * LEAST_IN_A_BIN else np.nan
    return Histogram(edges, counts, expected, low, high, p_value)


def share_interval(share: float, count: int) -> tuple[float, float]:
    """99 % interval of a probability of which a share of N was seen (Clopper & Pearson 1934)."""
    seen, tail = share * count, (1 - BAND) / 2
    low = stats.beta.ppf(tail, seen, count - seen + 1) if seen > 0 else 0.0
    high = stats.beta.ppf(1 - tail, seen + 1, count - seen) if seen < count else 1.0
    return float(low), float(high)


def ranks_of(draws: Sequence[Tensor], truth: Tensor) -> np.ndarray:
    """Ranks (S, N) of true values (N,) among the draws (M, N) of each seed."""
    return torch.stack([scores.ranks(own.double(), truth) for own in draws]).numpy()


def rank_counts(members: Tensor, truth: Tensor) -> np.ndarray:
    """How many truths (N, ...) had each number of members (M, N, ...) below them: (M + 1,).

    Trajectories of which a member is not finite are passed over.
    """
    kept = members.isfinite().transpose(0, 1).flatten(1).all(1)
    ranks = torch.zeros(truth[kept].shape, dtype=torch.int32)
    for member in members:  # one at a time: all at once are as large as the ensemble
        ranks += member[kept] < truth[kept]
    return torch.bincount(ranks.flatten(), minlength=len(members) + 1).numpy()


def coverage_curve(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels that M members tell exactly, 1 - 2k ÷ (M + 1), and the share of truths they hold.

    Args:
        counts: (M + 1,) of `rank_counts`.
    """
    ends = np.arange(len(counts) // 2, 0, -1)
    total = counts.sum()
    if not total:
        return np.zeros(0), np.zeros(0)
    shares = [counts[k : len(counts) - k].sum() / total for k in ends]
    return 1 - 2 * ends / len(counts), np.array(shares)


def smallest_p(draws: Tensor, truth: Tensor) -> float:
    """P-value that all parameters' ranks are uniform: the smallest, times how many (Bonferroni).

    Args:
        draws: (M, N, P).
        truth: (N, P).
    """
    pairs = zip(draws.unbind(2), truth.unbind(1), strict=True)
    values = [rank_histogram(ranks_of([own], true), len(draws)).p_value for own, true in pairs]
    return float(np.minimum(1.0, len(values) * np.min(values)))


def calibration_table(rows: Sequence[Row], truth: Mapping[str, Tensor]) -> pd.DataFrame:
    """Coverage and uniformity of ranks, per variant and parameter, pooled over seeds.

    Args:
        rows: chosen ones; those without draws of θ are passed over.
        truth: true parameters by name, drawn from the prior.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.field is not None and has_draws(row):
            groups.setdefault(row.name, []).append(row)
    found = []
    for name, own in groups.items():
        assert own[0].field is not None
        for place, parameter in enumerate(own[0].field.parameter_names):
            draws = draws_of(own, place)
            found.append((*name, parameter, len(own), *_numbers(draws, truth[parameter])))
    return pd.DataFrame(found, columns=list(COLUMNS))


def has_draws(row: Row) -> bool:
    """Whether a row says of θ how sure it is."""
    draws = row.forecasts.theta_draws
    return draws is not None and len(draws) > 1


def draws_of(rows: Sequence[Row], place: int) -> list[Tensor]:
    """Draws (M, N) of one parameter, of each row."""
    return [row.forecasts.theta_draws[:, :, place] for row in rows]  # type: ignore[index]


def _numbers(draws: list[Tensor], truth: Tensor) -> tuple[float | int, ...]:
    """Columns from ``n`` on."""
    members, count = draws[0].shape
    numbers: list[float | int] = [count, members]
    for level in LEVELS:
        share = float(np.mean([scores.coverage(own.double(), truth, level) for own in draws]))
        ends = (np.nan, np.nan) if np.isnan(share) else share_interval(share, count)
        numbers += [share, *ends]
    return (*numbers, rank_histogram(ranks_of(draws, truth), members).p_value)
