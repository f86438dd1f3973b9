"""Folders that cannot be written."""

from __future__ import annotations

import contextlib
import errno
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder mounted read-only over itself; skips where that needs more than there is."""
    bind = ["mount", "--bind", str(folder), str(folder)]
    if not shutil.which("mount") or subprocess.run(bind, capture_output=True).returncode:
        pytest.skip("a folder can only be mounted read-only as root")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def refuse_writing(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """Every new file or folder under some folders fails as on a read-only file system."""
    touch, mkdir = Path.touch, Path.mkdir

    def guarded(make):
        def call(self, *args, **options):
            if any(self.is_relative_to(folder) for folder in folders) and not self.exists():
                raise OSError(errno.EROFS, "Read-only file system", str(self))
            return make(self, *args, **options)

        return call

    monkeypatch.setattr(Path, "touch", guarded(touch))
    monkeypatch.setattr(Path, "mkdir", guarded(mkdir))
