"""Forecasts in memory whose errors differ by start, member, lead, channel, row and column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from generic_weather import uneven_errors

from climate.forecasts.reading import Forecast
from climate.grids.area import Area
from climate.store.layout import TrainingStore

STARTS = np.array([288, 300, 341])
"""Of the shared store's hours: the last lead of the last start is the last of validation, 359."""


def forecast(
    store: TrainingStore,
    starts: np.ndarray = STARTS,
    leads: int = 3,
    members: int = 2,
    step: int = 6,
    factor: float = 1.0,
    **attrs: str,
) -> tuple[Forecast, np.ndarray]:
    """Forecasts of the truth with uneven errors, and these, (N, M, S, C, H, W)."""
    frames = starts[:, None] + step * np.arange(1, leads + 1)
    truth = store.read(0, len(store.times))[np.minimum(frames, len(store.times) - 1)]
    shape = (len(starts), members, *truth.shape[1:])
    errors = factor * uneven_errors(*shape)
    values = truth[:, None] + errors
    axes = ("time", "realization", "lead_time", "lat", "lon")
    coords = {
        "time": store.times[starts], "lat": store.lat, "lon": store.lon,
        "lead_time": np.timedelta64(step * 3600, "s") * np.arange(1, leads + 1),
    }  # fmt: skip
    fields = {n: (axes, values[:, :, :, c]) for c, n in enumerate(store.channels)}
    area = Area.of(store.lat, store.lon, store.lat, store.lon)
    made = xr.Dataset(fields, coords, attrs)
    length = np.timedelta64(step * 3600, "s")
    return Forecast(Path("dress"), made, starts, length, area, (1, 1)), errors
