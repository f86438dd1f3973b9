"""How the rows and columns of a stored grid become those of every source.

Latitudes come from either pole, longitudes from 0 or from -180. A grid that is not regular is
refused where it is not regridded.

Shapes: ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from climate.grids.cells import column_edges, edges_of_bounds, row_edges
from climate.grids.grid import Grid
from climate.grids.named import parse_grid
from climate.grids.regridding import nearest_grid, regridding
from climate.sources.axes import CYCLIC, REGRID, Part, read_from
from vgbdm.errors import InputError


@dataclass(frozen=True)
class Arranged:
    """The rows and columns of a rectilinear grid, and where they are stored.

    Attributes:
        lat: (H,) ascending.
        lon: (W,) eastwards from 0, or from the west of a box.
        rows: (H,) indices of the stored latitudes.
        columns: (W,) indices of the stored longitudes.
    """

    lat: np.ndarray
    lon: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


def arrange(lat: np.ndarray, lon: np.ndarray, where: str) -> Arranged:
    """Latitudes ascending, longitudes eastwards from 0 or from the west of a box.

    Raises:
        InputError: one line, where there are fewer than two of one, or one comes twice.
    """
    rows = np.argsort(lat, kind="stable")
    east = lon % 360.0
    east = np.where(east > 360.0 - CYCLIC, east - 360.0, east)
    columns = np.argsort(east, kind="stable")
    for name, points in (("latitude", lat[rows]), ("longitude", east[columns])):
        if len(points) < 2:
            raise InputError(f"{where}: grid: one {name} alone; give a grid of at least two")
        gaps = np.diff(points)
        if gaps.min() < CYCLIC:
            value = points[gaps.argmin()]
            raise InputError(f"{where}: {name} {value:g} comes twice; drop one first")
    if max(-lat.min(), lat.max()) > 90.0 + CYCLIC:
        raise InputError(f"{where}: latitudes beyond ±90; mend their numbers")
    gaps = np.diff(east[columns])
    if gaps.max() > 1.5 * np.median(gaps):  # a box across Greenwich
        start = int(gaps.argmax()) + 1
        columns = np.roll(columns, -start)
        east = np.where(east >= east[columns[0]], east - 360.0, east)
    return Arranged(lat[rows], east[columns], rows, columns)


def orient(lat: np.ndarray, lon: np.ndarray, where: str) -> tuple[Grid, Arranged]:
    """The grid of stored latitudes and longitudes, and how it is stored.

    Raises:
        InputError: one line, for a grid that is not regular.
    """
    held = arrange(lat, lon, where)
    spacing = np.diff(held.lat)
    if len(lat) > 2 and not np.allclose(spacing, spacing.mean(), atol=1e-3):
        kind = "a Gaussian" if _is_gaussian(held.lat) else "an irregular"
        text = f"{where}: {kind} grid of {len(lat)} latitudes"
        raise InputError(f"{text}; {_regrid_hint(held) or REGRID}")
    try:
        return Grid(held.lat, held.lon), held
    except InputError as error:
        hint, (text, _, remedy) = _regrid_hint(held), str(error).partition(";")
        raise InputError(f"{where}: {text};{f' {hint}' if hint else remedy}") from None


def _regrid_hint(held: Arranged) -> str:
    """What to give to have a grid that is taken; empty where there is none."""
    ends = row_edges(held.lat), column_edges(held.lon)
    name = nearest_grid(*ends)
    try:
        regridding(*ends, parse_grid(name), f"regrid={name}")
    except InputError:
        return ""
    return f"give regrid={name}, or a coarser grid"


def cell_edges(part: Part, held: Arranged) -> tuple[np.ndarray, np.ndarray]:
    """Edges (H + 1,) and (W + 1,) of a part's cells as arranged: those it says, else midway.

    Raises:
        InputError: for bounds that are none.
    """
    found = []
    for k, (points, order, midway) in enumerate(
        ((held.lat, held.rows, row_edges), (held.lon, held.columns, column_edges))
    ):
        said = part.cells[k]
        if said is None:
            found.append(midway(points))
            continue
        name = ("latitudes", "longitudes")[k]
        alike = said.shape == (len(points), 2) and said.dtype.kind in "fiu"
        edges = None
        if alike:
            values = read_from(part.where, f"{part.where}: the bounds of its {name}", said)
            edges = edges_of_bounds(values[order], points, bool(k))
        if edges is None:
            raise InputError(
                f"{part.where}: the bounds of its {name} are no cells that meet and hold them; "
                "mend them, or remove that variable, e.g. by ncks -x -v"
            )
        found.append(edges)
    return found[0], found[1]


def _is_gaussian(lat: np.ndarray) -> bool:
    nodes = np.polynomial.legendre.leggauss(len(lat))[0]
    return bool(np.allclose(lat, np.rad2deg(np.arcsin(nodes)), atol=0.01))
