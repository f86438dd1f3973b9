"""Chunks of a Zarr store that are not there: seen while others are read, without asking for them.

A chunk that is absent reads as the array's fill value. zarr-python does not write what is all fill
value, so that an absent chunk may be right or lost; only the config can say which.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableSet
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from vgbdm.storage.absent import CHUNK


class WatchedStore(WrapperStore[Store]):
    """A store that notes the keys that were read and are not there, and how large others are.

    Args:
        store: to read from.
        absent: to note keys in.
        received: to note in how many chunks of an array came, and of how many bytes.
    """

    def __init__(
        self,
        store: Store,
        absent: MutableSet[str] | None = None,
        received: dict[str, tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(store)
        self.absent: MutableSet[str] = set() if absent is None else absent
        self.received: dict[str, tuple[int, int]] = {} if received is None else received

    def _with_store(self, store: Store) -> WatchedStore:
        return type(self)(store, self.absent, self.received)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """As of the store."""
        found = await self._store.get(key, prototype, byte_range)
        if found is None:
            self.absent.add(key)
        elif byte_range is None and CHUNK.search(key):
            array = CHUNK.sub("", key)
            count, size = self.received.get(array, (0, 0))
            self.received[array] = count + 1, size + len(found)
        return found


@dataclass(frozen=True)
class Presence:
    """How the chunks of an array are named, and which were found absent.

    Attributes:
        absent: keys of the store, filled while it is read.
        path: of the array in it.
        chunks: shape of what a key holds.
        fill: what an absent chunk reads as.
        axes: ``time``, ``level``, ``lat``, ``lon`` or None for each dimension.
        received: how many chunks of each array came, and of how many bytes; filled likewise.
    """

    absent: MutableSet[str]
    path: str
    chunks: tuple[int, ...]
    fill: Any
    axes: tuple[str | None, ...] = ()
    received: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def lost(self, wanted: Mapping[str, np.ndarray]) -> Iterator[tuple[str, dict[str, slice]]]:
        """The absent chunks that hold some of the wanted indices, and where each lies.

        Args:
            wanted: indices by axis; of an axis that is not named all are.
        """
        for key in sorted(key for key in list(self.absent) if key.startswith(f"{self.path}/")):
            place = re.fullmatch(r"(?:c[./])?(\d+(?:[./]\d+)*)", key[len(self.path) + 1 :])
            if place is None:
                continue
            index = [int(k) for k in re.split(r"[./]", place[1])]
            spans = {
                axis: slice(k * size, (k + 1) * size)
                for axis, k, size in zip(self.axes, index, self.chunks, strict=True)
                if axis is not None
            }
            if all(_meet(span, wanted.get(axis)) for axis, span in spans.items()):
                yield key, spans


def _meet(span: slice, wanted: np.ndarray | None) -> bool:
    return wanted is None or bool(((wanted >= span.start) & (wanted < span.stop)).any())


def presence_of(array: zarr.Array[Any], store: WatchedStore) -> Presence:
    """The presence of an array, read through a watched store."""
    chunks = array.shards or array.chunks
    return Presence(
        store.absent, array.path, tuple(chunks), array.fill_value, received=store.received
    )
