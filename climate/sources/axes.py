"""What the axes of a stored variable are.

Axes are found by their CF attributes or by their names; stored dimensions may come in any order.
Grids that are not rectilinear are refused.

Shapes: ``T`` times, ``L`` levels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from climate.conventions.units import find_conversion, setting, unit_of
from climate.conventions.wording import date
from climate.sources.clock import decode_times, read_bounds, rounding
from climate.sources.leads import merge_versions, only_lead, refuse_dimension, valid_times
from climate.sources.presence import Presence
from climate.sources.vertical import (
    HIGHEST_PRESSURE,
    check_once,
    is_pressure,
    is_vertical,
    levels_of,
    strange_axis,
)
from vgbdm.errors import InputError
from vgbdm.storage.network import transfer
from vgbdm.storage.validity import ALL, Validity, validity_of

REGRID = (
    "regrid it to a regular latitude–longitude grid first, e.g. with xESMF, earthkit-regrid or "
    "cdo remapcon"
)
AXIS_NAMES = {
    "time": {"time", "valid_time", "date"},
    "lat": {"lat", "latitude"},
    "lon": {"lon", "longitude"},
    "level": {
        "level",
        "lev",
        "plev",
        "pressure_level",
        "isobaricinhpa",
        "isobaric",
        "height",
        "depth",
    },
}
STANDARD_NAMES = {"time": "time", "lat": "latitude", "lon": "longitude", "level": "air_pressure"}
AXIS_UNITS = {
    "time": set(),
    "lat": {"degrees_north", "degree_north", "degrees_n", "degree_n"},
    "lon": {"degrees_east", "degree_east", "degrees_e", "degree_e"},
    "level": set(),  # whatever is a pressure, see `climate.sources.vertical`
}
MEMBERS = {"number", "realization", "member", "member_id", "ensemble", "ensemble_member"}
"""Names of the coordinate that says which member of an ensemble is held."""
MIRRORED = {
    "lat": {"degrees_south", "degree_south", "degrees_s", "degree_s"},
    "lon": {"degrees_west", "degree_west", "degrees_w", "degree_w"},
}
"""Units of axes that count southwards or westwards."""
CYCLIC = 1e-4
"""Degrees below which two longitudes are one."""


def read_from(where: str, what: str, variable: xr.Variable) -> np.ndarray:
    """Its values; from a server more than once, where what comes is damaged.

    Args:
        where: path or address of what it is in.
        what: it is, for messages.
        variable: to read.

    Raises:
        InputError: one line, if they cannot be read.
    """
    try:
        return np.asarray(transfer(where, lambda: variable.values))
    except InputError:
        raise
    except Exception as error:  # every codec has errors of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{what} cannot be read ({reason}); fetch it again") from None


@dataclass(frozen=True)
class Part:
    """A variable of one file or store, not read yet.

    Attributes:
        variable: lazy, dimensions out of time, level, lat, lon in the order they are stored.
        times: (T,) datetime64[s] as stored; None for a static field.
        levels: (L,) in hPa where they are pressures, else as stored; one where the variable names
            its only level; None where it names none.
        lat: (H,) degrees as stored.
        lon: (W,) degrees as stored.
        where: file or store, for messages.
        name: of the variable there.
        level_unit: of the levels; None where the file does not say.
        along: the axis of the levels where it says that they are no pressures, and the config does
            not say their unit.
        stamp: holds the only time as ``time``, with its bounds, where it is no dimension.
        member: which of an ensemble, by its coordinate; None where that is not said.
        validity: which of the numbers are values.
        presence: which stored chunks are there; None where they always are.
        rounded: seconds by which the times are, as stored.
        bounds: (T, 2) when the intervals that the times stand for begin and end; None: not said.
        cells: lazy bounds of the rows (H, 2) and the columns (W, 2); None: not said.
        initial: of the forecast whose leads the times are; None: of none.
    """

    variable: xr.Variable
    times: np.ndarray | None
    levels: np.ndarray | None
    lat: np.ndarray
    lon: np.ndarray
    where: str
    name: str
    level_unit: str | None = None
    along: str | None = None
    stamp: xr.Dataset | None = None
    member: str | None = None
    validity: Validity = ALL
    presence: Presence | None = None
    rounded: float = 0.0
    bounds: np.ndarray | None = None
    cells: tuple[xr.Variable | None, xr.Variable | None] = (None, None)
    initial: np.datetime64 | None = None

    @property
    def units(self) -> str | None:
        """Of the values, as the file says; None where it does not."""
        return unit_of(self.variable.attrs)

    @property
    def what(self) -> str:
        """File and variable, for messages."""
        return f"{self.where}: {self.name}"

    @property
    def levels_text(self) -> str:
        """The levels with their unit, for messages."""
        text = ", ".join(f"{value:g}" for value in ([] if self.levels is None else self.levels))
        return f"{text} {self.level_unit}" if self.level_unit else text

    def load(self, chosen: Mapping[str, Any]) -> np.ndarray:
        """Read indices by axis; see `read_from`."""
        return read_from(self.where, self.what, self.variable.isel(chosen))

    def level_index(self, level: float | None) -> int:
        """Where a level is stored.

        Raises:
            InputError: if it is not there, or which of several is meant is not said.
        """
        held = np.zeros(1) if self.levels is None else self.levels
        if level is None:
            if len(held) > 1:
                raise InputError(
                    f"{self.what} has the levels {self.levels_text}; give one by "
                    "source.fields.NAME.level"
                )
            return 0
        if self.levels is None:
            say = setting("source.fields.NAME.level", "null")
            raise InputError(
                f"{self.what} has no levels, {level:g} is asked for; if it is of that level, or is "
                f"to be on none, say so by {say}"
            )
        if self.level_unit is None and held.max() > HIGHEST_PRESSURE:
            say = setting("source.fields.NAME.level_units", "Pa")
            raise InputError(
                f"{self.what} has the levels {self.levels_text} without a unit, too large for "
                f"hPa; say which they have, such as {say}"
            )
        near = np.flatnonzero(np.isclose(held, level, rtol=1e-5))
        if not len(near):
            raise InputError(f"{self.what} has the levels {self.levels_text}, not {level:g}")
        return int(near[0])


def open_part(dataset: xr.Dataset, name: str, where: str, level_unit: str | None = None) -> Part:
    """Find the axes of a variable.

    Args:
        dataset: lazy, as xarray opens it, without Dask.
        name: of the variable in it.
        where: file or store, for messages.
        level_unit: of its levels, where the config says so.

    Raises:
        InputError: one line, where there is no such variable, or not on such axes.
    """
    if name not in dataset.variables:
        raise InputError(f"{where}: holds {', '.join(map(str, dataset.data_vars))}, not {name}")
    variable = merge_versions(dataset, dataset[name].variable)
    lat_axis, lat = _horizontal(dataset, variable, "lat", where)
    lon_axis, lon = _horizontal(dataset, variable, "lon", where)
    if lat_axis == lon_axis:
        raise InputError(f"{where}: {name} is on a reduced or unstructured grid; {REGRID}")
    cells = _cell_bounds(dataset, variable, "lat"), _cell_bounds(dataset, variable, "lon")
    axes = {lat_axis: "lat", lon_axis: "lon"}
    found = _find(dataset, variable, "time")
    initial = None if found is None else found[1]
    times, rounded, bounds, start = None, 0.0, None, None
    if found is not None and found[0] in variable.dims:
        times, rounded = decode_times(found[1], where), rounding(found[1])
        bounds = read_bounds(dataset, found[1], where)
        axes[found[0]] = "time"
    lead = None if found is None else _lead(dataset, *found, where)
    times = times if times is None or lead is None else times + lead
    stamp = None if initial is None or initial.ndim else _stamp(dataset, initial, lead, where)
    member = _member(dataset, variable, where)
    levels, along = None, None
    found = _find(dataset, variable, "level")
    if found is not None:
        along = None if level_unit else strange_axis(found[1], str(found[0]))
        levels, level_unit = levels_of(found[1], level_unit)
        check_once(levels, level_unit, f"{where}: {name}")
        if found[1].ndim:
            axes[found[0]] = "level"
    for dim in variable.dims:
        if dim not in axes and variable.sizes[dim] > 1:
            times = valid_times(dataset, dim, initial, where)
            if times is None or initial is None:
                raise refuse_dimension(dataset, variable, dim, f"{where}: {name}", initial)
            axes = {d: axis for d, axis in axes.items() if axis != "time"} | {dim: "time"}
            rounded, bounds = 0.0, None
            start = None if initial is None else decode_times(initial, where).reshape(-1)[0]
    indexers = {dim: 0 for dim in variable.dims if dim not in axes}
    presence = variable.encoding.get("presence")
    if presence is not None:
        stored = dataset[name].dims  # a dimension of versions among them
        presence = replace(presence, axes=tuple(axes.get(dim) for dim in stored))
    variable = variable.isel(indexers) if indexers else variable.copy(deep=False)
    variable.dims = tuple(axes[dim] for dim in variable.dims)
    valid = validity_of(variable, f"{where}: {name}")
    return Part(
        variable, times, levels, lat, lon, where, name, level_unit, along, stamp, member, valid,
        presence, rounded, bounds, cells, start,
    )  # fmt: skip


def _lead(
    dataset: xr.Dataset, name: Hashable, time: xr.Variable, where: str
) -> np.timedelta64 | None:
    """What its times lie before the states: a file's only lead, unless they are valid times."""
    valid = dataset.variables.get("valid_time")
    lead = None if name == "valid_time" else only_lead(dataset, where)
    if lead and valid is not None and valid.shape == time.shape:
        same_times = np.array_equal(decode_times(valid, where), decode_times(time, where))
        return None if same_times else lead
    return lead


def _stamp(
    dataset: xr.Dataset, time: xr.Variable, lead: np.timedelta64 | None, where: str
) -> xr.Dataset:
    """The only time of a file as ``time``, with its bounds."""
    if lead:
        return xr.Dataset({"time": xr.Variable((), decode_times(time, where).reshape(()) + lead)})
    bounds = time.attrs.get("bounds", time.encoding.get("bounds"))
    held = {bounds: dataset.variables[bounds]} if bounds in dataset.variables else {}
    return xr.Dataset({**held, "time": time})


def _member(dataset: xr.Dataset, variable: xr.Variable, where: str) -> str | None:
    """The only member of an ensemble that a variable is of, such as ``number 5``."""
    for name, held in dataset.coords.items():
        named = str(name).lower() in MEMBERS or held.attrs.get("standard_name") == "realization"
        if named and held.size == 1 and set(held.dims) <= set(variable.dims):
            value = read_from(where, f"{where}: {name}", held.variable).item()
            return f"{name} {value:g}" if isinstance(value, int | float) else f"{name} {value}"
    return None


def _find(
    dataset: xr.Dataset, variable: xr.Variable, axis: str
) -> tuple[Hashable, xr.Variable] | None:
    """The dimension and the coordinate of an axis; one along its own dimension goes first."""
    near = [
        (name, candidate)
        for name, candidate in dataset.variables.items()
        if candidate is not variable
        and set(candidate.dims) <= set(variable.dims)
        and (
            _names(axis, str(name), candidate)
            or (axis == "level" and name in dataset.coords and is_vertical(candidate))
        )
        and (axis in ("lat", "lon") or candidate.dims in ((), (name,)))
    ]
    near.sort(
        key=lambda pair: (
            pair[1].dims != (pair[0],),
            axis == "level" and not is_pressure(unit_of(pair[1].attrs)),
            axis == "time" and not pair[1].ndim and pair[0] != "valid_time",
            abs(pair[1].ndim - 1),
            str(pair[0]),
        )
    )
    if not near:
        return None
    name, coordinate = near[0]
    return (coordinate.dims[0] if coordinate.ndim else name), coordinate


def _names(axis: str, name: str, candidate: xr.Variable) -> bool:
    attributes = {k: str(v).lower() for k, v in candidate.attrs.items()}
    return (
        name.lower() in AXIS_NAMES[axis]
        or attributes.get("standard_name") == STANDARD_NAMES[axis]
        or attributes.get("units") in AXIS_UNITS[axis] | MIRRORED.get(axis, set())
    ) and (axis == "time" or candidate.dtype.kind in "fiu")


def _horizontal(
    dataset: xr.Dataset, variable: xr.Variable, axis: str, where: str
) -> tuple[Hashable, np.ndarray]:
    found = _find(dataset, variable, axis)
    if found is None or found[1].ndim == 0:
        named = [dim for dim in variable.dims if str(dim).lower() in AXIS_NAMES[axis]]
        if named and found is None:
            raise InputError(
                f"{where}: its dimension {named[0]} has no numbers; give its degrees as the "
                f"coordinate {named[0]}"
            )
        raise InputError(
            f"{where}: no {STANDARD_NAMES[axis]} along any of its dimensions "
            f"{', '.join(map(str, variable.dims))}; {REGRID}"
        )
    if found[1].ndim > 1:
        raise InputError(f"{where}: a curvilinear grid ({axis} has two dimensions); {REGRID}")
    degrees = _to_degrees(found[1], axis) * found[1].values.astype(np.float64)
    if not degrees.size or not np.isfinite(degrees).all():
        wrong = "missing numbers" if degrees.size else "no points"
        raise InputError(f"{where}: its {STANDARD_NAMES[axis]} has {wrong}; choose other points")
    return found[0], degrees


def _cell_bounds(dataset: xr.Dataset, variable: xr.Variable, axis: str) -> xr.Variable | None:
    """The bounds of rows or columns by their CF attribute (§7.1), or by their usual name."""
    found = _find(dataset, variable, axis)
    assert found is not None
    about = found[1].encoding | found[1].attrs
    held = dataset.variables.get(about.get("bounds", f"{axis}_bnds"))
    factor = _to_degrees(found[1], axis)
    if held is None or factor == 1.0 or held.dtype.kind not in "fiu":
        return held
    return held.copy(data=factor * held.values.astype(np.float64))


def _to_degrees(coordinate: xr.Variable, axis: str) -> float:
    """What makes degrees north or east of an axis; 1 where it says no unit of an angle."""
    unit = (unit_of(coordinate.attrs) or "").lower()
    if unit in MIRRORED[axis]:
        return -1.0
    found = find_conversion(unit, "degrees") if unit else None
    return 1.0 if found is None else found.factor


def as_slice(indices: np.ndarray) -> slice | np.ndarray:
    """Indices as a slice where they are evenly spaced: stores read those faster."""
    steps = np.diff(indices)
    if len(steps) and (steps[0] == 0 or (steps != steps[0]).any()):
        return indices
    step = int(steps[0]) if len(steps) else 1
    stop = int(indices[-1]) + (1 if step > 0 else -1)
    return slice(int(indices[0]), None if stop < 0 else stop, step)


def shown(value: np.generic) -> str:
    """A coordinate or a time, for messages."""
    return date(value) if isinstance(value, np.datetime64) else f"{value:g}"


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two axes are alike: coordinates to 1e-4 degrees, times exactly."""
    if a.shape != b.shape:
        return False
    if np.issubdtype(a.dtype, np.floating):
        return bool(np.allclose(a, b, rtol=0, atol=1e-4))
    return bool(np.array_equal(a, b))
