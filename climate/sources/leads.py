"""Dimensions besides time, level, latitude and longitude: leads of one forecast, versions of ERA5.

A forecast of one initial time is a series of its valid times. Where the Climate Data Store gives
ERA5 and its preliminary version ERA5T along a dimension, values are those of ERA5, and those of
ERA5T where it has none.

Shapes: ``S`` leads, ``T`` times.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from climate.conventions.units import find_conversion, unit_of
from climate.conventions.wording import date
from climate.sources.clock import decode_times
from vgbdm.errors import InputError

LEADS = {"step", "lead_time", "leadtime", "prediction_timedelta"}
REFERENCE = "forecast_reference_time"
VERSIONS = ("1", "5")
"""Of ERA5 and of ERA5T, by their ``expver``."""


def valid_times(
    dataset: xr.Dataset, dim: Hashable, initial: xr.Variable | None, where: str
) -> np.ndarray | None:
    """When the leads of the only initial time are valid: (S,) datetime64[s].

    Args:
        dataset: that holds the variable.
        dim: a dimension of it.
        initial: the coordinate of its initial times, if there is any.
        where: file or store.

    Returns:
        None where the dimension is no lead, or there are several initial times.
    """
    if initial is None or initial.size != 1 or not _is_lead(dataset, dim):
        return None
    for candidate in dataset.variables.values():
        if candidate.dims == (dim,) and candidate.dtype.kind == "M":
            return decode_times(candidate, where)
    leads = dataset.variables.get(dim)
    unit = None if leads is None else unit_of(leads.attrs)
    to_seconds = find_conversion(unit, "s") if unit else None
    if leads is None or to_seconds is None or leads.dtype.kind not in "iuf":
        return None
    seconds = np.rint(leads.values.astype(np.float64) * to_seconds.factor).astype(np.int64)
    start = decode_times(initial, where).reshape(())
    return np.asarray(start + seconds.astype("timedelta64[s]"))


def only_lead(dataset: xr.Dataset, where: str) -> np.timedelta64 | None:
    """The lead that is no dimension, to be added to initial times; None where there is none.

    By its name alone: beside CF's ``forecast_period``, as Iris writes it, and beside a
    ``forecast_reference_time`` times are valid ones.

    Raises:
        InputError: if it is not 0, and in no unit of time.
    """
    if any(REFERENCE in (name, v.attrs.get("standard_name")) for name, v in dataset.coords.items()):
        return None
    for name in dataset.coords:
        lead = dataset.variables[name]
        if lead.ndim or str(name).lower() not in LEADS or lead.dtype.kind not in "iufm":
            continue
        if lead.dtype.kind == "m":
            return np.timedelta64(int(lead.values.astype("timedelta64[s]").astype(np.int64)), "s")
        value, unit = float(lead.values), unit_of(lead.attrs)
        to_seconds = find_conversion(unit, "s") if unit else None
        if value and to_seconds is None:
            raise InputError(
                f"{where}: its times are initial ones, {name} {value:g} before what it holds, and "
                f"{name} has no unit of time; give it one, such as hours, as its attribute units"
            )
        factor = 0.0 if to_seconds is None else to_seconds.factor
        return np.timedelta64(round(value * factor), "s")
    return None


def _is_lead(dataset: xr.Dataset, dim: Hashable) -> bool:
    leads = dataset.variables.get(dim)
    standard = None if leads is None else leads.attrs.get("standard_name")
    return str(dim).lower() in LEADS or standard == "forecast_period"


def merge_versions(dataset: xr.Dataset, variable: xr.Variable) -> xr.Variable:
    """The variable without a dimension of ERA5 and ERA5T; itself where it has none."""
    for dim in variable.dims:
        held = dataset.variables.get(dim)
        if str(dim) == "expver" and held is not None:
            versions = [str(value).removesuffix(".0").lstrip("0") for value in held.values]
            if sorted(versions) == sorted(VERSIONS):
                return _merged(variable, dim, [versions.index(one) for one in VERSIONS])
    return variable


def _merged(variable: xr.Variable, dim: Hashable, order: list[int]) -> xr.Variable:
    axis = variable.dims.index(dim)
    dims = tuple(d for d in variable.dims if d != dim)
    lazy = indexing.LazilyIndexedArray(_Merged(variable, axis, order))
    encoding = dict(variable.encoding)
    for key in ("chunks", "chunksizes", "preferred_chunks"):
        if isinstance(encoding.get(key), tuple) and len(encoding[key]) == variable.ndim:
            encoding[key] = tuple(np.delete(encoding[key], axis).tolist())
    return xr.Variable(dims, lazy, variable.attrs, encoding)


class _Merged(BackendArray):
    """Values of the first version, and of the second where it has none."""

    def __init__(self, variable: xr.Variable, axis: int, order: list[int]) -> None:
        self.variable, self.axis, self.order = variable, axis, order
        self.shape = tuple(np.delete(variable.shape, axis).tolist())
        self.dtype = variable.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        outer = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, outer, self._get)

    def _get(self, key: tuple[Any, ...]) -> np.ndarray:
        whole = [(*key[: self.axis], version, *key[self.axis :]) for version in self.order]
        first, second = (self.variable[one].values for one in whole)
        return np.where(np.isnan(first), second, first)


def refuse_dimension(
    dataset: xr.Dataset,
    variable: xr.Variable,
    dim: Hashable,
    what: str,
    initial: xr.Variable | None,
) -> InputError:
    """Why a dimension besides time, level, latitude and longitude is not taken.

    Args:
        dataset: that holds the variable.
        variable: with the dimension.
        dim: its name.
        what: file and variable.
        initial: the coordinate of times, if there is any.
    """
    count = variable.sizes[dim]
    lead = _is_lead(dataset, dim)
    clocks = [n for n, v in dataset.variables.items() if v.dims == (dim,) and v.dtype.kind == "M"]
    if clocks and not lead:
        remedy = "rename it" if clocks[0] == dim else f"swap_dims({dim}={str(clocks[0])!r}) first"
        return InputError(f"{what} has times along {dim}, which is not named time; {remedy}")
    if not lead or initial is None or not initial.size:
        return InputError(
            f"{what} has {count} of {dim} besides time, level, latitude and longitude; choose one "
            "of them first"
        )
    starts = np.atleast_1d(initial.values)
    first = date(starts.min()) if starts.dtype.kind == "M" else str(starts.flat[0])
    if initial.size > 1:
        return InputError(
            f"{what} has {count} of {dim} for each of {initial.size} initial times from {first}: "
            f"forecasts, not a series of states; choose one of {dim} first"
        )
    return InputError(
        f"{what} has {count} of {dim} after the initial time {first}, and {dim} has no unit of "
        f"time; give it one, such as hours, as its attribute units"
    )
