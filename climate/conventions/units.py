"""Units: what a file says → what a channel means, by UDUNITS and a table of what it cannot read.

A value x in a source's unit is ``factor · x + offset`` in the channel's. Differences, errors,
spreads and rates take the factor alone: 1 degC of error is 1 K, not 274.15 K.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import cf_units
import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from climate.conventions.earth import GRAVITY
from climate.conventions.variables import is_geopotential
from vgbdm.errors import InputError

log = logging.getLogger(__name__)

SPELLINGS = {
    **dict.fromkeys(("(0 - 1)", "0 - 1", "(0-1)", "0-1", "~", "-"), "1"),
    **dict.fromkeys(("proportion", "fraction", "dimensionless"), "1"),
    **dict.fromkeys(("c", "deg c", "degree c", "degrees c"), "degC"),
    **dict.fromkeys(("deg celsius", "degree celsius", "degrees celsius"), "degC"),
    **dict.fromkeys(("deg f", "degree f", "degrees f", "degrees fahrenheit"), "degF"),
    **dict.fromkeys(("deg k", "degree k", "degrees k", "degrees kelvin"), "K"),
    **dict.fromkeys(("gpm", "m of water equivalent", "m of water"), "m"),
    "gpdam": "dam",
    "mb": "mbar",
    "hpa": "hPa",
    "pa": "Pa",
}
"""As ECMWF, NCEP and others write them, in lower case → as UDUNITS reads them. Without the table C
is a coulomb, mb a millibarn and "degrees C" an angle times a charge."""


@dataclass(frozen=True)
class Conversion:
    """A linear map from one unit to another.

    Attributes:
        factor: target units in a source unit.
        offset: of values, in the target unit; 0 where values are differences.
    """

    factor: float = 1.0
    offset: float = 0.0

    @property
    def changes(self) -> bool:
        """Whether it does anything."""
        return (self.factor, self.offset) != (1.0, 0.0)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Values of any shape in the target unit, float32; the given ones where nothing changes."""
        if not self.changes:
            return values
        scaled = values if self.factor == 1.0 else np.float32(self.factor) * values
        return scaled if self.offset == 0.0 else scaled + np.float32(self.offset)


@cache
def _read(text: str) -> cf_units.Unit | None:
    """The unit of a text; None where it is none."""
    try:
        unit = cf_units.Unit(spelled(text))
    except ValueError:
        return None
    odd = unit.is_unknown() or unit.is_no_unit() or unit.is_time_reference()
    return None if odd else unit


def spelled(text: str) -> str:
    """A unit as UDUNITS reads it: the text itself, or what the table makes of it."""
    plain = " ".join(text.split())
    return SPELLINGS.get(plain.lower(), plain)


def readable(text: str) -> bool:
    """Whether a text is a unit."""
    return _read(text) is not None


def unit_of(attributes: Mapping[Any, Any]) -> str | None:
    """The unit that attributes name; None where they name none."""
    return str(attributes.get("units", "")).strip() or None


def find_conversion(
    source: str, target: str, *, height: bool = False, difference: bool = False
) -> Conversion | None:
    """The map from one unit to another; None where there is none.

    Args:
        source: unit of the values.
        target: unit wanted.
        height: the quantity is a geopotential or the height it stands for, so that metres become
            m² s⁻² and the other way round by `GRAVITY`.
        difference: the values are differences, errors, spreads or rates: no offset.
    """
    a, b = _read(source), _read(target)
    if a is None or b is None:
        return None
    if height and a.is_convertible("m") and b.is_convertible("m2 s-2"):
        return Conversion(_affine(a, cf_units.Unit("m"))[0] * GRAVITY * _from_si(b))
    if height and a.is_convertible("m2 s-2") and b.is_convertible("m"):
        to_si = _affine(a, cf_units.Unit("m2 s-2"))[0]
        return Conversion(to_si / GRAVITY * _affine(cf_units.Unit("m"), b)[0])
    if not a.is_convertible(b) or _has_angle(a) != _has_angle(b):
        return None
    try:
        factor, offset = _affine(a, b)
    except ValueError:
        return None
    return Conversion(factor, 0.0 if difference else offset)


def _from_si(unit: cf_units.Unit) -> float:
    return _affine(cf_units.Unit("m2 s-2"), unit)[0]


def _affine(a: cf_units.Unit, b: cf_units.Unit) -> tuple[float, float]:
    """Factor and offset; ValueError for a logarithm."""
    zero, one, ten = (float(a.convert(x, b)) for x in (0.0, 1.0, 10.0))
    factor = one - zero if zero == 0.0 else (ten - zero) / 10.0
    if not np.isclose(ten, zero + 10.0 * factor) or not np.isclose(one, zero + factor):
        raise ValueError("not linear")
    return (1.0 if abs(factor - 1.0) < 1e-12 else factor), zero


def _has_angle(unit: cf_units.Unit) -> bool:
    """Whether radians are a part of it, which UDUNITS takes for a plain number."""
    return re.search(r"(^|[ .])rad", str(unit.definition)) is not None


def conversion(
    source: str,
    target: str,
    *,
    what: str,
    remedy: str,
    height: bool = False,
    difference: bool = False,
) -> Conversion:
    """The map from a source's unit to a channel's.

    Args:
        source: unit of the values.
        target: unit wanted.
        what: file or store and variable, for the message.
        remedy: what to do where there is no such map.
        height: see `find_conversion`.
        difference: see `find_conversion`.

    Raises:
        InputError: one line, for a text that is no unit, or one of another quantity.
    """
    found = find_conversion(source, target, height=height, difference=difference)
    if found is None:
        reason = f"which does not convert to {target}" if readable(source) else "which is no unit"
        raise InputError(f"{what} is in {source!r}, {reason}; {remedy}")
    return found


def conversions(
    own: Mapping[str, Mapping[Any, Any]],
    wanted: Mapping[str, Mapping[Any, Any]],
    *,
    what: Callable[[str], str],
    remedy: str,
) -> dict[str, Conversion]:
    """The maps of channels to a store's units, of those that change; logged.

    A channel that names no unit has the store's already.

    Args:
        own: attributes of the channels.
        wanted: those of the store's channels, which are all among the others.
        what: a channel is, for the message.
        remedy: what to do where there is no such map, with {unit} for the store's.

    Raises:
        InputError: naming the channel whose unit does not convert.
    """
    found = {}
    for name, attributes in wanted.items():
        unit, target = unit_of(own[name]), unit_of(attributes)
        if unit is None or target is None or unit == target:
            continue
        change = conversion(
            unit,
            target,
            what=what(name),
            remedy=remedy.format(unit=target),
            height=is_geopotential(name),
        )
        if change.changes:
            log.info("%s: %s is converted to the store's %s", what(name), unit, target)
            found[name] = change
    return found


def setting(key: str, value: str) -> str:
    """A setting as a shell and the configuration take it, whether the key is there or new."""
    if re.fullmatch(r"[A-Za-z0-9]+", value):
        return f"++{key}={value}"
    return f"'++{key}=\"{value}\"'"


class _Converted(BackendArray):
    """A lazy variable in another unit: what is asked for is read, then converted."""

    def __init__(self, variable: xr.Variable, change: Conversion) -> None:
        self.variable, self.change = variable, change
        self.shape, self.dtype = variable.shape, np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        outer = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(
            key, self.shape, outer, lambda chosen: self.change(self.variable[chosen].values)
        )


def converted(field: xr.DataArray, change: Conversion, unit: str) -> xr.DataArray:
    """A field in another unit, still not read."""
    lazy = indexing.LazilyIndexedArray(_Converted(field.variable, change))
    variable = xr.Variable(field.dims, lazy, dict(field.attrs) | {"units": unit})
    return xr.DataArray(variable, field.coords, name=field.name)
