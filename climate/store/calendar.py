"""Periods, splits and gaps."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from vgbdm.errors import InputError

Period = tuple[np.datetime64, np.datetime64]
SPLITS = ("train", "val", "test")
DAY = np.timedelta64(1, "D")


def parse_period(name: str, ends: Sequence[object]) -> Period:
    """[start, end] in ISO 8601, both inclusive; an end of a day, month or year is its last second.

    Raises:
        InputError: if a date cannot be read or the end lies before the start.
    """
    if len(ends) != 2:
        raise InputError(f"split.{name}={list(ends)}: want [START, END]")
    try:
        start, end = (np.datetime64(str(value)) for value in ends)
    except ValueError:
        raise InputError(f"split.{name}={list(ends)}: dates must be ISO 8601") from None
    last = end.astype("datetime64[s]")
    if np.datetime_data(end.dtype)[0] in ("Y", "M", "D"):
        last = (end + 1).astype("datetime64[s]") - np.timedelta64(1, "s")
    first = start.astype("datetime64[s]")
    if np.isnat(first) or np.isnat(last) or last < first:
        raise InputError(f"split.{name}={list(ends)}: the end lies before the start")
    return first, last


def parse_splits(config: Mapping[str, Sequence[object]], times: np.ndarray) -> dict[str, Period]:
    """The three periods, checked: in order, apart, and each holding data.

    Raises:
        InputError: one line otherwise.
    """
    splits = {name: parse_period(name, config[name]) for name in SPLITS}
    for earlier, later in itertools.pairwise(SPLITS):
        if splits[later][0] <= splits[earlier][1]:
            raise InputError(
                f"split.{later} starts at {splits[later][0]}, not after split.{earlier} ends "
                f"({splits[earlier][1]}); periods must follow each other without overlap"
            )
    for name, (start, end) in splits.items():
        if not ((times >= start) & (times <= end)).any():
            raise InputError(
                f"split.{name}=[{start},{end}]: the data ({times[0]} … {times[-1]}) has no time "
                "there; choose periods inside it"
            )
    return splits


def inside(times: np.ndarray, period: Period) -> np.ndarray:
    """Which times lie in a period, ends included."""
    return (times >= period[0]) & (times <= period[1])


def find_gaps(times: np.ndarray, step: np.timedelta64) -> list[tuple[np.datetime64, np.datetime64]]:
    """Last time before and first time after each stretch of missing steps."""
    breaks = np.flatnonzero(np.diff(times) != step)
    return [(times[i], times[i + 1]) for i in breaks]


def leap_day_of_year(times: np.ndarray) -> np.ndarray:
    """Day of the year 0…365 as in a leap year, so that 1 March is always the same day."""
    days = times.astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    day = (days - months.astype("datetime64[D]")) // DAY
    month = months.astype(np.int64) % 12
    before = np.array([0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335])
    return before[month] + day


def hour_of_day(times: np.ndarray) -> np.ndarray:
    """Hour 0…23."""
    return (times.astype("datetime64[h]") - times.astype("datetime64[D]")).astype(np.int64)
