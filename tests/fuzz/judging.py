"""What came of a try: the right value, a refusal that names the file, or a defect."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vgbdm.errors import InputError, RunError

RIGHT, REFUSED = "right", "refused"
SILENT, TRACEBACK, HANG, UNNAMED = "silent", "traceback", "hang", "unnamed"
OUTSIDE, EXECUTED, LOST = "outside", "executed", "lost"
DEFECTS = (SILENT, TRACEBACK, HANG, UNNAMED, OUTSIDE, EXECUTED, LOST)
PATIENCE = 60.0
"""Seconds for one try."""

Values = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Result:
    """Of one try.

    Attributes:
        verdict: one of the words above.
        what: the try in words, enough to do it again.
        detail: the message, or where the values differ.
    """

    verdict: str
    what: str
    detail: str = ""


class HangError(BaseException):
    """A try took longer than `PATIENCE`; no handler of errors may take it for one."""


@contextmanager
def patience(seconds: float = PATIENCE) -> Iterator[None]:
    """Ends what takes too long."""

    def ring(*_: object) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def difference(values: Values, expected: Values) -> str:
    """The names of arrays that are not bit for bit as expected; empty where all are."""
    names = [name for name in sorted({*values, *expected}) if not _same(values, expected, name)]
    return ", ".join(names)


def _same(values: Values, expected: Values, name: str) -> bool:
    if name not in values or name not in expected:
        return False
    a, b = np.asarray(values[name]), np.asarray(expected[name])
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def judge(
    what: str, read: Callable[[], Values], expected: Values | None, place: Path, names: set[str]
) -> Result:
    """Read, and say what came of it.

    Args:
        what: the try in words.
        read: gives arrays by name.
        expected: what they must be; None where any will do.
        place: of what is read; a refusal names it or something inside, or one of `names`.
        names: of the files that were changed.
    """
    try:
        with patience():
            values = read()
    except HangError:
        return Result(HANG, what, f"longer than {PATIENCE:.0f} s")
    except (InputError, RunError) as error:
        text = str(error)
        known = str(place) in text or any(name in text for name in names)
        return Result(REFUSED if known else UNNAMED, what, text)
    except BaseException:
        return Result(TRACEBACK, what, traceback.format_exc(limit=-3))
    wrong = "" if expected is None else difference(values, expected)
    return Result(SILENT, what, wrong) if wrong else Result(RIGHT, what)
