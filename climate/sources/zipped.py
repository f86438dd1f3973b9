"""ZIP archives of data files, such as those of the Climate Data Store.

They are unpacked into a folder of their own among the temporary ones (``TMPDIR`` says where), which
is removed when the process ends; never beside the data. Names in an archive name nothing on disk.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import zipfile
import zlib
from functools import cache
from pathlib import Path, PurePosixPath

from vgbdm.errors import InputError
from vgbdm.storage.formats import AGAIN, ENDINGS

MEMBERS = 10_000
"""Of an archive, at most."""
FREELY, RATIO = 2**30, 100
"""Bytes that any archive may unpack to, and how many times its own beyond them."""
PIECE = 2**22
"""Bytes that are unpacked at a time."""


def unpack(path: Path) -> dict[str, Path]:
    """Unpack the data files of an archive, once in a process.

    Returns:
        The place of each file by the path of the archive and its name there.

    Raises:
        InputError: one line, for what is damaged, encrypted, hostile or too large, or holds none.
    """
    about = path.stat()
    return _unpack(path, about.st_size, about.st_mtime_ns)


@cache
def _unpack(path: Path, size: int, _changed: int) -> dict[str, Path]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = _data_files(path, archive)
            _check_sizes(path, members, size)
            folder = Path(tempfile.mkdtemp(dir=_own_folder()))
            places = {}
            for k, member in enumerate(members):
                place = folder / f"{k}{PurePosixPath(member.filename).suffix}"
                _extract(archive, member, place)
                places[f"{path}/{member.filename}"] = place
            return places
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path}: is a ZIP archive that is damaged ({error}); {AGAIN}") from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be unpacked into {tempfile.gettempdir()} ({error.strerror}); unzip "
            "it, or let TMPDIR name another folder"
        ) from None


@cache
def _own_folder() -> Path:
    """A folder of this process, removed at its end."""
    folder, owner = Path(tempfile.mkdtemp(prefix="vgbdm-")), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # a forked child has it too
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def _data_files(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The members that are named like data; a text beside them is none."""
    infos = [m for m in archive.infolist() if not m.is_dir()]
    members = [m for m in infos if not PurePosixPath(m.filename).name.startswith(".")]
    if len(infos) > MEMBERS:
        raise InputError(f"{path}: holds {len(infos)} files; unzip it, and move away the others")
    found = [m for m in members if m.filename.lower().endswith(ENDINGS)]
    seen: set[str] = set()
    for member in found:
        name = member.filename
        if name.startswith("/") or {"..", "."} & {*name.split("/")} or "\\" in name:
            raise InputError(f"{path}: names {name[:80]!r}, outside of itself; {AGAIN}")
        if name in seen:
            raise InputError(f"{path}: holds {name[:80]} twice; unzip it, and keep the right one")
        if member.flag_bits & 0x1:
            raise InputError(f"{path}: is encrypted; unzip it with its password")
        seen.add(name)
    if not found:
        names = ", ".join(m.filename[:40] for m in members[:6]) or "no files"
        raise InputError(f"{path}: is a ZIP archive of {names}; want files of {', '.join(ENDINGS)}")
    return found


def _check_sizes(path: Path, members: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse what would unpack to more than archives of data do, or than there is room for."""
    packed, whole = (sum(getattr(m, a) for m in members) for a in ("compress_size", "file_size"))
    if packed > size:
        raise InputError(
            f"{path}: its files lie over each other, as in no archive of data; {AGAIN}"
        )
    if whole > max(FREELY, RATIO * size):
        raise InputError(
            f"{path}: would unpack from {size} to {whole} bytes, more than data do; unzip it "
            "yourself if you trust it"
        )
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if whole > free:
        raise InputError(
            f"{path}: unpacks to {whole} bytes, {tempfile.gettempdir()} has {free}; unzip it, or "
            "let TMPDIR name a folder on another disk"
        )


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, place: Path) -> None:
    """At most as many bytes as the archive says, with the right checksum."""
    with archive.open(member) as stream, place.open("xb") as out:
        shutil.copyfileobj(stream, out, PIECE)
