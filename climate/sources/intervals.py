"""Sums and means over intervals of time, joined where the step grows.

A value at a time is of the interval that ends there, as the Climate Data Store and WeatherBench 2
stamp them. At a longer step it is made of all intervals that end after the last time kept and not
after this one; where one of them is missing, so is the time.

Shapes: ``T`` stored times, ``N`` kept, ``n`` intervals in a step, ``L`` levels, ``H`` latitudes,
``W`` longitudes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from climate.sources.axes import Part
from climate.sources.clock import spacings
from climate.store.calendar import step_seconds, usual_step
from climate.units import setting
from climate.wording import duration
from vgbdm.errors import InputError

METHODS = ("point", "sum", "mean")
ROWS = 240
"""Stored maps held at a time while they are joined."""


def find_method(channel: str, parts: Sequence[Part], said: str | None) -> str:
    """What the values of a channel are over time: by the config, else by CF ``cell_methods``.

    Returns:
        ``point``, ``sum`` or ``mean``; else what the files say, such as ``maximum``.

    Raises:
        InputError: for a method that is none, or files that differ in theirs.
    """
    if said is not None:
        if said not in METHODS:
            raise InputError(
                f"source.fields.{channel}.method={said}: want {', '.join(METHODS[:-1])} or "
                f"{METHODS[-1]}"
            )
        return said
    found: dict[str, Part] = {}
    for part in parts:
        text = str(part.variable.attrs.get("cell_methods", ""))
        named = re.search(r"(?:^|\s)(?:valid_)?time:\s*(?:\w+:\s*)*(\w+)", text)
        found.setdefault(named[1].lower() if named else "point", part)
    if len(found) > 1:
        (one, first), (other, second) = list(found.items())[:2]
        raise InputError(
            f"{second.what} is a {other} over time, in {first.where} a {one}; convert alike files, "
            f"or say what all are by {setting(f'source.fields.{channel}.method', 'sum')}"
        )
    return next(iter(found))


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


def check_method(channel: str, where: str, method: str) -> None:
    """Refuse what cannot be joined.

    Raises:
        InputError: naming the method and how to take the values as they are.
    """
    if method not in METHODS:
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
