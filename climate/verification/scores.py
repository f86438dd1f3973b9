"""Scores as functions of mean statistics, in physical units; arrays of any shape.

The means may be over all starts, or over the starts of each bootstrap draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Means = Mapping[str, np.ndarray]


def mse(means: Means) -> np.ndarray:
    """Mean square error over all starts."""
    return means["square"]


def rmse_mean_of_roots(means: Means) -> np.ndarray:
    """Mean over starts of the root mean square error of each (WeatherBench 1, ClimODE)."""
    return means["root"]


def rmse_root_of_mean(means: Means) -> np.ndarray:
    """Root of the mean square error over all starts (WeatherBench 2)."""
    return np.sqrt(means["square"])


def acc(means: Means) -> np.ndarray:
    """Anomaly correlation, uncentred, of means over starts; NaN where there is no anomaly."""
    scale = np.sqrt(means["forecast_square"] * means["truth_square"])
    tiny = means["forecast_square"] <= 1e-10 * means["truth_square"]
    return np.where(tiny, np.nan, means["product"] / np.where(tiny, 1.0, scale))


def bias(means: Means) -> np.ndarray:
    """Mean error."""
    return means["error"]


def crps(means: Means) -> np.ndarray:
    """Continuous ranked probability score; fair for ensembles, absolute error for one forecast."""
    return means["crps"]


def spread_skill(means: Means) -> np.ndarray:
    """√((M+1)/M · mean variance) ÷ RMSE of the mean (Fortin et al. 2014); NaN without spread."""
    return np.sqrt(means["spread_square"] / means["square"])


SCORES: dict[str, Callable[[Means], np.ndarray]] = {
    "rmse_mean_of_roots": rmse_mean_of_roots,
    "rmse_root_of_mean": rmse_root_of_mean,
    "acc": acc,
    "bias": bias,
    "crps": crps,
    "spread_skill": spread_skill,
}
