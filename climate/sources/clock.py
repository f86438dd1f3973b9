"""The times of a source: how they are stored, how far apart they are, where that changes.

Shapes: ``T`` times.
"""

from __future__ import annotations

import datetime as dt
import logging
import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

from climate.conventions.calendar import count_steps, in_utc, is_monthly, usual_step
from climate.conventions.wording import date, duration, setting_of
from vgbdm.errors import InputError

log = logging.getLogger(__name__)
SECOND = np.timedelta64(1, "s")
GREGORIAN = {"standard", "gregorian", "proleptic_gregorian"}
CLOCK_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
AT_AN_END, ANYWHERE = 3, 8
"""Equal intervals in a row that are a spacing and not gaps: first or last ones, or any."""

FEW = 16
"""Roundings of stored times in a step, below which steps that differ are taken as rounded."""

MOST = 0.9
"""Share of regular times that a step must keep to be a remedy for odd ones among them."""


def decode_times(coordinate: xr.Variable, where: str) -> np.ndarray:
    """Times (T,) in whole seconds UTC; what is stored as a fraction of days is rounded.

    Raises:
        InputError: for another calendar than the Gregorian one, or what is no time.
    """
    values = coordinate.values
    if values.dtype.kind in "iuf" and values.size and "since" not in str(coordinate.attrs):
        values = _of_digits(values)
    if values.dtype.kind == "O" and values.size:
        values = _of_objects(values, where)
    elif values.dtype.kind in "SUT":
        raise InputError(
            f"{where}: its times are text such as {str(values.flat[0])[:20]!r}; give CF units, or "
            "in memory what pandas.to_datetime makes of them"
        )
    if values.dtype.kind != "M" or bool(np.isnat(values).any()):
        raise InputError(f"{where}: its times cannot be read; give CF units and no missing times")
    return (values + np.timedelta64(500, "ms")).astype("datetime64[s]")


def _of_digits(values: np.ndarray) -> np.ndarray:
    """Dates that are written as numbers YYYYMMDD, a fraction being one of the day, or YYYYMM.

    Monthly means of the Climate Data Store and CDO's absolute times have them; others come back.
    """
    if not np.isfinite(values).all():
        return values
    whole = np.floor(values.astype(np.float64))
    length = {len(f"{number:.0f}") for number in whole.flat}
    if length not in ({6}, {8}):
        return values
    texts = [f"{number:.0f}" for number in whole.flat]
    try:
        days = np.array(["-".join((t[:4], t[4:6], *([t[6:]] if t[6:] else []))) for t in texts],
                        "datetime64[s]")  # fmt: skip
    except ValueError:
        return values
    rest = 0 if length == {6} else np.rint(86400 * (values.astype(np.float64) - whole)).ravel()
    clock = days + np.asarray(rest, "timedelta64[s]")
    return clock.astype("datetime64[ns]").reshape(values.shape)


def _of_objects(values: np.ndarray, where: str) -> np.ndarray:
    """Times of datetimes with a time zone, or of the Gregorian calendar before or after ns."""
    calendars = {str(getattr(value, "calendar", "")) for value in values.flat} - {""}
    if calendars - GREGORIAN:
        raise InputError(
            f"{where}: its calendar is not the Gregorian one ({min(calendars - GREGORIAN)}); "
            "convert the times first, in memory by convert_calendar('standard')"
        )
    times = [in_utc(value) if isinstance(value, dt.datetime) else value for value in values.flat]
    try:
        made = np.array([time.isoformat() for time in times], "datetime64[us]")
    except (AttributeError, ValueError):
        raise InputError(
            f"{where}: its times cannot be read, the first is {str(values.flat[0])[:20]!r}; give "
            "CF units, or in memory what pandas.to_datetime makes of them"
        ) from None
    return made.reshape(values.shape)


def read_bounds(dataset: xr.Dataset, coordinate: xr.Variable, where: str) -> np.ndarray | None:
    """When the intervals that times stand for begin and end, (T, 2); None where it is not said.

    Raises:
        InputError: if CF ``bounds`` of the times name what is no times.
    """
    name = coordinate.attrs.get("bounds", coordinate.encoding.get("bounds"))
    if name is None or name not in dataset.variables:
        return None
    held = dataset.variables[name]
    if coordinate.ndim == 0 and held.shape == (2,):  # one time that is no dimension
        held = xr.Variable(("once", *held.dims), held.values[None], held.attrs, held.encoding)
    if held.ndim != 2 or held.shape != (coordinate.size, 2):
        raise InputError(
            f"{where}: {name}, the bounds of its times, is {' × '.join(map(str, held.shape))} "
            f"numbers for {coordinate.size} times; remove that attribute, e.g. by ncatted"
        )
    return decode_times(held, where)


def rounding(coordinate: xr.Variable) -> float:
    """Seconds by which stored times are rounded: those of floats of few digits; 0 for others."""
    stored = np.dtype(coordinate.encoding.get("dtype", "i8"))
    text = str(coordinate.encoding.get("units", ""))
    unit, _, since = text.partition(" since ")
    size = CLOCK_UNITS.get(unit.strip().lower().rstrip("s"))
    if stored.kind != "f" or size is None or coordinate.dtype.kind != "M" or not coordinate.size:
        return 0.0
    try:
        origin = np.datetime64(since.strip().split()[0], "s")
    except (ValueError, IndexError):
        return 0.0
    clock = coordinate.values.astype("datetime64[s]")  # of nanoseconds, year 1 is out of reach
    far = float(np.abs((clock - origin) / SECOND).max()) / size
    return size * float(np.spacing(stored.type(far)))


def _coarser(rounded: float) -> str:
    """The finest usual precision that rounding to so many seconds has left."""
    fine = (("1min", 60), ("10min", 600), ("1h", 3600), ("6h", 21600))
    return next((text for text, size in fine if size > rounded), "1D")


@dataclass(frozen=True)
class Spacing:
    """Equal intervals in a row.

    Attributes:
        length: of each.
        first: index of the time before the first of them.
        count: how many.
    """

    length: np.timedelta64
    first: int
    count: int


def spacings(times: np.ndarray) -> list[Spacing]:
    """The spacings of increasing times (T,), without the gaps in them; at least one."""
    steps = np.diff(times.astype("datetime64[s]"))
    values, counts = np.unique(steps, return_counts=True)
    usual = values[counts.argmax()]
    starts = np.flatnonzero(np.append(True, steps[1:] != steps[:-1]))
    runs = np.diff(np.append(starts, len(steps)))
    found: list[Spacing] = []
    for start, count in zip(starts.tolist(), runs.tolist(), strict=True):
        outermost = start == 0 or start + count == len(steps)
        length = steps[start]
        if length != usual and count < (AT_AN_END if outermost else ANYWHERE):
            continue
        if not found or found[-1].length != length:
            found.append(Spacing(length, start, count))
    return found


def check_calendar(times: np.ndarray, where: str, rounded: float = 0.0) -> np.timedelta64:
    """The base step of increasing times; steps may be missing, none may lie in between.

    Args:
        times: (T,).
        where: file or store.
        rounded: seconds by which they are, as stored.

    Returns:
        The usual step, of a calendar month for monthly data.

    Raises:
        InputError: if there is only one time, the spacing changes, or a step is no whole multiple
            of the usual one.
    """
    if len(times) < 2:
        raise InputError(f"{where}: holds {len(times)} time; at least 2 are needed")
    base = usual_step(times)
    if is_monthly(base):
        return base
    days, months = (len(np.unique(times.astype(f"datetime64[{unit}]"))) for unit in "DM")
    if len(times) > days == months > 2:
        log.warning(
            "%s: its times lie on one day of each month, as those of monthly means by the hour of "
            "day, which are no series of states; for task=monthly average each month first, e.g. "
            "by cdo monmean", where,
        )  # fmt: skip
    steps, parts = np.diff(times.astype("datetime64[s]")), spacings(times)
    odd = np.flatnonzero(steps % base != np.timedelta64(0))
    uneven = np.flatnonzero(steps != base)
    if len(uneven) and rounded > 1.0 and (len(odd) or base / SECOND < FEW * rounded):
        first = odd[0] if len(odd) else uneven[0]
        raise InputError(
            f"{where}: the step after {date(times[first])} is {duration(steps[first])}, most are "
            f"{duration(base)}, because its times are stored in too few digits "
            f"(rounded to {rounded:.3g} s); give each file times that are right again: "
            f"ds['time'] = ds['time'].dt.round('{_coarser(rounded)}'), ds['time'].encoding = {{}}, "
            "ds.to_netcdf(NEW) by xarray"
        )
    if len({part.length for part in parts}) > 1:
        raise _changing(times, parts, where)
    if len(odd):
        raise InputError(
            f"{where}: the step after {date(times[odd[0]])} is {duration(steps[odd[0]])}, not a "
            f"multiple of {duration(base)}; {_remedy(times, parts)}"
        )
    return base


def thin(times: np.ndarray, step: np.timedelta64, where: str) -> np.ndarray:
    """Indices of the increasing times (T,) that lie at whole steps from midnight UTC.

    Raises:
        InputError: if the step is no multiple of a spacing of the times, or hits none of them.
    """
    if len(times) < 2:
        raise InputError(f"{where}: holds {len(times)} time; at least 2 are needed")
    monthly = is_monthly(usual_step(times))
    if monthly and is_monthly(step) and step == np.timedelta64(1, "M"):
        return np.arange(len(times))
    if is_monthly(step):
        raise InputError(
            f"step={setting_of(step)}: "
            + (
                f"{where} has the means of single months; give step=null"
                if monthly
                else "months are means, not steps; train with task=monthly for them"
            )
        )
    if monthly:
        raise InputError(f"step={setting_of(step)}: {where} has monthly means; give step=null")
    for part in spacings(times):
        count_steps("step", step.astype("timedelta64[s]"), part.length, "the source's")
    chosen = _at_whole_steps(times, step)
    if not len(chosen):
        raise InputError(
            f"step={setting_of(step)}: {where} has no time at whole steps from midnight UTC, its "
            f"first is {date(times[0])}; take another step"
        )
    return chosen


def _at_whole_steps(times: np.ndarray, step: np.timedelta64) -> np.ndarray:
    seconds = times.astype("datetime64[s]").astype(np.int64)
    return np.flatnonzero(seconds % int(step.astype("timedelta64[s]").astype(np.int64)) == 0)


def _changing(times: np.ndarray, parts: list[Spacing], where: str) -> InputError:
    """Where the spacing changes first, and what would take all or one part."""
    before, after = parts[0], next(p for p in parts if p.length != parts[0].length)
    return InputError(
        f"{where}: the spacing of its times changes from {duration(before.length)} to "
        f"{duration(after.length)} at {date(times[after.first])}; {_remedy(times, parts)}"
    )


def _means(times: np.ndarray) -> str:
    """What times look like means of, by their distances in days; empty where like none."""
    days = np.diff(times.astype("datetime64[s]")) / np.timedelta64(86400, "s")
    spans = {
        "ten days": (8, 11),
        "seasons": (89, 93),
        "half years": (181, 184),
        "years": (365, 366),
    }
    near = {
        name: float(((low <= days) & (days <= high)).mean()) for name, (low, high) in spans.items()
    }
    best = max(near, key=lambda name: near[name])
    return best if near[best] >= MOST and len(np.unique(days)) > 1 else ""


def _remedy(times: np.ndarray, parts: list[Spacing]) -> str:
    """A step at which all parts have times, or the period of the longest of one spacing."""
    common = math.lcm(*(int(part.length.astype(np.int64)) for part in parts))
    step = np.timedelta64(common, "s")
    text = setting_of(step)
    hit = _at_whole_steps(times, step)
    if len(parts) == 1:
        everywhere = len(hit) >= MOST * len(times)
    else:
        everywhere = all(
            int(((hit >= part.first) & (hit <= part.first + part.count)).sum())
            >= part.count * part.length // step
            for part in parts
        )
    if text is not None and everywhere and len(hit) > 1:
        return f"give step={text}, at which all of it has times"
    longest = max(parts, key=lambda part: part.count)
    means = _means(times)
    if means or longest.count < ANYWHERE:
        of = f"means of {means} are no regular steps" if means else "no part of them is regular"
        return f"{of}: convert data of a regular step, such as hours or days, or monthly means"
    ends = times[longest.first], times[longest.first + longest.count]
    period = ",".join(np.datetime_as_string(end.astype("datetime64[s]")) for end in ends)
    return f"give period=[{period}], where they are regular, or regular times"
