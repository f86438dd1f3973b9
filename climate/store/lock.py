"""One writer per store: a lock with the owner's host, pid and start, and a heartbeat.

The file is read and written under ``flock``, so that two processes that find a dead owner do not
both take over. That is only held for a moment: who owns the store is what the file says, which
other hosts can read too.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vgbdm.errors import InputError

LOCK = ".lock"
HEARTBEAT_SECONDS = 10.0


@contextlib.contextmanager
def locked(store: Path, force: bool = False) -> Iterator[None]:
    """Own a store's folder, which is made where it is missing.

    Args:
        store: its folder.
        force: take the lock of another host, whose life cannot be seen from here.

    Raises:
        InputError: if another process owns it.
    """
    store.mkdir(parents=True, exist_ok=True)
    path = store / LOCK
    own = {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}
    with _opened(path) as handle:
        _check(path, os.pread(handle, 4096, 0), force)
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(own).encode(), 0)
        os.fsync(handle)
    done = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, done), daemon=True, name="store-lock")
    beat.start()
    try:
        yield
    finally:
        done.set()
        beat.join()
        with _opened(path) as handle:
            if os.pread(handle, 4096, 0) == json.dumps(own).encode():
                path.unlink()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """The lock file under ``flock``; again where it was replaced while we waited."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if path.exists() and path.stat().st_ino == os.fstat(handle).st_ino:
                yield handle
                return
        finally:
            os.close(handle)


def _check(path: Path, content: bytes, force: bool) -> None:
    """Refuse a lock whose owner lives, or may live."""
    try:
        owner: dict[str, Any] = json.loads(content)
        host, pid, started = owner["host"], int(owner["pid"]), owner["started"]
    except (ValueError, KeyError, TypeError):
        return  # its owner was killed before it had written
    if host != socket.gethostname():
        if not force:
            age = time.time() - path.stat().st_mtime
            raise InputError(
                f"{path}: held by process {pid} of host {host}, last sign of life {age:.0f} s ago; "
                "wait for it, or give force_unlock=true where it is surely dead"
            )
    elif started == _started(pid):
        raise InputError(f"{path}: process {pid} of this host is writing the store; wait for it")


def _started(pid: int) -> str | None:
    """Start of a process, in the machine's own ticks since boot; None where there is none.

    Ids are given again after a while; id and start together are not.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"


def _beat(path: Path, done: threading.Event) -> None:
    while not done.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)
