"""Folders that cannot be written."""

from __future__ import annotations

import contextlib
import errno
import os
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
    open_, mkdir = os.open, Path.mkdir

    def check(path):
        if any(Path(path).is_relative_to(folder) for folder in folders) and not Path(path).exists():
            raise OSError(errno.EROFS, "Read-only file system", str(path))

    def guarded_open(path, flags, *args, **options):
        if flags & os.O_CREAT:
            check(path)
        return open_(path, flags, *args, **options)

    def guarded_mkdir(self, *args, **options):
        check(self)
        return mkdir(self, *args, **options)

    monkeypatch.setattr(os, "open", guarded_open)
    monkeypatch.setattr(Path, "mkdir", guarded_mkdir)
