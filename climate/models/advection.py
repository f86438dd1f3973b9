"""GB-DM: grey-box advection on the sphere (docs/weather.md#grey-box-advection).

    dx/dt = -P[c·∇x + ½ x ∇·c + κ ∇⁴(x - x̄) / λ_N²] - r (x - x̄) - q (x - x̄ - P(x - x̄)) + S
    c = a (u10, v10) + k×∇ψ + ∇χ

x are standardised states, x̄ their mean over the training period, P the projection on the spectral
truncation N, λ_N = N(N+1)/R². The network gives the stream function ψ and potential χ of a
correction to the state's own wind, and the source S. θ = (a, κ, r, q), one of each per variable.
The half divergence makes the advection skew: it moves the square of x about and creates none.
VGB-DM is the same with latents: θ is then drawn per sample, and fields ζ enter the network.

Shapes: ``B`` samples, ``F`` frames of history, ``C`` channels, ``G`` variables (a vector pair is
one), ``T`` transported scalars (a vector pair is three), ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import torch
from annotated_types import Len
from torch import Tensor

from climate.conventions.cycles import SECONDS_PER_DAY
from climate.models.domain import Domain
from climate.models.field import WeatherField
from climate.models.networks import soft_bound
from climate.models.transport import Resolved
from climate.models.wind import Wind, bounded, potential_unit, wind_of
from vgbdm.dynamics.parameters import LogNormalParameters, Theta
from vgbdm.dynamics.rollout import Solver
from vgbdm.dynamics.tendency import Context, Tendency
from vgbdm.options.kinds import Pair, Positive, Text, Unit, With
from vgbdm.registry.marks import model_part

RK4_LIMIT = 2.5
"""Courant number that the classical Runge–Kutta step stands (2.83) less a margin for damping."""


class Closure(NamedTuple):
    """What the network says of a state.

    Attributes:
        state: the state up to the truncation.
        potentials: (B, 2·G, H, W) stream function of each variable's correcting wind, then velocity
            potential of each, network units.
        source: (B, C, H, W) in units of the change per model step, bounded; None without source.
    """

    state: Resolved
    potentials: Tensor
    source: Tensor | None


@model_part
class GreyBoxAdvection(WeatherField):
    """Advection by the state's own wind and a learned correction, with a learned source.

    Args:
        domain: grid, channels, static fields and statistics.
        wind: the vector pair that advects, where the state holds it.
        wind_limit: bound of |c|, m/s.
        divergence_limit: bound of |∇·c|, 1/s.
        source: whether there is a learned source.
        source_limit: bound of |S| in standard deviations of the change per model step.
        priors: of θ, name → [median, spread of the logarithm]: ``wind_factor`` (no unit),
            ``diffusion`` (1/day, damping of the smallest scale kept), ``relaxation`` (1/day),
            ``unresolved`` (1/day, damping beyond the truncation).
        options: of `WeatherField`; ``truncation`` is the largest degree that is advected.
    """

    def __init__(
        self,
        domain: Domain,
        *,
        wind: Annotated[Sequence[Text], Len(2, 2)],
        wind_limit: Annotated[Positive, Unit("m/s")],
        divergence_limit: Annotated[Positive, Unit("1/s")],
        source: bool,
        source_limit: Annotated[Positive, With("source", True)],
        priors: Mapping[str, Pair],
        **options: Any,
    ) -> None:
        count, own = len(domain.variables), domain.holds_wind(wind)
        used = {k: (v[0], v[1]) for k, v in priors.items() if own or k != "wind_factor"}
        outputs = 2 * count + (len(domain.channels) if source else 0)
        super().__init__(domain, outputs, LogNormalParameters(used, (count,)), **options)
        self.wind_limit, self.divergence_limit = wind_limit, divergence_limit
        self.source, self.source_limit = source, source_limit
        names = [domain.channels[v[0]] for v in domain.variables]
        self.wind = names.index(wind[0]) if own else None

    @property
    def solver(self) -> Solver:
        """Classical Runge–Kutta with as many steps as the fastest allowed wind needs."""
        sphere = self.transport.spectral
        courant = self.wind_limit * sphere.truncation / sphere.radius * self.step_seconds
        return Solver("rk4", max(1, math.ceil(courant / RK4_LIMIT)))

    def closure(self, x: Tensor, seconds: Tensor, context: Context) -> Closure:
        """The correcting wind and the source at standardised states (B, C, H, W)."""
        state, out = self.network(x, seconds, context)
        count = len(self.domain.variables)
        if not self.source:
            return Closure(state, out, None)
        potentials, source = out.split((2 * count, out.shape[1] - 2 * count), 1)
        return Closure(state, potentials, soft_bound(source, self.source_limit))

    def advecting_wind(self, theta: Theta, closure: Closure) -> tuple[Wind, Tensor]:
        """The wind of each variable, and the squared size ÷ ``wind_limit``² of its learned part.

        Both (B, G, H, W); one factor per sample and variable bounds |c| and |∇·c|.
        """
        sphere, state = self.transport.spectral, closure.state
        wind = wind_of(sphere, closure.potentials * potential_unit(sphere, self.wind_limit))
        correction = (wind.east.square() + wind.north.square()) / self.wind_limit**2
        if self.wind is not None:
            own = sphere.to_tangent(state.smooth[:, self.transport.slices[self.wind]])
            factor = theta["wind_factor"][..., None, None]
            factor = factor * self.scale[self.domain.variables[self.wind][0]]
            parts = zip(wind, (*own, self.transport.divergence(state, self.wind)), strict=True)
            wind = Wind(*(torch.addcmul(part, factor, more.unsqueeze(1)) for part, more in parts))
        return bounded(sphere, wind, self.wind_limit, self.divergence_limit), correction

    def forward(self, x: Tensor, t: Tensor, context: Context, weight: float = 1.0) -> Tendency:
        """Dx per model step in standardised units; the formula stands at the top of this file."""
        return self.combine(x, context.theta, self.closure(x, t, context), weight)

    def combine(self, x: Tensor, theta: Theta, closure: Closure, weight: float) -> Tendency:
        """Physics, scaled by ``weight``, with what the network said."""
        transport, state, days = self.transport, closure.state, self.step_seconds / SECONDS_PER_DAY
        wind, correction = self.advecting_wind(theta, closure)
        moved = transport.advection(state, wind) * self.step_seconds
        damped = transport.damping(state, theta["diffusion"] * days)
        physics = -transport.assemble(moved + damped, state, theta["unresolved"] * days)
        relaxed = theta["relaxation"][:, transport.variable_of] * days
        physics = physics - relaxed[..., None, None] * (x - self.climate)
        total, residual = weight * physics, {"wind": correction.mean(1, keepdim=True)}
        if closure.source is not None:
            total = total + closure.source * self.change
            residual["source"] = self.effort(closure.source)
        courant = wind.courant(transport.spectral, self.step_seconds / self.solver.substeps)
        return Tendency(self.present(total), residual, theta, {"courant": courant})

    def effort(self, source: Tensor) -> Tensor:
        """Squares (B, 1, C, H, W) of the source, whose mean is that over the points that count."""
        square = self.present(source.square())
        return (square if self.score_share is None else square * self.score_share).unsqueeze(1)
