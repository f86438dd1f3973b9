"""One owner at a time for a run, an output or a store, among the processes of all machines.

    FOLDER/.lock        of a folder: a run, a store, a folder of scores
    .OUT.lock           beside what appears whole: forecasts, trajectories, a sample

Two things decide, always both. ``flock`` does among the processes of one kernel, at once, and it is
given back however its owner ends. Between machines it may be granted on each of them, silently
(Lustre with ``localflock``, some mounts of NFS and GPFS); there the file does: it holds a random
word of its owner and a count that the owner raises every `BEAT` seconds. Who finds a file that
``flock`` says nothing of watches it: one that changes is owned, one that stays for `SILENCE`
seconds was left by the dead. No clocks and no names of hosts are compared.

An owner that was silent for so long, suspended, say, finds another word in the file when it wakes;
`Lock.check` says so before anything is given its name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vgbdm.errors import InputError, describe_system_error
from vgbdm.storage.files import asides_in, make_folder, new_token

log = logging.getLogger(__name__)

LOCK = ".lock"
BEAT, SILENCE, SETTLE = 5.0, 60.0, 2.0
"""Seconds: between two signs of life; without one, of the dead; for machines that take a dead one's
lock in the same moment to see whose word stands."""
LOOK = 0.5
"""Seconds between two looks at somebody else's lock."""
NO_FLOCK = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
RECORD_BYTES = 4096

_handles: set[int] = set()
_locks: set[Lock] = set()


def _forget_handles() -> None:
    """In a forked child: the lock is its parent's, and must not outlive that."""
    for handle in _handles:
        with contextlib.suppress(OSError):
            os.close(handle)
    _handles.clear()


os.register_at_fork(after_in_child=_forget_handles)


class Lock:
    """A lock that this process holds; made by `held`.

    Args:
        path: of the file.
        what: it is of, for messages.
        handle: of the file, under ``flock``.
        device: of the file.
    """

    def __init__(self, path: Path, what: str, handle: int, device: int) -> None:
        self.path, self.what, self.handle, self.process = path, what, handle, os.getpid()
        self.word, self.count = f"{new_token():013x}", 0
        self.machine = _machine(device)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="lock")

    def write(self) -> None:
        """Say in the file whose it is, and that it lives; always as many bytes."""
        record = {
            "word": self.word,
            "count": f"{self.count:012d}",
            "machine": self.machine,
            "process": f"{self.process} of {socket.gethostname()}",  # for people
        }
        content = json.dumps(record).encode()
        os.pwrite(self.handle, content, 0)
        os.ftruncate(self.handle, len(content))
        os.fsync(self.handle)
        self.count += 1

    def is_own(self) -> bool:
        """Whether the file is still there, and ours."""
        return (_read(self.path) or {}).get("word") == self.word

    def check(self) -> None:
        """See before something gets its name that no other process has taken over.

        Raises:
            InputError: if one has: this one was suspended, or cut off from the disk, for too long.
        """
        if not self.is_own():
            raise InputError(
                f"{self.what}: another process took it over while this one was silent for "
                f"{SILENCE:g} s or more; what that one makes stands"
            )

    def begin(self) -> None:
        """Give signs of life from now on."""
        self._thread.start()

    def release(self) -> None:
        """Give it back; the file goes, if it is still ours."""
        if os.getpid() != self.process:
            return
        self._done.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            if self.is_own():
                self.path.unlink()
        _close(self.handle)

    def _beat(self) -> None:
        while not self._done.wait(BEAT):
            with contextlib.suppress(OSError):
                if not self.is_own():
                    log.error("%s: another process took it over", self.what)
                    return
                self.write()


@contextlib.contextmanager
def locked(folder: Path, force: bool = False) -> Iterator[Lock]:
    """Own a folder, which is made where it is missing, and goes again if it stays empty.

    Files that the dead were writing in it go.

    Args:
        folder: of a run, a store, scores.
        force: take the lock of another machine without watching it first.

    Raises:
        InputError: if another process owns it, or it cannot be made.
    """
    made = make_folder(folder)
    try:
        with held(folder / LOCK, str(folder), force) as lock:
            for left in (entry for entry in asides_in(folder) if not entry.is_dir()):
                left.unlink(missing_ok=True)
            yield lock
    finally:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()


@contextlib.contextmanager
def held(path: Path, what: str, force: bool = False) -> Iterator[Lock]:
    """Hold a lock by the path of its file; see `locked`.

    Args:
        path: of the file, in a folder that can be written.
        what: it is of, for messages.
        force: see `locked`.
    """
    try:
        lock = _take(path, what, force)
    except OSError as error:
        line = describe_system_error(error, path)
        if line is None:
            raise
        raise InputError(line) from None
    _locks.add(lock)
    try:
        lock.begin()
        yield lock
    finally:
        _locks.discard(lock)
        lock.release()


def check_held(folder: Path) -> None:
    """See before something in a folder gets its name that this process has not lost its lock.

    A folder that this process never locked is somebody else's care.

    Raises:
        InputError: as `Lock.check`.
    """
    for lock in [lock for lock in _locks if lock.path == folder / LOCK]:
        lock.check()


def _take(path: Path, what: str, force: bool) -> Lock:
    handle, fresh = _open(path, what)
    try:
        left = None if fresh else _read(path)
        lock = Lock(path, what, handle, os.fstat(handle).st_dev)
        decided = _is_decided(path) and left is not None and left.get("machine") == lock.machine
        if not fresh and not decided and not force:
            _watch(path, what, left)
        lock.write()
        if not fresh and not decided:
            time.sleep(SETTLE)
            if not lock.is_own():
                raise _refusal(what, _read(path))
    except BaseException:
        _close(handle)
        raise
    return lock


def _open(path: Path, what: str) -> tuple[int, bool]:
    """The file under ``flock`` where there is such a thing, and whether it was not there before."""
    while True:
        try:
            handle, fresh = _descriptor(path, os.O_CREAT | os.O_EXCL), True
        except FileExistsError:
            try:
                handle, fresh = _descriptor(path, 0), False
            except FileNotFoundError:
                continue  # given back meanwhile
        _handles.add(handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in NO_FLOCK:
                _close(handle)
                if not isinstance(error, BlockingIOError):
                    raise
                raise _refusal(what, _read(path)) from None
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(handle).st_ino:
                return handle, fresh
        _close(handle)  # given back, or replaced, meanwhile


def _descriptor(path: Path, flags: int) -> int:
    """Not inherited by programs that this one starts."""
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InputError(f"{path}: is no regular file, as a lock is; remove it")
    return handle


def _close(handle: int) -> None:
    if handle in _handles:
        _handles.discard(handle)
        os.close(handle)


def _is_decided(path: Path) -> bool:
    """Whether ``flock`` on this disk keeps processes of this machine apart: it is tried."""
    handle = _descriptor(path, 0)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def is_left(path: Path) -> bool:
    """Whether a lock was left by a process of this machine that is dead, for all that is known."""
    try:
        handle = _descriptor(path, 0)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        record, machine = _read(path) or {}, _machine(os.fstat(handle).st_dev)
        return record.get("machine") == machine and _is_decided(path)
    except OSError:
        return False
    finally:
        os.close(handle)


def _machine(device: int) -> str:
    """What ``flock`` is shared by: this start of this kernel, and the mount of the file."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = f"unknown {new_token():013x}"
    return f"{boot}/{device}"


def _read(path: Path) -> dict[str, Any] | None:
    """What the file says; None where there is none, or its owner has not come to say anything."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        record = json.loads(os.pread(handle, RECORD_BYTES, 0))
    except (ValueError, RecursionError):
        return None
    finally:
        os.close(handle)
    return record if isinstance(record, dict) else None


def _watch(path: Path, what: str, left: dict[str, Any] | None) -> None:
    """Wait whether the owner of a lock that ``flock`` says nothing of gives a sign of life.

    Raises:
        InputError: if it does.
    """
    seconds = SETTLE if left is None else SILENCE
    log.info("%s: %s; watched for %g s for a sign of life", what, _owner(left), seconds)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(min(LOOK, seconds / 4))
        if _read(path) != left:
            raise _refusal(what, _read(path))


def _owner(record: dict[str, Any] | None) -> str:
    return f"locked by process {(record or {}).get('process', 'of another machine')}"


def _refusal(what: str, record: dict[str, Any] | None) -> InputError:
    return InputError(
        f"{what}: {_owner(record)}, which is at work on it; wait for its end, or choose another "
        "place"
    )
