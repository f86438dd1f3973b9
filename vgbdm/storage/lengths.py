"""How long a NetCDF file is by its own header: a classic one is read as zeros beyond its end.

The layouts are those of the NetCDF classic formats (CDF-1, -2 and -5) and of HDF5's superblock.
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import BinaryIO

HDF5 = b"\x89HDF\r\n\x1a\n"
CLASSIC = {b"CDF\x01": (">I", ">I"), b"CDF\x02": (">I", ">Q"), b"CDF\x05": (">Q", ">Q")}
"""First bytes → how counts and offsets are packed."""
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
"""Type of the classic formats → bytes of a value."""
HEADER_BYTES = 64 * 2**20
"""Of a classic file that are looked at."""


def cut_off(path: Path) -> str | None:
    """Where a NetCDF file is shorter than its header says, in words; None where it is whole.

    Of other files, and of headers that cannot be followed, nothing is said: what reads them will.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        try:
            if start[:4] in CLASSIC:
                wanted = _classic_length(stream, *CLASSIC[start[:4]])
            elif start == HDF5:
                wanted = _hdf5_length(stream)
            else:
                return None
        except EOFError:
            return f"is cut off in its header, after {size} bytes"
        except (KeyError, OverflowError, ValueError, struct.error):
            return None
    return f"is cut off, {size} of {wanted} bytes are there" if size < wanted else None


def _hdf5_length(stream: BinaryIO) -> int:
    """The end of the file by the superblock at its beginning."""
    raw = stream.read(64)
    if len(raw) < 40:
        raise EOFError
    version = raw[0]
    width, at = (raw[5], 16 + 4 * (version == 1)) if version < 2 else (raw[1], 4)
    base, end = (
        int.from_bytes(raw[at + k * width : at + (k + 1) * width], "little") for k in (0, 2)
    )
    return base + end


class _Header:
    """Reads the header of a classic file value by value."""

    def __init__(self, stream: BinaryIO, count: str, offset: str) -> None:
        stream.seek(0, os.SEEK_END)
        self.left = min(stream.tell(), HEADER_BYTES) - 4
        stream.seek(4)
        self.stream, self.formats = stream, {"count": count, "offset": offset, "kind": ">I"}

    def number(self, what: str = "count") -> int:
        form = self.formats[what]
        return int(struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise EOFError
        self.left -= count
        return self.stream.read(count)

    def padded(self, count: int) -> bytes:
        """Bytes up to the next multiple of four."""
        return self.take(count + -count % 4)

    def elements(self) -> range:
        """Of a list, after its tag."""
        self.number("kind")
        return range(self.number())

    def skip_attributes(self) -> None:
        for _ in self.elements():
            self.padded(self.number())
            size = TYPE_BYTES[self.number("kind")]
            self.padded(size * self.number())


def _classic_length(stream: BinaryIO, count: str, offset: str) -> int:
    """The end of the last value."""
    header = _Header(stream, count, offset)
    records = header.number()
    sizes = []
    for _ in header.elements():
        header.padded(header.number())
        sizes.append(header.number())
    header.skip_attributes()
    ends, moving = [0], []
    for _ in header.elements():
        header.padded(header.number())
        shape = [sizes[header.number()] for _ in range(header.number())]
        header.skip_attributes()
        size = TYPE_BYTES[header.number("kind")]
        header.number()  # its bytes, which overflow for large variables
        begin = header.number("offset")
        along = bool(shape) and shape[0] == 0
        length = size * math.prod(shape[1:] if along else shape)
        moving += [(begin, length)] if along else []
        ends += [] if along else [begin + length]
    streaming = records == 2 ** (8 * struct.calcsize(count)) - 1
    if moving and records and not streaming:
        alone = len(moving) == 1
        record = sum(length if alone else length + -length % 4 for _, length in moving)
        ends += [begin + (records - 1) * record + length for begin, length in moving]
    return max(ends)
