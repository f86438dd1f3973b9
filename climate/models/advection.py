"""GB-DM: grey-box advection on the sphere (docs/method/weather.md#grey-box-advection).

    dx/dt = -P[c·∇x + ½ x ∇·c + κ ∇⁴(x - x̄) / λ_N²] - r (x - x̄) - q (x - x̄ - P(x - x̄)) + S
    c = a (u10, v10) + k×∇ψ + ∇χ

x are standardised states, x̄ their mean over the training period, P the projection on the spectral
truncation N, λ_N = N(N+1)/R². The network gives the stream function ψ and potential χ of a
correction to the state's own wind, and the source S. θ = (a, κ, r, q), one of each per variable.
The half divergence makes the advection skew: it moves the square of x about and creates none.
VGB-DM is the same with latents: θ is then drawn per sample, and fields ζ enter the network.
A model step asks the network twice, whatever the truncation (`vgbdm.dynamics.splitting`); the
state, its own wind and what they advect move in as many substeps as the bound of c needs.

Shapes: ``B`` samples, ``F`` frames of history, ``C`` channels, ``P`` prognostic and ``D``
diagnostic ones, ``G`` variables (a vector pair is one), ``T`` transported scalars (a vector pair is
three), ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import torch
from annotated_types import Len
from torch import Tensor

from climate.conventions.cycles import SECONDS_PER_DAY
from climate.models.domain import Domain
from climate.models.field import WeatherField
from climate.models.networks import soft_bound
from climate.models.transport import Resolved
from climate.models.wind import (
    Strain,
    Wind,
    bounded,
    locally_bounded,
    potential_unit,
    spread_bounded,
    strained,
    wind_of,
)
from vgbdm.dynamics.parameters import LogNormalParameters, Theta
from vgbdm.dynamics.rollout import Solver
from vgbdm.dynamics.splitting import SplitSolver
from vgbdm.dynamics.tendency import Context, Slow, SplitDynamics, Tendency
from vgbdm.options.kinds import AtLeastTwo, Pair, Positive, Text, Unit, With
from vgbdm.registry.marks import model_part

RK4_LIMIT = 2.5
"""Courant number that the classical Runge–Kutta step stands (2.83) less a margin for damping."""


class Closure(NamedTuple):
    """What the network says of a state.

    Attributes:
        wind: the parts of the correction of each variable's wind, (B, G, H, W) each: those of
            `Wind`, before the bound, and those of its `Strain` where the bound is local.
        source: (B, P, H, W) in units of the change per model step, bounded; None without source.
        diagnosed: (B, D, H, W) rates of diagnostic channels in their standard deviations; None:
            there are none.
    """

    wind: tuple[Tensor, ...]
    source: Tensor | None
    diagnosed: Tensor | None = None


def integration(calls: int | None, courant: float) -> Solver | SplitSolver:
    """As many steps of Runge–Kutta (rk4) as the fastest allowed wind needs.

    Args:
        calls: of the network in a model step; None: one at each stage.
        courant: Courant number of that wind, at the smallest scale, of a model step.
    """
    if calls is None:
        return Solver("rk4", max(1, math.ceil(courant / RK4_LIMIT)))
    return SplitSolver(calls, max(1, math.ceil(courant / calls / RK4_LIMIT)))


@model_part
class GreyBoxAdvection(WeatherField, SplitDynamics):
    """Advection by the state's own wind and a learned correction, with a learned source.

    Args:
        domain: grid, channels, static fields and statistics.
        wind: the vector pair that advects all variables, where the state holds it; None: each is
            advected by the pair of the nearest level.
        wind_limit: bound of |c|, m/s; None: 1.5 × the largest component of that pair in training.
        divergence_limit: bound of |∇·c|, 1/s; None: half of |c|'s at the smallest scale.
        source: whether there is a learned source.
        source_limit: bound of |S| in standard deviations of the change per model step.
        priors: of θ, name → [median, spread of the logarithm]: ``wind_factor`` (no unit),
            ``diffusion`` (1/day, damping of the smallest scale kept), ``relaxation`` (1/day),
            ``unresolved`` (1/day, damping beyond the truncation).
        network_calls: how often a model step asks the network, an even number; None, as in models
            from before it was kept: at each stage of Runge–Kutta.
        local_bound: whether c is bounded point by point; else, as in models from before, the whole
            wind of a variable by one factor.
        divergence_bound: what the limit of divergence scales, by one factor per sample and
            variable: the ``potential`` part ∇χ of the correction, or, as in models from before,
            all of its ``wind``.
        options: of `WeatherField`; ``truncation`` is the largest degree that is advected.

    Raises:
        InputError: for an odd number of calls.
    """

    carrier: Tensor
    """(G,) which of the pairs of winds that advect carries each variable; empty without."""
    eastward: Tensor
    """(G,) channel of its eastward part."""
    wind_limit: Tensor
    """(G, 1, 1) m/s."""
    divergence_limit: Tensor
    """(G, 1, 1) 1/s."""

    def __init__(
        self,
        domain: Domain,
        *,
        wind: Annotated[Sequence[Text], Len(2, 2)] | None,
        wind_limit: Annotated[Positive, Unit("m/s")] | None,
        divergence_limit: Annotated[Positive, Unit("1/s")] | None,
        source: bool,
        source_limit: Annotated[Positive, With("source", True)],
        priors: Mapping[str, Pair],
        network_calls: AtLeastTwo | None = None,
        local_bound: bool = False,
        divergence_bound: Annotated[
            Literal["potential", "wind"], With("local_bound", True)
        ] = "wind",
        **options: Any,
    ) -> None:
        count, carriers = len(domain.variables), domain.carriers(wind)
        own = [g for g in carriers if g is not None]
        used = {k: (v[0], v[1]) for k, v in priors.items() if own or k != "wind_factor"}
        prognostic = len(domain.shown) - len(domain.forcing)
        outputs = 2 * count, prognostic if source else 0, len(domain.diagnostic)
        super().__init__(domain, sum(outputs), LogNormalParameters(used, (count,)), **options)
        self.outputs = outputs
        self.source, self.source_limit, self.local_bound = source, source_limit, local_bound
        self.potential_bound = local_bound and divergence_bound == "potential"
        self.winds = sorted(set(own))
        carrier = torch.tensor([self.winds.index(g) for g in own], dtype=torch.long)
        self.register_buffer("carrier", carrier, False)
        eastward = torch.tensor([domain.variables[g][0] for g in own], dtype=torch.long)
        self.register_buffer("eastward", eastward, False)
        limits = domain.wind_limits(carriers) if wind_limit is None else [wind_limit] * count
        sphere = self.transport.spectral
        rate = sphere.truncation / sphere.radius
        spreads = [c * rate / 2 if divergence_limit is None else divergence_limit for c in limits]
        self.register_buffer("wind_limit", torch.tensor(limits)[:, None, None], False)
        self.register_buffer("divergence_limit", torch.tensor(spreads)[:, None, None], False)
        self._solver = integration(network_calls, max(limits) * rate * self.step_seconds)

    @property
    def solver(self) -> Solver | SplitSolver:
        """Classical Runge–Kutta of what moves, the network asked as seldom as was wanted."""
        return self._solver

    @solver.setter
    def solver(self, solver: Solver | SplitSolver) -> None:
        """Another one."""
        self._solver = solver

    def closure(self, x: Tensor, seconds: Tensor, context: Context) -> tuple[Resolved, Closure]:
        """Standardised states (B, C, H, W) up to the truncation, and what the network says."""
        state, out = self.network(x, seconds, context)
        sphere = self.transport.spectral
        potentials, pushed, diagnosed = out.split(self.outputs, 1)
        source = soft_bound(pushed, self.source_limit) if self.source else None
        unit = potential_unit(sphere, self.wind_limit).repeat(2, 1, 1)
        limit = self.divergence_limit
        wind = wind_of(sphere, potentials * unit, limit if self.potential_bound else None)
        parts: tuple[Tensor, ...] = wind
        if self.local_bound:
            wind = wind if self.potential_bound else spread_bounded(wind, limit)
            parts = strained(sphere, wind)
        return state, Closure(parts, source, diagnosed if self.domain.diagnostic else None)

    def advecting_wind(self, theta: Theta, state: Resolved, wind: Sequence[Tensor]) -> Wind:
        """The wind of each variable: the state's own and a correction, within their limits."""
        sphere = self.transport.spectral
        if self.winds:
            factor = theta["wind_factor"][..., None, None] * self.scale[self.eastward]
            own = self.own_winds(state)
            if len(self.winds) > 1:  # one alone is broadcast
                own = [part.index_select(1, self.carrier) for part in own]
            wind = [torch.addcmul(a, factor, b) for a, b in zip(wind, own, strict=True)]
        if self.local_bound:
            inside = locally_bounded(Wind(*wind[:3]), Strain(*wind[3:]), self.wind_limit)
            return Wind(*sphere.confine(*inside))
        return bounded(sphere, Wind(*wind), self.wind_limit, self.divergence_limit)

    def own_winds(self, state: Resolved) -> list[Tensor]:
        """The pairs of winds that advect, standardised: parts as of `Closure`, (B, pairs, H, W)."""
        transport, winds = self.transport, []
        for g in self.winds:
            parts = transport.spectral.to_tangent(state.smooth[:, transport.slices[g]])
            gradient = state.vectors[g]
            strain = gradient.strain if self.local_bound else ()
            winds.append((*parts, gradient.divergence, *strain))
        return [torch.stack(parts, 1) for parts in zip(*winds, strict=True)]

    def forward(self, x: Tensor, t: Tensor, context: Context, weight: float = 1.0) -> Tendency:
        """Dx per model step in standardised units; the formula stands at the top of this file."""
        state, closure = self.closure(x, t, context)
        wind = self.advecting_wind(context.theta, state, closure.wind)
        own = self.rate(x, context.theta, state, wind, closure.source, weight)
        total = self.whole(own, closure.diagnosed)
        square = closure.wind[0].square() + closure.wind[1].square()
        residual = {"wind": (square / self.wind_limit**2).mean(1, keepdim=True)}
        if closure.source is not None:
            residual["source"] = self.effort(closure.source)
        seconds = self.step_seconds / self.solver.steps
        courant = wind.courant(self.transport.spectral, seconds)
        return Tendency(total, residual, context.theta, {"courant": courant})

    def slow(self, x: Tensor, t: Tensor, context: Context) -> Slow:
        """See `SplitDynamics`: what the network says, and the fields of the mean, which stay."""
        _, closure = self.closure(x, t, context)
        mean = self.transport.spectral.synthesis(self.climate_modes)
        said = (x for x in (closure.source, closure.diagnosed) if x is not None)
        return *closure.wind, *said, mean.expand(len(x), -1, -1, -1)

    def fast(self, x: Tensor, slow: Slow, context: Context) -> Tensor:
        """See `SplitDynamics`: advection by the state's own wind and by the correction, damping."""
        *learned, mean = slow
        diagnosed = learned.pop() if self.domain.diagnostic else None
        source = learned.pop() if self.source else None
        state = self.transport.resolve(self.present(x) - self.climate, self.climate_modes, mean)
        wind = self.advecting_wind(context.theta, state, learned)
        return self.whole(self.rate(x, context.theta, state, wind, source), diagnosed)

    def rate(
        self,
        x: Tensor,
        theta: Theta,
        state: Resolved,
        wind: Wind,
        source: Tensor | None,
        weight: float = 1.0,
    ) -> Tensor:
        """Dx (B, P, H, W) per model step of the physics, scaled by ``weight``, and a source."""
        transport, days = self.transport, self.step_seconds / SECONDS_PER_DAY
        damped = transport.damping(state, theta["diffusion"] * days)
        moved = torch.add(damped, transport.advection(state, wind), alpha=self.step_seconds)
        lost = transport.assemble(moved, state, theta["unresolved"] * days)
        relaxed = theta["relaxation"][:, transport.variable_of] * days
        departure = self.parts.prognostic(x - self.climate)
        lost = torch.addcmul(lost, relaxed[..., None, None], departure)
        if source is None:
            return -weight * lost
        return torch.sub(source * self.parts.prognostic(self.change), lost, alpha=weight)

    def effort(self, source: Tensor) -> Tensor:
        """Squares (B, 1, P, H, W) of the source, whose mean is that over the points that count."""
        square = source.square()
        if self.mask is None or self.score_share is None:
            return square.unsqueeze(1)
        mask, share = self.parts.prognostic(self.mask), self.parts.prognostic(self.score_share)
        return (square.masked_fill(mask, 0.0) * share).unsqueeze(1)
