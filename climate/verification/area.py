"""The part of a store's grid that a forecast covers, and its weights.

Shapes: ``H`` latitudes, ``W`` longitudes of the part; ``...`` any leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Area:
    """Rows and columns of a larger grid: all of it, or a box.

    Attributes:
        lat: (H,) degrees north.
        lon: (W,) degrees east.
        rows: (H,) their places in the grid.
        columns: (W,) their places in the grid.
        whole: whether these are all rows and columns, in order.
    """

    lat: np.ndarray
    lon: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    whole: bool

    @classmethod
    def of(
        cls, lat: np.ndarray, lon: np.ndarray, grid_lat: np.ndarray, grid_lon: np.ndarray
    ) -> Area | None:
        """Where ``lat`` and ``lon`` lie in a grid; None if one of them is not a line of it.

        Longitudes are compared modulo 360, so a box may cross the meridian the grid starts at.
        """
        rows = np.abs(grid_lat - lat[:, None])
        columns = np.abs((grid_lon - lon[:, None] + 180.0) % 360.0 - 180.0)
        if (rows.min(1) > 1e-4).any() or (columns.min(1) > 1e-4).any():
            return None
        places = rows.argmin(1), columns.argmin(1)
        whole = np.array_equal(places[0], np.arange(len(grid_lat))) and np.array_equal(
            places[1], np.arange(len(grid_lon))
        )
        return cls(lat, lon, *places, whole)

    @property
    def weights(self) -> np.ndarray:
        """(H,) cos φ scaled to sum 1 (WeatherBench)."""
        weights = np.clip(np.cos(np.deg2rad(self.lat)), 0, None)
        return weights / weights.sum()

    @property
    def is_circle(self) -> bool:
        """Whether the longitudes go around the Earth, evenly: what a zonal spectrum needs."""
        steps = np.diff(self.lon)
        return len(self.lon) > 1 and bool(np.allclose(steps, 360.0 / len(self.lon), atol=1e-3))

    def cut(self, field: np.ndarray) -> np.ndarray:
        """The part of fields (..., grid H, grid W): (..., H, W)."""
        return field if self.whole else field[..., self.rows[:, None], self.columns]

    def mean(self, field: np.ndarray) -> np.ndarray:
        """Area-weighted mean of (..., H, W)."""
        return np.asarray(field.mean(-1) @ self.weights)
