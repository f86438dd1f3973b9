"""Numbers that no atmosphere holds, and the units in which they would be usual ones.

Shapes: ``T`` times, ``L`` levels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from climate.conventions.earth import GRAVITY
from climate.conventions.units import Conversion, find_conversion, setting
from climate.conventions.variables import channel_unit
from climate.sources.axes import Part
from vgbdm.errors import InputError

USUAL = {"K": (150.0, 350.0), "m s-1": (-150.0, 150.0), "m2 s-2": (-1e4, 6e5)}
"""Between which values of the atmosphere lie, in a known channel's unit."""
SCALE_HEIGHT, SEA_LEVEL = 7400.0, 1013.0
"""m and hPa: a level p lies about H ln(p₀/p) high."""
QUANTITY = {"K": "temperature of the air", "m s-1": "wind", "m2 s-2": "geopotential"}


def limits_of(channel: str, change: Conversion, difference: bool) -> tuple[float, float]:
    """Between which numbers of a file are values of the atmosphere, in the file's unit.

    Args:
        channel: short name; of one nobody knows all finite numbers are.
        change: of the file's values to the channel's unit.
        difference: whether values are differences or spreads, which have no bounds.
    """
    bounds = None if difference else USUAL.get(channel_unit(channel) or "")
    if bounds is None:
        return -math.inf, math.inf
    low, high = sorted((bound - change.offset) / change.factor for bound in bounds)
    return low, high


def check_possible(
    values: np.ndarray,
    limits: tuple[float, float],
    part: Part,
    positions: np.ndarray,
    channels: Sequence[str],
    units: str,
) -> None:
    """Refuse numbers that are infinite or that no atmosphere holds; missing ones pass.

    Args:
        values: (T, L, H, W) in the file's unit.
        limits: see `limits_of`.
        part: they are from.
        positions: (T,) of the times in it.
        channels: (L,) short names.
        units: of the values.

    Raises:
        InputError: naming file, time, value and what to do.
    """
    if not values.size or _fine(float(values.min()), float(values.max()), limits):
        return
    low, high = limits
    with np.errstate(invalid="ignore"):
        bad = (values < low) | (values > high) | np.isinf(values)
    if not bad.any():
        return
    k, level = np.argwhere(bad.any((2, 3)))[0]
    channel, here = channels[level], bad[k, level]
    value = float(values[k, level][here][0])
    at = "" if part.times is None else f" at {np.datetime_as_string(part.times[positions[k]], 'm')}"
    remedy = (
        f"mend the file, leave {channel} out of variables=, or choose a period= without that time"
    )
    if not math.isfinite(value):
        raise InputError(f"{part.what}{at} is {value}, which is no number; {remedy}")
    target = str(channel_unit(channel))
    fits = _fitting(values[k, level], target, units) if here.mean() > 0.5 else []
    if fits:
        key = setting(f"source.fields.{channel}.units", fits[0])
        remedy = f"the values would fit {fits[0]}: if they are, say so by {key}; else {remedy}"
    raise InputError(
        f"{part.what}{at} is {value:.4g} {units}, no {QUANTITY[target]} ({low:g} … {high:g} "
        f"{units} are); {remedy}"
    )


def check_heights(
    values: np.ndarray,
    part: Part,
    channels: Sequence[str],
    levels: Sequence[float | None],
    change: Conversion,
    units: str,
) -> None:
    """Refuse a geopotential labelled as a height, or a height as a geopotential.

    The mean of a map says it where the level is one that only the other unit puts at a height that
    it can have; a map that has neither, as of an anomaly, passes.

    Args:
        values: (L, H, W) of one time in the file's unit.
        part: they are from.
        channels: (L,) short names.
        levels: (L,) of them, hPa; None where it is not known.
        change: of the file's values to the channel's unit.
        units: that the file says.

    Raises:
        InputError: naming file, level, value and the unit that fits.
    """
    for channel, level, field in zip(channels, levels, values, strict=True):
        held = field[np.isfinite(field)]
        if channel_unit(channel) != "m2 s-2" or not level or not held.size:
            continue
        mean, bounds = float(held.mean(dtype=np.float64)), geopotentials(level, 400.0)
        fits = fitting(mean, mean, "m2 s-2", bounds)
        if not fits or bounds[0] <= change.factor * mean + change.offset <= bounds[1]:
            continue
        low, high = (bound / change.factor for bound in bounds)
        key = f"source.fields.{channel}.units"
        raise InputError(
            f"{part.what} at {level:g} hPa is {mean:.4g} {units} on average, no "
            f"{QUANTITY['m2 s-2']} there ({low:.4g} … {high:.4g} {units} are); the values would "
            f"fit {fits[0]}: if they are, say so by {setting(key, fits[0])}; else mend the file, "
            f"leave {channel} out of variables=, or confirm its unit by {setting(key, units)}"
        )


def geopotentials(level: float, margin: float) -> tuple[float, float]:
    """Between which numbers geopotential on a level lies, m² s⁻².

    Args:
        level: hPa.
        margin: m, beside a quarter of the height.
    """
    height = SCALE_HEIGHT * math.log(SEA_LEVEL / level)
    return GRAVITY * (0.75 * height - margin), GRAVITY * (1.25 * height + margin)


def _fine(low: float, high: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= low and high <= limits[1] and math.isfinite(low) and math.isfinite(high)


def _fitting(values: np.ndarray, target: str, units: str) -> list[str]:
    """Units other than the one said in which a map's values would be usual ones."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    said = find_conversion(units, target, height=target == "m2 s-2")
    return [
        unit
        for unit in fitting(low, high, target)
        if find_conversion(unit, target, height=target == "m2 s-2") != said
    ]


CANDIDATES = {
    "K": ("K", "degC"),
    "m s-1": ("m s-1", "knots", "km h-1"),
    "m2 s-2": ("m2 s-2", "m"),
}
"""By a channel's unit: those in which files have such values."""


def fitting(
    low: float, high: float, target: str | None, bounds: tuple[float, float] | None = None
) -> list[str]:
    """The units in which values from ``low`` to ``high`` would be usual ones.

    Args:
        low: least value of a map.
        high: greatest.
        target: unit of the channel.
        bounds: in that unit, where they are known better than `USUAL`.
    """
    bounds = bounds or USUAL.get(target or "")
    if bounds is None or target is None:
        return []
    found = []
    for unit in CANDIDATES[target]:
        one = find_conversion(unit, target, height=target == "m2 s-2")
        ends = None if one is None else [one.factor * x + one.offset for x in (low, high)]
        if ends is not None and bounds[0] <= ends[0] and ends[1] <= bounds[1]:
            found.append(unit)
    return found
