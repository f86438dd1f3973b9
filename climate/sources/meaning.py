"""What the numbers of a variable mean: one unit and one level over all its files, and said.

Shapes: none; what is read to find a missing unit is one map.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from climate.conventions.units import Conversion, conversion, readable, setting, spelled
from climate.conventions.variables import channel_unit, is_geopotential, known_channel, level_of
from climate.sources.axes import Part
from climate.sources.plausibility import fitting, geopotentials
from vgbdm.errors import InputError

log = logging.getLogger(__name__)

NAMES = ("standard_name", "long_name", "short_name", "GRIB_shortName", "GRIB_name")
CATEGORIES = {
    "slt", "tvh", "tvl", "ptype", "sotyp", "vgtyp", "soil_type", "vegetation", "vegetation_type",
    "type_of_high_vegetation", "type_of_low_vegetation", "precipitation_type",
}  # fmt: skip
"""Names of fields that are numbers of classes, and say so only by the code tables of GRIB."""
DIRECTIONS = {"anor", "angle_of_sub_gridscale_orography"}
ANGLES = {
    "deg", "degree", "degrees", "°", "deg_true", "degree_true", "degrees_true", "rad", "radian",
    "radians",
}  # fmt: skip


def check_levels(channel: str, parts: Sequence[Part]) -> None:
    """Refuse files of one channel that are of different levels.

    Raises:
        InputError: naming the first file that differs from those before it.
    """
    single = [part for part in parts if part.levels is not None and len(part.levels) == 1]
    for part in single[1:]:
        held, first = part.levels, single[0].levels
        alike = part.level_unit == single[0].level_unit
        if held is None or first is None or (alike and np.isclose(held[0], first[0], rtol=1e-5)):
            continue
        raise InputError(
            f"{part.what} is of level {part.levels_text}, {single[0].where} of "
            f"{single[0].levels_text}; {channel} wants one: give it by "
            f"source.fields.{channel}.level, or move the other files away"
        )


def check_pressures(
    channels: Sequence[str], levels: Sequence[float | None], parts: Sequence[Part]
) -> None:
    """Refuse heights or numbers of levels for the pressure that a known channel's level is.

    Channels nobody knows may have a level of any kind, in the unit of the files.

    Raises:
        InputError: naming the first file whose vertical axis is none of pressure.
    """
    for channel, level in zip(channels, levels, strict=True):
        if level is None or not (known_channel(channel) or level_of(channel)):
            continue
        for part in parts:
            if part.along is not None:
                unit = part.level_unit or "1"
                say = setting(f"source.fields.{channel}.level_units", unit)
                raise InputError(
                    f"{part.what} has the levels {part.levels_text} along {part.along}, which are "
                    f"no pressures, {channel} is of {level:g} hPa; interpolate it to levels of "
                    f"pressure first, or, if {level:g} is meant of those, say so by {say}"
                )


def check_members(parts: Sequence[Part]) -> None:
    """Refuse files of several members of an ensemble: joined they are no series of states.

    Raises:
        InputError: naming the first file of another member than one before it.
    """
    first: dict[str, Part] = {}
    for part in parts:
        if part.member is not None:
            before = first.setdefault(part.member.rpartition(" ")[0], part)
            if part.member != before.member:
                raise InputError(
                    f"{part.what} is of {part.member}, {before.what} of {before.member}: members "
                    "of an ensemble, not one series; leave the files of one, by source.pattern or "
                    "in a folder of their own"
                )


def find_units(
    channel: str, parts: Sequence[Part], said: str | None, read: Callable[[int], np.ndarray],
    level: float | None = None,
) -> tuple[str, tuple[Conversion, ...]]:  # fmt: skip
    """The unit of a channel and how each file's values become it.

    Args:
        channel: short name.
        parts: one per file.
        said: the unit of all files by the config; None: as each file says.
        read: a map of a part as stored, read where that part has no unit, to see what would fit.
        level: of the channel, hPa.

    Raises:
        InputError: one line naming file, unit and remedy: where a unit is missing, is none, or is
            of another quantity.
    """
    target = channel_unit(channel)
    found = []
    for k, part in enumerate(parts):
        unit = said or part.units
        if unit is None:
            raise InputError(_missing(channel, part, target, read(k), level))
        if target is None:
            target = _own(channel, part, unit)
        found.append(
            conversion(
                unit,
                target,
                what=part.what,
                remedy=_remedy(channel, target),
                height=is_geopotential(channel),
                difference=is_difference(part),
            )
        )
    assert target is not None
    _say(channel, target, parts, said, found)
    return target, tuple(found)


def _own(channel: str, part: Part, unit: str) -> str:
    """The unit of a channel nobody knows: that of its first file."""
    if not readable(unit):
        raise InputError(f"{part.what} is in {unit!r}, which is no unit; {_remedy(channel, '1')}")
    return spelled(unit)


def _remedy(channel: str, unit: str) -> str:
    key = setting(f"source.fields.{channel}.units", unit)
    return f"give {key} if the label is wrong and the values are in it, else leave {channel} out"


def is_difference(part: Part) -> bool:
    """Whether values are differences or spreads of a quantity (CF §3.1.2 and §7.3)."""
    about = str(part.variable.attrs.get("units_metadata", ""))
    over = str(part.variable.attrs.get("cell_methods", ""))
    return "difference" in about or "standard_deviation" in over or "range" in over.split()


def check_means(part: Part) -> None:
    """Refuse to take means of categories and of directions.

    Of two flags, such as land and sea as 0 and 1, it is the share of one of them.

    Raises:
        InputError: naming the variable.
    """
    attributes = {str(k): v for k, v in part.variable.attrs.items()}
    names = {part.name, *(attributes.get(key, "") for key in NAMES)}
    known = {re.sub(r"[\s_-]+", "_", str(name).lower()) for name in names}
    if known & CATEGORIES or _flags(attributes) > 2:
        raise InputError(
            f"{part.what} holds categories, of which regridding would make means; leave it out, or "
            "bring it to the same grid first, e.g. with cdo remaplaf"
        )
    angle = (part.units or "").lower().replace(" ", "_") in ANGLES
    words = {word for name in known for word in name.split("_")}
    if known & DIRECTIONS or (angle and "direction" in words):
        raise InputError(
            f"{part.what} holds directions, and the mean of 359° and 1° is no 180°; leave it out, "
            "or give their sine and cosine instead"
        )


def _flags(attributes: Mapping[str, Any]) -> int:
    """How many categories the attributes name (CF §3.5), at least."""
    for key in ("flag_values", "flag_masks", "flag_meanings"):
        held = attributes.get(key)
        if held is not None:
            count = len(held.replace(",", " ").split()) if isinstance(held, str) else np.size(held)
            return 2 * count if key == "flag_masks" else count
    return 0


def _say(
    channel: str,
    target: str,
    parts: Sequence[Part],
    said: str | None,
    found: Sequence[Conversion],
) -> None:
    """One line where values are converted or a label is overruled."""
    changed = [part for part, one in zip(parts, found, strict=True) if one.changes]
    if changed:
        unit = said or changed[0].units
        where = changed[0].where + (f" and {len(changed) - 1} more" if len(changed) > 1 else "")
        log.info("%s: %s is converted to %s (%s)", channel, unit, target, where)
    overruled = sorted({part.units for part in parts if part.units and said} - {said or ""})
    if overruled:
        log.info(
            "%s: taken in %s, as source.fields.%s.units says; the files say %s",
            channel, said, channel, ", ".join(overruled),
        )  # fmt: skip


def _missing(
    channel: str, part: Part, target: str | None, values: np.ndarray, level: float | None
) -> str:
    """What to say of a file without a unit: which its values would fit."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    fits = _fitting(low, high, target, level)
    shown = f"{part.what} has no unit, values from {low:.4g} to {high:.4g}"
    if fits:
        return f"{shown} would fit {' or '.join(fits)}; say so by {_setting(channel, fits[0])}"
    if target:
        return f"{shown} fit none that {channel} has; say which by {_setting(channel, target)}"
    return f"{shown}; say which it is by {_setting(channel, '1')}, 1 standing for a plain number"


def _setting(channel: str, unit: str) -> str:
    return setting(f"source.fields.{channel}.units", unit)


def _fitting(low: float, high: float, target: str | None, level: float | None) -> list[str]:
    """As `fitting`; the channel's level, hPa, says how high a geopotential is."""
    if target != "m2 s-2" or not level:
        return fitting(low, high, target)
    return fitting(low, high, target, geopotentials(level, 1000.0))
