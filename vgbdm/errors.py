"""What ends a run: bad input, the operating system, a request to stop, a failure."""

from __future__ import annotations

import errno
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a full disk is called; the last one by a limit on the size of files."""
REMEDIES = {
    errno.ENOENT: "is not there; was it moved, or copied half-way? Bring it back, or name another",
    errno.EACCES: "may not be used by this user; change its permissions, or choose another place",
    errno.EPERM: "may not be used by this user; change its permissions, or choose another place",
    errno.EROFS: "is on a disk that is read-only; choose a place that can be written",
    errno.ENOTDIR: "a file is there where a folder belongs; choose another place",
    errno.EEXIST: "is there already, and no folder; choose another place",
    errno.EISDIR: "is a folder where a file belongs; remove it, or choose another place",
    errno.ELOOP: "is a link where a file of our own belongs; remove it, or choose another place",
    errno.ENAMETOOLONG: "its name is too long for this disk; choose a shorter one",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine; end what opens them",
    errno.EIO: "the disk cannot read or write it; see the system's log, or choose another disk",
    errno.ESTALE: "its disk went away meanwhile; give the same command again once it is back",
}
"""What is said after the path, and can be done."""
REMEDIES |= dict.fromkeys(
    FULL, "no room for it; make room, or raise the limit on files, and give the same command again"
)


class InputError(ValueError):
    """Bad input from outside: a file, a value, a config.

    The message is one line that names the file, the value and the remedy; launchers print it.
    """


class StoppedError(Exception):
    """A run was asked to stop, and has saved; the message says by what and where it goes on."""


class RunError(Exception):
    """A run that had begun has failed on this rank, for its ``__cause__``; the message is one line.

    Args:
        line: what happened and what is left.
        speaks: whether this rank is the first of all to fail, whose line is to be shown.
        folder: of the run, where its traceback may go.
    """

    def __init__(self, line: str, speaks: bool, folder: Path | None = None) -> None:
        super().__init__(line)
        self.speaks, self.folder = speaks, folder


def system_error(error: BaseException | None) -> OSError | None:
    """The error of the operating system that is one, or that it was raised from; None: neither."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    return error


def describe_system_error(error: OSError, place: str | Path | None = None) -> str | None:
    """One line for an error of the operating system: the path, and what can be done.

    Args:
        error: of the system.
        place: what was being made, for errors that name no path (a write to an open file does not).

    Returns:
        The line; None for an error that nobody has foreseen.
    """
    remedy = REMEDIES.get(error.errno or 0)
    if error.errno is None and isinstance(error, FileNotFoundError):  # a library's own
        return f"{str(error).strip().splitlines()[0]}: {REMEDIES[errno.ENOENT]}"
    if remedy is None:
        return None
    named = [str(name) for name in (error.filename, error.filename2) if name is not None]
    path = " → ".join(named) or place
    if path is None:
        return None
    return f"{path}: {remedy} ({error.strerror})"
