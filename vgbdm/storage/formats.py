"""What a file is by its first bytes, whatever its name says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from vgbdm.errors import InputError

Kind = Literal["netcdf", "grib", "zip"]

GRIB_ENDINGS = (".grib", ".grb", ".grib1", ".grb1", ".grib2", ".grb2")
ENDINGS = (".nc", ".nc3", ".nc4", ".cdf", ".netcdf", *GRIB_ENDINGS, ".zip")
"""Of the files that are read, if no pattern says which."""
AGAIN = "fetch it again"
OTHERS = {
    b"\x1f\x8b": "is compressed by gzip; gunzip it",
    b"BZh": "is compressed by bzip2; bunzip2 it",
    b"\xfd7zXZ": "is compressed by xz; unxz it",
    b"\x28\xb5\x2f\xfd": "is compressed by zstd; unzstd it",
    b"7z\xbc\xaf": "is a 7z archive; unpack it",
    b"Rar!": "is a RAR archive; unpack it",
    b"\x0e\x03\x13\x01": "is an HDF4 file; convert it first, e.g. by hdp or gdal_translate",
    b"BUFR": "holds observations (BUFR), no maps; fetch maps instead",
    b"version https://git-lfs": "is a pointer of Git LFS; fetch what it stands for by git lfs pull",
}
"""First bytes → what downloads named like data are instead."""
SHOWN = 60
"""Letters of a text that are shown."""


def kind_of(path: Path) -> Kind:
    """Which reader a file needs.

    Raises:
        InputError: one line that says what it is and what to do, for what no reader takes.
    """
    if not path.is_file():
        raise InputError(f"{path}: is no regular file; give a file")
    with path.open("rb") as stream:
        start = stream.read(2048)
    if not start:
        raise InputError(f"{path}: is empty; {AGAIN}")
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    for magic, words in OTHERS.items():
        if start.startswith(magic):
            raise InputError(f"{path}: {words}")
    if start[257:262] == b"ustar":
        raise InputError(f"{path}: is a tar archive; untar it")
    text = _text(start)
    if text is not None and not start.startswith(b"GRIB"):
        raise InputError(f"{path}: is {text}; {AGAIN}")
    if start.startswith(b"GRIB") or path.suffix.lower() in GRIB_ENDINGS:
        return "grib"
    return "netcdf"


def _text(start: bytes) -> str | None:
    """What kind of text it is, in words; None for what is no text."""
    try:
        text = start.decode("utf-8", "strict" if len(start) < 2048 else "ignore").strip(
            "\ufeff \r\n\t"
        )
    except UnicodeDecodeError:
        return None
    if not text or not all(c.isprintable() or c in "\r\n\t" for c in text):
        return None
    if text.startswith("<"):
        title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
        said = f" ({_shown(title[1])})" if title else ""
        return f"a web page{said}, not data"
    return f"a text ({_shown(text)}), not data"


def _shown(text: str) -> str:
    """The beginning of a text in one line."""
    words = " ".join(text.split())
    return words if len(words) <= SHOWN else f"{words[:SHOWN]}…"
