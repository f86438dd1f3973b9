"""Numbers that stand for missing ones without being declared: -999, -9999, 1e20 and their like.

Only of variables that nobody knows: temperatures, winds and geopotential have bounds. A sentinel is
one where it is the least or the greatest number of what is read, and all others are far from it.
"""

from __future__ import annotations

import logging

import numpy as np

log = logging.getLogger(__name__)
SENTINELS = np.array(
    [-999.0, -999.9, -9999.0, -9999.9, -99999.0, -32767.0, -32768.0, -1e20, -1e30, -1e34,
     1e15, 1e20, 1e30, 1e34, 1e35, 1e36, float(np.finfo("f4").min), float(np.finfo("f4").max)]
)  # fmt: skip
"""What programs write for missing numbers, to six digits."""
FAR = 1.0, 0.25
"""How far others are, in their range: from a number that stands alone, and from one repeated."""
_told: set[tuple[str, float]] = set()


def find_sentinels(values: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Where numbers of any shape stand for missing ones, and which do; NaN is none of them."""
    bad = np.zeros(values.shape, bool)
    found: list[float] = []
    if not values.size:
        return bad, found
    ends = (float(np.fmin.reduce(values, axis=None)), float(np.fmax.reduce(values, axis=None)))
    if np.isfinite(ends).all() and not any(map(_is_known, ends)):  # nearly always, and fast
        return bad, found
    held = values[np.isfinite(values)].astype(np.float64)
    while held.size:
        sentinel = _outermost(held)
        if sentinel is None:
            break
        found.append(sentinel)
        bad |= _near(values, sentinel)
        held = held[~_near(held, sentinel)]
    return bad, found


def _outermost(held: np.ndarray) -> float | None:
    """The least or the greatest number, if it is a sentinel."""
    for end in (float(held.min()), float(held.max())):
        if not _is_known(end):
            continue
        others = held[~_near(held, end)]
        if not others.size:
            return end
        gap = np.abs(others - end).min()
        alone = held.size - others.size == 1
        if gap > np.ptp(others) * FAR[0 if alone else 1]:
            return end
    return None


def _is_known(number: float) -> bool:
    return bool(np.isclose(number, SENTINELS, rtol=1e-6, atol=0.0).any())


def _near(values: np.ndarray, number: float) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(values - np.float64(number)) <= 1e-6 * abs(number))


def say(what: str, found: list[float]) -> None:
    """One line for each number and variable.

    Args:
        what: file and variable.
        found: numbers that stand for missing ones.
    """
    for number in found:
        if (what, number) not in _told:
            _told.add((what, number))
            log.warning(
                "%s holds %.6g, far from all its other numbers: it is taken as missing, though the "
                "file does not declare it (_FillValue, missing_value)", what, number,
            )  # fmt: skip
