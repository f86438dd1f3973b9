"""Cells around the points of a rectilinear grid, and how they share each other's areas.

A cell's area is the product of a difference of sines of latitude and one of longitudes, and so are
the areas that two cells share: rows and columns are worked out apart.

Shapes: ``n`` points along an axis, ``m`` points of another grid along it. Degrees.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array, csr_array

CLOSED = 1e-6
"""Degrees by which a further row may miss a pole and still lie on it."""
SEAM = 1.5
"""Usual gaps between columns up to which the last one and the first one are neighbours."""
MEETING = 1e-3
"""Of a cell: bounds that are this near to each other are one (float32)."""
NOTHING = 1e-9
"""Of a cell: what is shared by rounding alone."""
TURNS = 360.0 * np.arange(-2, 3)


def row_edges(lat: np.ndarray) -> np.ndarray:
    """Edges (n + 1,) of rows (n,) that ascend: midway, and at a pole that no further row reaches.

    Beyond the outermost rows of a box they are as far as within it.
    """
    edges = _midway(lat)
    south, north = 2 * lat[0] - lat[1], 2 * lat[-1] - lat[-2]
    if south < -90 - CLOSED:
        edges[0] = -90.0
    if north > 90 + CLOSED:
        edges[-1] = 90.0
    return edges.clip(-90, 90)


def column_edges(lon: np.ndarray) -> np.ndarray:
    """Edges (n + 1,) of columns (n,) that ascend: midway, also across the seam of a circle."""
    edges = _midway(lon)
    seam = lon[0] + 360.0 - lon[-1]
    if seam <= SEAM * np.median(np.diff(lon)):
        edges[0] = lon[0] - seam / 2
        edges[-1] = edges[0] + 360.0
    return edges


def _midway(points: np.ndarray) -> np.ndarray:
    middle = (points[1:] + points[:-1]) / 2
    ends = 2 * points[0] - middle[0], 2 * points[-1] - middle[-1]
    return np.concatenate((ends[:1], middle, ends[1:]))


def edges_of_bounds(bounds: np.ndarray, points: np.ndarray, around: bool) -> np.ndarray | None:
    """Edges (n + 1,) of cells (n, 2) by their bounds; None where these make no row of cells.

    Args:
        bounds: of each cell, in either order.
        points: (n,) that ascend and lie in the cells.
        around: whether they are longitudes, which are the same after a turn.
    """
    low, high = np.sort(bounds.astype(np.float64), 1).T
    if around:
        turns = 360.0 * np.round((points - (low + high) / 2) / 360.0)
        low, high = low + turns, high + turns
    else:
        low, high = low.clip(-90, 90), high.clip(-90, 90)
    slack = MEETING * (high - low).min()
    apart = np.abs(high[:-1] - low[1:])
    whole = 360.0 if around else 180.0
    held = np.isfinite(bounds).all() and slack > 0 and (apart <= slack).all()
    if not held or (points < low - slack).any() or (points > high + slack).any():
        return None
    edges = np.concatenate((low[:1], (high[:-1] + low[1:]) / 2, high[-1:]))
    span = edges[-1] - edges[0]
    if around and abs(span - whole) <= slack:
        edges[-1] = edges[0] + whole
    return edges if span <= whole + slack else None


def shared(source: np.ndarray, target: np.ndarray, around: bool) -> csr_array:
    """Which share of each target cell lies in which source cell, (m, n).

    Args:
        source: edges (n + 1,), ascending; of rows their sines.
        target: edges (m + 1,) alike.
        around: whether they are longitudes.
    """
    found = []
    for turn in TURNS if around else (0.0,):
        edges = source + turn
        cuts = np.unique(np.concatenate((edges, target)))
        middle = (cuts[1:] + cuts[:-1]) / 2
        to, of = (np.searchsorted(ends, middle) - 1 for ends in (target, edges))
        both = (to >= 0) & (to < len(target) - 1) & (of >= 0) & (of < len(edges) - 1)
        found.append((np.diff(cuts)[both], to[both], of[both]))
    widths, to, of = (np.concatenate(parts) for parts in zip(*found, strict=True))
    share = widths / np.diff(target)[to]
    kept = share > NOTHING
    shape = len(target) - 1, len(source) - 1
    return coo_array((share[kept], (to[kept], of[kept])), shape=shape).tocsr()
