"""Chunks of others' Zarr arrays that are not there, and fill values that stand for missing numbers.

A chunk that is absent reads as the array's fill value, in silence. zarr-python does not write what
is all fill value, so that an absent chunk may be right or lost: whoever reads has to be told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from vgbdm.errors import InputError

SENTINEL = 900.0
"""A fill value of Zarr v2 at least as large, such as -999, -9999, 1e20, stands for a missing
number; a smaller one, such as the usual 0, may be a value."""

CHUNK = re.compile(r"(/c)?(/\d+)*/\d+(\.\d+)*$")
"""The end of a chunk's key, after its array's path."""


def sentinel_of(array: zarr.Array[Any]) -> float | None:
    """The fill value of a Zarr v2 array where it stands for missing numbers; None where not.

    Version 2 has one field for what absent chunks read as and for what xarray declares missing.
    """
    fill = array.fill_value
    if array.metadata.zarr_format != 2 or fill is None or array.dtype.kind not in "iuf":
        return None
    missing = fill != 0 if array.dtype.kind in "iu" else abs(float(fill)) >= SENTINEL
    return float(fill) if missing else None


class Complete(WrapperStore[Store]):
    """A store that refuses a chunk which is absent and would read as numbers.

    Args:
        store: to read from.
        root: of the store, for messages.
        fills: what absent chunks read as, by the array's path in the store; arrays that are not
            named may lack chunks.
    """

    def __init__(self, store: Store, root: str, fills: Mapping[str, Any]) -> None:
        super().__init__(store)
        self.root, self.fills = root, fills

    def _with_store(self, store: Store) -> Complete:
        return type(self)(store, self.root, self.fills)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """As of the store.

        Raises:
            InputError: for a chunk that is not there.
        """
        found = await self._store.get(key, prototype, byte_range)
        array = CHUNK.sub("", key)
        if found is None and array != key and array in self.fills:
            fill = self.fills[array]
            raise InputError(
                f"{self.root}: its chunk {key} is absent and would read as {fill}; copy it again, "
                "or, where the writer left it out as it is all fill value, write it again with "
                "the fill value NaN"
            )
        return found


def numeric_fills(arrays: Mapping[str, zarr.Array[Any]]) -> dict[str, float]:
    """Fill values that are numbers, by the path of arrays of measurements.

    Not of whole numbers, nor along one axis alone: of these, as coordinates are, a chunk that is
    absent is usually a 0, such as the time of the only start of a forecast.
    """
    return {
        array.path: float(array.fill_value)
        for array in arrays.values()
        if array.dtype.kind == "f" and array.ndim > 1 and array.fill_value is not None
        and np.isfinite(array.fill_value) and sentinel_of(array) is None
    }  # fmt: skip
