"""Chunks of a Zarr store that are not there: seen while others are read, without asking for them.

A chunk that is absent reads as the array's fill value. zarr-python does not write what is all fill
value, so that an absent chunk may be right or lost; only the config can say which.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, MutableSet, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from climate.units import setting
from vgbdm.errors import InputError

if TYPE_CHECKING:
    from climate.sources.axes import Part

SENTINEL = 900.0
"""A fill value of Zarr v2 at least as large, such as -999, -9999, 1e20, stands for a missing
number; a smaller one, such as the usual 0, may be a value."""


class WatchedStore(WrapperStore[Store]):
    """A store that notes the keys that were read and are not there.

    Args:
        store: to read from.
        absent: to note keys in.
    """

    def __init__(self, store: Store, absent: MutableSet[str] | None = None) -> None:
        super().__init__(store)
        self.absent: MutableSet[str] = set() if absent is None else absent

    def _with_store(self, store: Store) -> WatchedStore:
        return type(self)(store, self.absent)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """As of the store."""
        found = await self._store.get(key, prototype, byte_range)
        if found is None:
            self.absent.add(key)
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
    """

    absent: MutableSet[str]
    path: str
    chunks: tuple[int, ...]
    fill: Any
    axes: tuple[str | None, ...] = ()

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


def check_present(
    part: Part,
    wanted: Mapping[str, np.ndarray],
    key: str,
    masked: Callable[[Mapping[str, slice]], bool] | None = None,
) -> None:
    """Refuse values just read that come of chunks which are not there.

    Args:
        part: that was read.
        wanted: indices by axis that were read.
        key: setting that says what absence means.
        masked: whether a chunk, by its place, holds nothing but points that are masked: of a grid
            of the sea, a chunk of land is not written by zarr-python. None: none does.

    Raises:
        InputError: naming the chunk, its times and what to do.
    """
    if part.presence is None:
        return
    for name, spans in part.presence.lost(wanted):
        if masked is None or not masked(spans):
            _refuse(part, part.presence, name, spans, key)
        part.presence.absent.discard(name)  # or each reading would look at all of them again


def _refuse(
    part: Part, presence: Presence, name: str, spans: Mapping[str, slice], key: str
) -> NoReturn:
    times = ""
    if part.times is not None and "time" in spans:
        held = part.times[spans["time"]]
        ends = [np.datetime_as_string(time, "m") for time in (held.min(), held.max())]
        times = f" of {ends[0]} … {ends[1]}"
    raise InputError(
        f"{part.what}: its chunk {name}{times} is absent and would read as {presence.fill}; "
        f"fetch it again, or, where the writer left out chunks that are all {presence.fill} "
        f"(as zarr-python does), say so by {setting(key, 'fill')}"
    )


class StandingGaps:
    """Where a stored variable has no value at two of its times, the first and the last in use.

    What is missing there and in an absent chunk is a mask, not a loss; read when it is first asked.

    Args:
        part: of a Zarr store.
        ends: places of both times in it.
    """

    def __init__(self, part: Part, ends: Sequence[int]) -> None:
        self.part, self.ends = part, sorted(set(ends))
        self.axes = [axis for axis in part.variable.dims if axis != "time"]

    @cached_property
    def missing(self) -> np.ndarray:
        """Of the stored axes but time."""
        maps = (self.part.variable.isel(time=k).values for k in self.ends)
        return np.logical_and.reduce([np.isnan(self.part.validity(values)) for values in maps])

    def __call__(self, spans: Mapping[str, slice]) -> bool:
        """Whether a chunk lies wholly in it."""
        return bool(self.missing[tuple(spans.get(str(a), slice(None)) for a in self.axes)].all())


def presence_of(array: zarr.Array[Any], store: WatchedStore) -> Presence:
    """The presence of an array, read through a watched store."""
    chunks = array.shards or array.chunks
    return Presence(store.absent, array.path, tuple(chunks), array.fill_value)


def sentinel_of(array: zarr.Array[Any]) -> float | None:
    """The fill value of a Zarr v2 array where it stands for missing numbers; None where not.

    Version 2 has one field for what absent chunks read as and for what xarray declares missing.
    """
    fill = array.fill_value
    if array.metadata.zarr_format != 2 or fill is None or array.dtype.kind not in "iuf":
        return None
    missing = fill != 0 if array.dtype.kind in "iu" else abs(float(fill)) >= SENTINEL
    return float(fill) if missing else None
