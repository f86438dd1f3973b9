"""The coordinates and attributes of a forecast dataset, by the CF conventions.

Shapes: ``N`` starts, ``M`` members, ``S`` leads, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from climate.conventions.calendar import in_unit_of, is_monthly, step_seconds
from climate.conventions.wording import duration
from climate.forecasts.access import MIRRORED
from climate.forecasts.starts import InitialStates
from vgbdm.errors import InputError

LAST = np.datetime64("2261")
"""A year that nanoseconds since 1970 reach."""
EPOCH = "seconds since 1970-01-01"


def forecast_layout(
    initial: InitialStates,
    channels: Sequence[str],
    members: int,
    leads: int,
    step: np.timedelta64,
    attributes: Mapping[str, Any],
    make: Callable[[tuple[int, ...]], Any],
) -> xr.Dataset:
    """A forecast dataset whose fields (time, [realization,] lead_time, lat, lon) are to be filled.

    Args:
        initial: where it starts; the halo of a region is left out.
        channels: that are forecast.
        members: M; 1: without the axis.
        leads: S.
        step: between leads.
        attributes: global ones.
        make: shape → an array.

    Raises:
        InputError: for valid times that files of nanoseconds do not reach.
    """
    coords = _coordinates(initial, leads, step)
    sizes = {dim: len(coords[dim][1]) for dim in ("time", "lead_time", "lat", "lon")}
    if members > 1:
        sizes = {"time": sizes["time"], "realization": members, **sizes}
    dims, shape = tuple(sizes), tuple(sizes.values())
    masked = initial.masked
    fields = {
        name: (dims, make(shape), _channel_attributes(name, initial.channel_attrs[name], masked))
        for name in channels
    }
    if members > 1:
        number: dict[str, Any] = {"standard_name": "realization", "units": "1"}
        number["long_name"] = "ensemble member"
        if MIRRORED in attributes:
            number[MIRRORED] = attributes[MIRRORED]
        coords["realization"] = ("realization", np.arange(members, dtype=np.int32), number)
    return xr.Dataset(fields, coords, {"Conventions": "CF-1.11", **attributes})


def _coordinates(initial: InitialStates, leads: int, step: np.timedelta64) -> dict[str, Any]:
    """Initial times, leads, valid times, and the grid without its halo."""
    if in_unit_of(step, initial.times)[-1] + leads * step > LAST:
        longest = duration(leads * step)
        raise InputError(f"leads: {longest} go beyond the year {LAST}; choose shorter leads")
    times = initial.times.astype("datetime64[ns]")
    count = np.arange(1, leads + 1)
    lead_times = (count * np.timedelta64(step_seconds(step), "s")).astype("timedelta64[ns]")
    valid_times = in_unit_of(step, initial.times)[:, None] + count * step
    unit = "seconds" if is_monthly(step) else "hours"  # a mean month is no whole number of hours
    rows, columns = initial.interior
    lat, lon = initial.grid.lat[rows], initial.grid.lon[columns]
    clock = {"units": EPOCH, "calendar": "proleptic_gregorian", "dtype": "int64"}
    plain = {"_FillValue": None}  # CF: coordinates have none
    utc = {"units_metadata": "leap_seconds: none"}
    start = {"standard_name": "forecast_reference_time", "long_name": "initial time", **utc}
    north = {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}
    east = {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}
    period = {"standard_name": "forecast_period", "long_name": "lead time"}
    valid = {"standard_name": "time", "long_name": "valid time", **utc}
    return {
        "time": ("time", times, start, clock),
        "lead_time": ("lead_time", lead_times, period, {"units": unit, "dtype": "int64"}),
        "valid_time": (("time", "lead_time"), valid_times.astype("M8[ns]"), valid, clock),
        "lat": ("lat", lat, north, plain),
        "lon": ("lon", lon, east, plain),
    }


def _channel_attributes(
    name: str, held: Mapping[str, str], masked: Mapping[str, str]
) -> dict[str, str]:
    """The data's, that a temperature is no difference of two (CF §3.1.2), and what is masked."""
    own = dict(held)
    if own.get("standard_name", "").endswith("temperature"):
        own["units_metadata"] = "temperature: on_scale"
    return own | ({"comment": f"{masked[name]}: NaN there"} if name in masked else {})
