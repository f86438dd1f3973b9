"""The cycles of the calendar, and what part of each a training period shows a network.

A network that has seen only part of a cycle has learned nothing of the rest: asked about August, it
extrapolates what it learned in spring. So a network is given a cycle only where training covers
it: where it leaves no gap above an eighth of the cycle.

What was seen is a list of arcs, (start, end) in parts of the cycle; an end above 1 goes past the
turn of the cycle. Gaps up to an eighth lie inside an arc. `WHOLE` stands for a covered cycle.

Shapes: ``N`` times, ``A`` arcs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Arcs = Sequence[Sequence[float]]

SECONDS_PER_DAY = 86400.0
DAYS_PER_YEAR = 365.2425
"""Mean Gregorian year; the phase of the seasons drifts by less than a day."""
LENGTHS = {
    "season": DAYS_PER_YEAR * SECONDS_PER_DAY,
    "month": DAYS_PER_YEAR * SECONDS_PER_DAY,
    "day": SECONDS_PER_DAY,
}
"""Of each cycle, seconds."""
LARGEST_GAP = 1 / 8
"""Of a covered cycle, in parts of it."""
WHOLE = ((0.0, 1.0),)
DIGITS = 6
"""Of an arc's ends: half a minute of the year."""


def phases(times: np.ndarray, cycle: str) -> np.ndarray:
    """Where in a cycle times (N,) lie, 0 to 1: seconds since 1970 or datetime64."""
    return np.asarray(times.astype(np.int64) / LENGTHS[cycle] % 1.0)


def arcs_seen(times: np.ndarray, seconds: float, cycle: str) -> Arcs:
    """What a network sees of a cycle that is trained between times and a step after each.

    Args:
        times: (N,) datetime64[s], at least one.
        seconds: of the step.
        cycle: one of `LENGTHS`.

    Returns:
        (A, 2) arcs in increasing order; `WHOLE` where the cycle is covered.
    """
    starts = np.unique(phases(times, cycle))
    length = seconds / LENGTHS[cycle]
    following = np.append(starts[1:], starts[0] + 1.0)
    breaks = np.flatnonzero(following - starts - length > LARGEST_GAP)
    if not len(breaks):
        return WHOLE
    first = np.append(starts[(breaks[-1] + 1) % len(starts)], following[breaks[:-1]])
    last = starts[breaks] + length
    last = np.where(last < first, last + 1.0, last)  # the first arc may begin in the year before
    return tuple(
        (round(float(a) % 1.0, DIGITS), round(float(b - a + a % 1.0), DIGITS))
        for a, b in zip(first, last, strict=True)
    )


def is_covered(arcs: Arcs) -> bool:
    """Whether a cycle was covered."""
    return tuple(map(tuple, arcs)) == WHOLE


def distance(arcs: Arcs, times: np.ndarray, cycle: str) -> np.ndarray:
    """How far times (N,) lie from what was seen, in parts of the cycle; 0 inside (N,)."""
    if is_covered(arcs):
        return np.zeros(len(times))
    nearest = np.full(len(times), np.inf)
    for start, end in arcs:
        after = (phases(times, cycle) - start) % 1.0
        beyond = np.maximum(after - (end - start), 0.0)
        nearest = np.minimum(nearest, np.minimum(beyond, 1.0 - after))
    return np.where(nearest < 2 * 10.0**-DIGITS, 0.0, nearest)


def covered(seen: Mapping[str, Arcs] | None, cycles: Sequence[str]) -> tuple[str, ...]:
    """Which of some cycles a network is given; all of them where nothing is known of training."""
    return tuple(c for c in cycles if seen is None or is_covered(seen[c]))


def describe_arcs(arcs: Arcs, cycle: str) -> str:
    """The arcs of a cycle in words: dates of the year or hours of the day."""
    return ", ".join(f"{_moment(a, cycle)} to {_moment(b, cycle)}" for a, b in arcs)


def _moment(phase: float, cycle: str) -> str:
    if cycle == "day":
        return f"{round(phase % 1.0 * 24):d} h UTC"
    day = np.datetime64("2001-01-01") + int(phase % 1.0 * 365)
    return f"{day.item():%-d %B}"
