"""What a file may name, and how much of it is read: nothing outside of its folder, nothing endless.

Whoever writes a manifest, a checkpoint or a pointer writes names and numbers that this process will
act on. A name is taken only where it stays inside the folder it was read from; JSON only where its
length, its depth and its integers are bounded. Digests are against damage; these bounds hold for
files whose digests are right too.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

from vgbdm.errors import InputError

JSON_BYTES = 64 * 2**20
"""Of a JSON file; the manifest of a store of 40 years of hours on 0.25° takes 30 MB."""
JSON_DEPTH = 64
INTEGER_DIGITS = 19
"""As many as a 64-bit integer has."""
FETCH_AGAIN = "fetch it again from where it came"


def resolve(
    root: Path, name: object, tops: Collection[str] | None = None, remedy: str = FETCH_AGAIN
) -> Path:
    """The place of a file that another file names.

    Args:
        root: folder that all names are inside of; it may be a link itself.
        name: as the file gives it, parts divided by ``/``.
        tops: what the first part may be; None: anything.
        remedy: what to do, for the message.

    Raises:
        InputError: for what is no relative path of plain parts, begins with another folder, or
            passes a link or something that is neither folder nor regular file. What is missing is
            not refused.
    """
    shown = str(name)[:200]
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    plain = bool(parts) and "/".join(parts) == name and not {".", ".."} & {*parts}
    if not plain or "\0" in shown or "\\" in shown or "\n" in shown:
        raise InputError(f"{root}: names {shown!r}, which is no file inside of it; {remedy}")
    if tops is not None and parts[0] not in tops:
        raise InputError(f"{root}: names {shown!r}, which is none of its files; {remedy}")
    place = root
    for k, part in enumerate(parts):
        place = place / part
        try:
            mode = place.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            break
        except OSError as error:  # a name that is too long
            raise InputError(
                f"{root}: names {shown!r}, which is no file ({error.strerror}); {remedy}"
            ) from None
        last = k == len(parts) - 1
        if not (stat.S_ISREG(mode) if last else stat.S_ISDIR(mode)):
            kind = "a link" if stat.S_ISLNK(mode) else "no regular file" if last else "no folder"
            raise InputError(f"{place}: is {kind}, which nothing is read through; {remedy}")
    return root.joinpath(*parts)


def open_regular(path: Path, remedy: str = FETCH_AGAIN) -> int:
    """A descriptor of a regular file, for reading; one that would wait for a writer is refused.

    Raises:
        FileNotFoundError: if there is none.
        InputError: for a pipe, a device, a socket or a folder.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise FileNotFoundError(f"{path}: is missing") from None
        raise InputError(f"{path}: cannot be opened ({error.strerror}); {remedy}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InputError(f"{path}: is no regular file; {remedy}")
    return handle


def read_bytes(path: Path, limit: int = JSON_BYTES, remedy: str = FETCH_AGAIN) -> bytes:
    """A whole file of bounded size.

    Raises:
        FileNotFoundError: if there is none.
        InputError: for what is no regular file, is longer than ``limit`` bytes, or cannot be read.
    """
    handle = open_regular(path, remedy)
    with os.fdopen(handle, "rb") as stream:
        size = os.fstat(handle).st_size
        if size > limit:
            raise InputError(
                f"{path}: has {size} bytes, {limit} are the most there can be; {remedy}"
            )
        try:
            return stream.read(limit)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None


def parse_json(raw: bytes, where: object, remedy: str = FETCH_AGAIN) -> dict[str, Any]:
    """A JSON object whose length, depth and integers are bounded.

    Args:
        raw: the text.
        where: whose it is, for messages.
        remedy: what to do about a damaged one.

    Raises:
        InputError: one line, for anything else.
    """
    if len(raw) > JSON_BYTES:
        raise InputError(f"{where}: JSON of {len(raw)} bytes, {JSON_BYTES} are the most; {remedy}")
    try:
        value = json.loads(raw.decode(), parse_int=_bounded)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError, JSONDecodeError
        reason = "nested too deep" if isinstance(error, RecursionError) else _line(error)
        raise InputError(f"{where}: not readable as JSON ({reason}); {remedy}") from None
    if not isinstance(value, dict):
        raise InputError(f"{where}: holds no JSON object; {remedy}")
    level: list[Any] = [value]
    depth = 0
    while level:
        depth += 1
        if depth > JSON_DEPTH:
            raise InputError(f"{where}: JSON nested more than {JSON_DEPTH} deep; {remedy}")
        children = (v.values() if isinstance(v, dict) else v for v in level)
        level = [c for some in children for c in some if isinstance(c, dict | list)]
    return value


def _bounded(text: str) -> int:
    if len(text) > INTEGER_DIGITS + 1:  # and a sign
        raise ValueError(f"an integer of {len(text)} digits")
    return int(text)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
