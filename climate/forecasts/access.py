"""Forecasts as datasets: our own through their manifest, others' through the door for strangers."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from vgbdm.errors import InputError
from vgbdm.storage.datasets import open_group

FORECAST_KIND = "forecast"


def name_of(forecast: str | Path | xr.Dataset) -> Path:
    """What a forecast is called in messages: its path."""
    return Path("(dataset)") if isinstance(forecast, xr.Dataset) else Path(forecast)


def open_forecast_dataset(forecast: str | Path | xr.Dataset) -> xr.Dataset:
    """A forecast as a lazy dataset, whose files are compared with their digests as they are read.

    A forecast of another program has none; what it holds must be numbers in usual codecs.

    Args:
        forecast: its path, or a dataset as it is.

    Raises:
        InputError: one line, if it is missing, damaged, or may not be decoded.
    """
    if isinstance(forecast, xr.Dataset):
        return forecast.copy(deep=False)  # closing it leaves the caller's open
    place = Path(forecast)
    if not place.is_dir():
        raise InputError(f"forecast={place}: no such store; make it with vgbdm forecast-era5")
    remedy = "remove it and make it again with launch/forecast_era5.py"
    return open_group(place, FORECAST_KIND, remedy)
