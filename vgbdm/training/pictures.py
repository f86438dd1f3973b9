"""Pictures of a forecast beside the truth, as arrays of colours; they need no drawing library."""

from __future__ import annotations

import numpy as np

STATES = np.array([[38, 24, 74], [45, 93, 141], [46, 152, 137], [124, 204, 86], [250, 230, 60]])
"""Colours (5, 3) of values, from low to high."""
ERRORS = np.array([[33, 74, 150], [140, 178, 220], [247, 247, 247], [232, 150, 120], [160, 30, 40]])
"""Colours (5, 3) of errors, from below to above; white is none."""
MISSING = np.array([128, 128, 128])
SMALLEST, GAP = 192, 4
"""Pixels of a side at least, and between two maps."""


def coloured(values: np.ndarray, low: float, high: float, colours: np.ndarray) -> np.ndarray:
    """Values (H, W) as colours (H, W, 3) of 8 bits; grey where they are not finite."""
    span = high - low if high > low else 1.0
    share = np.clip((np.nan_to_num(values, nan=low) - low) / span, 0.0, 1.0)
    places = np.linspace(0.0, 1.0, len(colours))
    mixed = np.stack([np.interp(share, places, colours[:, k]) for k in range(3)], -1)
    mixed[~np.isfinite(values)] = MISSING
    found: np.ndarray = mixed.round().astype(np.uint8)
    return found


def forecast_and_truth(forecast: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Forecast, truth and error, one below the other.

    Args:
        forecast: (H, W), row 0 on top.
        truth: (H, W), whose range both are coloured by; NaN where there is none.

    Returns:
        Colours (3·H' + 2·`GAP`, W', 3) of 8 bits, enlarged where the maps are small.
    """
    fine = truth[np.isfinite(truth)]
    low, high = (float(fine.min()), float(fine.max())) if fine.size else (0.0, 1.0)
    error = forecast - truth
    most = float(np.abs(error[np.isfinite(error)]).max(initial=0.0)) or 1.0
    maps = [
        coloured(forecast, low, high, STATES),
        coloured(truth, low, high, STATES),
        coloured(error, -most, most, ERRORS),
    ]
    times = [max(1, -(-SMALLEST // side)) for side in truth.shape]
    if min(truth.shape) > 16:  # a map keeps its shape
        times = [min(times)] * 2
    large = [m.repeat(times[0], 0).repeat(times[1], 1) for m in maps]
    white = np.full((GAP, large[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([large[0], white, large[1], white, large[2]])
