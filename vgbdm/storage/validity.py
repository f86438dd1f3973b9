"""Which stored numbers are values: what files declare missing, and what they never wrote.

Shapes: ``T`` times, ``L`` levels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from vgbdm.errors import InputError
from vgbdm.storage.sentinels import find_sentinels, say

FLOAT_FILL = 9.969209968386869e36
"""NetCDF's default fill of floating-point variables: no quantity has it, declared or not."""
DECLARED = "_FillValue", "missing_value"
INTEGER_FILLS = {
    "i2": -32767, "u2": 65535, "i4": -2147483647, "u4": 4294967295,
    "i8": -9223372036854775806, "u8": 18446744073709551614,
}  # fmt: skip
"""NetCDF's default fills by kind and size of what is stored; bytes have none."""


@dataclass(frozen=True)
class Validity:
    """Which decoded numbers of a variable are values; all others are missing.

    Attributes:
        low: least value, in the file's unit.
        high: greatest.
        fills: numbers that stand for missing ones.
        slack: half the spacing of packed numbers: below it two are one.
        suspected: what may hold undeclared numbers that stand for missing ones, file and variable;
            empty where it may not.
    """

    low: float = -math.inf
    high: float = math.inf
    fills: tuple[float, ...] = ()
    slack: float = 0.0
    suspected: str = ""

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Values of any shape with NaN for what is missing; the given ones where nothing is."""
        values = self._declared(values)
        if not self.suspected or values.dtype.kind not in "iuf":
            return values
        bad, found = find_sentinels(values)
        say(self.suspected, found)
        return np.where(bad, np.nan, values).astype(np.float32) if found else values

    def _declared(self, values: np.ndarray) -> np.ndarray:
        if not values.size:
            return values
        low, high = float(values.min()), float(values.max())
        if math.isnan(low):
            low, high = -math.inf, math.inf
        bad = None
        if low < self.low - self.slack or high > self.high + self.slack:
            bad = (values < self.low - self.slack) | (values > self.high + self.slack)
        for fill in self.fills:
            slack = max(self.slack, 1e-6 * abs(fill))
            if low - slack <= fill <= high + slack:
                here = np.abs(values - np.float64(fill)) <= slack
                bad = here if bad is None else bad | here
        if bad is None or not bad.any():
            return values
        return np.where(bad, np.nan, values).astype(np.float32)


ALL = Validity()
"""Every number is a value."""


def validity_of(variable: xr.Variable, what: str) -> Validity:
    """The validity of a variable as xarray decodes it.

    Bounds of packed numbers are in packed units where they are of the packed type, else in those
    of the values (CF §2.5.1, NetCDF attribute conventions).

    Args:
        variable: lazy; what it is stored as is in its encoding.
        what: file and variable, for messages.

    Raises:
        InputError: for bounds that are no numbers.
    """
    encoding = variable.encoding
    scale, offset = (_number(encoding.get(key), default) for key, default in
                     (("scale_factor", 1.0), ("add_offset", 0.0)))  # fmt: skip
    stored = np.dtype(encoding.get("dtype") or variable.dtype)
    if stored.kind not in "iuf":
        return ALL
    packed = "scale_factor" in encoding or "add_offset" in encoding
    if str(encoding.get("_Unsigned", "")).lower() == "true":
        stored = np.dtype(f"u{stored.itemsize}")

    def decoded(bound: np.generic | float) -> float:
        kind = np.asarray(bound).dtype
        if not packed or (kind.kind == "f" and stored.kind in "iu"):
            return float(bound)
        plain = np.asarray(bound).astype(stored) if stored.kind == "u" else bound
        return float(plain) * scale + offset

    bounds = [decoded(bound) for bound in _bounds(variable, what)]
    if packed and scale < 0 and stored.kind in "iu":
        bounds.sort()
    low, high = (default if math.isnan(bound) else bound for bound, default in
                 zip(bounds, (-math.inf, math.inf), strict=True))  # fmt: skip
    fills = [fill * scale + offset for fill in _undeclared(encoding, stored)]
    slack = abs(scale) / 2 if packed and stored.kind in "iu" else 0.0
    return Validity(low, high, tuple(fills), slack)


def _number(value: Any, default: float) -> float:
    return default if value is None else float(np.asarray(value).ravel()[0])


def _bounds(variable: xr.Variable, what: str) -> tuple[np.generic | float, np.generic | float]:
    """As declared; NaN where there is none."""
    found: list[np.generic | float] = [math.nan, math.nan]
    for key, place in (("valid_min", slice(0, 1)), ("valid_max", slice(1, 2)),
                       ("valid_range", slice(0, 2))):  # fmt: skip
        if key in variable.attrs:
            values = np.atleast_1d(variable.attrs[key])
            if values.dtype.kind not in "iuf" or values.shape != (len(found[place]),):
                raise InputError(
                    f"{what} has {key} {variable.attrs[key]!r}, which is no "
                    f"{'pair of numbers' if key == 'valid_range' else 'number'}; mend or remove "
                    "that attribute, e.g. by ncatted"
                )
            found[place] = list(values)
    return found[0], found[1]


def _undeclared(encoding: dict[Any, Any], stored: np.dtype[Any]) -> list[float]:
    """Fills, as stored, that xarray does not know: NetCDF's defaults, and Zarr v2's own.

    Declared ones of floats are among them: a double 1e20 is no number of float32.
    """
    own = [] if encoding.get("sentinel") is None else [float(encoding["sentinel"])]
    told = [encoding[key] for key in DECLARED if encoding.get(key) is not None]
    if stored.kind == "f":
        numbers = [np.ravel(fill) for fill in told if np.asarray(fill).dtype.kind in "iuf"]
        finite = [float(fill) for fills in numbers for fill in fills if np.isfinite(fill)]
        return [FLOAT_FILL, *own, *finite]
    declared = bool(told)
    fill = INTEGER_FILLS.get(f"{stored.kind}{stored.itemsize}")
    zarr = "chunks" in encoding  # has no defaults
    return own if declared or fill is None or zarr else [float(fill)]
