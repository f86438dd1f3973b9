"""Advecting winds as gradients of a stream function and a potential, bounded.

Shapes: ``B`` samples, ``G`` variables (a vector pair is one), ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from climate.operators.sphere import ModalOperators

WIND_SHARE, WIND_DEGREE = 1 / 12, 8.0
"""A stream function of 1 at degree 8 is a wind of about a twelfth of its bound: 5 m/s of 60."""


def wind_unit(wind_limit: float) -> float:
    """The size of an ordinary wind, m/s, where the largest is ``wind_limit``."""
    return WIND_SHARE * wind_limit


def potential_unit(sphere: ModalOperators, wind_limit: float) -> float:
    """The unit of stream functions and potentials, m²/s."""
    return wind_unit(wind_limit) * sphere.radius / WIND_DEGREE


class Wind(NamedTuple):
    """The advecting wind of each variable: east, north (m/s) and divergence (1/s), (B, G, H, W)."""

    east: Tensor
    north: Tensor
    divergence: Tensor

    def courant(self, sphere: ModalOperators, seconds: float) -> Tensor:
        """Courant number (B,) at the smallest scale kept, of a step of so many seconds."""
        speed = (self.east.square() + self.north.square()).amax((1, 2, 3)).sqrt()
        return speed * (seconds * sphere.truncation / sphere.radius)


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


def bounded(sphere: ModalOperators, wind: Wind, wind_limit: float, divergence_limit: float) -> Wind:
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
