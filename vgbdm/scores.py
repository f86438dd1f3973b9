"""Scores that need no geometry (docs/method.md#scores).

Shapes: ``N`` trajectories, ``M`` ensemble members, ``n`` frames, ``C`` components, ``P``
parameters, ``...`` axes of a grid.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vgbdm.precision import in_full


def mean_square_errors(forecast: Tensor, truth: Tensor) -> Tensor:
    """Mean square error of each trajectory, (N,), of (N, n, C, ...)."""
    return (forecast - truth).double().flatten(1).square().mean(1)


def relative_mean_square_error(forecast: Tensor, truth: Tensor) -> float:
    """Mean over components of MSE_c / Var_c, each variance about the component's own mean."""
    error, scored = (x.double().transpose(0, 2).flatten(1) for x in (forecast - truth, truth))
    return float((error.square().mean(1) / scored.var(1, unbiased=False)).mean())


@in_full
def crps(members: Tensor, truth: Tensor, *, pairs: bool = False) -> Tensor:
    """Fair continuous ranked probability score: E|X - y| - ½ E|X - X'|, X ≠ X' (Ferro 2014).

    Args:
        members: (M, ...), M ≥ 2.
        truth: (...).
        pairs: see `half_distance`.

    Returns:
        (...) in the unit of the values.
    """
    return (members - truth).abs().mean(0) - half_distance(members, pairs=pairs)


@in_full
def half_distance(members: Tensor, *, pairs: bool = False) -> Tensor:
    """½ E|X - X'| (...), X ≠ X' independent, of members (M, ...), M ≥ 2.

    Args:
        members: drawn alike.
        pairs: members 2k and 2k + 1 depend on each other, and are not held against each other;
            M is even then, at least 4.
    """
    count = len(members)
    ordered = members.sort(0).values
    weights = 2 * torch.arange(1, count + 1, dtype=members.dtype, device=members.device) - count - 1
    total = torch.einsum("m,m...->...", weights, ordered)
    if not pairs:
        return total / (count * (count - 1))
    return (total - (members[::2] - members[1::2]).abs().sum(0)) / (count * (count - 2))


@in_full
def variance(members: Tensor, *, pairs: bool = False) -> Tensor:
    """Of what members (M, ...) are drawn from, (...); in pairs m ± d that of m + mean of d².

    Args:
        members: drawn alike, M ≥ 2.
        pairs: members 2k and 2k + 1 depend on each other; M is even then, at least 4.
    """
    if not pairs:
        return members.var(0)
    one, other = members[::2], members[1::2]
    return ((one + other) / 2).var(0) + ((one - other) / 2).square().mean(0)


@in_full
def expected_square(members: Tensor, *, pairs: bool = False) -> Tensor:
    """Mean square error (...) that the mean of members (M, ...) has where the truth is one of them.

    `variance` and that of the mean of the draws: of M members (M + 1)/M · variance (Fortin et al.
    2014); in pairs m ± d of K = M/2 means, (K + 1)/K · variance of m + mean of d².

    Args:
        members: drawn alike, M ≥ 2.
        pairs: see `variance`.
    """
    draws = (members[::2] + members[1::2]) / 2 if pairs else members
    return variance(members, pairs=pairs) + draws.var(0) / len(draws)


def coverage(members: Tensor, truth: Tensor, level: float = 0.9) -> float:
    """Share of truths (...) between the central quantiles of members (M, ...).

    Quantiles stand at (M + 1) p - 1: members drawn like the truth give ``level``. Fewer than
    2 ÷ (1 - level) - 1 members, 19 of 90 %, do not reach so far out, and the answer is NaN.
    """
    tail = (1 - level) / 2
    ordered = members.sort(0).values
    count = len(members)
    if tail * (count + 1) < 1 - 1e-9:
        return math.nan

    def quantile(share: float) -> Tensor:
        place = min(max(share * (count + 1) - 1, 0.0), count - 1.0)
        low = int(place)
        return torch.lerp(ordered[low], ordered[min(low + 1, count - 1)], place - low)

    inside = (truth >= quantile(tail)) & (truth <= quantile(1 - tail))
    return float(inside.double().mean())


def spread_skill(members: Tensor, truth: Tensor) -> float:
    """√((M+1)/M · mean variance) ÷ RMSE of the mean (Fortin et al. 2014); 1 where both agree."""
    error = (members.mean(0) - truth).square().mean()
    return float((expected_square(members).mean() / error).sqrt())


def ranks(members: Tensor, truth: Tensor) -> Tensor:
    """How many of M members lie below the truth: 0 … M, shaped like the truth."""
    return (members < truth).sum(0)


def theta_errors(estimate: Tensor, truth: Tensor) -> Tensor:
    """Squared error ÷ variance of the true values, per parameter (P,), of (N, P)."""
    return (estimate - truth).square().mean(0) / truth.var(0, unbiased=False)
