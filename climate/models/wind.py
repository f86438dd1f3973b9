"""Advecting winds as gradients of a stream function and a potential, bounded.

Shapes: ``B`` samples, ``G`` variables (a vector pair is one), ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from climate.operators.sphere import ModalOperators, TangentBasis

WIND_SHARE, WIND_DEGREE = 1 / 12, 8.0
"""A stream function of 1 at degree 8 is a wind of about a twelfth of its bound: 5 m/s of 60."""


Limit = TypeVar("Limit", float, Tensor)
"""One of all variables, or of each: (G, 1, 1)."""


def wind_unit(wind_limit: Limit) -> Limit:
    """The size of an ordinary wind, m/s, where the largest is ``wind_limit``."""
    return WIND_SHARE * wind_limit


def potential_unit(sphere: ModalOperators, wind_limit: Limit) -> Limit:
    """The unit of stream functions and potentials, m²/s."""
    return wind_unit(wind_limit) * (sphere.radius / WIND_DEGREE)


class Wind(NamedTuple):
    """The advecting wind of each variable: east, north (m/s) and divergence (1/s), (B, G, H, W)."""

    east: Tensor
    north: Tensor
    divergence: Tensor

    def courant(self, sphere: ModalOperators, seconds: float) -> Tensor:
        """Courant number (B,) at the smallest scale kept, of a step of so many seconds."""
        speed = (self.east.square() + self.north.square()).amax((1, 2, 3)).sqrt()
        return speed * (seconds * sphere.truncation / sphere.radius)


class Strain(NamedTuple):
    """How a wind deforms what it carries: with the divergence, the symmetric part of its gradient.

    Attributes:
        stretch: eastward derivative of the eastward part less northward of the northward, 1/s.
        shear: eastward derivative of the northward part and northward of the eastward, 1/s.
    """

    stretch: Tensor
    shear: Tensor


class Deformation(NamedTuple):
    """The gradient of a tangent vector on the sphere, in four parts, 1/s of winds."""

    divergence: Tensor
    vorticity: Tensor
    strain: Strain


def deformation(basis: TangentBasis, east: Tensor, north: Tensor) -> Deformation:
    """The gradient (..., H, W) of a tangent vector.

    Args:
        basis: of the tangent plane.
        east: (..., 3, H, W) eastward derivative of its Cartesian components.
        north: northward derivative of the same.
    """
    (east_east, north_east), (east_north, north_north) = map(basis.to_tangent, (east, north))
    strain = Strain(east_east - north_north, north_east + east_north)
    return Deformation(east_east + north_north, north_east - east_north, strain)


def strained(sphere: ModalOperators, wind: Wind) -> tuple[Tensor, ...]:
    """The parts of a wind and those of its strain, (B, G, H, W) each."""
    slopes = sphere.gradient(sphere.to_cartesian(wind.east, wind.north))
    return (*wind, *deformation(sphere, *slopes).strain)


def wind_of(
    sphere: ModalOperators, potentials: Tensor, divergence_limit: Tensor | None = None
) -> Wind:
    """The wind k×∇ψ + e ∇χ, e = 1 or a factor per sample and variable that bounds |∇·c|.

    Args:
        sphere: its derivatives.
        potentials: (B, 2·G, H, W) ψ of each variable, then χ of each, m²/s.
        divergence_limit: (G, 1, 1) bound of |∇·c|, 1/s; None: none.
    """
    modes = sphere.analysis(potentials)
    east, north = (part.view_as(potentials) for part in sphere.gradient_of(modes))
    chi = modes.unflatten(1, (2, len(potentials), 2, -1))[:, :, :, 1].flatten(1, 3)
    (stream_east, chi_east), (stream_north, chi_north) = east.chunk(2, 1), north.chunk(2, 1)
    divergence = sphere.synthesis(sphere.laplacian(chi)).view_as(chi_east)
    if divergence_limit is None:
        return Wind(chi_east - stream_north, chi_north + stream_east, divergence)
    factor = spread_factor(divergence, divergence_limit)
    return Wind(
        torch.addcmul(-stream_north, factor, chi_east),
        torch.addcmul(stream_east, factor, chi_north),
        divergence * factor,
    )


def spread_factor(divergence: Tensor, limit: Limit) -> Tensor:
    """(B, G, 1, 1) what bounds a divergence (B, G, H, W) by a limit, 1/s, its shape kept."""
    spread = divergence.square().amax((2, 3), keepdim=True) / limit**2
    return inverse_fourth_root(1 + spread.square())


def bounded(sphere: ModalOperators, wind: Wind, wind_limit: Limit, divergence_limit: Limit) -> Wind:
    """The wind confined to the grid, scaled by one factor per sample and variable.

    Args:
        sphere: its derivatives.
        wind: to bound.
        wind_limit: bound of |c|, m/s.
        divergence_limit: bound of |∇·c|, 1/s.
    """
    east, north, divergence = sphere.confine(*wind)
    speed = (east.square() + north.square()).amax((2, 3), keepdim=True) / wind_limit**2
    spread = divergence.square().amax((2, 3), keepdim=True) / divergence_limit**2
    bound = inverse_fourth_root(1 + speed.square() + spread.square())
    return Wind(east * bound, north * bound, divergence * bound)


def spread_bounded(wind: Wind, divergence_limit: Tensor) -> Wind:
    """The wind scaled by one factor per sample and variable, so that |∇·c| is bounded.

    Args:
        wind: to bound.
        divergence_limit: (G, 1, 1) bound of |∇·c|, 1/s.
    """
    bound = spread_factor(wind.divergence, divergence_limit)
    return Wind(*(part * bound for part in wind))


def locally_bounded(wind: Wind, strain: Strain, wind_limit: Tensor) -> Wind:
    """The wind b c, b = (1 + (|c|/c_max)⁴)^(-1/4) at each point; its divergence b ∇·c + c·∇b.

    Where c is small nothing changes, however fast it is elsewhere. Of the gradient of b no more is
    needed than c·∇|c|²/2 = ½ |c|² ∇·c + ½ (u² - v²) stretch + u v shear.

    Args:
        wind: to bound.
        strain: of it.
        wind_limit: (G, 1, 1) bound of |c|, m/s.
    """
    east, north, divergence = wind
    u, v = east / wind_limit, north / wind_limit
    uu, vv = u.square(), v.square()
    square = uu + vv
    twice_bend = torch.addcmul(square * divergence, uu - vv, strain.stretch)
    twice_bend = torch.addcmul(twice_bend, u * v, strain.shear, value=2.0)
    fourth = 1 + square.square()
    bound = inverse_fourth_root(fourth)
    less = torch.addcmul(divergence, square / fourth, twice_bend, value=-0.5)
    return Wind(east * bound, north * bound, bound * less)


def inverse_fourth_root(x: Tensor) -> Tensor:
    """x^(-1/4) by square roots, which are many times faster than a power."""
    return x.sqrt().rsqrt()
