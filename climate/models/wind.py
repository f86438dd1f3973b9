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


def strain_of(basis: TangentBasis, east: Tensor, north: Tensor) -> Strain:
    """The strain (..., H, W) of a tangent vector.

    Args:
        basis: of the tangent plane.
        east: (..., 3, H, W) eastward derivative of its Cartesian components.
        north: northward derivative of the same.
    """
    (east_east, north_east), (east_north, north_north) = map(basis.to_tangent, (east, north))
    return Strain(east_east - north_north, north_east + east_north)


def strained(sphere: ModalOperators, wind: Wind) -> tuple[Tensor, ...]:
    """The parts of a wind and those of its strain, (B, G, H, W) each."""
    slopes = sphere.gradient(sphere.to_cartesian(wind.east, wind.north))
    return (*wind, *strain_of(sphere, *slopes))


def wind_of(sphere: ModalOperators, potentials: Tensor) -> Wind:
    """The wind k×∇ψ + ∇χ.

    Args:
        sphere: its derivatives.
        potentials: (B, 2·G, H, W) ψ of each variable, then χ of each, m²/s.
    """
    modes = sphere.analysis(potentials)
    east, north = (part.view_as(potentials) for part in sphere.gradient_of(modes))
    chi = modes.unflatten(1, (2, len(potentials), 2, -1))[:, :, :, 1].flatten(1, 3)
    divergence = sphere.synthesis(sphere.laplacian(chi))
    (stream_east, chi_east), (stream_north, chi_north) = east.chunk(2, 1), north.chunk(2, 1)
    return Wind(
        chi_east - stream_north,
        chi_north + stream_east,
        divergence.view_as(chi_east),
    )


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
    bound = (1 + speed.square() + spread.square()) ** -0.25
    return Wind(east * bound, north * bound, divergence * bound)


def spread_bounded(wind: Wind, divergence_limit: Tensor) -> Wind:
    """The wind scaled by one factor per sample and variable, so that |∇·c| is bounded.

    Args:
        wind: to bound.
        divergence_limit: (G, 1, 1) bound of |∇·c|, 1/s.
    """
    spread = wind.divergence.square().amax((2, 3), keepdim=True) / divergence_limit**2
    bound = (1 + spread.square()) ** -0.25
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
    unit = 1 / wind_limit
    u, v = east * unit, north * unit
    east_square, north_square = u * u, v * v
    square = east_square + north_square
    bend = torch.addcmul(square * divergence, east_square - north_square, strain.stretch)
    bend = torch.addcmul(bend, u * v, strain.shear, value=2.0)  # twice it
    fourth = torch.addcmul(torch.ones_like(unit), square, square)
    bound = fourth.sqrt().rsqrt()  # many times faster than a power
    spread = torch.addcmul(divergence, square / fourth, bend, value=-0.5)
    return Wind(east * bound, north * bound, spread * bound)
