"""Forecasts as datasets: our own through their manifest, others' through the door for strangers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from vgbdm.errors import InputError
from vgbdm.storage.datasets import open_group, open_netcdf

FORECAST_KIND = "forecast"
MEMBER = "realization"
GIVEN = "forcing_channels"
"""Attribute of a forecast: the channels that its model was given ahead, which it does not hold."""
GIVEN_TRUTH = "given_truth"
"""Attribute of a forecast: what of the truth after its starts it was given."""
MIRRORED = "members_in_pairs"
"""Attribute of a forecast and of its members' numbers: 1 where 2k and 2k + 1 are drawn by opposite
numbers."""
AXES = ("time", "lead_time", "lat", "lon")
REMEDY = "remove it and make it again with vgbdm forecast-era5"


def name_of(forecast: str | Path | xr.Dataset) -> Path:
    """What a forecast is called in messages: its path."""
    return Path("(dataset)") if isinstance(forecast, xr.Dataset) else Path(forecast)


def open_forecast_dataset(
    forecast: str | Path | xr.Dataset, argument: str = "forecast"
) -> xr.Dataset:
    """A forecast as a lazy dataset, whose files are compared with their digests as they are read.

    A forecast of another program has none; what it holds must be numbers in usual codecs.

    Args:
        forecast: its path, or a dataset as it is.
        argument: by which it is given, for messages.

    Raises:
        InputError: one line, if it is missing, damaged, or may not be decoded.
    """
    if isinstance(forecast, xr.Dataset):
        return _with_axes(
            forecast.copy(deep=False), f"{argument}=(dataset)"
        )  # closing leaves the caller's open
    place = Path(forecast)
    if place.is_file():
        return _with_axes(open_netcdf(place, REMEDY), f"{argument}={place}")
    if not place.is_dir():
        raise InputError(f"{argument}={place}: no such store; make it with vgbdm forecast-era5")
    return _with_axes(open_group(place, FORECAST_KIND, REMEDY), f"{argument}={place}")


def mirrored(dataset: xr.Dataset, name: str) -> bool:
    """Whether members 2k and 2k + 1 of a forecast, in its order, are drawn by opposite numbers.

    Of a forecast in pairs, members may be selected: whole pairs, or one of each.

    Raises:
        InputError: if some of both are left.
    """
    marks = (dataset.attrs, dataset[MEMBER].attrs if MEMBER in dataset.coords else {})
    if not any(held.get(MIRRORED) for held in marks) or dataset.sizes.get(MEMBER, 1) < 2:
        return False
    numbers = np.asarray(dataset[MEMBER].values)
    halves, counts = np.unique(numbers // 2, return_counts=True)
    if (counts == 1).all():
        return False
    if (counts == 2).all() and len(halves) > 1 and (numbers[::2] // 2 == numbers[1::2] // 2).all():
        return True
    raise InputError(
        f"{name}: its members were drawn in pairs, {MEMBER} 2k and 2k + 1, of which some have lost "
        "theirs or stand there more than once; number them apart, and select whole pairs, two at "
        f"least, or one of each, such as {MEMBER}=slice(None, None, 2)"
    )


def _with_axes(dataset: xr.Dataset, name: str) -> xr.Dataset:
    """A forecast with its axes, whose leads are durations.

    Raises:
        InputError: if there is no such axis, or nothing along it.
    """
    absent = [axis for axis in AXES if axis not in dataset.dims or axis not in dataset.coords]
    if absent:
        raise InputError(
            f"{name}: has the dimensions {', '.join(map(str, dataset.dims))}, no "
            f"{absent[0]} with its values; want {', '.join(AXES)}, and {MEMBER} of an ensemble: "
            "rename, or select by lists, which keeps dimensions"
        )
    empty = [axis for axis in (*AXES, MEMBER) if dataset.sizes.get(axis) == 0]
    if empty:
        raise InputError(f"{name}: holds no {empty[0]}; select at least one")
    if dataset["lead_time"].dtype.kind in "fiu":
        leads = xr.decode_cf(dataset[["lead_time"]], decode_timedelta=True)["lead_time"]
        dataset = dataset.assign_coords(lead_time=leads)
    if dataset["lead_time"].dtype.kind != "m":
        raise InputError(
            f"{name}: its lead_time are no durations but {dataset['lead_time'].dtype}; "
            "give timedeltas, or numbers with the attribute units, such as hours"
        )
    return dataset
