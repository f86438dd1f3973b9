"""Small files that are never half-written: synced, and put in place at once."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vgbdm.confine import parse_json, read_bytes
from vgbdm.errors import InputError


def sync(path: Path) -> None:
    """Force a file or a folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder: one is, and is removed.

    Raises:
        OSError: for another reason than a lack of permission, such as a full disk.
    """
    probe = folder / f".probe-{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
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


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON aside, sync it, and put it in place at once."""
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
    sync(aside)
    aside.replace(path)
    sync(path.parent)


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
