"""An array of maps seen through a box.

Shapes: ``...`` leading axes, ``H`` latitudes, ``W`` longitudes; ``h``, ``w`` those of the box.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr


class BoxedArray:
    """Reads like the array it wraps, but gives only some rows and columns of its maps.

    A chunk holds whole maps, so reading through a box costs what reading all of them does.

    Args:
        array: (..., H, W).
        rows: of the box.
        columns: (w,) indices, in the order wanted.
    """

    def __init__(self, array: zarr.Array, rows: slice, columns: np.ndarray) -> None:
        self.array, self.rows, self.columns = array, rows, columns

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., h, w)."""
        *leading, height, _ = self.array.shape
        return (*leading, len(range(height)[self.rows]), len(self.columns))

    def __getitem__(self, key: Any) -> np.ndarray:
        """Index or slice of the leading axes."""
        return np.asarray(self.array[key])[..., self.rows, :][..., self.columns]
