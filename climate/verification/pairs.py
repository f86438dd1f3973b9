"""Statistics of forecasts and their truth: area means, one number per start and lead.

Scores are functions of the means of these over starts (see `scores`), so that weighting and
aggregation stay apart and memory does not grow with the number of starts.

Fields are 0 where a point does not count (`Area.blank`); they keep their precision, sums of rows
are added in float64.

Shapes: ``B`` pairs of a start and a lead, ``M`` members (1: deterministic), ``H`` latitudes,
``W`` longitudes, ``K`` zonal wavenumbers 0 … W/2.
"""

from __future__ import annotations

import numpy as np
import torch

from climate.grids.area import Area
from vgbdm.scores import crps, expected_square

STATISTIC_NAMES = (
    "square", "root", "error", "product", "forecast_square", "truth_square", "crps",
    "spread_square",
)  # fmt: skip


def pair_statistics(
    errors: np.ndarray, anomalies: np.ndarray, area: Area, *, mirrored: bool = False
) -> dict[str, np.ndarray]:
    """Area-weighted means of one variable, each (B,) float64.

    Args:
        errors: (M, B, H, W) of the members.
        anomalies: (B, H, W) of the truth, from climatology at the valid times.
        area: of the fields.
        mirrored: members 2k and 2k + 1 are drawn by opposite numbers.

    Returns:
        Of the mean of the members: ``square`` of the error and its ``root``, ``error``,
        ``product`` of both anomalies, and their squares ``forecast_square`` and ``truth_square``.
        Of the distribution: ``crps`` (fair; the absolute error where there is one member) and
        ``spread_square`` (`vgbdm.scores.expected_square`); NaN where there is none.
    """
    error = mean_of(errors)
    predicted, square = anomalies + error, area.mean_product(error, error)
    return {
        "square": square,
        "root": np.sqrt(square),
        "error": area.mean(error),
        "product": area.mean_product(predicted, anomalies),
        "forecast_square": area.mean_product(predicted, predicted),
        "truth_square": area.mean_product(anomalies, anomalies),
        **(_of_one(error, area) if len(errors) == 1 else _of_members(errors, area, mirrored)),
    }


def mean_of(members: np.ndarray) -> np.ndarray:
    """Mean of members (M, ...); the one itself where there is one."""
    return members[0] if len(members) == 1 else members.mean(0)


def _of_one(error: np.ndarray, area: Area) -> dict[str, np.ndarray]:
    return {"crps": area.mean(np.abs(error)), "spread_square": np.full(len(error), np.nan)}


def _of_members(errors: np.ndarray, area: Area, mirrored: bool) -> dict[str, np.ndarray]:
    """CRPS and spread of errors are those of the members."""
    held = torch.from_numpy(errors)
    score = crps(held, torch.zeros((), dtype=held.dtype), pairs=mirrored).numpy()
    spread = expected_square(held, pairs=mirrored).numpy()
    return {"crps": area.mean(score), "spread_square": area.mean(spread)}


def zonal_spectrum(fields: np.ndarray, area: Area) -> np.ndarray:
    """Power per zonal wavenumber, (..., K) float64, of fields (..., H, W) around the whole Earth.

    The square of the amplitudes on each latitude, area-weighted over all latitudes; summed over
    wavenumbers it is the area mean of the square (Parseval). The mean of a row is taken off before
    its transform, which keeps the precision of the fields.
    """
    width = fields.shape[-1]
    means = fields @ np.full(width, 1 / width, fields.dtype)
    weighted = (fields - means[..., None]) * np.sqrt(area.weights / width**2)[:, None].astype(
        fields.dtype
    )
    parts = torch.fft.rfft(torch.from_numpy(weighted)).numpy().view(fields.dtype)
    squares = np.einsum("...hp,...hp->...p", parts, parts)
    power = squares.reshape(*squares.shape[:-1], -1, 2).sum(-1, dtype=np.float64)
    power[..., 1 : (width + 1) // 2] *= 2  # both signs; the mean and the shortest wave have one
    power[..., 0] = means.astype(np.float64) ** 2 @ area.weights
    return np.asarray(power)


def rank_histogram(members: np.ndarray, truth: np.ndarray, area: Area) -> np.ndarray:
    """Area-weighted share of truths at each rank 0 … M among the members, (B, M + 1).

    A truth that equals members is shared evenly among the ranks it could have.

    Args:
        members: (M, B, H, W).
        truth: (B, H, W).
        area: of the fields.
    """
    return rank_shares(*rank_counts(members, truth), len(members), area)


def rank_counts(members: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many of members (M, ...) are below the truth (...), and how many equal it."""
    few = np.min_scalar_type(len(members))  # sums of bytes are ten times as fast
    return (members < truth).sum(0, dtype=few), (members == truth).sum(0, dtype=few)


def rank_shares(below: np.ndarray, equal: np.ndarray, members: int, area: Area) -> np.ndarray:
    """The histogram (B, M + 1) of `rank_counts`, each (B, H, W), of M members."""
    count, pairs = members + 2, len(below)
    weight = (area.point_weights / (equal + 1.0)).ravel()
    place = below + count * np.arange(pairs)[:, None, None]
    # a share goes to every rank from `below` to `below + equal`: a step up, and one down after it
    up = np.bincount(place.ravel(), weight, pairs * count)
    down = np.bincount((place + equal + 1).ravel(), weight, pairs * count)
    return np.cumsum((up - down).reshape(pairs, count), 1)[:, :-1]
