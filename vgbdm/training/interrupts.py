"""Requests to stop: signals, and launchers that vanish.

A handler only notes the signal, so that it may come at any time and as often as it likes. The loop
asks `request` at a step boundary and lets all ranks agree. ^C is one more signal; at the second one
a process without a launcher ends, while launchers send their ranks each ^C several times.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from vgbdm.extras import need

if TYPE_CHECKING:
    import psutil

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

_heard: list[str] = []
_parents: list[tuple[psutil.Process, int]] = []


def describe_stop(cause: str, step: int | None, kept: str, command: str = "resume=true") -> str:
    """The one line of every stop that was asked for.

    Args:
        cause: a signal's name, or in words.
        step: optimiser steps done; None where there are no steps.
        kept: what is left of the work.
        command: what goes on, or begins again.
    """
    place = "" if step is None else f" at step {step}"
    return f"stopped{place} ({cause}); {kept}, {command} goes on"


def listen(generations: int = 0, acknowledge: Callable[[str], None] = lambda name: None) -> None:
    """From now on `SIGNALS` ask this process to stop instead of ending it.

    Args:
        generations: how many of its parents, one above the other, belong to its launcher. Once one
            of them is gone, nobody can signal this process any more: that is a request too.
        acknowledge: takes the name of the first signal, within its handler.
    """

    def note(number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        again = name in _heard
        _heard.append(name)
        if len(_heard) == 1:
            acknowledge(name)
        if number == signal.SIGINT and again and not generations:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a third one does not wait for anything
            raise KeyboardInterrupt

    for number in SIGNALS:
        signal.signal(number, note)
    _parents.clear()
    if generations:
        _watch(generations)


def _watch(generations: int) -> None:
    """Remember the parents of this process, one above the other."""
    need("psutil", "training under a launcher")
    import psutil

    process: psutil.Process | None = psutil.Process()
    for _ in range(generations):
        parent = process.parent() if process else None
        if process and parent:
            _parents.append((process, parent.pid))
        process = parent


def request() -> str | None:
    """What asked this process to stop, in words; None as long as nothing did."""
    if _heard:
        return _heard[0]
    if not _parents:
        return None
    import psutil

    try:
        gone = any(process.ppid() != parent for process, parent in _parents)
    except psutil.NoSuchProcess:
        gone = True
    return "its launcher is gone" if gone else None
