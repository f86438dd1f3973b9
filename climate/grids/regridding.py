"""First-order conservative regridding between rectilinear grids: means over cells, by area.

Jones 1999 (Mon. Wea. Rev. 127), first order: a target cell's value is the mean of the source's over
it, each source cell weighing by the area that it shares. Rows and columns are summed one after the
other. Where values are missing it is the mean over the others, if they cover half of the cell.

Shapes: ``...`` leading axes, ``H`` rows and ``W`` columns of the source, ``h`` and ``w`` of the
target; ``N`` maps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array, eye_array, kron

from climate.grids.cells import column_edges, row_edges, shared
from climate.grids.grid import Grid
from climate.grids.named import name_of, parse_grid
from climate.grids.regions import MIN_SIDE
from vgbdm.errors import InputError

HALF = 0.5 - 1e-6
"""Of a cell: below it what has values is too little for a mean."""
COVERED = 0.99
"""Of a cell: below it the source, a box, does not hold it."""
WHOLE = 1 - 1e-6
"""Of a cell: from it on a value is that of one cell of the source."""
FINER = 0.9
"""Of a source's cell: narrower ones would repeat it."""
BLOCK_BYTES = 16 * 2**20
"""Of maps in float64 that are summed at once."""


@dataclass(frozen=True)
class Regridding:
    """Means over the cells of a target grid.

    Attributes:
        lat: (h,) of the target.
        lon: (w,) of the target.
        rows: (h, H) shares of each target row, sum 1.
        columns: (w, W) shares of each target column, sum 1.
    """

    lat: np.ndarray
    lon: np.ndarray
    rows: csr_array
    columns: csr_array

    def __call__(self, field: np.ndarray) -> np.ndarray:
        """Means of (..., H, W), NaN where missing, as (..., h, w) float32."""
        maps = field.reshape(-1, *field.shape[-2:])
        means = np.empty((len(maps), len(self.lat), len(self.lon)), np.float32)
        count = max(1, min(len(maps), BLOCK_BYTES // (8 * maps[:1].size)))
        rows = kron(eye_array(count), self.rows, format="csr")
        for at in range(0, len(maps), count):
            block = maps[at : at + count]
            if len(block) < count:
                rows = kron(eye_array(len(block)), self.rows, format="csr")
            means[at : at + count] = self._means(block.astype(np.float64), rows)
        return means.reshape(*field.shape[:-2], *means.shape[1:])

    @property
    def only_picks(self) -> bool:
        """Whether each cell is one of the source's, as where a source is on the grid already."""
        most = [shares.max(axis=1).toarray() for shares in (self.rows, self.columns)]
        return all(bool((share > WHOLE).all()) for share in most)

    def _means(self, maps: np.ndarray, rows: csr_array) -> np.ndarray:
        """Of (N, H, W) as (N, h, w), rows being those of N maps."""
        means = self._sums(maps, rows)
        if not np.isnan(means).any():
            return means
        held = ~np.isnan(maps)
        share = self._sums(held.astype(np.float64), rows)
        means = self._sums(np.where(held, maps, 0.0), rows)
        enough = share >= HALF
        return np.divide(means, share, out=np.full_like(means, np.nan), where=enough)

    def _sums(self, maps: np.ndarray, rows: csr_array) -> np.ndarray:
        lines = rows @ maps.reshape(-1, maps.shape[-1])
        return (self.columns @ lines.T).T.reshape(len(maps), len(self.lat), len(self.lon))

    def part(self, rows: slice, columns: np.ndarray, lon: np.ndarray) -> Regridding:
        """To some rows and columns of the target, whose longitudes are called ``lon``."""
        return Regridding(self.lat[rows], lon, self.rows[rows], self.columns[columns])

    def needed(self) -> tuple[Regridding, np.ndarray, np.ndarray]:
        """The same of only those rows and columns of the source that it needs, and which these."""
        rows, columns = (np.unique(shares.indices) for shares in (self.rows, self.columns))
        fewer = replace(self, rows=self.rows[:, rows], columns=self.columns[:, columns])
        return fewer, rows, columns


def regridding(
    row_ends: np.ndarray, column_ends: np.ndarray, target: Grid, told: str, whole: bool = False
) -> Regridding:
    """The regridding of a source to a grid, or to the part of it that the source holds.

    Args:
        row_ends: edges (H + 1,) of the source's rows, ascending.
        column_ends: edges (W + 1,) of its columns, ascending.
        target: the grid.
        told: how it was asked for, such as ``regrid=5.625``, for messages.
        whole: whether the source must hold all of it.

    Raises:
        InputError: if the target is finer than the source, or the part is no grid.
    """
    _check_spacing(row_ends, column_ends, target, told)
    own, wanted = (np.sin(np.deg2rad(ends)) for ends in (row_ends, row_edges(target.lat)))
    rows = shared(own, wanted, around=False)
    columns = shared(column_ends, column_edges(target.lon), around=True)
    inside = [shares.sum(1) >= COVERED for shares in (rows, columns)]
    if whole and not (inside[0].all() and inside[1].all()):
        raise InputError(f"{told}: reaches beyond the source, which holds {_ends(row_ends)} north "
                         f"and {_ends(column_ends)} east; take a store inside of it")  # fmt: skip
    if not inside[1].all():
        inside[0] &= np.abs(target.lat) < 90 - 1e-3  # no box holds a pole
    kept = np.flatnonzero(inside[0])
    around, lon = _eastwards(target.lon, inside[1])
    if not (inside[0].all() and inside[1].all()):
        _check_part(target.lat[kept], lon, told)
    rows, columns = (_scaled(shares[at]) for shares, at in ((rows, kept), (columns, around)))
    return Regridding(target.lat[kept], lon, rows, columns)


def _scaled(shares: csr_array) -> csr_array:
    """With sums 1."""
    shares = shares.copy()
    shares.data /= np.repeat(shares.sum(1), np.diff(shares.indptr))
    return shares


def _eastwards(lon: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which longitudes are inside, from the west of a box eastwards, and what they are there."""
    kept = np.flatnonzero(inside)
    jump = np.flatnonzero(np.diff(kept) > 1)
    if not len(jump):
        return kept, lon[kept]
    west = int(jump[0]) + 1
    east = np.where(np.arange(len(kept)) >= west, lon[kept] - 360.0, lon[kept])
    return np.roll(kept, -west), np.roll(east, -west)


def _check_part(lat: np.ndarray, lon: np.ndarray, told: str) -> None:
    """Refuse a part of a target that is no grid of models."""
    if min(len(lat), len(lon)) < MIN_SIDE:
        raise InputError(
            f"{told}: the source, a box, holds {len(lat)} × {len(lon)} of its cells; at least "
            f"{MIN_SIDE} × {MIN_SIDE} are needed, give a finer grid or a larger box"
        )
    try:
        Grid(lat, lon)
    except InputError:
        raise InputError(
            f"{told}: the source holds {_ends(lat)} north and {_ends(lon)} east of it, neither the "
            "globe nor a box; cut a box from it first, e.g. by cdo sellonlatbox"
        ) from None


def _ends(points: np.ndarray) -> str:
    return f"{points[0]:g} to {points[-1]:g}"


def _check_spacing(row_ends: np.ndarray, column_ends: np.ndarray, target: Grid, told: str) -> None:
    own = [(ends[-1] - ends[0]) / (len(ends) - 1) for ends in (row_ends, column_ends)]
    wanted = [(axis[-1] - axis[0]) / (len(axis) - 1) for axis in (target.lat, target.lon)]
    if any(b < FINER * a for a, b in zip(own, wanted, strict=True)):
        best = nearest_grid(row_ends, column_ends)
        remedy = f"give regrid={best} or a coarser one" if best else "take a finer source"
        raise InputError(
            f"{told}: {wanted[0]:.4g}° × {wanted[1]:.4g}° are finer than the source's "
            f"{own[0]:.4g}° × {own[1]:.4g}°, whose cells would come back as steps; {remedy}"
        )


def nearest_grid(row_ends: np.ndarray, column_ends: np.ndarray) -> str:
    """The grid, as ``regrid=`` takes it, that comes next to a source's; empty for none."""
    rows, columns = (
        int(around * (len(ends) - 1) / (ends[-1] - ends[0]) + 1e-6)
        for around, ends in ((180.0, row_ends), (360.0, column_ends))
    )
    name = f"{rows}x{columns // 4 * 4}"
    try:
        parse_grid(name)
    except InputError:
        return ""
    return name


def describe_regridding(target: Grid) -> str:
    """What a store says of it."""
    return (
        f"first-order conservative to {name_of(target)} latitudes × longitudes: means by area over "
        "each cell, of vectors by component, of the values that are there where they cover half"
    )
