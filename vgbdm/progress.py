"""Progress of loops: a bar on a terminal and in a notebook, elsewhere a plain line now and then.

A log that nobody watches is read afterwards: bars would fill it. What takes less than half a minute
is silent there.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Protocol, TextIO, TypeVar

from tqdm import tqdm as std_tqdm
from tqdm.auto import tqdm

EVERY = 30.0
"""Seconds between two plain lines."""
WIDTH = 80
"""Columns of a line."""
SAID = logging.getLogger(f"{__name__}.said")
"""What was said on the console and by no other logger, for who keeps a log of it."""
SAID.propagate = False
SAID.setLevel(logging.INFO)

Item = TypeVar("Item")


class Bar(Protocol):
    """What loops use of a bar."""

    n: float
    total: float | None

    def update(self, n: float = 1) -> Any:
        """So much more is done."""

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """What is said behind the numbers."""

    def close(self) -> None:
        """No more is done."""

    def __enter__(self) -> Any: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Any: ...


class Lines:
    """A bar in plain lines; safe from several threads.

    Args:
        total: of units; None: unknown.
        unit: in the singular; ``B`` for bytes.
        desc: what is done.
        initial: units that were done before.
        silent: whether it says nothing.
        clock: seconds, of any beginning.
    """

    def __init__(
        self,
        total: float | None,
        unit: str,
        desc: str,
        initial: float = 0,
        silent: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.n, self.total, self.unit, self.desc = initial, total, unit, desc
        self.initial, self.silent, self.clock = initial, silent, clock
        self.begun = self.told = clock()
        self.shown: float | None = None
        self.postfix = ""
        self.lock = threading.Lock()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def update(self, n: float = 1) -> None:
        """So much more is done; says so where the last line was long ago."""
        with self.lock:
            self.n += n
            now = self.clock()
            if now - self.told >= EVERY:
                self._tell(now)

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """What is said behind the numbers."""
        self.postfix = s

    def close(self) -> None:
        """The last line, where there was another one."""
        with self.lock:
            if self.shown is not None and self.shown != self.n:
                self._tell(self.clock())

    def _tell(self, now: float) -> None:
        self.told, self.shown = now, self.n
        if not self.silent:
            say(self.line(now - self.begun), sys.stderr)

    def line(self, seconds: float) -> str:
        """How far it is after some seconds, in at most 80 columns."""
        scale, unit = (2.0**20, "MiB") if self.unit == "B" else (1.0, f"{self.unit}s")
        done = f"{self.n / scale:.0f}"
        told = f"{self.desc}: {done} {unit}"
        if self.total:
            told = f"{self.desc}: {done} of {self.total / scale:.0f} {unit}"
        told += f", {std_tqdm.format_interval(seconds)}"
        gained = self.n - self.initial
        if self.total and gained > 0 and self.n < self.total:
            left = seconds * (self.total - self.n) / gained
            told += f", {std_tqdm.format_interval(left)} left"
        told += f"; {self.postfix}" if self.postfix else ""
        return told if len(told) <= WIDTH else f"{told[: WIDTH - 1]}…"


def progress(
    total: float | None,
    unit: str,
    desc: str,
    *,
    initial: float = 0,
    silent: bool = False,
    leave: bool = True,
    delay: float = 0.0,
) -> Bar:
    """The bar of a loop, to be closed or used in ``with``; every loop has its bar from here.

    Args:
        total: of units; None: unknown, and may be set later.
        unit: in the singular; ``B`` for bytes.
        desc: what is done.
        initial: units that were done before.
        silent: whether it says nothing, as on ranks that do not speak.
        leave: whether a bar stays when it is done.
        delay: seconds before a bar is shown.
    """
    if not is_watched():
        return Lines(total, unit, desc, initial, silent)
    bar: Bar = tqdm(
        total=total,
        unit=unit,
        desc=desc,
        initial=initial,
        disable=silent,
        leave=leave,
        delay=delay,
        unit_scale=unit == "B",
        mininterval=0.5,
        dynamic_ncols=True,
    )
    return bar


def each(items: Iterable[Item], total: int, unit: str, desc: str, **how: Any) -> Iterator[Item]:
    """Items one by one, with a bar; ``how`` as `progress` takes it."""
    with progress(total, unit, desc, **how) as bar:
        for item in items:
            yield item
            bar.update(1)


def is_watched() -> bool:
    """Whether bars can be drawn: on a terminal, or in a notebook that has them."""
    return sys.stderr.isatty() or "notebook" in tqdm.__mro__[1].__module__


def say(line: str, stream: TextIO | None = None) -> None:
    """A line for who watches, between bars; by default on the standard output."""
    stream = sys.stdout if stream is None else stream
    with std_tqdm.external_write_mode(stream):
        stream.write(f"{line}\n")
        stream.flush()
    SAID.info("%s", line)


class Speaker(logging.StreamHandler[TextIO]):
    """Messages of loggers between bars, on the standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """One message."""
        with std_tqdm.external_write_mode(self.stream):
            super().emit(record)
