"""Regions: latitude–longitude boxes, with a halo, and the points of a grid that they hold.

Shapes: ``H`` latitudes, ``W`` longitudes of a grid; ``h``, ``w`` those of a box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vgbdm.errors import InputError
from vgbdm.registry.marks import model_part

REGIONS: dict[str, tuple[float, float, float, float]] = {
    "NorthAmerica": (15, 65, 220, 300),
    "SouthAmerica": (-55, 20, 270, 330),
    "Europe": (30, 65, 0, 40),
    "SouthAsia": (-15, 45, 25, 110),
    "EastAsia": (5, 65, 70, 150),
    "Australia": (-50, 10, 100, 180),
}
"""South, north, west, east in degrees (docs/method/weather.md#regional-boxes)."""
MIN_SIDE = 8
"""Rows and columns, halo included, below which no wave is left to resolve on a box."""
MIN_REGION_POINTS = 4
"""Rows and columns that a box must have without its halo."""
SLACK = 1e-6
"""Degrees by which a grid point may miss a border and still lie on it."""


@dataclass(frozen=True)
class Cut:
    """The points of a grid that lie in a box and its halo.

    Attributes:
        rows: of the latitudes (h).
        columns: (w,) indices into the longitudes, eastwards; they may go around the circle.
        lon: (w,) their longitudes, increasing without a jump; west of Greenwich below 0.
        interior: where the box lies in them: rows, columns.
    """

    rows: slice
    columns: np.ndarray
    lon: np.ndarray
    interior: tuple[slice, slice]


@model_part
@dataclass(frozen=True)
class Region:
    """A box of latitudes and longitudes, ends included, and the halo a model sees around it.

    Attributes:
        name: of the region.
        south: degrees north.
        north: degrees north.
        west: degrees east; beyond ``east`` where the box crosses Greenwich.
        east: degrees east.
        halo: grid points around the box; fewer towards a pole, never its outermost row.
    """

    name: str
    south: float
    north: float
    west: float
    east: float
    halo: int

    def attributes(self) -> dict[str, Any]:
        """What a forecast says of it: the name, and the box in degrees."""
        return {"region": self.name, "region_box": [self.south, self.north, self.west, self.east]}

    def cut(self, lat: np.ndarray, lon: np.ndarray) -> Cut:
        """Where the box lies on a global grid, or on that of a store which holds a box around it.

        Args:
            lat: (H,) degrees north, ascending.
            lon: (W,) degrees east, evenly spaced: from 0 around the circle, or of a box.

        Raises:
            InputError: if it holds too few points, reaches a pole, spans all longitudes, or is not
                wholly inside the grid.
        """
        inside, columns = self._points(lat, lon)
        if min(len(inside), len(columns)) < MIN_REGION_POINTS:
            raise InputError(
                f"region={self.name}: {len(inside)} × {len(columns)} points of this grid; at least "
                f"{MIN_REGION_POINTS} × {MIN_REGION_POINTS} are needed, choose a larger box"
            )
        spacing = (lon[-1] - lon[0]) / (len(lon) - 1)
        width = len(columns) + 2 * self.halo
        if width >= 360.0 / spacing - SLACK:
            raise InputError(
                f"region={self.name}: with a halo of {self.halo} it spans all longitudes; take "
                "task=hourly, or a narrower box"
            )
        start = int(columns[0]) - self.halo
        if len(lon) * spacing > 360.0 - spacing / 2:
            first, last = self._rows_of_globe(lat, inside)
            eastwards = lon[start % len(lon)] + spacing * np.arange(width)
            eastwards = eastwards - 360.0 if eastwards[-1] >= 360.0 else eastwards
        else:
            first, last = self._rows_of_box(lat, inside)
            self._check_inside(lat, lon, start, width)
            eastwards = lon[start : start + width]
        return Cut(
            slice(first, last + 1),
            np.arange(start, start + width) % len(lon),
            eastwards,
            (
                slice(int(inside[0] - first), int(inside[-1] - first) + 1),
                slice(self.halo, self.halo + len(columns)),
            ),
        )

    def inside(self, lat: np.ndarray, lon: np.ndarray) -> tuple[slice, slice]:
        """Rows and columns of the box without its halo, on a grid that covers both (`Cut.lon`)."""
        rows, columns = self._points(lat, lon)
        return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)

    def _points(self, lat: np.ndarray, lon: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of a grid that lie in the box, and columns eastwards from its west."""
        rows = np.flatnonzero((lat >= self.south - SLACK) & (lat <= self.north + SLACK))
        offset = (lon - self.west + SLACK) % 360.0
        order = np.argsort(offset)
        return rows, order[offset[order] <= (self.east - self.west) % 360.0 + 2 * SLACK]

    def _rows_of_globe(self, lat: np.ndarray, inside: np.ndarray) -> tuple[int, int]:
        """First and last row with the halo, never the outermost ones."""
        if inside[0] == 0 or inside[-1] == len(lat) - 1:
            raise InputError(
                f"region={self.name}: reaches a pole; stay between {lat[1]:g} and {lat[-2]:g} north"
            )
        first, last = inside[0] - self.halo, inside[-1] + self.halo
        return int(max(first, 1)), int(min(last, len(lat) - 2))

    def _rows_of_box(self, lat: np.ndarray, inside: np.ndarray) -> tuple[int, int]:
        """First and last row with the halo, on a grid that is a box itself.

        Where the box ends one row short of a pole, the halo does too.
        """
        spacing, first, last = lat[1] - lat[0], inside[0] - self.halo, inside[-1] + self.halo
        short_south = lat[0] + 90.0 < 1.75 * spacing
        short_north = 90.0 - lat[-1] < 1.75 * spacing
        if (first < 0 and not short_south) or (last >= len(lat) and not short_north):
            raise self._outside(lat, "north")
        return int(max(first, 0)), int(min(last, len(lat) - 1))

    def _check_inside(self, lat: np.ndarray, lon: np.ndarray, start: int, width: int) -> None:
        """Refuse what a grid that is a box itself does not hold."""
        d_lat, d_lon = lat[1] - lat[0], lon[1] - lon[0]
        if lat[0] - d_lat > self.south - SLACK or lat[-1] + d_lat < self.north + SLACK:
            raise self._outside(lat, "north")
        reach = (self.east - self.west) % 360.0
        west = (lon[0] - self.west + 180.0) % 360.0 - 180.0
        if start < 0 or start + width > len(lon):
            raise self._outside(lon, "east")
        if west - d_lon > -SLACK or west + d_lon * len(lon) < reach + SLACK:
            raise self._outside(lon, "east")

    def _outside(self, axis: np.ndarray, direction: str) -> InputError:
        return InputError(
            f"region={self.name}: with a halo of {self.halo} it is not inside the store, which "
            f"holds {axis[0]:g} to {axis[-1]:g} {direction}; choose a smaller region or halo, or "
            "convert a larger region"
        )


def parse_region(value: str | Sequence[float], halo: int) -> Region:
    """A region by name, or as [south, north, west, east] in degrees.

    Raises:
        InputError: for a name that is unknown, or numbers that make no box.
    """
    if halo < 0:
        raise InputError(f"halo={halo}: want 0 or more grid points")
    if isinstance(value, str):
        names = {name.lower(): name for name in REGIONS}
        name = names.get(value.lower().replace(" ", "").replace("_", ""))
        if name is None:
            raise InputError(
                f"region={value}: unknown; there are {', '.join(REGIONS)}, and boxes such as "
                "[30,65,350,40] (south, north, west, east)"
            )
        return Region(name, *REGIONS[name], halo)
    text = f"region={list(value)}"
    try:
        south, north, west, east = (float(number) for number in value)
    except (TypeError, ValueError):
        raise InputError(f"{text}: want [south, north, west, east] in degrees") from None
    if not (-90 <= south < north <= 90 and -180 <= west <= 360 and -180 <= east <= 360):
        raise InputError(f"{text}: want -90 ≤ south < north ≤ 90 and degrees east from -180 to 360")
    if (east - west) % 360.0 == 0:
        raise InputError(f"{text}: has no width, or spans all longitudes; take task=hourly for it")
    return Region(f"[{south:g},{north:g},{west:g},{east:g}]", south, north, west, east, halo)
