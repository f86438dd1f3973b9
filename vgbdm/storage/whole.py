"""Whether what a Zarr store gave is all of it, by what was asked and by its own headers.

A chunk that blosc could not make smaller has no checksum, and its decoder does not look for its
end: of one that is cut short it gives what lies behind it in memory. Layouts are those of blosc 1
and of Zarr 3's sharding codec.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from zarr.abc.store import ByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer

from vgbdm.storage.network import CutShortError

METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
ARRAYS = ("zarr.json", ".zarray")
BLOSC = ("blosc", "numcodecs.blosc")
BLOSC_HEADER = 16
"""Bytes, of which the last four say how long the chunk is."""
NO_CHUNK = 2**64 - 1
"""Where a shard's index says that a chunk is not there."""


def is_metadata(key: str) -> bool:
    """Whether a key of a store is that of a file of metadata."""
    return key.rsplit("/", 1)[-1] in METADATA


def nodes(key: str, content: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys of metadata, and what stands there, of all that a file of metadata holds."""
    folder = key.rpartition("/")[0]
    place = f"{folder}/" if folder else ""
    try:
        facts = json.loads(content)
        inline = facts.get("consolidated_metadata") or {}
        old = key.rpartition("/")[2] == ".zmetadata"
        held = facts["metadata"] if old else inline.get("metadata", {})
        for name, node in held.items():
            yield place + (name if old else f"{name}/zarr.json"), dict(node)
        yield key, facts
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return  # `vgbdm.storage.door` says what is wrong with them


class Lengths:
    """What the metadata of a store say of how long its chunks are.

    Attributes:
        blosc: paths of arrays whose chunks blosc packed last.
        shards: path of an array → chunks in a shard, of shards that begin with their index.
    """

    def __init__(self) -> None:
        self.blosc: set[str] = set()
        self.shards: dict[str, int] = {}

    def note(self, key: str, content: bytes) -> None:
        """Metadata, as they came; later ones of an array count."""
        for name, node in nodes(key, content):
            path, _, file = name.rpartition("/")
            if file not in ARRAYS:
                continue
            self.blosc.discard(path)
            self.shards.pop(path, None)
            try:
                codec = _last_codec(node)
                if codec.get("name") in BLOSC:
                    self.blosc.add(path)
                elif codec.get("name") == "sharding_indexed":
                    self.shards |= _indexed_first(path, node, codec)
            except (ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError):
                continue  # `vgbdm.storage.door` says what is wrong with them

    def whole(self, key: str, found: Buffer, part: ByteRequest | None) -> Buffer:
        """What was asked for, of what a store gives that may have given all or too little.

        Raises:
            CutShortError: if it is too little.
        """
        want, exact = len(found), True
        if isinstance(part, RangeByteRequest):
            want = part.end - part.start
            found = found[part.start : part.end] if len(found) > want else found
        elif isinstance(part, SuffixByteRequest):
            want = part.suffix
            found = found[len(found) - want :] if len(found) > want else found
        elif part is None and not is_metadata(key):
            if any(key.startswith(f"{path}/") for path in self.blosc):
                want = _blosc_bytes(found)
            for path, count in self.shards.items():
                if key.startswith(f"{path}/"):
                    want, exact = _shard_bytes(found, count), False
        if len(found) < want or (exact and len(found) != want):
            raise CutShortError(f"{len(found)} bytes of {want}")
        return found


def _blosc_bytes(chunk: Buffer) -> int:
    """How many bytes a chunk has by its header."""
    head = chunk[:BLOSC_HEADER].to_bytes()
    return int.from_bytes(head[12:], "little") if len(head) == BLOSC_HEADER else BLOSC_HEADER


def _shard_bytes(shard: Buffer, count: int) -> int:
    """How many bytes a shard has at least, by the index at its beginning."""
    if len(shard) < 16 * count:
        return 16 * count
    index = np.frombuffer(shard[: 16 * count].to_bytes(), "<u8").reshape(-1, 2)
    return max([16 * count, *(int(a) + int(b) for a, b in index if a != NO_CHUNK)])


def _last_codec(node: dict[str, Any]) -> dict[str, Any]:
    """The one that packed a chunk last, with its name; empty for none."""
    if "codecs" in node:
        chain = node["codecs"] or [{}]
    else:
        old = [*(node.get("filters") or []), node.get("compressor")]
        chain = [{"name": one.get("id")} for one in old if one] or [{}]
    return chain[-1] if isinstance(chain[-1], dict) else {"name": chain[-1]}


def _indexed_first(path: str, node: dict[str, Any], codec: dict[str, Any]) -> dict[str, int]:
    """How many chunks a shard of an array has, if its index comes first.

    One at the end has a checksum that fails where a shard is cut.
    """
    about = codec.get("configuration", {})
    packed = (about.get("index_codecs") or [{}])[0].get("configuration", {})
    if about.get("index_location") != "start" or packed.get("endian") != "little":
        return {}
    outer = node["chunk_grid"]["configuration"]["chunk_shape"]
    return {path: math.prod(a // b for a, b in zip(outer, about["chunk_shape"], strict=True))}
