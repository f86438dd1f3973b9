"""Requests to stop: signals, and launchers that vanish.

A handler only notes the signal, so that it may come at any time and as often as it likes. The loop
asks `request` at a step boundary and lets all ranks agree.
"""

from __future__ import annotations

import signal
from types import FrameType

import psutil

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

_heard: list[str] = []
_parents: list[tuple[psutil.Process, int]] = []


def listen(generations: int = 0) -> None:
    """From now on `SIGNALS` ask this process to stop instead of ending it.

    Args:
        generations: how many of its parents, one above the other, belong to its launcher. Once one
            of them is gone, nobody can signal this process any more: that is a request too.
    """
    for number in SIGNALS:
        signal.signal(number, _note)
    _parents.clear()
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
    try:
        gone = any(process.ppid() != parent for process, parent in _parents)
    except psutil.NoSuchProcess:
        gone = True
    return "its launcher is gone" if gone else None


def _note(number: int, frame: FrameType | None) -> None:
    _heard.append(signal.Signals(number).name)
