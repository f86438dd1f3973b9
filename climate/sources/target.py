"""The grid that a source is regridded to, as ``regrid=`` says it.

Shapes: ``H`` latitudes, ``W`` longitudes of the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from climate.grids.grid import Grid
from climate.grids.named import parse_grid
from climate.grids.regridding import Regridding, describe_regridding, regridding
from climate.store.layout import open_store
from vgbdm.errors import InputError


@dataclass(frozen=True, eq=False)
class Target:
    """A grid to regrid to.

    Attributes:
        grid: global, or the box that a store holds.
        told: how it was asked for, such as ``regrid=5.625``.
    """

    grid: Grid
    told: str

    @property
    def description(self) -> str:
        """What a store says of it."""
        return describe_regridding(self.grid)

    def regridding(self, rows: np.ndarray, columns: np.ndarray, where: str) -> Regridding:
        """The regridding of a source by its edges (H + 1,) and (W + 1,).

        Raises:
            InputError: one line, beginning with the source, where it cannot be made.
        """
        try:
            return _regridding(rows.tobytes(), columns.tobytes(), self)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None


@lru_cache(maxsize=8)
def _regridding(rows: bytes, columns: bytes, target: Target) -> Regridding:
    """One for all files that are alike."""
    row_ends, column_ends = np.frombuffer(rows), np.frombuffer(columns)
    whole = not target.grid.is_global
    return regridding(row_ends, column_ends, target.grid, target.told, whole)


def parse_target(value: float | str | Mapping[str, Any] | None) -> Target | None:
    """Degrees, ``32x64``, or ``like`` → a store; None: none.

    Raises:
        InputError: one line, for a value that is no grid, or no store.
    """
    if not isinstance(value, Mapping):
        return None if value is None else Target(parse_grid(value), f"regrid={value}")
    if value.get("like") is None:
        return None
    try:
        store = open_store(value["like"])
    except InputError as error:
        raise InputError(f"regrid.like: {error}") from None
    return Target(Grid(store.lat, store.lon), f"regrid.like={value['like']}")
