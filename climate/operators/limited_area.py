"""Modal operators of a box of the sphere, with the interface of the spherical harmonics.

A field is a sum of products Y(φ) X(λ). Along each side the functions are the cosines that have no
slope at the edges, as far as their wavelength is resolved, and two polynomials that take up the
slopes which a real field has there; without them the series of the gradient would not converge.
They are made orthonormal in the area-weighted inner product, so that the projection P is
orthogonal, as that of the harmonics is.

No truth comes in at the edges of a box. A wind that blew in there would carry in what the model
itself makes up, and would grow without bound; so the wind and the diffusion fade to nothing over
the halo, and the flux half of the skew advection is taken weakly, as minus the adjoint of the
gradient: it then conserves the square of a field on these functions to rounding.

Shapes: ``...`` leading axes, ``n`` their product, ``H`` latitudes, ``W`` longitudes, ``K``
functions of latitude, ``2·L`` functions of longitude.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from climate.conventions.earth import EARTH_RADIUS
from climate.grids.grid import Grid
from climate.grids.regions import MIN_SIDE
from climate.operators.sphere import ModalOperators, SpectralOperators
from vgbdm.errors import InputError

MIN_FADE = 2
"""Points over which the wind fades out where a grid has no halo."""


def modal_operators(grid: Grid, truncation: int | None) -> ModalOperators:
    """The operators of a grid: harmonics on the globe, cosines on a box.

    Args:
        grid: the grid.
        truncation: largest degree kept; None: ⌊(W-1)/3⌋, W longitudes around the circle.
    """
    kind = SpectralOperators if grid.is_global else LimitedAreaOperators
    return kind(grid, truncation)


class _Side(NamedTuple):
    """Functions along one side: of n points, m functions.

    Attributes:
        values: (n, m) orthonormal in the weights.
        slopes: (n, m) their derivatives per radian.
        fit: (m, n) their coefficients of a field.
        fade: (n,) of the wind: 0 at the edges, 1 inside the halo.
    """

    values: np.ndarray
    slopes: np.ndarray
    fit: np.ndarray
    fade: np.ndarray


def _side(count: int, spacing: float, degree: int, halo: int, weights: np.ndarray) -> _Side:
    """The functions of a side.

    Args:
        count: points.
        spacing: between them, radians.
        degree: largest harmonic degree whose wavelength is kept.
        halo: points over which the wind fades.
        weights: (n,) of the inner product, sum 1.
    """
    place = (np.arange(count) + 0.5) / count
    length = count * spacing
    waves = min(int(degree * length / math.pi), count - 4)
    waves -= (waves + 1) % 2  # an even number of functions: coefficients come in two halves
    angle = math.pi * np.outer(place, np.arange(waves + 1))
    middle = place - 0.5
    values = np.column_stack((np.cos(angle), middle, middle**2))
    wave = math.pi * np.arange(waves + 1)
    slopes = np.column_stack((-wave * np.sin(angle), np.ones(count), 2 * middle)) / length
    change = np.linalg.inv(np.linalg.qr(np.sqrt(weights)[:, None] * values).R)
    values = values @ change
    edge = (np.minimum(np.arange(count), np.arange(count)[::-1]) + 0.5) / max(halo, MIN_FADE)
    fade = np.sin(np.pi / 2 * np.minimum(edge, 1.0)) ** 2
    return _Side(values, slopes @ change, (values * weights[:, None]).T, fade)


class LimitedAreaOperators(ModalOperators):
    """Derivatives on a box.

    ``truncation`` is set to the degree N with N(N + 1)/R² ≥ the largest eigenvalue of
    -∇·(fade² ∇), so that Courant numbers and damping computed from it hold on the box too.

    Args:
        grid: a box.
        truncation: largest harmonic degree whose wavelength is kept along either side; by default
            that of a globe of the same spacing.
        radius: of the sphere, m.

    Raises:
        InputError: if the box has too few points, or does not resolve the truncation.
    """

    fit_y: Tensor
    fit_x: Tensor
    values_y: Tensor
    values_x: Tensor
    zonal_y: Tensor
    slopes_y: Tensor
    slopes_x: Tensor
    fade: Tensor
    weights: Tensor
    stretch_y: Tensor
    stiffness_y: Tensor
    mass_x: Tensor
    stiffness_x: Tensor

    def __init__(
        self, grid: Grid, truncation: int | None = None, radius: float = EARTH_RADIUS
    ) -> None:
        super().__init__(grid)
        height, width = len(grid.lat), len(grid.lon)
        if min(height, width) < MIN_SIDE:
            raise InputError(
                f"grid: a box of {height} × {width} points, halo included; at least {MIN_SIDE} × "
                f"{MIN_SIDE} are needed, choose a larger region or halo"
            )
        d_lat, d_lon = (math.radians(axis[1] - axis[0]) for axis in (grid.lat, grid.lon))
        around = round(2 * math.pi / d_lon)
        degree = (around - 1) // 3 if truncation is None else truncation
        if not 0 < degree <= (around - 1) // 2:
            raise InputError(f"truncation={degree}: this spacing resolves 1 to {(around - 1) // 2}")
        self.radius = radius
        y = _side(height, d_lat, degree, grid.halo, grid.area_weights / height)
        x = _side(width, d_lon, degree, grid.halo, np.full(width, 1.0 / width))
        cosine = np.cos(np.deg2rad(grid.lat))[:, None]
        area = (grid.area_weights / height * y.fade**2)[:, None]
        fade_x = x.fade[:, None] ** 2 / width
        tables = {
            "fit_y": y.fit,
            "fit_x": x.fit.T,
            "values_y": y.values,
            "values_x": x.values.T,
            "zonal_y": y.values / cosine / radius,
            "slopes_y": y.slopes / radius,
            "slopes_x": x.slopes.T,
            "fade": y.fade[:, None] * x.fade,
            "weights": (grid.area_weights / height / width)[:, None],
            # fade² ∂/∂λ ∂/∂λ / cos² and fade² ∂/∂φ ∂/∂φ between the functions, on the unit sphere
            "stretch_y": (y.values / cosine).T @ (area * y.values / cosine),
            "stiffness_y": y.slopes.T @ (area * y.slopes),
            "mass_x": x.values.T @ (fade_x * x.values),
            "stiffness_x": x.slopes.T @ (fade_x * x.slopes),
        }
        norms = {name: float(np.linalg.norm(tables[name], 2)) for name in list(tables)[-4:]}
        largest = norms["stretch_y"] * norms["stiffness_x"] + norms["stiffness_y"] * norms["mass_x"]
        self.truncation = math.ceil(math.sqrt(largest + 0.25) - 0.5)
        for name, table in tables.items():
            values = torch.from_numpy(table).float().contiguous()
            self.register_buffer(name, values, persistent=False)

    def analysis(self, field: Tensor) -> Tensor:
        """Coefficients of scalars (..., H, W): (K, 2·n, L) with n the leading axes."""
        with torch.autocast(field.device.type, enabled=False):
            flat = field.float().reshape(-1, *field.shape[-2:])
            return self._folded(self.fit_y @ flat @ self.fit_x)

    @staticmethod
    def _folded(square: Tensor) -> Tensor:
        """Coefficients (n, K, 2·L) as (K, 2·n, L): the halves of the second side, in order."""
        return square.unflatten(-1, (2, -1)).permute(1, 2, 0, 3).flatten(1, 2)

    @staticmethod
    def _unfolded(coefficients: Tensor) -> Tensor:
        """The opposite: (K, 2·n, L) → (n, K, 2·L)."""
        return coefficients.unflatten(1, (2, -1)).permute(2, 0, 1, 3).flatten(2)

    def synthesis(self, coefficients: Tensor) -> Tensor:
        """Fields (n, H, W) of coefficients (K, 2·n, L)."""
        with torch.autocast(coefficients.device.type, enabled=False):
            return self.values_y @ self._unfolded(coefficients) @ self.values_x

    def gradient_of(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """∇ of the fields with coefficients (K, 2·n, L): east and north, each (n, H, W)."""
        with torch.autocast(coefficients.device.type, enabled=False):
            square = self._unfolded(coefficients)
            east = self.zonal_y @ square @ self.slopes_x
            return east, self.slopes_y @ square @ self.values_x

    def laplacian(self, coefficients: Tensor, power: int = 1) -> Tensor:
        """∇·(fade² ∇), weakly and ``power`` times: symmetric and never positive.

        On the functions themselves, with no flux through the edges; inside the halo it is ∇².
        """
        with torch.autocast(coefficients.device.type, enabled=False):
            square = self._unfolded(coefficients)
            for _ in range(power):
                zonal = self.stretch_y @ square @ self.stiffness_x
                square = -(zonal + self.stiffness_y @ square @ self.mass_x) / self.radius**2
            return self._folded(square)

    def skew_advection(
        self,
        wind: tuple[Tensor, Tensor, Tensor],
        field: Tensor,
        gradient: tuple[Tensor, Tensor],
    ) -> Tensor:
        """P[½ c·∇x + ½ ∇·(c x)], the second half weakly: ⟨x, this⟩ = 0 for modal gradients."""
        with torch.autocast(field.device.type, enabled=False):
            east, north, _ = wind
            carried = self.analysis(east * gradient[0] + north * gradient[1])
            flux_east, flux_north = (
                (part * field * self.weights).reshape(-1, *field.shape[-2:])
                for part in (east, north)
            )
            zonal = self.zonal_y.mT @ flux_east @ self.slopes_x.mT
            inflow = zonal + self.slopes_y.mT @ flux_north @ self.values_x.mT
            return 0.5 * (carried - self._folded(inflow))

    def confine(
        self, east: Tensor, north: Tensor, divergence: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The wind faded out over the halo, and the divergence that it then has."""
        east, north = east * self.fade, north * self.fade
        return east, north, self.divergence(east, north)
