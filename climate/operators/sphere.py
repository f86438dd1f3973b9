"""The sphere: gradient and divergence, spherical harmonics.

A grid covers the globe or a box; the modal operators of a box are in
`climate.operators.limited_area`.

Shapes: ``...`` any leading axes, ``H`` latitudes (ascending), ``W`` longitudes (from 0),
``M`` zonal wavenumbers 0…N, ``L`` degrees 0…N. Lengths in metres, angles in degrees at the border.

Vectors are differentiated through their three Cartesian components, which are smooth where the
eastward and northward components are not: at the poles.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from climate.conventions.earth import EARTH_RADIUS
from climate.grids.grid import Grid
from climate.operators.harmonics import harmonics_of
from vgbdm.errors import InputError
from vgbdm.registry.marks import model_part


def tangent_basis(grid: Grid) -> tuple[Tensor, Tensor]:
    """Unit vectors to the east and to the north in Cartesian components: two of (3, H, W)."""
    phi = torch.deg2rad(torch.from_numpy(grid.lat))[:, None]
    lam = torch.deg2rad(torch.from_numpy(grid.lon))[None, :]
    one = torch.ones_like(phi)
    east = torch.stack((-lam.sin() * one, lam.cos() * one, 0 * lam * one))
    north = torch.stack((-phi.sin() * lam.cos(), -phi.sin() * lam.sin(), phi.cos() + 0 * lam))
    return east, north


class TangentBasis(nn.Module):
    """Tangent vectors and their Cartesian components on a grid; base of both kinds of ∇."""

    east: Tensor
    north: Tensor

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        east, north = tangent_basis(grid)
        self.register_buffer("east", east.float(), persistent=False)
        self.register_buffer("north", north.float(), persistent=False)

    def to_cartesian(self, east: Tensor, north: Tensor) -> Tensor:
        """Tangent vectors, two of (..., H, W), as Cartesian components (..., 3, H, W)."""
        return torch.addcmul(east.unsqueeze(-3) * self.east, north.unsqueeze(-3), self.north)

    def to_tangent(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Project Cartesian (..., 3, H, W) on the tangent plane: east, north (..., H, W)."""
        return (vector * self.east).sum(-3), (vector * self.north).sum(-3)

    def gradient(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """∇ of scalars (..., H, W): eastward and northward parts, per metre."""
        raise AssertionError("an operator defines its gradient")

    def divergence(self, east: Tensor, north: Tensor) -> Tensor:
        """∇·v = Σ_i e_i·∇v_i over the Cartesian components v_i of the tangent vector v.

        Args:
            east: eastward component (..., H, W).
            north: northward component (..., H, W).

        Returns:
            (..., H, W) in units of the vector per metre.
        """
        d_east, d_north = self.gradient(self.to_cartesian(east, north))
        return (d_east * self.east + d_north * self.north).sum(-3)


class ModalOperators(TangentBasis):
    """Derivatives of the part of a field that some modes span: P projects on it.

    Coefficients are (K, 2·n, L), n the leading axes of the fields: each subclass says
    what K and L count and what the two halves are.

    Attributes:
        truncation: N: no mode varies faster than a harmonic of this degree.
        radius: of the sphere, m.
    """

    truncation: int
    radius: float

    def analysis(self, field: Tensor) -> Tensor:
        """Coefficients (K, 2·n, L) of scalars (..., H, W), n the leading axes."""
        raise AssertionError("a kind of modes defines its analysis")

    def synthesis(self, coefficients: Tensor) -> Tensor:
        """Fields (n, H, W) of coefficients (K, 2·n, L)."""
        raise AssertionError("a kind of modes defines its synthesis")

    def gradient_of(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """∇ of the fields with coefficients (K, 2·n, L): east and north, each (n, H, W)."""
        raise AssertionError("a kind of modes defines its gradient")

    def laplacian(self, coefficients: Tensor, power: int = 1) -> Tensor:
        """∇² applied ``power`` times to coefficients (K, 2·n, L), per metre^(2·power)."""
        raise AssertionError("a kind of modes defines its Laplacian")

    def confine(
        self, east: Tensor, north: Tensor, divergence: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The part of a wind that stays inside: all of it on the globe.

        Args:
            east: eastward component (..., H, W).
            north: northward component (..., H, W).
            divergence: of both (..., H, W).

        Returns:
            The same three of the confined wind.
        """
        return east, north, divergence

    def skew_advection(
        self,
        wind: tuple[Tensor, Tensor, Tensor],
        field: Tensor,
        gradient: tuple[Tensor, Tensor],
    ) -> Tensor:
        """P[c·∇x + ½ x ∇·c], which moves the square of x about and creates none.

        Args:
            wind: c to the east and to the north, and its divergence, each (..., H, W).
            field: x (..., H, W).
            gradient: of x, to the east and to the north.

        Returns:
            Coefficients (K, 2·n, L), per second where the wind is in m/s.
        """
        east, north, divergence = wind
        moved = torch.addcmul(east * gradient[0], north, gradient[1])
        return self.analysis(torch.addcmul(moved, divergence, field, value=0.5))

    def project(self, field: Tensor) -> Tensor:
        """The part of (..., H, W) that the modes span, same shape."""
        return self.synthesis(self.analysis(field)).reshape(field.shape)

    def gradient(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """∇ of the projection of scalars (..., H, W): eastward and northward parts, per metre."""
        east, north = self.gradient_of(self.analysis(field))
        return east.reshape(field.shape), north.reshape(field.shape)


class SpectralOperators(ModalOperators):
    """Derivatives through spherical harmonics up to a truncation, exact below it.

    Analysis is an area-weighted least-squares fit per zonal wavenumber. Legendre functions are
    torch-harmonics', evaluated at this grid's own latitudes. Tables are made in float64 and applied
    in float32, also under autocast; those of fine grids are kept in a cache, see
    `climate.operators.table_cache`.

    Args:
        grid: the grid.
        truncation: largest degree N kept; by default ⌊(W-1)/3⌋, bounded by the latitudes.
        radius: of the sphere, m.
    """

    degree: Tensor

    def __init__(
        self, grid: Grid, truncation: int | None = None, radius: float = EARTH_RADIUS
    ) -> None:
        super().__init__(grid)
        height, width = len(grid.lat), len(grid.lon)
        limit = min((width - 1) // 2, height - (3 if grid.includes_poles else 1))
        self.truncation = min((width - 1) // 3, limit) if truncation is None else truncation
        if not 0 < self.truncation <= limit:
            raise InputError(
                f"truncation={self.truncation}: a {height}×{width} grid resolves 1 to {limit}"
            )
        self.radius = radius
        self.harmonics = harmonics_of(grid, self.truncation, radius)
        self.register_buffer("degree", torch.arange(self.truncation + 1.0), persistent=False)

    def analysis(self, field: Tensor) -> Tensor:
        """Harmonic coefficients of scalars (..., H, W): (M, 2·n, L) with n the leading axes."""
        with torch.autocast(field.device.type, enabled=False):
            return self.harmonics.analysis(field.float().reshape(-1, *field.shape[-2:]))

    def synthesis(self, coefficients: Tensor) -> Tensor:
        """Fields (n, H, W) of coefficients (M, 2·n, L)."""
        with torch.autocast(coefficients.device.type, enabled=False):
            return self.harmonics.synthesis(coefficients)

    def gradient_of(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """∇ of the fields with coefficients (M, 2·n, L): east and north, each (n, H, W)."""
        with torch.autocast(coefficients.device.type, enabled=False):
            return self.harmonics.gradient(coefficients)

    def laplacian(self, coefficients: Tensor, power: int = 1) -> Tensor:
        """∇² applied ``power`` times to coefficients (M, 2·n, L), per metre^(2·power)."""
        return coefficients * (-self.degree * (self.degree + 1) / self.radius**2) ** power


@model_part
class FiniteDifferenceOperators(TangentBasis):
    """Fourth-order central differences.

    On the globe the halo across a pole is the row on its other side, and on rows at a pole the
    eastward derivative is the northward one a quarter turn away. At the edges of a box the halo
    continues the cubic through the four points inside: one-sided differences of third order.

    Args:
        grid: the grid.
        radius: of the sphere, m.
    """

    inverse_dx: Tensor

    def __init__(self, grid: Grid, radius: float = EARTH_RADIUS) -> None:
        super().__init__(grid)
        self.poles = grid.includes_poles
        self.quarter = len(grid.lon) // 4
        spacing_north = math.radians(grid.lat[1] - grid.lat[0]) * radius
        spacing_east = math.radians(grid.lon[1] - grid.lon[0]) * radius
        cosine = np.cos(np.deg2rad(grid.lat))
        inverse = np.where(cosine > 1e-9, 1.0 / np.maximum(cosine, 1e-9), 0.0) / spacing_east
        self.inverse_dy = 1.0 / spacing_north
        self.register_buffer("inverse_dx", torch.from_numpy(inverse).float()[:, None], False)

    def _around_globe(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """Two more rows at each end (..., H+4, W), two more columns (..., H, W+4)."""
        first = 1 if self.poles else 0
        opposite = field.roll(2 * self.quarter, -1)
        south = opposite[..., first : first + 2, :].flip(-2)
        stop = field.shape[-2] - first
        north = opposite[..., stop - 2 : stop, :].flip(-2)
        rows = torch.cat((south, field, north), -2)
        return rows, torch.cat((field[..., -2:], field, field[..., :2]), -1)

    def gradient(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """∇ of scalars (..., H, W): eastward and northward parts, per metre."""
        with torch.autocast(field.device.type, enabled=False):
            if self.poles is None:
                rows, columns = beyond_edges(field.mT).mT, beyond_edges(field)
            else:
                rows, columns = self._around_globe(field)
            north = central_difference(rows.mT).mT * self.inverse_dy
            east = central_difference(columns) * self.inverse_dx
            if self.poles:
                south_row = north[..., :1, :].roll(-self.quarter, -1)
                north_row = north[..., -1:, :].roll(self.quarter, -1)
                east = torch.cat((south_row, east[..., 1:-1, :], north_row), -2)
            return east, north


def central_difference(padded: Tensor) -> Tensor:
    """Fourth-order difference along the last axis, per spacing: (..., n+4) → (..., n)."""
    near = padded[..., 3:-1] - padded[..., 1:-3]
    return (8 * near - (padded[..., 4:] - padded[..., :-4])) / 12


def beyond_edges(field: Tensor) -> Tensor:
    """Two more points at each end, on the cubic through the last four: (..., n) → (..., n+4)."""
    before, after = _continued(field[..., :4]), _continued(field[..., -4:].flip(-1))
    return torch.cat((before.flip(-1), field, after), -1)


def _continued(inwards: Tensor) -> Tensor:
    """Four points of a cubic (..., 4) → the two before them, the near one first."""
    first, second, third, fourth = inwards.unbind(-1)
    near = 4 * (first + third) - 6 * second - fourth
    far = 4 * (near + second) - 6 * first - third
    return torch.stack((near, far), -1)
