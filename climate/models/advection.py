"""GB-DM: grey-box advection on the sphere (METHOD §10).

    dx/dt = -P[c·∇x + ½ x ∇·c + κ ∇⁴(x - x̄) / λ_N²] - r (x - x̄) - q (x - x̄ - P(x - x̄)) + S
    c = a (u10, v10) + k×∇ψ + ∇χ

x are standardised states, x̄ their mean over the training period, P the projection on the spectral
truncation N, λ_N = N(N+1)/R². The network gives the stream function ψ and potential χ of a
correction to the state's own wind, and the source S. θ = (a, κ, r, q), one of each per variable.
The half divergence makes the advection skew: it moves the square of x about and creates none.

Shapes: ``B`` samples, ``F`` frames of history, ``C`` channels, ``G`` variables (a vector pair is
one), ``T`` transported scalars (a vector pair is three), ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from climate.features import position_features
from climate.models.domain import Domain
from climate.models.networks import HistoryAttention, HistoryEncoder, Trunk
from climate.models.transport import Resolved, Transport
from climate.sphere import Grid, TangentBasis
from vgbdm.fields import GreyBoxField, LogNormalParameters, Tendency, Theta
from vgbdm.rollout import Solver, rollout

DAY = 86400.0
WIND_SHARE, WIND_DEGREE = 1 / 12, 8.0
"""A network output of 1 at degree 8 is a wind of about a twelfth of its bound: 5 m/s of 60."""
RK4_LIMIT = 2.5
"""Courant number that the classical Runge–Kutta step stands (2.83) less a margin for damping."""


class Closure(NamedTuple):
    """What the network says of a state.

    Attributes:
        state: the state up to the truncation.
        stream: (B, G, H, W) stream function of the correcting wind, network units.
        potential: (B, G, H, W) its velocity potential.
        source: (B, C, H, W) in units of the change per model step, bounded.
    """

    state: Resolved
    stream: Tensor
    potential: Tensor
    source: Tensor


class Wind(NamedTuple):
    """The advecting wind of each variable: east, north (m/s) and divergence (1/s), (B, G, H, W).

    ``correction`` (B, G, H, W) is the squared size of its learned part ÷ ``wind_limit``².
    """

    east: Tensor
    north: Tensor
    divergence: Tensor
    correction: Tensor


class GreyBoxAdvection(GreyBoxField):
    """Advection by the state's own wind and a learned correction, with a learned source.

    Args:
        domain: grid, channels, static fields and statistics.
        width: hidden channels.
        blocks: residual blocks.
        history_width: width of the attention over past states.
        heads: of that attention.
        dropout: of whole hidden channels.
        operators: another ∇ than the spectral one, made from the grid.
        truncation: largest degree that is advected; None: ⌊(W-1)/3⌋.
        wind: the vector pair that advects, where the state holds it.
        wind_limit: bound of |c|, m/s.
        divergence_limit: bound of |∇·c|, 1/s.
        source_limit: bound of |S| in standard deviations of the change per model step.
        priors: of θ, name → [median, spread of the logarithm]: ``wind_factor`` (no unit),
            ``diffusion`` (1/day, damping of the smallest scale kept), ``relaxation`` (1/day),
            ``unresolved`` (1/day, damping beyond the truncation).
    """

    mean: Tensor
    scale: Tensor
    change: Tensor
    climate: Tensor
    climate_modes: Tensor
    static: Tensor
    position: Tensor
    area: Tensor

    def __init__(
        self,
        domain: Domain,
        *,
        width: int,
        blocks: int,
        history_width: int,
        heads: int,
        dropout: float,
        operators: Callable[[Grid], TangentBasis] | None,
        truncation: int | None,
        wind: Sequence[str],
        wind_limit: float,
        divergence_limit: float,
        source_limit: float,
        priors: Mapping[str, Sequence[float]],
    ) -> None:
        super().__init__()
        self.domain, grid = domain, domain.grid
        self.wind_limit, self.divergence_limit = wind_limit, divergence_limit
        self.source_limit = source_limit
        variables, names = domain.variables, [domain.channels[v[0]] for v in domain.variables]
        self.wind = names.index(wind[0]) if tuple(wind) in domain.vectors else None
        self.transport = Transport(grid, variables, truncation, operators)
        self.theta = LogNormalParameters(
            {name: (prior[0], prior[1]) for name, prior in priors.items()}, (len(variables),)
        )
        self.calendar = domain.clock_features()
        for name, values in domain.buffers().items():
            self.register_buffer(name, values)
        self.register_buffer("climate_modes", self.transport.modes(self.climate[None]))
        self.register_buffer("position", position_features(grid), persistent=False)
        area = torch.from_numpy(grid.area_weights).float()[:, None]
        self.register_buffer("area", area, persistent=False)

        channels, vectors = len(domain.channels), domain.vector_channels
        poles, frames = grid.includes_poles, domain.history + 1
        self.history_encoder = HistoryEncoder(
            channels, frames, history_width, poles=poles, vector_inputs=vectors
        )
        self.attention = HistoryAttention(
            channels, history_width, heads, poles=poles, vector_inputs=vectors
        )
        gradients = [
            channels + 2 * g + k for g, v in enumerate(variables) if len(v) == 1 for k in (0, 1)
        ]
        fixed = self.calendar.count + len(self.position) + len(self.static)
        self.trunk = Trunk(
            channels + 2 * len(variables) + history_width + fixed,
            2 * len(variables) + channels,
            width,
            blocks,
            dropout,
            poles=poles,
            vector_inputs=[*vectors, *gradients],
        )

    # --- units ---------------------------------------------------------------------------------

    @property
    def step_seconds(self) -> int:
        """The model's step."""
        return self.domain.step_seconds

    @property
    def history(self) -> int:
        """Past states a forecast needs besides the current one."""
        return self.domain.history

    @property
    def channels(self) -> tuple[str, ...]:
        """Short names of the state's channels."""
        return self.domain.channels

    @property
    def solver(self) -> Solver:
        """Classical Runge–Kutta with as many steps as the fastest allowed wind needs."""
        sphere = self.transport.spectral
        courant = self.wind_limit * sphere.truncation / sphere.radius * self.step_seconds
        return Solver("rk4", max(1, math.ceil(courant / RK4_LIMIT)))

    def standardise(self, states: Tensor) -> Tensor:
        """Physical (..., C, H, W) → standardised."""
        return (states - self.mean) / self.scale

    def unstandardise(self, states: Tensor) -> Tensor:
        """Standardised (..., C, H, W) → physical."""
        return states * self.scale + self.mean

    def mean_square(self, difference: Tensor) -> Tensor:
        """Area-weighted mean square (B,) of (B, C, H, W) in units of the change per step."""
        return ((difference / self.change).square() * self.area).mean((1, 2, 3))

    # --- the field -----------------------------------------------------------------------------

    def encode(self, history: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a standardised history (B, F, C, H, W) ending at the current state."""
        return self.history_encoder(history)

    def network(self, x: Tensor, seconds: Tensor, context: tuple[Tensor, Tensor]) -> Closure:
        """The correcting wind and the source at standardised states (B, C, H, W)."""
        state = self.transport.resolve(x - self.climate, self.climate_modes)
        fixed = torch.cat((self.position, self.static)).expand(len(x), -1, -1, -1)
        slopes, calendar = self.transport.slopes(state), self.calendar(seconds)
        features = (x, slopes, self.attention(x, context), calendar, fixed)
        out = self.trunk(torch.cat(features, 1)).float()
        count = len(self.domain.variables)
        stream, potential = out[:, :count], out[:, count : 2 * count]
        source = self.source_limit * torch.tanh(out[:, 2 * count :] / self.source_limit)
        return Closure(state, stream, potential, source)

    def advecting_wind(self, theta: Theta, closure: Closure) -> Wind:
        """The wind of each variable; one factor per sample and variable bounds |c| and |∇·c|."""
        sphere, state = self.transport.spectral, closure.state
        shape = closure.stream.shape
        unit = WIND_SHARE * self.wind_limit * sphere.radius / WIND_DEGREE
        psi = sphere.analysis(closure.stream * unit)
        chi = sphere.analysis(closure.potential * unit)
        psi_east, psi_north = sphere.gradient_of(psi)
        chi_east, chi_north = sphere.gradient_of(chi)
        east = (chi_east - psi_north).view(shape)
        north = (chi_north + psi_east).view(shape)
        divergence = sphere.synthesis(sphere.laplacian(chi)).view(shape)
        correction = (east.square() + north.square()) / self.wind_limit**2
        if self.wind is not None:
            own = sphere.to_tangent(state.smooth[:, self.transport.slices[self.wind]])
            scale = self.scale[self.domain.variables[self.wind][0]]
            factor = theta["wind_factor"][:, None, None] * scale
            east = east + factor * own[0].unsqueeze(1)
            north = north + factor * own[1].unsqueeze(1)
            divergence = divergence + factor * self.transport.spin(state, self.wind)[0].unsqueeze(1)
        speed = (east.square() + north.square()).amax((2, 3), keepdim=True) / self.wind_limit**2
        east, north, divergence = sphere.confine(east, north, divergence)
        spread = divergence.square().amax((2, 3), keepdim=True) / self.divergence_limit**2
        bound = (1 + speed.square() + spread.square()) ** -0.25
        return Wind(east * bound, north * bound, divergence * bound, correction)

    def forward(
        self, x: Tensor, t: Tensor, context: tuple[Tensor, Tensor], weight: float = 1.0
    ) -> Tendency:
        """Dx per model step in standardised units; the formula stands at the top of this file."""
        return self.combine(x, self.theta(), self.network(x, t, context), weight)

    def combine(self, x: Tensor, theta: Theta, closure: Closure, weight: float) -> Tendency:
        """Physics, scaled by ``weight``, with what the network said."""
        sphere, state, owner = self.transport.spectral, closure.state, self.transport.owner
        wind = self.advecting_wind(theta, closure)
        carrier = (wind.east[:, owner], wind.north[:, owner], wind.divergence[:, owner])
        moved = sphere.skew_advection(carrier, state.smooth, (state.east, state.north))
        days = self.step_seconds / DAY
        rates = {name: rate[owner] * days for name, rate in theta.items() if name != "wind_factor"}
        largest = sphere.truncation * (sphere.truncation + 1) / sphere.radius**2
        damped = sphere.laplacian(state.anomaly, 2) / largest**2
        diffusion = rates["diffusion"].repeat(2 * len(x))[:, None]
        tendency = moved * self.step_seconds + diffusion * damped
        smooth = -sphere.synthesis(tendency).view_as(state.smooth)
        rough = rates["unresolved"][:, None, None] * state.rough
        relaxed = theta["relaxation"][self.transport.variable_of] * days
        physics = self.transport.to_channels(smooth - rough)
        physics = physics - relaxed[:, None, None] * (x - self.climate)
        source = closure.source * self.change
        residual = {
            "wind": wind.correction.mean(1, keepdim=True),
            "source": closure.source.square(),
        }
        speed = (wind.east.square() + wind.north.square()).amax((1, 2, 3)).sqrt()
        waves = sphere.truncation / sphere.radius * self.step_seconds / self.solver.substeps
        return Tendency(weight * physics + source, residual, theta, {"courant": speed * waves})

    # --- forecasts -----------------------------------------------------------------------------

    @torch.no_grad()
    def forecast(self, states: Tensor, times: Tensor, n_steps: int) -> Tensor:
        """Roll out from histories.

        Args:
            states: (B, F, C, H, W) physical, the last frame is the initial state.
            times: (B,) seconds since 1970 of the initial state.
            n_steps: model steps.

        Returns:
            (B, n_steps, C, H, W) physical.
        """
        history = self.standardise(states)
        clock = times[:, None] + self.step_seconds * torch.arange(n_steps + 1, device=times.device)
        lengths = torch.ones((len(times), n_steps), device=times.device)
        steps = rollout(self, self.encode, history[:, -1], history, clock, lengths, self.solver)
        return torch.stack([self.unstandardise(x) for x in steps], 1)
