"""Statistics of a forecast and its truth: area means, one number per start and lead.

Scores are functions of the means of these over starts (see `scores`), so that weighting and
aggregation stay apart and memory does not grow with the number of starts.

Shapes: ``N`` starts, ``M`` members (1: deterministic), ``S`` leads, ``H`` latitudes,
``W`` longitudes, ``K`` zonal wavenumbers 0 … W/2.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from climate.grids.area import Area
from vgbdm.scores import crps, ranks

STATISTIC_NAMES = (
    "square", "root", "error", "product", "forecast_square", "truth_square", "crps",
    "spread_square",
)  # fmt: skip


def pair_statistics(
    members: np.ndarray,
    truth: np.ndarray,
    climatology: np.ndarray,
    area: Area,
    std: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Area-weighted means of one variable, each (N, S) float64; a lead at a time.

    Args:
        members: (N, M, S, H, W).
        truth: (N, S, H, W).
        climatology: (N, S, H, W) at the valid times.
        area: of the fields.
        std: broadcast to (S, H, W): the forecast is normal about the one member.

    Returns:
        Of the mean of the members: ``square`` of the error and its ``root``, ``error``,
        ``product`` of both anomalies, and their squares ``forecast_square`` and ``truth_square``.
        Of the distribution: ``crps`` (fair; the absolute error where there is one member) and
        ``spread_square``, (M + 1)/M times the variance with M - 1; NaN where there is none.
    """
    shape = truth.shape[1:]
    spread = None if std is None else np.broadcast_to(std, shape)
    leads = [
        _at_lead(
            members[:, :, s].astype(np.float64),
            truth[:, s].astype(np.float64),
            climatology[:, s],
            area,
            None if spread is None else spread[s],
        )
        for s in range(shape[0])
    ]
    return {name: np.stack([lead[name] for lead in leads], 1) for name in STATISTIC_NAMES}


def _at_lead(
    members: np.ndarray,
    truth: np.ndarray,
    climatology: np.ndarray,
    area: Area,
    std: np.ndarray | None,
) -> dict[str, np.ndarray]:
    count = members.shape[1]
    errors = members - truth[:, None]  # CRPS and spread of these are those of the members
    error = errors.mean(1)
    observed = truth - climatology
    predicted = observed + error
    if std is not None:
        score, spread = gaussian_crps(error, std), np.broadcast_to(std**2, error.shape)
    elif count > 1:
        ordered = torch.from_numpy(errors).movedim(1, 0)
        score = crps(ordered, torch.zeros(())).numpy()
        spread = (count + 1) / count * errors.var(1, ddof=1)
    else:
        score, spread = np.abs(error), np.full(error.shape, np.nan)
    square = area.mean(error**2)
    return {
        "square": square,
        "root": np.sqrt(square),
        "error": area.mean(error),
        "product": area.mean(predicted * observed),
        "forecast_square": area.mean(predicted**2),
        "truth_square": area.mean(observed**2),
        "crps": area.mean(score),
        "spread_square": area.mean(spread),
    }


def gaussian_crps(error: np.ndarray, std: np.ndarray) -> np.ndarray:
    """CRPS of a normal distribution, σ [z (2Φ(z) - 1) + 2φ(z) - 1/√π], z = error/σ.

    Where σ is 0 it is the absolute error. Gneiting et al. 2005, eq. 5.

    Args:
        error: of the mean, any shape.
        std: σ, broadcast to it.
    """
    sigma = np.broadcast_to(std, error.shape)
    scale = np.where(sigma > 0, sigma, 1.0)
    z = torch.from_numpy(error / scale)
    density = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    value = z * (2 * torch.special.ndtr(z) - 1) + 2 * density - 1 / math.sqrt(math.pi)
    return np.where(sigma > 0, scale * value.numpy(), np.abs(error))


def zonal_spectrum(field: np.ndarray, area: Area) -> np.ndarray:
    """Power per zonal wavenumber, (..., K), of fields (..., H, W) around the whole Earth.

    The square of the amplitudes on each latitude, area-weighted over all latitudes; summed over
    wavenumbers it is the area mean of the square (Parseval).
    """
    width = field.shape[-1]
    power = np.abs(np.fft.rfft(field.astype(np.float64), axis=-1) / width) ** 2
    power[..., 1 : (width + 1) // 2] *= 2  # both signs; the mean and the shortest wave have one
    return np.asarray(np.einsum("...hk,h->...k", power, area.weights))


def rank_histogram(members: np.ndarray, truth: np.ndarray, area: Area) -> np.ndarray:
    """Area-weighted share of truths at each rank 0 … M among the members, (M + 1,).

    A truth that equals members is shared evenly among the ranks it could have.

    Args:
        members: (N, M, H, W).
        truth: (N, H, W).
        area: of the fields.
    """
    count = members.shape[1]
    of_members, of_truth = torch.from_numpy(members).movedim(1, 0), torch.from_numpy(truth)
    below = ranks(of_members, of_truth).numpy()
    equal = (of_members == of_truth).sum(0).numpy()
    weight = area.point_weights / truth.shape[0] / (equal + 1)
    # a share goes to every rank from `below` to `below + equal`: a step up, and one down after it
    up = np.bincount(below.ravel(), weight.ravel(), count + 2)
    down = np.bincount((below + equal + 1).ravel(), weight.ravel(), count + 2)
    return np.cumsum(up - down)[: count + 1]
