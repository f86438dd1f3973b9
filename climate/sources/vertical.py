"""Levels of a stored variable: in which unit, and whether they are pressures at all.

Shapes: ``L`` levels.
"""

from __future__ import annotations

import re

import numpy as np
import xarray as xr

from climate.conventions.units import find_conversion, readable, unit_of
from vgbdm.errors import InputError

PRESSURE = "hPa"
"""Levels of pressure are in it, whatever a file has them in."""
HIGHEST_PRESSURE = 1100.0
"""hPa; levels without a unit that are above it are none in hPa."""
NO_PRESSURE = re.compile(r"height|depth|altitude|hybrid|sigma|model.?level|theta|\beta\b")
"""In the name or standard name of a vertical axis that is none of pressure."""
COUNTED = re.compile(r"level|layer|hybrid|sigma")
"""In what such an axis says for a unit."""


def is_vertical(candidate: xr.Variable) -> bool:
    """Whether it is so by a unit of pressure, or by ``positive``, up or down (CF §4.3)."""
    along = str(candidate.attrs.get("positive", "")).lower() in ("up", "down")
    return candidate.dtype.kind in "fiu" and (along or is_pressure(unit_of(candidate.attrs)))


def is_pressure(unit: str | None) -> bool:
    """Whether a text is a unit of pressure."""
    return unit is not None and find_conversion(unit, PRESSURE) is not None


def strange_axis(coordinate: xr.Variable, name: str) -> str | None:
    """The name of a vertical axis that says it is none of pressure; else None."""
    unit = unit_of(coordinate.attrs)
    said = [str(coordinate.attrs.get("standard_name", "")).lower()]
    other = False
    if not is_pressure(unit):
        said += [name.lower(), str(coordinate.attrs.get("long_name", "")).lower()]
        counted = unit is not None and COUNTED.search(unit.lower()) is not None
        plain = unit is None or not readable(unit) or find_conversion(unit, "1") is not None
        other = counted or not plain
    return name if other or any(NO_PRESSURE.search(text) for text in said) else None


def levels_of(coordinate: xr.Variable, unit: str | None) -> tuple[np.ndarray, str | None]:
    """The levels (L,), in hPa where they are pressures, and their unit."""
    values = np.atleast_1d(coordinate.values.astype(np.float64))
    unit = str(unit) if unit else unit_of(coordinate.attrs)  # the config may say 1
    to_pressure = find_conversion(unit, PRESSURE) if unit else None
    return (values, unit) if to_pressure is None else (to_pressure.factor * values, PRESSURE)


def check_once(levels: np.ndarray, unit: str | None, what: str) -> None:
    """Refuse levels of which one comes twice: the values of either could be meant."""
    ordered = np.sort(levels)
    again = np.flatnonzero(np.isclose(ordered[1:], ordered[:-1], rtol=1e-7, atol=0.0))
    if len(again):
        level = f"{ordered[again[0]]:g} {unit or ''}".strip()
        raise InputError(f"{what}: level {level} comes twice; drop one first")
