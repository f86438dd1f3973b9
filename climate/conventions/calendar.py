"""Periods, splits, gaps, and steps of hours or of calendar months.

A step is a numpy timedelta in seconds or in months. numpy refuses to compare the two, so that a
month is never taken for a number of seconds by mistake; where a length in seconds is wanted, a
month is the mean Gregorian one.
"""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Mapping, Sequence

import numpy as np

from climate.conventions.wording import date, duration, last_date, setting_of
from vgbdm.errors import InputError

Period = tuple[np.datetime64, np.datetime64]
PARTS = (10, 1, 2)
"""Of a period that is divided: training, validation, tests; years of the usual split."""
SPLITS = ("train", "val", "test")
DAY = np.timedelta64(1, "D")
MONTH_SECONDS = 2629746
"""The mean Gregorian month: 365.2425 / 12 days."""


def as_step(seconds: int) -> np.timedelta64:
    """A step of so many seconds; a whole number of mean months is that many calendar months."""
    months, rest = divmod(int(seconds), MONTH_SECONDS)
    if rest or not months:
        return np.timedelta64(int(seconds), "s")
    return np.timedelta64(months, "M")


def step_seconds(step: np.timedelta64) -> int:
    """The length of a step; the mean one where it is of calendar months."""
    return int(step.astype("timedelta64[s]").astype(np.int64))


def is_monthly(step: np.timedelta64) -> bool:
    """Whether a step is of calendar months."""
    return np.datetime_data(step.dtype)[0] == "M"


def in_unit_of(step: np.timedelta64, times: np.ndarray) -> np.ndarray:
    """Times in a step's own unit, so that their differences are counted by the calendar."""
    return times.astype("datetime64[M]" if is_monthly(step) else "datetime64[s]")


def usual_step(times: np.ndarray) -> np.timedelta64:
    """The most frequent step of increasing times, in seconds; a calendar month for months.

    Months are times of which most lie in the calendar month after the last, and no two in one,
    and which are not evenly spaced in seconds, or are at the same time of their months.
    """
    steps = np.diff(times.astype("datetime64[s]"))
    values, counts = np.unique(steps, return_counts=True)
    base: np.timedelta64 = values[counts.argmax()]
    months = np.diff(times.astype("datetime64[M]")).astype(np.int64)
    uneven = bool((steps % base != np.timedelta64(0)).any())
    inside = times.astype("datetime64[s]") - times.astype("datetime64[M]").astype("datetime64[s]")
    if (
        (uneven or (inside == inside[:1]).all())
        and (months >= 1).all()
        and np.median(months) == 1
        and base > 27 * DAY
    ):
        return np.timedelta64(1, "M")
    return base


def count_steps(name: str, length: np.timedelta64, step: np.timedelta64, whose: str) -> int:
    """How many steps a length is.

    Args:
        name: of the length, for the message.
        length: in hours or months.
        step: in the same.
        whose: the step is, for the message.

    Raises:
        InputError: if it is no whole number, or below one.
    """
    alike = is_monthly(length) == is_monthly(step)
    if not alike or length < step or length % step != np.timedelta64(0):
        raise InputError(
            f"{name}={setting_of(length) or duration(length)}: not a multiple of {whose} step, "
            f"{duration(step)}"
        )
    return int(length // step)


def in_utc(time: dt.datetime) -> dt.datetime:
    """The time in UTC, without a zone; one without any is in UTC already."""
    return time if time.tzinfo is None else time.astimezone(dt.UTC).replace(tzinfo=None)


def parse_duration(name: str, given: str | dt.timedelta | np.timedelta64) -> np.timedelta64:
    """A duration such as ``6h``, ``5d`` or ``2mo``, of calendar months.

    Args:
        name: for the message.
        given: such a text, or a duration of Python, pandas or numpy, in whole seconds or months.

    Raises:
        InputError: for anything else.
    """
    exact = np.timedelta64(given, "us") if isinstance(given, dt.timedelta) else given  # pandas' too
    if isinstance(exact, np.timedelta64) and exact > np.timedelta64(0):
        unit = "M" if np.datetime_data(exact.dtype)[0] in ("M", "Y") else "s"
        length: np.timedelta64 = exact.astype(f"timedelta64[{unit}]")
        if length == exact:
            return length
    text = " ".join(str(given).split())
    found = re.fullmatch(r"([1-9][0-9]{0,5})(h|d|mo)", text)
    if not found:
        raise InputError(f"{name}={text[:40]}: want a duration such as 6h, 5d or 2mo")
    count, unit = int(found[1]), found[2]
    if unit == "mo":
        return np.timedelta64(count, "M")
    return np.timedelta64(count * (86400 if unit == "d" else 3600), "s")


def parse_period(name: str, ends: Sequence[object]) -> Period:
    """[start, end] in ISO 8601, both inclusive; an end of a day, month or year is its last second.

    Raises:
        InputError: if a date cannot be read or the end lies before the start.
    """
    if len(ends) != 2:
        raise InputError(f"{name}={list(ends)}: want [START, END]")
    try:
        start, end = (np.datetime64(str(value)) for value in ends)
    except ValueError:
        raise InputError(f"{name}={list(ends)}: dates must be ISO 8601") from None
    last = end.astype("datetime64[s]")
    if np.datetime_data(end.dtype)[0] in ("Y", "M", "D"):
        last = (end + 1).astype("datetime64[s]") - np.timedelta64(1, "s")
    first = start.astype("datetime64[s]")
    if np.isnat(first) or np.isnat(last) or last < first:
        raise InputError(f"{name}={list(ends)}: the end lies before the start")
    return first, last


def divide(period: Sequence[object]) -> dict[str, list[str]]:
    """A period divided as the usual one: 2006–2015, 2016 and 2017–2018 of 2006–2018.

    Whole months are divided by months where there are enough, so that no mean of one lies on both
    sides; other periods by days.

    Args:
        period: [start, end], ISO 8601, ends inclusive.

    Returns:
        ``train``, ``val``, ``test`` → [start, end], days: 10, 1 and 2 of its 13 parts.

    Raises:
        InputError: if it is shorter than that many days.
    """
    start, last = (end.astype("datetime64[D]") for end in parse_period("period", period))
    after, total = last + 1, sum(PARTS)
    days = int((after - start) / np.timedelta64(1, "D"))
    if days < total:
        raise InputError(
            f"period=[{start},{last}]: {days} days are too few to be divided; give {total} or "
            "more, or split.train, split.val and split.test"
        )
    first, end = start.astype("datetime64[M]"), after.astype("datetime64[M]")
    count = int((end - first).astype(int))
    if count < total or first.astype("datetime64[D]") != start or end.astype(after.dtype) != after:
        first, count = start, days
    ends = [
        (first + round(count * part / total)).astype("datetime64[D]")
        for part in itertools.accumulate(PARTS, initial=0)
    ]
    return {
        name: [str(begin), str(after - 1)]
        for name, (begin, after) in zip(SPLITS, itertools.pairwise(ends), strict=True)
    }


def parse_splits(config: Mapping[str, Sequence[object]], times: np.ndarray) -> dict[str, Period]:
    """The three periods, checked: in order, apart, and each holding data.

    Raises:
        InputError: one line otherwise.
    """
    splits = {name: parse_period(f"split.{name}", config[name]) for name in SPLITS}
    for earlier, later in itertools.pairwise(SPLITS):
        if splits[later][0] <= splits[earlier][1]:
            raise InputError(
                f"split.{later} starts at {date(splits[later][0])}, not after split.{earlier} ends "
                f"({last_date(splits[earlier][1])}); periods must follow each other without overlap"
            )
    for name, (start, end) in splits.items():
        if not ((times >= start) & (times <= end)).any():
            raise InputError(
                f"split.{name}=[{date(start)},{last_date(end)}]: the data "
                f"({date(times[0])} … {date(times[-1])}) has no time there; choose periods inside "
                "it"
            )
    return splits


def inside(times: np.ndarray, period: Period) -> np.ndarray:
    """Which times lie in a period, ends included."""
    return (times >= period[0]) & (times <= period[1])


def lead_hours(step: np.timedelta64, leads: int) -> list[int]:
    """Leads of 1…``leads`` steps in hours; months are mean ones, rounded to an hour."""
    return [round(k * step_seconds(step) / 3600) for k in range(1, leads + 1)]


def find_gaps(times: np.ndarray, step: np.timedelta64) -> list[tuple[np.datetime64, np.datetime64]]:
    """Last time before and first time after each stretch of missing steps."""
    breaks = np.flatnonzero(np.diff(in_unit_of(step, times)) != step)
    return [(times[i], times[i + 1]) for i in breaks]


def leap_day_of_year(times: np.ndarray) -> np.ndarray:
    """Day of the year 0…365 as in a leap year, so that 1 March is always the same day."""
    days = times.astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    day = (days - months.astype("datetime64[D]")) // DAY
    month = month_of_year(times)
    before = np.array([0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335])
    return before[month] + day


def month_of_year(times: np.ndarray) -> np.ndarray:
    """Month 0…11."""
    return times.astype("datetime64[M]").astype(np.int64) % 12


def hour_of_day(times: np.ndarray) -> np.ndarray:
    """Hour 0…23."""
    return (times.astype("datetime64[h]") - times.astype("datetime64[D]")).astype(np.int64)


def part_of_day(parts: int, times: np.ndarray) -> np.ndarray:
    """Which of so many equal parts of the day, whole hours each, times lie in."""
    return hour_of_day(times) * parts // 24
