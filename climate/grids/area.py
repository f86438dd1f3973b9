"""The part of a store's grid that a forecast covers, and its weights.

Shapes: ``H`` latitudes, ``W`` longitudes of the part; ``...`` any leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from vgbdm.errors import InputError


@dataclass(frozen=True)
class Area:
    """Rows and columns of a larger grid: all of it, or a box.

    Attributes:
        lat: (H,) degrees north.
        lon: (W,) degrees east.
        rows: (H,) their places in the grid.
        columns: (W,) their places in the grid.
        whole: whether these are all rows and columns, in order.
        kept: (H, W) points that count, where some are masked; None: all.
    """

    lat: np.ndarray
    lon: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    whole: bool
    kept: np.ndarray | None = None

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

    @cached_property
    def weights(self) -> np.ndarray:
        """(H,) cos φ scaled to sum 1 (WeatherBench)."""
        weights = np.clip(np.cos(np.deg2rad(self.lat)), 0, None)
        return weights / weights.sum()

    @cached_property
    def is_circle(self) -> bool:
        """Whether the longitudes go around the Earth, evenly: what a zonal spectrum needs."""
        steps = np.diff(self.lon)
        return len(self.lon) > 1 and bool(np.allclose(steps, 360.0 / len(self.lon), atol=1e-3))

    @cached_property
    def point_weights(self) -> np.ndarray:
        """Weights of the points that count, sum 1 over a map: (H, 1), or (H, W) where masked."""
        rows = self.weights[:, None] / len(self.lon)
        if self.kept is None:
            return rows
        weights = np.where(self.kept, rows, 0.0)
        return np.asarray(weights / weights.sum())

    def without(self, mask: np.ndarray | None, what: str) -> Area:
        """The same part for a channel of which some points are masked.

        Args:
            mask: (grid H, grid W); None: no mask.
            what: channel and forecast, for the message.

        Raises:
            InputError: if no point is left.
        """
        hidden = None if mask is None else self.cut(mask)
        if hidden is None or not hidden.any():
            return self
        if hidden.all():
            raise InputError(
                f"{what}: is masked on all points of this area; choose another area, or a store "
                "without it"
            )
        return replace(self, kept=~hidden)

    def cut(self, field: np.ndarray) -> np.ndarray:
        """The part of fields (..., grid H, grid W): (..., H, W)."""
        return field if self.whole else field[..., self.rows[:, None], self.columns]

    @cached_property
    def row_weights(self) -> np.ndarray:
        """(H,) what a point that counts adds to an area mean, by its row."""
        rows = self.weights / len(self.lon)
        return rows if self.kept is None else np.asarray(rows / (self.kept.sum(-1) @ rows))

    def blank(self, fields: np.ndarray) -> np.ndarray:
        """Fields (..., H, W) with 0 at the points that do not count; others as they are."""
        return fields if self.kept is None else np.where(self.kept, fields, fields.dtype.type(0))

    def mean(self, fields: np.ndarray) -> np.ndarray:
        """Area-weighted mean (...) float64 of fields (..., H, W) that are `blank`.

        A row is summed in the precision of the fields, rows in float64.
        """
        return np.asarray((fields @ np.ones(fields.shape[-1], fields.dtype)) @ self.row_weights)

    def mean_product(self, fields: np.ndarray, others: np.ndarray) -> np.ndarray:
        """The same of the product of two."""
        return np.asarray(np.vecdot(fields, others) @ self.row_weights)
