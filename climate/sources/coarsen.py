"""Coarsening of regular global grids by a whole factor: area-weighted means of cells, conservative.

A coarse grid is of the fine one's kind: longitudes from 0, latitudes at cell centres or poles
included. So coarse cells lie around fine points, save for latitudes at cell centres, and an even
factor splits the fine cells at their borders in two.

Shapes: ``...`` leading axes, ``H`` latitudes, ``W`` longitudes, ``h``, ``w`` those of the coarse
grid, ``m`` fine cells that touch a coarse one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from climate.grids.grid import Grid
from vgbdm.errors import InputError


@dataclass(frozen=True)
class Coarsening:
    """Means over the cells of a coarse grid.

    Attributes:
        grid: the coarse one.
        rows: (h, m) fine rows of each coarse row.
        row_weights: (h, m) their shares of its area, sum 1.
        columns: (w, m) fine columns of each coarse column.
        column_weights: (w, m) their shares, sum 1.
    """

    grid: Grid
    rows: np.ndarray
    row_weights: np.ndarray
    columns: np.ndarray
    column_weights: np.ndarray

    def __call__(self, field: np.ndarray) -> np.ndarray:
        """Means of (..., H, W) as (..., h, w) float32; a cell with a missing value is missing."""
        half = np.zeros((*field.shape[:-2], len(self.rows), field.shape[-1]))
        for row, weight in zip(self.rows.T, self.row_weights.T, strict=True):
            half += weight[:, None] * field[..., row, :]
        mean = np.zeros((*field.shape[:-2], len(self.rows), len(self.columns)))
        for column, weight in zip(self.columns.T, self.column_weights.T, strict=True):
            mean += weight * half[..., column]
        return mean.astype(np.float32)


def coarsening(grid: Grid, factor: int) -> Coarsening:
    """The coarsening of a global grid by a factor.

    Raises:
        InputError: if the factor is none, or does not divide the grid.
    """
    if factor < 2:
        raise InputError(f"coarsen={factor}: want a whole factor of 2 or more, or null")
    if not grid.is_global:
        raise InputError(f"coarsen={factor}: only of the globe; leave it out for a box")
    poles = bool(grid.includes_poles)
    intervals, width = len(grid.lat) - poles, len(grid.lon)
    for what, count in (("intervals between latitudes", intervals), ("longitudes", width)):
        if count % factor:
            divisors = ", ".join(
                str(k) for k in range(2, 65) if not (intervals % k or width % (4 * k))
            )
            raise InputError(
                f"coarsen={factor}: does not divide the grid's {count} {what}; "
                f"{divisors or 'no factor'} would"
            )
    around = np.arange(-(factor // 2), factor // 2 + 1)
    share = np.where((factor % 2 == 0) & (abs(around) == factor // 2), 0.5, 1.0) / factor
    columns = (np.arange(0, width, factor)[:, None] + around) % width
    lat, rows, row_weights = _rows(grid.lat, factor, poles)
    return Coarsening(
        Grid(lat, grid.lon[::factor]), rows, row_weights, columns, np.tile(share, (len(columns), 1))
    )


def _rows(lat: np.ndarray, factor: int, poles: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coarse latitudes (h,), and the fine rows (h, m) with their shares of the area."""
    height, spacing = len(lat), (lat[-1] - lat[0]) / (len(lat) - 1)
    if poles:
        coarse = lat[::factor]
        rows = np.arange(0, height, factor)[:, None] + np.arange(-(factor // 2), factor // 2 + 1)
    else:
        coarse = lat.reshape(-1, factor).mean(1)
        rows = np.arange(height).reshape(-1, factor)

    def edges(centre: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
        ends = np.clip(np.stack((centre - width / 2, centre + width / 2)), -90, 90)
        south, north = np.sin(np.deg2rad(ends))
        return south, north

    outside = (rows < 0) | (rows >= height)
    rows = rows.clip(0, height - 1)
    south, north = (edge[rows] for edge in edges(lat, spacing))
    low, high = (edge[:, None] for edge in edges(coarse, factor * spacing))
    overlap = np.clip(np.minimum(north, high) - np.maximum(south, low), 0, None)
    overlap[outside] = 0.0
    return coarse, rows, overlap / overlap.sum(1, keepdims=True)
