"""Regular latitude–longitude grids and their weights; without torch, which conversion does without.

Shapes: ``H`` latitudes (ascending), ``W`` longitudes. Angles in degrees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vgbdm.errors import InputError


@dataclass(frozen=True)
class Grid:
    """A regular latitude–longitude grid: the globe, with rows at the poles or not, or a box.

    Attributes:
        lat: (H,) degrees north, ascending, evenly spaced; on the globe symmetric about the equator.
        lon: (W,) degrees east, evenly spaced; on the globe from 0 around the whole circle, W
            divisible by 4. A box spans neither all latitudes nor all longitudes.
        halo: points along each edge of a box that surround what it is about.

    Raises:
        InputError: where the coordinates are anything else.
    """

    lat: np.ndarray
    lon: np.ndarray
    halo: int = 0

    def __post_init__(self) -> None:
        lat, lon = np.asarray(self.lat, np.float64), np.asarray(self.lon, np.float64)
        object.__setattr__(self, "lat", lat)
        object.__setattr__(self, "lon", lon)
        if self.is_global:
            self._check_globe(lat, lon)
        else:
            self._check_box(lat, lon)

    @property
    def is_global(self) -> bool:
        """Whether it covers all longitudes or all latitudes; else it is a box."""
        around = self.lon[-1] - self.lon[0] > 360.0 * (1 - 1.5 / len(self.lon))
        return bool(around or self.lat[-1] - self.lat[0] > 180.0 * (1 - 1.5 / len(self.lat)))

    @staticmethod
    def _check_box(lat: np.ndarray, lon: np.ndarray) -> None:
        even = all(
            len(axis) > 1
            and np.allclose(np.diff(axis), (axis[-1] - axis[0]) / (len(axis) - 1), atol=1e-3)
            for axis in (lat, lon)
        )
        if not even or not lat[0] < lat[-1] or not lon[0] < lon[-1]:
            raise InputError("grid: not regular; latitudes and longitudes must be evenly spaced")
        if max(-lat[0], lat[-1]) > 90 - 1e-3:
            raise InputError("grid: a box cannot hold a pole; leave out its row")

    @staticmethod
    def _check_globe(lat: np.ndarray, lon: np.ndarray) -> None:
        d_lat, width = 180.0 / len(lat), len(lon)
        ends = (lat[0], lat[-1])
        centred = np.allclose(ends, (-90 + d_lat / 2, 90 - d_lat / 2), atol=1e-3)
        if not centred and not np.allclose(ends, (-90, 90), atol=1e-3):
            raise InputError(
                f"grid: latitudes {lat[0]:g}…{lat[-1]:g} do not span the globe (cell centres or "
                "poles included); give a global regular grid"
            )
        even = np.allclose(np.diff(lat), (lat[-1] - lat[0]) / (len(lat) - 1), atol=1e-3)
        shifted = lon - lon[0]
        if even and lon[0] > 1e-3 and np.allclose(shifted, np.arange(width) * 360.0 / width,
                                                  atol=1e-3):  # fmt: skip
            raise InputError(
                f"grid: longitudes must start at 0, they start at {lon[0]:g}; regrid them to 0, "
                f"{360 / width:g} …"
            )
        if not even or not np.allclose(lon, np.arange(width) * 360.0 / width, atol=1e-3):
            raise InputError("grid: not regular; latitudes and longitudes must be evenly spaced")
        if width % 4:
            raise InputError(f"grid: {width} longitudes; a multiple of 4 is needed at the poles")

    @property
    def includes_poles(self) -> bool | None:
        """Whether the first and last rows lie on the poles; None on a box, which ends at edges."""
        return bool(self.lat[-1] > 90 - 1e-3) if self.is_global else None

    @property
    def area_weights(self) -> np.ndarray:
        """(H,) cos φ scaled to mean 1: the weights of scores (WeatherBench)."""
        weights = np.clip(np.cos(np.deg2rad(self.lat)), 0, None)
        return weights / weights.mean()

    @property
    def cell_weights(self) -> np.ndarray:
        """(H,) areas of the cells around the rows scaled to mean 1: the weights of losses.

        Cells end midway between rows and at the poles. Elsewhere their areas go as cos φ; rows
        at the poles have that of a cap, where cos φ is 0 and nothing would be learned.
        """
        if not self.includes_poles:
            return self.area_weights
        edges = np.concatenate(([-90.0], (self.lat[1:] + self.lat[:-1]) / 2, [90.0]))
        areas = np.diff(np.sin(np.deg2rad(edges)))
        return np.asarray(areas / areas.mean())

    @property
    def quadrature_weights(self) -> np.ndarray:
        """(H,) weights of the spherical mean, sum 1, exact for harmonics of degree < H.

        Fejér's first rule on cell centres, Clenshaw–Curtis where the poles are included
        (Waldvogel 2006): solved for from the exact integrals of the Legendre polynomials.
        """
        height = len(self.lat)
        polynomials = np.polynomial.legendre.legvander(np.sin(np.deg2rad(self.lat)), height - 1)
        exact = np.zeros(height)
        exact[0] = 1.0
        return np.linalg.solve(polynomials.T, exact)
