"""Small files that are never half-written: synced, and put in place at once."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from vgbdm.errors import InputError, describe_system_error
from vgbdm.storage.confine import parse_json, read_bytes

TOKEN_BITS = 52
"""Of a name that no other process has; few enough for ranks to agree by a float64."""
ASIDE = r"\.{name}\.[0-9a-f]{{13}}\.tmp"
"""What a process makes beside its goal, under a name of its own."""


def sync(path: Path) -> None:
    """Force a file or a folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def new_token() -> int:
    """A number that no other process draws."""
    return secrets.randbits(TOKEN_BITS)


def aside_of(path: Path, token: int | None = None) -> Path:
    """The name beside a path under which one process, and no other, makes it."""
    return path.with_name(f".{path.name}.{new_token() if token is None else token:013x}.tmp")


def token_of(aside: Path) -> int:
    """The number in the name that `aside_of` gave."""
    return int(aside.name.rsplit(".", 2)[1], 16)


def is_aside(path: Path) -> bool:
    """Whether it is what some process makes beside its goal, and may be gone in a moment."""
    return re.fullmatch(ASIDE.format(name=".+"), path.name, re.DOTALL) is not None


def asides_in(folder: Path, name: str = "") -> list[Path]:
    """What processes make, or have left, beside a name in a folder; of all names without one.

    Whoever owns the folder, or the name, knows that the others are dead, and may remove these.
    """
    pattern = re.compile(ASIDE.format(name=re.escape(name) if name else ".+"), re.DOTALL)
    return sorted(entry for entry in folder.iterdir() if pattern.fullmatch(entry.name))


def create(path: Path) -> TextIOWrapper:
    """A new file for text, over what was there; no link that somebody put there is followed.

    Its mode is as the umask says. The caller closes it.
    """
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    return TextIOWrapper(os.fdopen(os.open(path, flags, 0o666), "wb"), "utf-8", newline="")


def follow_umask(path: Path) -> None:
    """Give a file that a library made for its owner alone the mode that the umask asks for."""
    probe = aside_of(path)
    with create(probe) as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    probe.unlink()
    path.chmod(mode)


def make_folder(path: Path) -> bool:
    """Make a folder and those above it; whether it was not there.

    Raises:
        InputError: if it cannot be made or written.
    """
    there = path.is_dir()
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not is_writable(path):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    except OSError as error:
        line = describe_system_error(error, path)
        if line is None:
            raise
        raise InputError(line) from None
    return not there


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder: one is, and is removed.

    Raises:
        OSError: for another reason than a lack of permission, such as a full disk.
    """
    probe = aside_of(folder / "probe")
    try:
        create(probe).close()
        probe.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            return False
        raise
    return True


def make_writable(folder: Path, instead: Path) -> None:
    """Make a folder for what cannot be kept in a read-only one.

    Args:
        folder: to make.
        instead: of this one, for the message.

    Raises:
        InputError: if it cannot be written either.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = is_writable(folder)
    except PermissionError:
        writable = False
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        writable = False
    if not writable:
        raise InputError(
            f"{instead} is read-only, and so is {folder}, where what is made from it would be "
            "kept; choose a folder that can be written"
        )


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file aside, sync it, and put it in place at once."""
    aside = aside_of(path)
    try:
        with create(aside) as file:
            file.buffer.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON as `write_bytes` does."""
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def read_json(path: Path, remedy: str = "use another checkpoint") -> dict[str, Any]:
    """Read JSON of bounded size and depth, refusing a damaged file in one line.

    Args:
        path: of the file.
        remedy: what to do, for the message.

    Raises:
        InputError: if it is missing, no regular file, or holds no such JSON object.
    """
    try:
        return parse_json(read_bytes(path, remedy=remedy), path, remedy)
    except FileNotFoundError:
        raise InputError(f"{path}: is missing; {remedy}") from None
