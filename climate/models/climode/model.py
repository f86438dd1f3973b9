"""ClimODE: a neural ODE of states and the wind that advects each (docs/method/weather.md#climode).

    dx/dt = -P[c·∇x + ½ x ∇·c + κ ∇⁴(x - x̄) / λ_N²] - q (x - x̄ - P(x - x̄))
    dc/dt = network(x, ∇x, c, date, place, ground),   c = k×∇ψ + ∇χ
    y ~ N(x + m, s²),   (m, s) = network(x, date, place, ground)

Source: Verma, Heinonen & Garg 2024 (arXiv 2404.10024). Theirs is the flux form; it overflows, so
the advection here is skew and bounded, and damped at the smallest scales, as in `advection`, whose
symbols these are. The initial wind is fitted to past states in closed form (`wind_fit`).

Shapes: ``B`` samples, ``F`` frames of history, ``S`` model steps, ``C`` channels, ``G`` variables
(a vector pair is one), ``T`` transported scalars, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from climate.conventions.cycles import SECONDS_PER_DAY
from climate.grids.grid import Grid
from climate.models.climode.integration import WindowSolver
from climate.models.climode.layers import Emission, Emitted, SphereAttention
from climate.models.climode.wind_fit import WindFit, end_velocity
from climate.models.domain import Domain
from climate.models.networks import Trunk
from climate.models.roles import ROLES
from climate.models.transport import Resolved, Transport
from climate.models.weather_model import WeatherModel
from climate.models.wind import Wind, bounded, potential_unit, wind_of, wind_unit
from climate.operators.sphere import TangentBasis
from vgbdm.dynamics.parameters import LogNormalParameters
from vgbdm.errors import InputError
from vgbdm.options.kinds import Divides, Of, Pair, Positive, Size, Unit
from vgbdm.registry.marks import model_part

GIVEN = ("transport", "domain", "wind_limit")
"""What the fit of the wind is told by the model."""


@model_part
class ClimODE(WeatherModel):
    """States and winds, integrated together; see the top of this file.

    Args:
        domain: grid, channels, static fields and statistics.
        width: hidden channels.
        blocks: residual blocks of the wind's network.
        attention_width: width of its attention over the sphere.
        heads: of that attention.
        emission_blocks: residual blocks of the emission network.
        operators: another ∇ than the spectral one, made from the grid.
        truncation: largest degree that is advected; None: ⌊(W-1)/3⌋.
        wind_limit: bound of |c|, m/s.
        divergence_limit: bound of |∇·c|, 1/s.
        wind_change_limit: bound of what the network adds to ψ and χ per step, in `potential_unit`.
        tendency_limit: bound of the rms of the advective tendency, ÷ rms change per step.
        correction_limit: bound of the emission's correction, ÷ rms change per step.
        priors: of θ, name → [median, spread of the logarithm]: ``diffusion`` (1/day, damping of the
            smallest scale kept), ``unresolved`` (1/day, damping beyond the truncation).
        fit: options of `WindFit`.
        solver: of the window.
    """

    share: Tensor
    """(G, C) 1 ÷ its number of channels where a channel belongs to a variable, else 0."""

    def __init__(
        self,
        domain: Domain,
        *,
        width: Size,
        blocks: Size,
        attention_width: Size,
        heads: Annotated[Size, Divides("attention_width")],
        emission_blocks: Size,
        operators: Callable[[Grid], TangentBasis] | None,
        truncation: Size | None,
        wind_limit: Annotated[Positive, Unit("m/s")],
        divergence_limit: Annotated[Positive, Unit("1/s")],
        wind_change_limit: Positive,
        tendency_limit: Positive,
        correction_limit: Positive,
        priors: Mapping[str, Pair],
        fit: Annotated[Mapping[str, Any], Of("climate.models.climode.wind_fit.WindFit", GIVEN)],
        solver: WindowSolver,
    ) -> None:
        _check_roles(domain)
        variables, grid = domain.variables, domain.grid
        super().__init__(domain, Transport(grid, variables, truncation, operators))
        self.solver = solver
        share = torch.zeros(len(variables), len(domain.channels))
        for g, variable in enumerate(variables):
            share[g, list(variable)] = 1 / len(variable)
        self.register_buffer("share", share, persistent=False)
        self.wind_limit, self.divergence_limit = wind_limit, divergence_limit
        self.wind_change_limit, self.tendency_limit = wind_change_limit, tendency_limit
        self.fit = WindFit(self.transport, domain, wind_limit, **fit)
        self.theta = LogNormalParameters(
            {name: (prior[0], prior[1]) for name, prior in priors.items()}, (len(variables),)
        )
        channels, count = len(domain.channels), len(variables)
        vectors, poles = domain.vector_channels, grid.includes_poles
        gradients = [
            channels + 2 * g + k for g, v in enumerate(variables) if len(v) == 1 for k in (0, 1)
        ]
        winds = range(channels + 2 * count, channels + 4 * count)
        inputs = channels + 4 * count + self.features
        self.attention = SphereAttention(inputs, attention_width, heads)
        self.trunk = Trunk(
            inputs + attention_width,
            2 * count,
            width,
            blocks,
            0.0,
            poles=poles,
            vector_inputs=[*vectors, *gradients, *winds],
        )
        self.emission = Emission(
            channels,
            self.features,
            width,
            emission_blocks,
            correction_limit,
            poles=poles,
            vector_inputs=vectors,
        )

    # --- the ordinary differential equation ------------------------------------------------------

    def resolve(self, x: Tensor) -> Resolved:
        """Standardised states (B, C, H, W) up to the truncation, with their gradients."""
        return self.transport.resolve(x - self.climate, self.climate_modes)

    def wind(self, potentials: Tensor) -> Wind:
        """The bounded wind of stream functions and potentials (B, 2·G, H, W)."""
        sphere = self.transport.spectral
        wind = wind_of(sphere, potentials * potential_unit(sphere, self.wind_limit))
        return bounded(sphere, wind, self.wind_limit, self.divergence_limit)

    def forward(self, z: Tensor, seconds: Tensor) -> Tensor:
        """Dz per model step.

        Args:
            z: (B, C + 2·G, H, W) standardised states, then stream functions and potentials.
            seconds: (B,) since 1970.
        """
        x, potentials = z[:, : len(self.channels)], z[:, len(self.channels) :]
        state, wind = self.resolve(x), self.wind(potentials)
        features = torch.cat(
            (
                x,
                self.transport.slopes(state),
                wind.east / wind_unit(self.wind_limit),
                wind.north / wind_unit(self.wind_limit),
                self.surroundings(seconds),
            ),
            1,
        )
        out = self.trunk(torch.cat((features, self.attention(features)), 1)).float()
        pushed = self.wind_change_limit * torch.tanh(out / self.wind_change_limit)
        pushed = self.transport.spectral.project(pushed)
        return torch.cat((self.present(self.advection(state, wind)), pushed), 1)

    def advection(self, state: Resolved, wind: Wind) -> Tensor:
        """Dx (B, C, H, W) per model step, standardised."""
        transport, days = self.transport, self.step_seconds / SECONDS_PER_DAY
        rates = {name: rate[None] * days for name, rate in self.theta().items()}
        moved = transport.advection(state, wind) * self.step_seconds
        moved = moved * self.slowing(moved, state)
        damped = transport.damping(state, rates["diffusion"])
        return -transport.assemble(moved + damped, state, rates["unresolved"])

    def slowing(self, moved: Tensor, state: Resolved) -> Tensor:
        """One factor per sample and variable, for coefficients: Euler's step cannot run away."""
        unit = (self.share * self.change.flatten().square()).sum(1).sqrt()
        fields = self.transport.spectral.synthesis(moved).view_as(state.smooth)
        square = (fields.square() * self.area).mean((2, 3))
        total = torch.stack([square[:, at].sum(1) for at in self.transport.slices], 1)
        excess = total / (unit * self.tendency_limit).square()
        factor = (1 + excess.square()) ** -0.25
        return factor[:, self.transport.owner].flatten().repeat(2)[:, None]

    # --- windows and forecasts -------------------------------------------------------------------

    def fit_wind(self, history: Tensor) -> Tensor:
        """The wind fitted to standardised past states (B, F, C, H, W): (B, G, 2·K), m/s."""
        tendency = end_velocity(self.fit.path, history)
        return self.fit(self.resolve(history[:, -1]), tendency, self.change, self.mask)

    def predict(self, x: Tensor, fitted: Tensor, times: Tensor, n_steps: int) -> Emitted:
        """The distribution of the states at every model step.

        Args:
            x: (B, C, H, W) standardised initial states.
            fitted: (B, G, 2·K) what `fit_wind` gave.
            times: (B,) seconds since 1970 of the initial states.
            n_steps: S.

        Returns:
            Means and standard deviations (B, S, C, H, W), standardised.
        """
        start = torch.cat((x, self.fit.potentials(fitted)), 1)
        states = self.integrate(start, times, n_steps)[:, :, : len(self.channels)]
        steps = torch.arange(1, n_steps + 1, device=times.device)
        clock = times[:, None] + self.step_seconds * steps
        around = self.surroundings(clock.flatten())
        answer = self.emission(states.flatten(0, 1), around, self.change)
        mean, std = (part.unflatten(0, (len(x), n_steps)) for part in answer)
        return Emitted(self.at_step_end(mean), std)

    def integrate(self, z: Tensor, times: Tensor, n_steps: int) -> Tensor:
        """Solutions (B, S, C + 2·G, H, W) after each model step of ``z`` at ``times`` (B,)."""

        def settled(z: Tensor) -> Tensor:
            x, potentials = z.tensor_split([len(self.channels)], 1)
            return torch.cat((self.at_step_end(x), potentials), 1)

        return self.solver.integrate(
            self, self.parameters(), z, times, self.step_seconds, n_steps,
            settled if self.pole_rows else None,
        )  # fmt: skip

    def courant(self, fitted: Tensor) -> Tensor:
        """The Courant number (B,) of the initial wind at the smallest scale kept."""
        wind = self.wind(self.fit.potentials(fitted))
        seconds = self.step_seconds / self.solver.substeps
        return wind.courant(self.transport.spectral, seconds)

    @torch.no_grad()
    def forecast_steps(
        self,
        states: Tensor,
        times: Tensor,
        n_steps: int,
        members: Sequence[int] | None = None,
        seed: int = 0,
        boundary: Iterable[Tensor] | None = None,
        forcing: Iterable[Tensor] | None = None,
    ) -> Iterator[Tensor]:
        """See `Forecaster`: the emission's means; there are no members to draw, and no regions."""
        assert members is None, "ClimODE forecasts one distribution"
        assert boundary is None, "ClimODE forecasts the globe"
        assert forcing is None, "all its channels are prognostic"
        history = self.standardise(states)
        solution = torch.cat((history[:, -1], self.fit.potentials(self.fit_wind(history))), 1)
        for k in range(n_steps):
            clock = times + k * self.step_seconds
            solution = self.integrate(solution, clock, 1)[:, 0]
            clock = clock + self.step_seconds
            x = solution[:, : len(self.channels)]
            answer = self.emission(x, self.surroundings(clock), self.change)
            yield self.unstandardise(self.at_step_end(answer.mean))[:, None]


def _check_roles(domain: Domain) -> None:
    """Refuse channels that are not prognostic.

    Raises:
        InputError: naming one; the equation has one wind and one initial value for every channel.
    """
    for role in ROLES:
        names = getattr(domain, role)
        if names:
            raise InputError(
                f"roles.{role}: model=climode solves one initial value problem, in which every "
                f"channel has its wind; {', '.join(names)} can only be prognostic there: choose "
                "gbdm, vgbdm or blackbox"
            )
