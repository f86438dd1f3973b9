"""An array of maps seen through a box.

Shapes: ``...`` leading axes, ``H`` latitudes, ``W`` longitudes; ``h``, ``w`` those of the box.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr

from climate.store.reader import EVERY, ShardedArray


class BoxedArray:
    """Reads like the array it wraps, but gives only some rows and columns of its maps.

    A chunk holds whole maps and its checksum covers all of them, so that a box costs the file
    reads of whole maps; memory holds the box and one chunk.

    Args:
        array: (..., H, W).
        rows: of the box.
        columns: (w,) indices, in the order wanted.
    """

    def __init__(self, array: zarr.Array | ShardedArray, rows: slice, columns: np.ndarray) -> None:
        self.array, self.rows, self.columns = array, rows, columns

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., h, w)."""
        *leading, height, _ = self.array.shape
        return (*leading, len(range(height)[self.rows]), len(self.columns))

    @property
    def chunks(self) -> tuple[int, ...]:
        """Of the array it wraps."""
        return self.array.chunks

    def __getitem__(self, key: Any) -> np.ndarray:
        """Index or slice of the leading axes."""
        return np.asarray(self.array[key])[..., self.rows, :][..., self.columns]

    def read(
        self, start: int, stop: int, out: np.ndarray | None = None, channels: slice = EVERY
    ) -> np.ndarray:
        """As `ShardedArray.read` does, (N, c, h, w); the array must be one."""
        assert isinstance(self.array, ShardedArray), "only states are read so"
        if out is None:
            wanted = len(range(self.shape[1])[channels])
            out = np.empty((stop - start, wanted, *self.shape[2:]), np.float32)
        for place, piece in self.array.pieces(start, stop, channels=channels):
            if piece is not None:
                out[place] = piece[..., self.rows, :][..., self.columns]
        return out
