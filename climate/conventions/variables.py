"""What the short names of channels and static fields mean: units and CF standard names."""

from __future__ import annotations

import re

CHANNELS: dict[str, dict[str, str]] = {
    "z": {"long_name": "geopotential", "standard_name": "geopotential", "units": "m2 s-2"},
    "t": {"long_name": "temperature", "standard_name": "air_temperature", "units": "K"},
    "u": {"long_name": "eastward wind", "standard_name": "eastward_wind", "units": "m s-1"},
    "v": {"long_name": "northward wind", "standard_name": "northward_wind", "units": "m s-1"},
    "t2m": {"long_name": "2 metre temperature", "standard_name": "air_temperature", "units": "K"},
    "u10": {
        "long_name": "10 metre eastward wind",
        "standard_name": "eastward_wind",
        "units": "m s-1",
    },
    "v10": {
        "long_name": "10 metre northward wind",
        "standard_name": "northward_wind",
        "units": "m s-1",
    },
}
"""CF attributes by short name; a name with a level, such as z850, is what it is without."""
USUAL_LEVELS = {"z": 500.0, "t": 850.0}
"""hPa."""
GROUND = 1013.25
"""hPa."""
STATIC_UNITS = {"orography": "m", "lsm": "1"}
"""Units of the static fields that are known."""


def known_channel(name: str) -> dict[str, str] | None:
    """What is known of a short name, with or without a level at its end; None for a stranger."""
    if name in CHANNELS:
        return CHANNELS[name]
    found = re.fullmatch(r"([ztuv])_?\d+", name)
    return CHANNELS[found[1]] if found else None


def level_of(name: str) -> tuple[str, float] | None:
    """Variable and pressure, hPa, of a channel on a level; None for one that is on none.

    Geopotential and temperature without a level are those of 500 and 850 hPa, as in WeatherBench.
    """
    found = None if name in CHANNELS else re.fullmatch(r"([a-z])_?(\d{1,4})", name)
    if found and int(found[2]):
        return found[1], float(found[2])
    return (name, USUAL_LEVELS[name]) if name in USUAL_LEVELS else None


def pressure_of(name: str) -> float:
    """Where a channel lies, hPa: on its level; near the ground without one."""
    level = level_of(name)
    return GROUND if level is None else level[1]


def channel_unit(name: str) -> str | None:
    """The unit of a channel; None for one nobody knows, which keeps its own."""
    known = known_channel(name)
    return known["units"] if known else None


def is_geopotential(name: str) -> bool:
    """Whether metres of it mean geopotential height."""
    known = known_channel(name)
    return bool(known and known["standard_name"] == "geopotential") or name == "orography"


def is_state(name: str) -> bool:
    """Whether a channel is geopotential, temperature or wind: no two of its maps are alike."""
    return known_channel(name) is not None


def channel_attributes(name: str, own: dict[str, object]) -> dict[str, str]:
    """Attributes of a channel: its own where it has them, else what is known of the name."""
    known = known_channel(name) or {"long_name": name, "units": "1"}
    kept = {k: str(own[k]) for k in ("long_name", "standard_name", "units") if own.get(k)}
    return {**known, **kept}
