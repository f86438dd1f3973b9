"""Ends a process that hangs, after writing down where: RUN/hang-rankN.txt.

Where one rank hangs, the others soon wait for it, so that each rank's own watchdog is enough. It is
watched itself, by a timer that needs no Python: a library may hang without letting threads run.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from vgbdm.storage.files import create

log = logging.getLogger(__name__)

_last = time.monotonic()


def note_progress() -> None:
    """Say that this process is getting on: after a step, a batch of validation, a save."""
    global _last
    _last = time.monotonic()


class Watchdog:
    """Watches that `note_progress` is called often enough; a context manager.

    Args:
        seconds: without progress after which the process is ended.
        path: of the file for the stacks of all threads; it is left where it is needed, and empty
            by a process that is killed.
        fail: takes the one line; says whether this rank is to show it.
    """

    def __init__(self, seconds: float, path: Path, fail: Callable[[str], bool]) -> None:
        self.seconds, self.path, self.fail = seconds, path, fail
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        note_progress()
        self.path.parent.mkdir(parents=True, exist_ok=True)  # on another machine's own disk
        self._file = create(self.path)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _watch(self) -> None:
        while not self._done.wait(min(1.0, self.seconds / 10)):
            if time.monotonic() - _last > self.seconds:
                self._end()
            faulthandler.dump_traceback_later(2 * self.seconds, exit=True, file=self._file)

    def _end(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        faulthandler.dump_traceback(self._file, all_threads=True)
        line = f"no progress for {self.seconds:.3g} s; {self.path} says where it hangs"
        if self.fail(line):
            log.error("\nerror: %s", line)  # a progress bar may be in the line
        # the first rank to leave breaks the others' collectives: let them write theirs
        time.sleep(2.0 + self.seconds / 10)
        os._exit(1)
