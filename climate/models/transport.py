"""States as scalars that can be transported over the poles.

A scalar channel is one transported scalar; a vector pair is three, its Cartesian components.

Shapes: ``B`` samples, ``C`` channels, ``P`` those transported, ``G`` variables (a vector pair is
one), ``T`` transported scalars, ``H`` latitudes, ``W`` longitudes, ``M``, ``L`` harmonic orders and
degrees.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from climate.grids.grid import Grid
from climate.models.scalars import Variables, as_channels, as_scalars, scalar_slices
from climate.models.wind import Deformation, Wind, deformation
from climate.operators.limited_area import modal_operators
from climate.operators.sphere import TangentBasis

SLOPE_SCALE = 2.0
"""Gradients per radian ÷ truncation are about half the size of the field; this makes them 1."""


class Resolved(NamedTuple):
    """A state up to the truncation.

    Attributes:
        smooth: (B, T, H, W) the state.
        rough: (B, T, H, W) what of its anomaly lies beyond the truncation.
        anomaly: (M, 2·B·T, L) coefficients of its departure from the training mean.
        east: (B, T, H, W) eastward gradient of ``smooth``, per metre.
        north: (B, T, H, W) northward gradient, per metre.
        vectors: of each vector variable, by its index, its gradient on the sphere, (B, H, W) each,
            per metre.
    """

    smooth: Tensor
    rough: Tensor
    anomaly: Tensor
    east: Tensor
    north: Tensor
    vectors: dict[int, Deformation]


class Transport(nn.Module):
    """Between channels and transported scalars, and their gradients.

    Args:
        grid: the grid.
        variables: channel indices of each variable: (i,) a scalar, (i, j) a vector; channels that
            are in none are not transported.
        truncation: largest degree kept; None: ⌊(W-1)/3⌋, W longitudes around the circle.
        operators: another ∇ than the spectral one, made from the grid.
    """

    owner: Tensor
    """(T,) the variable of each transported scalar."""
    variable_of: Tensor
    """(P,) the variable of each channel that is transported."""

    def __init__(
        self,
        grid: Grid,
        variables: Variables,
        truncation: int | None,
        operators: Callable[[Grid], TangentBasis] | None,
    ) -> None:
        super().__init__()
        self.variables = variables
        self.spectral = modal_operators(grid, truncation)
        self.operators = operators(grid) if operators else self.spectral
        self.slices = scalar_slices(variables)
        owner = torch.tensor([g for g, v in enumerate(variables) for _ in range(2 * len(v) - 1)])
        self.register_buffer("owner", owner, persistent=False)
        by_channel = sorted((i, g) for g, v in enumerate(variables) for i in v)
        variable_of = torch.tensor([g for _, g in by_channel])
        self.register_buffer("variable_of", variable_of, persistent=False)

    def from_channels(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, T, H, W)."""
        return as_scalars(x, self.variables, self.spectral)

    def to_channels(self, fields: Tensor) -> Tensor:
        """(B, T, H, W) → those channels that are transported, (B, P, H, W).

        Vectors are projected on the tangent plane.
        """
        return as_channels(fields, self.variables, self.spectral)

    def modes(self, x: Tensor) -> Tensor:
        """Harmonic coefficients (M, 2·B·T, L) of states (B, C, H, W)."""
        return self.spectral.analysis(self.from_channels(x))

    def resolve(
        self, anomaly: Tensor, climate_modes: Tensor, climate_fields: Tensor | None = None
    ) -> Resolved:
        """Split a state at the truncation.

        Args:
            anomaly: (B, C, H, W) departure of the state from the training mean.
            climate_modes: (M, 2·T, L) coefficients of that mean.
            climate_fields: (B or 1, T, H, W) the fields of these, where they are known.
        """
        if climate_fields is None:
            climate_fields = self.spectral.synthesis(climate_modes)
        fields = self.from_channels(anomaly)
        modes, shape = self.spectral.analysis(fields), (2, len(fields), -1)
        departure = self.spectral.synthesis(modes).view_as(fields)
        smooth = departure + climate_fields
        if self.operators is self.spectral:
            full = modes.unflatten(1, shape) + climate_modes.unflatten(1, (2, 1, -1))
            east, north = self.spectral.gradient_of(full.flatten(1, 3))
        else:
            east, north = self.operators.gradient(smooth)
        east, north = east.view_as(fields), north.view_as(fields)
        vectors = {
            g: deformation(self.spectral, east[:, at], north[:, at])
            for g, at in enumerate(self.slices)
            if at.stop - at.start == 3
        }
        return Resolved(smooth, fields - departure, modes, east, north, vectors)

    def slopes(self, state: Resolved) -> Tensor:
        """Two features per variable (B, 2·G, H, W), of size about 1.

        The gradient of a scalar; the divergence and vorticity of a vector.
        """
        features: list[Tensor] = []
        for g, at in enumerate(self.slices):
            if g in state.vectors:
                features += [state.vectors[g].divergence, state.vectors[g].vorticity]
            else:
                features += [state.east[:, at.start], state.north[:, at.start]]
        unit = self.spectral.radius / self.spectral.truncation * SLOPE_SCALE
        return torch.stack(features, 1) * unit

    # --- tendencies ----------------------------------------------------------------------------

    def advection(self, state: Resolved, wind: Wind) -> Tensor:
        """P[c·∇x + ½ x ∇·c] of each scalar by its variable's wind: coefficients, per second."""
        # by index_select, whose gradient is a sum of slices; that of an index is one of numbers
        east, north, divergence = (part.index_select(1, self.owner) for part in wind)
        return self.spectral.skew_advection(
            (east, north, divergence), state.smooth, (state.east, state.north)
        )

    def damping(self, state: Resolved, rate: Tensor) -> Tensor:
        """κ ∇⁴(x - x̄) / λ_N²: coefficients, per the unit of time of ``rate`` (B or 1, G)."""
        sphere = self.spectral
        largest = sphere.truncation * (sphere.truncation + 1) / sphere.radius**2
        rates = rate[:, self.owner].expand(len(state.smooth), -1).flatten().repeat(2)
        return (rates / largest**2)[:, None] * sphere.laplacian(state.anomaly, 2)

    def assemble(self, tendency: Tensor, state: Resolved, unresolved: Tensor) -> Tensor:
        """Channels (B, P, H, W) of coefficients and of the damping beyond the truncation.

        Args:
            tendency: coefficients, of `advection` and `damping`.
            state: the state.
            unresolved: (B or 1, G) rate of that damping.
        """
        smooth = self.spectral.synthesis(tendency).view_as(state.smooth)
        rate = unresolved[:, self.owner][..., None, None]
        return self.to_channels(torch.addcmul(smooth, rate, state.rough))
