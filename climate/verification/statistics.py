"""Statistics of a forecast and its truth: area means, one number per start, lead and channel.

Scores are functions of the means of these over starts (see `scores`), so that weighting and
aggregation stay apart and memory does not grow with the number of starts.

Shapes: ``N`` starts, ``S`` leads, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import numpy as np

NAMES = ("square", "error", "product", "forecast_square", "truth_square")


def pair_statistics(
    forecast: np.ndarray, truth: np.ndarray, climatology: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Area-weighted means over the globe, each (N, S, C) float64.

    Args:
        forecast: (N, S, C, H, W).
        truth: (N, S, C, H, W).
        climatology: (N, S, C, H, W) at the valid times.
        weights: (H,) of mean 1: cos φ (WeatherBench).

    Returns:
        ``square`` of the error, ``error``, ``product`` of both anomalies, and their squares
        ``forecast_square`` and ``truth_square``.
    """
    area = weights / weights.sum() / forecast.shape[-1]
    error = forecast.astype(np.float64) - truth
    predicted, observed = forecast.astype(np.float64) - climatology, truth - climatology

    def mean(a: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
        if b is None:
            return np.einsum("nschw,h->nsc", a, area)
        return np.einsum("nschw,nschw,h->nsc", a, b, area)

    return {
        "square": mean(error, error),
        "error": mean(error),
        "product": mean(predicted, observed),
        "forecast_square": mean(predicted, predicted),
        "truth_square": mean(observed, observed),
    }


class MeanStatistics:
    """Sums over starts of pair statistics, and of the root of each start's mean square."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, np.ndarray] = {}

    def add(self, statistics: dict[str, np.ndarray]) -> None:
        """Take in the statistics (N, S, C) of some starts."""
        self.count += len(statistics["square"])
        for name, values in {**statistics, "root": np.sqrt(statistics["square"])}.items():
            self.sums[name] = self.sums.get(name, 0.0) + values.sum(0)

    def means(self) -> dict[str, np.ndarray]:
        """Means over starts, each (S, C); ``root`` is the mean of the roots."""
        return {name: total / self.count for name, total in self.sums.items()}
