"""A sharded array read straight into reused memory, every checksum verified.

zarr-python decodes a shard chunk by chunk through new buffers and zarrs 0.2.3 lets flipped bits
inside shards pass. This reader knows just the layout that conversion writes (see
`climate.store.layout.codecs`): whole maps per chunk; little-endian float32, plain or blosc, then
crc32c; the shard's index at its end, with its own crc32c. Files are open only while they are read.
Format: Zarr v3 core, ``sharding_indexed`` codec.

A shard's seal is a digest of the checksums of all its chunks. The manifest holds it by the shard's
place, and it is compared when a shard is first read: indices of two shards can be byte-equal, so
that nothing else would distinguish them.

Shapes: ``T`` times, ``C`` channels, ``H`` latitudes, ``W`` longitudes; ``N`` times read.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import blosc
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec
from zarr.core.metadata.v3 import ArrayV3Metadata

from vgbdm.errors import InputError
from vgbdm.storage.sealed import Sealed
from vgbdm.storage.sealing import digest_file

CRC_BYTES, BLOSC_HEADER = 4, 16
EVERY = slice(None)
SEAL_DIGITS = 32
HOLE = np.iinfo(np.uint64).max
"""Stands in a shard's index where a chunk was never written."""
_NONE = b"\xff" * 8
"""Stands in a seal where a chunk was never written; no checksum is as long."""


class ShardedArray:
    """States (T, C, H, W) float32 on disk.

    Args:
        folder: the store, sealed.
        name: of the array.

    Attributes:
        shape: (T, C, H, W).
        chunks: of what is compressed and checked at once.
        shards: of a file.
        grid: chunks of a file in time and in channels.
        bytes_read: from files, by this object.

    Raises:
        InputError: if the array is not laid out as conversion does.
    """

    def __init__(self, folder: Sealed, name: str = "state") -> None:
        self.folder, self.name = folder, name
        array, path = folder.open(name), folder.root / name
        codec = array.metadata.codecs[0] if isinstance(array.metadata, ArrayV3Metadata) else None
        if not isinstance(codec, ShardingCodec) or array.shards is None or array.dtype != "<f4":
            raise InputError(f"{path}: not a sharded array of float32; convert again")
        inner = [type(part) for part in codec.codecs]
        self._packed = BloscCodec in inner
        wanted = [BytesCodec, *([BloscCodec] if self._packed else []), Crc32cCodec]
        self.shape = array.shape
        self.chunks, self.shards = array.chunks, array.shards
        if inner != wanted or not self.chunks[2:] == self.shards[2:] == self.shape[2:]:
            raise InputError(f"{path}: its chunks are not those of this version; convert again")
        self.grid = (self.shards[0] // self.chunks[0], self.shards[1] // self.chunks[1])
        self._compared: set[tuple[int, int]] = set()
        self.bytes_read = 0

    def __getitem__(self, key: Any) -> np.ndarray:
        """An index or a slice of the times."""
        steps = range(self.shape[0])[key]
        if isinstance(steps, int):
            return self.read(steps, steps + 1)[0]
        return self.read(steps.start, steps.stop)[:: steps.step]

    def read(
        self, start: int, stop: int, out: np.ndarray | None = None, channels: slice = EVERY
    ) -> np.ndarray:
        """States (N, c, H, W) of the times ``start`` to ``stop``.

        Args:
            start: first time index.
            stop: one past the last.
            out: C-contiguous; filled and returned where given.
            channels: those wanted, without a step; chunks of others are not read.

        Raises:
            OSError: if a file is missing or ends early.
            ValueError: if a chunk is missing or its checksum is wrong.
        """
        if out is None:
            wanted = len(range(self.shape[1])[channels])
            out = np.empty((stop - start, wanted, *self.shape[2:]), np.float32)
        for place, piece in self.pieces(start, stop, out, channels):
            if piece is not None:
                out[place] = piece
        return out

    def pieces(
        self, start: int, stop: int, out: np.ndarray | None = None, channels: slice = EVERY
    ) -> Iterator[tuple[tuple[slice, slice], np.ndarray | None]]:
        """Chunk by chunk: where it lies in (times, channels) asked for, and its values.

        The values (n, c, H, W) are valid until the next; None stands for those that were read
        straight to their place in ``out``.
        """
        steps, together = self.chunks[:2]
        scratch, wanted = _Scratch(self.chunks), range(self.shape[1])[channels]
        for shard, first, last in self._shards_of(start, stop, wanted):
            with _File(self._place(shard)) as file:
                index = _index(file, *self.grid)
                self._compare(shard, file, index)
                origin = shard[0] * self.shards[0], shard[1] * self.shards[1]
                rows = range((first - origin[0]) // steps, -(-(last - origin[0]) // steps))
                for row, column in itertools.product(rows, range(self.grid[1])):
                    begin, channel = origin[0] + row * steps, origin[1] + column * together
                    inner = range(max(channel, wanted.start), min(channel + together, wanted.stop))
                    if not inner:
                        continue
                    low, high = max(begin, start), min(begin + steps, stop)
                    left, right = inner.start - wanted.start, inner.stop - wanted.start
                    place = slice(low - start, high - start), slice(left, right)
                    direct = (
                        out is not None
                        and (high - low, len(inner)) == (steps, together)
                        and (steps == 1 or len(inner) == len(wanted))
                    )
                    target = out[place] if direct and out is not None else scratch.values
                    self._chunk(file, index[row, column], target, scratch)
                    held = slice(inner.start - channel, inner.stop - channel)
                    yield (
                        place,
                        None if direct else scratch.values[low - begin : high - begin, held],
                    )
                self.bytes_read += file.bytes_read

    def _shards_of(
        self, start: int, stop: int, channels: range
    ) -> Iterator[tuple[tuple[int, int], int, int]]:
        """The shards with some times: (number in time, in channels), first and last time."""
        steps, share = self.shards[:2]
        for k in range(start // steps, -(-stop // steps)):
            for c in range(channels.start // share, -(-channels.stop // share)):
                yield (k, c), max(start, k * steps), min(stop, (k + 1) * steps)

    def _place(self, shard: tuple[int, int]) -> Path:
        """The file of a shard; that it is one inside of the store is looked at once."""
        name = f"{self.name}/c/{shard[0]}/{shard[1]}/0/0"
        return self.folder.root / name if shard in self._compared else self.folder.place(name)

    def _compare(self, shard: tuple[int, int], file: _File, index: np.ndarray) -> None:
        """Refuse a shard, at its first read, that is not the one of this place."""
        if shard in self._compared:
            return
        name, own = f"{self.name}/c/{shard[0]}/{shard[1]}/0/0", _seal(file, index)
        for renewed in (False, True):  # an append may have put another in place meanwhile
            if own in [want[2] for want in self.folder.wants(name, renewed) if len(want) > 2]:
                self._compared.add(shard)
                return
        raise ValueError(f"{file.path}: is not the shard that was written here")

    def _chunk(self, file: _File, entry: np.ndarray, target: np.ndarray, scratch: _Scratch) -> None:
        """One chunk into its target (n, c, H, W), checked."""
        if entry[0] == HOLE:
            raise ValueError(f"{file.path}: a chunk is missing")
        offset, length = int(entry[0]), int(entry[1])
        if not CRC_BYTES < length <= file.size - offset:
            raise ValueError(f"{file.path}: a chunk reaches beyond its file")
        if not self._packed:
            if length != target.nbytes + CRC_BYTES:
                raise ValueError(f"{file.path}: a chunk has {length} bytes")
            raw = target.reshape(-1).view(np.uint8)
            file.read(raw, offset, scratch.crc)
            _check(raw, scratch.crc, file.path)
            return
        raw = scratch.packed(length)
        file.read(raw, offset)
        _check(raw[:-CRC_BYTES], raw[-CRC_BYTES:], file.path)
        if length < BLOSC_HEADER or int(raw[4:8].view("<u4")[0]) != target.nbytes:
            raise ValueError(f"{file.path}: a chunk unpacks to another size")
        blosc.decompress(raw[:-CRC_BYTES], target)


class _Scratch:
    """Memory of one read, made when it is first needed."""

    def __init__(self, chunks: tuple[int, ...]) -> None:
        self._chunks = chunks
        self._raw = np.empty(0, np.uint8)
        self._values: np.ndarray | None = None
        self.crc = np.empty(CRC_BYTES, np.uint8)

    @property
    def values(self) -> np.ndarray:
        """Of a whole chunk."""
        if self._values is None:
            self._values = np.empty(self._chunks, np.float32)
        return self._values

    def packed(self, length: int) -> np.ndarray:
        """Room for a compressed chunk."""
        if len(self._raw) < length:
            self._raw = np.empty(length + length // 8, np.uint8)
        return self._raw[:length]


class _File:
    """A file open for reading at given places."""

    def __init__(self, path: Path) -> None:
        self.path, self.bytes_read = path, 0

    def __enter__(self) -> _File:
        self._number = os.open(self.path, os.O_RDONLY)
        self.size = os.fstat(self._number).st_size
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._number)

    def read(self, target: np.ndarray, offset: int, after: np.ndarray | None = None) -> None:
        """Bytes from an offset on into a target, and those that follow into another.

        Raises:
            OSError: if the file ends before.
        """
        parts = [target] if after is None else [target, after]
        wanted = sum(part.nbytes for part in parts)
        got = os.preadv(self._number, [part.data for part in parts], max(offset, 0))
        if got != wanted:
            raise OSError(f"{self.path}: truncated")
        self.bytes_read += got


def _check(data: np.ndarray, crc: np.ndarray, path: Path) -> None:
    if google_crc32c.value(data) != int(crc.view("<u4")[0]):
        raise ValueError(f"{path}: checksum of a chunk or index is wrong")


def _index(file: _File, rows: int, columns: int) -> np.ndarray:
    """Offset and length of each chunk of a shard: (times, channels, 2) uint64."""
    size = 16 * rows * columns
    raw = np.empty(size + CRC_BYTES, np.uint8)
    file.read(raw, file.size - len(raw))
    _check(raw[:size], raw[size:], file.path)
    return raw[:size].view("<u8").reshape(rows, columns, 2)


def _seal(file: _File, index: np.ndarray) -> str:
    """Digest of the checksums that end the chunks of a shard, in their order."""
    digest, crc = hashlib.sha256(), np.empty(CRC_BYTES, np.uint8)
    for offset, length in index.reshape(-1, 2).tolist():
        if offset == HOLE:
            digest.update(_NONE)
            continue
        if not CRC_BYTES < length <= file.size - offset:
            raise ValueError(f"{file.path}: a chunk reaches beyond its file")
        file.read(crc, offset + length - CRC_BYTES)
        digest.update(crc.data)
    return digest.hexdigest()[:SEAL_DIGITS]


def digest_shard(path: Path, rows: int, columns: int) -> list[Any]:
    """SHA-256, size and seal of a shard whose chunks end with their crc32c.

    Args:
        path: of the file.
        rows: chunks in time.
        columns: chunks in channels.

    Raises:
        OSError: if the file is missing or ends early.
        ValueError: if its index is damaged.
    """
    with _File(path) as file:
        seal = _seal(file, _index(file, rows, columns))
    return [*digest_file(path), seal]
