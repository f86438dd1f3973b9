"""Durations, dates, grids and sizes as messages say them: "6 h", "2010-01-01 06:00", "1.50 GiB"."""

from __future__ import annotations

import re

import numpy as np

PARTS_OF_DAY = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
DAYS_FROM = 72
"""Hours from which whole days are said as days."""


def duration(length: np.timedelta64) -> str:
    """A length in words: "6 h", "48 h", "5 d", "1 h 1 min 52 s", "1 month"."""
    if np.datetime_data(length.dtype)[0] in ("M", "Y"):
        months = int(length.astype("timedelta64[M]").astype(np.int64))
        return f"{months} month" + ("" if months == 1 else "s")
    seconds = int(length.astype("timedelta64[s]").astype(np.int64))
    if seconds < 0:
        return f"-{duration(-length)}"
    if seconds % 3600 == 0 and seconds < DAYS_FROM * 3600:
        return f"{seconds // 3600} h"
    words = []
    for unit, size in PARTS_OF_DAY:
        count, seconds = divmod(seconds, size)
        if count:
            words.append(f"{count} {unit}")
    return " ".join(words)


def setting_of(length: np.timedelta64) -> str | None:
    """A length as a config takes it: ``6h``, ``5d``, ``1mo``; None for what it cannot take."""
    if np.datetime_data(length.dtype)[0] in ("M", "Y"):
        return f"{int(length.astype('timedelta64[M]').astype(np.int64))}mo"
    hours, rest = divmod(int(length.astype("timedelta64[s]").astype(np.int64)), 3600)
    if rest or hours < 1:
        return None
    return f"{hours // 24}d" if hours % 24 == 0 and hours >= DAYS_FROM else f"{hours}h"


def date(time: np.datetime64) -> str:
    """A time: a date at midnight, else with hours and minutes, and seconds where there are any."""
    text = np.datetime_as_string(time.astype("datetime64[s]"), "s")
    day, clock = text.split("T")
    if clock == "00:00:00":
        return str(day)
    return f"{day} {clock.removesuffix(':00') if clock.endswith(':00') else clock}"


def last_date(time: np.datetime64) -> str:
    """The end of a period: the date of a day whose last second it is."""
    following = date(time.astype("datetime64[s]") + np.timedelta64(1, "s"))
    return date(time) if " " in following else date(time.astype("datetime64[D]"))


def period(first: np.datetime64, last: np.datetime64) -> str:
    """Both ends of a period, which belong to it."""
    return f"{date(first)} … {last_date(last)}"


def ends_of_grid(lat: np.ndarray, lon: np.ndarray) -> str:
    """How many points a grid has and between which degrees they lie."""
    return " and ".join(
        f"{len(values)} {name} from {values[0]:g} to {values[-1]:g}"
        for name, values in (("lat", lat), ("lon", lon))
    )


def size(count: float) -> str:
    """A number of bytes in words."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
DEGREES = {"degC": "°C", "degF": "°F", "percent": "%", "degree": "°", "degrees": "°"}


def unit_words(unit: str) -> str:
    """A CF unit as it is printed: "m**2 s**-2" → "m² s⁻²", "W m-2" → "W m⁻²"; "" for "1"."""
    factors = []
    for factor in unit.replace("*", " * ").replace(" *  * ", "^").replace(" * ", " ").split():
        name, power = _powers(factor)
        factors.append(name + power.translate(SUPERSCRIPTS))
    return " ".join(factors) if factors != ["1"] else ""


def _powers(factor: str) -> tuple[str, str]:
    """A factor's name and power, such as "s" and "-2" of "s**-2", "s^-2" and "s-2"."""
    found = re.fullmatch(r"(.*?[^\W\d_])\^?([+-]?\d+)", factor)
    if not found:
        return DEGREES.get(factor, factor), ""
    return found[1], found[2].removeprefix("+")


def with_unit(name: str, unit: str) -> str:
    """A name with its unit in brackets, as on axes; without where it has none."""
    shown = unit_words(unit)
    return f"{name} ({shown})" if shown else name
