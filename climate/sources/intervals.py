"""Sums and means over intervals of time, joined where the step grows.

A value at a time is of the interval that ends there, as the Climate Data Store and WeatherBench 2
stamp them, unless CF bounds of the times say when it begins and ends. At a longer step it is made
of all intervals that end after the last time kept and not after this one; where one of them is
missing, so is the time.

Shapes: ``T`` stored times, ``N`` kept, ``n`` intervals in a step, ``L`` levels, ``H`` latitudes,
``W`` longitudes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from climate.conventions.calendar import step_seconds, usual_step
from climate.conventions.units import find_conversion, setting
from climate.conventions.wording import duration
from climate.sources.axes import Part
from climate.sources.clock import spacings
from vgbdm.errors import InputError

CELL_METHODS = ("point", "sum", "mean")
ROWS_AT_ONCE = 240
"""Stored maps held at a time while they are joined."""
UNSAID = "sum or mean (it does not say which)"
"""The method of what is over an interval by all appearance, and has no ``cell_methods``."""
ACCUMULATED = {
    "tp", "cp", "lsp", "sf", "csf", "lsf", "smlt", "es", "e", "pev", "ro", "sro", "ssro",
    "ssr", "str", "tsr", "ttr", "ssrc", "strc", "tsrc", "ttrc", "ssrd", "strd", "ssrdc",
    "strdc", "tisr", "fdir", "cdir", "uvb", "sshf", "slhf", "ewss", "nsss", "lgws", "mgws",
    "gwd", "bld", "vimd", "total_precipitation", "convective_precipitation",
    "large_scale_precipitation", "snowfall", "convective_snowfall", "large_scale_snowfall",
    "snowmelt", "snow_evaporation", "evaporation", "total_evaporation",
    "potential_evaporation", "runoff", "surface_runoff", "sub_surface_runoff",
    "surface_net_solar_radiation", "surface_net_thermal_radiation", "top_net_solar_radiation",
    "top_net_thermal_radiation", "surface_solar_radiation_downwards",
    "surface_thermal_radiation_downwards", "toa_incident_solar_radiation",
    "surface_sensible_heat_flux", "surface_latent_heat_flux",
    "vertically_integrated_moisture_divergence",
}  # fmt: skip
"""Names that the Climate Data Store, WeatherBench 2 and ARCO-ERA5 give to sums over an interval."""
OVER_INTERVAL = re.compile(
    r"accumul|since previous post-processing|^(time-)?mean .*(rate|flux|stress)|"
    r"(precipitation|rainfall|snowfall|evaporation|runoff)_amount|wrt_time"
)
"""In a long or standard name."""


def find_method(channel: str, parts: Sequence[Part], said: str | None) -> str:
    """What the values of a channel are over time: by the config, else by CF ``cell_methods``.

    Returns:
        ``point``, ``sum`` or ``mean``; else what the files say, such as ``maximum``, or `UNSAID`.

    Raises:
        InputError: for a method that is none, or files that differ in theirs.
    """
    if said is not None:
        if said not in CELL_METHODS:
            raise InputError(
                f"source.fields.{channel}.method={said}: want {', '.join(CELL_METHODS[:-1])} or "
                f"{CELL_METHODS[-1]}"
            )
        return said
    found: dict[str, Part] = {}
    for part in parts:
        text = str(part.variable.attrs.get("cell_methods", ""))
        named = re.search(r"(?:^|\s)(?:valid_)?time:\s*(?:\w+:\s*)*(\w+)", text)
        usual = UNSAID if looks_joined(channel, part) else "point"
        found.setdefault(named[1].lower() if named else usual, part)
    if len(found) > 1:
        (one, first), (other, second) = list(found.items())[:2]
        raise InputError(
            f"{second.what} is a {other} over time, in {first.where} a {one}; convert alike files, "
            f"or say what all are by {setting(f'source.fields.{channel}.method', 'sum')}"
        )
    return next(iter(found))


def looks_joined(channel: str, part: Part) -> bool:
    """Whether a variable is over an interval of time by its name, unit or GRIB's step type."""
    attributes = part.variable.attrs
    kind = str(attributes.get("GRIB_stepType", "instant"))
    names = {re.sub(r"_\d+hr?$", "", name.lower()) for name in (channel, part.name)}
    said = [str(attributes.get(key, "")).lower() for key in ("long_name", "standard_name")]
    return bool(
        names & ACCUMULATED
        or kind != "instant"
        or any(name.startswith("avg_") for name in names)
        or any(OVER_INTERVAL.search(text) for text in said)
        or (part.units is not None and find_conversion(part.units, "J m-2") is not None)
    )


def needs_joining(
    channel: str, parts: Sequence[Part], said: str | None, step: np.timedelta64 | None
) -> bool:
    """Whether a channel is over intervals of time, and a step is wanted that is not its own."""
    times = [part.times for part in parts if part.times is not None]
    if step is None or not times:
        return False
    held = np.unique(np.concatenate(times))
    longer = len(held) > 1 and step_seconds(usual_step(held)) != step_seconds(step)
    return longer and find_method(channel, parts, said) != "point"


def join_intervals(
    channel: str, where: str, times: np.ndarray, step: np.timedelta64
) -> tuple[int, np.ndarray]:
    """Which stored times make each time at whole steps from midnight UTC.

    Args:
        channel: for messages.
        where: file or store.
        times: (T,) increasing.
        step: wanted, a multiple of their spacing.

    Returns:
        n, and the index (N,) of the last of the n in a row that make each time.

    Raises:
        InputError: if their spacing changes, or no step has all its intervals.
    """
    parts = spacings(times)
    if len({part.length for part in parts}) > 1:
        raise InputError(
            f"{where}: {channel} is over intervals of {duration(parts[0].length)}, then of "
            f"{duration(parts[1].length)}; choose a period of one, or leave {channel} out"
        )
    length = parts[0].length
    count = int(step.astype("timedelta64[s]") // length)
    clock = times.astype("datetime64[s]")
    last = np.flatnonzero(
        clock.astype(np.int64) % int(step.astype("timedelta64[s]").astype(int)) == 0
    )
    last = last[last >= count - 1]
    last = last[clock[last] - clock[last - count + 1] == (count - 1) * length]
    if len(last) < 2:
        raise InputError(
            f"{where}: {channel} is over intervals of {duration(length)}, of which no steps of "
            f"{duration(step)} are whole; take another step, or leave {channel} out"
        )
    return count, last


def ends_of_intervals(
    channel: str, where: str, times: np.ndarray, bounds: np.ndarray | None
) -> np.ndarray:
    """When the intervals of a sum or mean end (T,).

    Args:
        channel: for messages.
        where: file or store.
        times: (T,) their stamps.
        bounds: (T, 2) when they begin and end; None: they end at their stamps.

    Raises:
        InputError: if they are not of one length, one after the other.
    """
    if bounds is None or len(bounds) < 2:
        return times
    lengths, ends = bounds[:, 1] - bounds[:, 0], bounds[:, 1]
    shortest, longest, apart = lengths.min(), lengths.max(), usual_step(ends)
    if shortest == longest == apart and (np.diff(ends) >= apart).all():
        return ends
    say = setting(f"source.fields.{channel}.method", "point")
    size = duration(shortest) + ("" if shortest == longest else f" to {duration(longest)}")
    raise InputError(
        f"{where}: {channel} is over intervals of {size} that end {duration(apart)} apart (bounds "
        f"of its times), which do not add up to a longer step; leave out {channel} or step, or "
        f"take its values at these times by {say}"
    )


def check_method(channel: str, where: str, method: str) -> None:
    """Refuse what cannot be joined.

    Raises:
        InputError: naming the method and how to take the values as they are.
    """
    if method == UNSAID:
        one, *others = (setting(f"source.fields.{channel}.method", m) for m in CELL_METHODS[1:])
        say = setting(f"source.fields.{channel}.method", "point")
        raise InputError(
            f"{where}: {channel} looks like a sum or a mean over the time since the stamp before, "
            f"no cell_methods say which, and step= is longer; say so by {one} or {others[0]}, or "
            f"take its values at these times by {say}"
        )
    if method not in CELL_METHODS:
        say = setting(f"source.fields.{channel}.method", "point")
        raise InputError(
            f"{where}: {channel} is a {method} over time, which a longer step does not join; leave "
            f"out {channel} or step, or take its values at these times by {say}"
        )


def joined(values: np.ndarray, count: int, method: str) -> np.ndarray:
    """Sums or means (N, L, H, W) float32 of ``count`` maps each, of (N · n, L, H, W)."""
    parts = values.reshape(-1, count, *values.shape[1:])
    whole = parts.sum(1, dtype=np.float64) if method == "sum" else parts.mean(1, dtype=np.float64)
    return whole.astype(np.float32)
