"""What a piece of work leaves behind in this process, whatever other tests have left before.

What those left may go at any moment, by the garbage collector or by itself: only what is new tells.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path


class Left:
    """Threads, and open files below a folder, that were not there when this was made.

    Args:
        folder: of the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._threads, self._files = set(threading.enumerate()), self._open()

    def threads(self) -> list[str]:
        """Names of those that live."""
        return sorted(thread.name for thread in set(threading.enumerate()) - self._threads)

    def files(self) -> list[Path]:
        """Those that are open."""
        return sorted(path for _, path in self._open() - self._files)

    def _open(self) -> set[tuple[str, Path]]:
        found = set()
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
            with contextlib.suppress(FileNotFoundError):  # as that of the listing
                path = Path(f"/proc/self/fd/{name}").readlink()
                if path.is_relative_to(self.folder):
                    found.add((name, path))
        return found
