"""What every matched weather model shares: units, features, trunk, latents and forecasts.

Shapes: ``B`` samples, ``M`` members, ``F`` frames of history, ``C`` channels, ``G`` variables (a
vector pair is one), ``K`` forcing ones, ``S`` steps, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal, Protocol

import torch
from annotated_types import Interval
from torch import Tensor

from climate.grids.grid import Grid
from climate.models.coarsening import check_coarsening
from climate.models.domain import Domain
from climate.models.networks import HistoryAttention, HistoryEncoder, Trunk
from climate.models.sphere_latents import WeatherLatents
from climate.models.transport import Resolved, Transport
from climate.models.weather_model import WeatherModel
from climate.operators.sphere import TangentBasis
from vgbdm.dynamics.parameters import LogNormalParameters
from vgbdm.dynamics.rollout import Driving
from vgbdm.dynamics.tendency import Context
from vgbdm.errors import InputError
from vgbdm.fields.grey_box import GreyBoxField, Past, Trajectory, Window
from vgbdm.latents.latents import LatentDistribution, Latents, LatentSizes
from vgbdm.latents.members import Members
from vgbdm.options.kinds import Divides, Size
from vgbdm.paths.path import Path, expand

DRAWN = "trunk.drawn.conv.weight"
"""By which latent fields enter."""


class StateWindows(Protocol):
    """What a field reads of a batch."""

    states: Tensor
    """(B, F, C, H, W) physical, oldest first; the current state is the one after the history."""
    times: Tensor
    """(B,) seconds since 1970 of the current state."""
    ids: Tensor
    """(B,) sample ids."""


class WeatherField(WeatherModel, GreyBoxField[StateWindows]):
    """A network on states, gradients, history, calendar, ground and latents; its rollouts.

    Args:
        domain: grid, channels, static fields and statistics.
        outputs: channels of the network.
        parameters: physical parameters, one of each per variable; None for a model without.
        width: hidden channels.
        blocks: residual blocks.
        coarsening: 1, or 2 for blocks on half as many rows and columns.
        history_width: width of the attention over past states.
        heads: of that attention.
        dropout: of whole hidden channels.
        operators: another ∇ than the spectral one, made from the grid.
        truncation: largest degree resolved; None: ⌊(W-1)/3⌋.
        latents: makes the latents of a stochastic model; None for a deterministic one.
    """

    def __init__(
        self,
        domain: Domain,
        outputs: int,
        parameters: LogNormalParameters | None,
        *,
        width: Size,
        blocks: Size,
        history_width: Size,
        heads: Annotated[Size, Divides("history_width")],
        dropout: Annotated[float, Interval(ge=0, lt=1)],
        operators: Callable[[Grid], TangentBasis] | None,
        truncation: Size | None,
        latents: Callable[[Domain, int, int], WeatherLatents] | None,
        coarsening: Literal[1, 2] = 1,
    ) -> None:
        grid = domain.grid
        check_coarsening(coarsening, len(grid.lat), grid.includes_poles)
        super().__init__(domain, Transport(grid, domain.variables, truncation, operators))
        self.theta = parameters
        channels, vectors = len(domain.shown), domain.shown_vectors
        poles = grid.includes_poles
        self.history_encoder = self.attention = None
        if domain.history:
            self.history_encoder = HistoryEncoder(
                channels, domain.history + 1, history_width, poles=poles, vector_inputs=vectors
            )
            self.attention = HistoryAttention(
                channels, history_width, heads, poles=poles, vector_inputs=vectors
            )
        thetas = 0 if parameters is None else parameters.count
        fixed = len(self.position) + len(self.static)
        self.latents = None if latents is None else latents(domain, fixed, thetas)
        gradients = [
            channels + 2 * g + k
            for g, v in enumerate(domain.variables)
            if len(v) == 1
            for k in (0, 1)
        ]
        inputs = channels + 2 * len(domain.variables) + self.features
        inputs += history_width if domain.history else 0
        self.trunk = Trunk(
            inputs, outputs, width, blocks, dropout,
            poles=poles, vector_inputs=[*vectors, *gradients], coarsening=coarsening,
            drawn=self.latents.channels if self.latents else 0,
        )  # fmt: skip

    # --- what it is ----------------------------------------------------------------------------

    @property
    def stochastic(self) -> bool:
        """Whether forecasts can be drawn."""
        return self.latents is not None

    @property
    def grey(self) -> bool:
        """See `GreyBoxField`."""
        return self.theta is not None

    @property
    def memory(self) -> int:
        """See `GreyBoxField`: past states and the current one."""
        return self.history + 1

    @property
    def window(self) -> int:
        """See `GreyBoxField`: the posterior sees the next state as well."""
        return self.history + 2

    @property
    def latent_sizes(self) -> LatentSizes | None:
        """See `GreyBoxField`."""
        return None if self.latents is None else self.latents.sizes

    def renewed_weights(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights with latents' own part of the first layer, which formerly was its last inputs."""
        tensors, first, drawn = dict(tensors), "trunk.embed.conv.weight", self.trunk.drawn
        if drawn is not None and DRAWN not in tensors and first in tensors:
            own, channels = tensors[first], drawn.conv.in_channels
            if own.shape[1] == self.trunk.embed.conv.in_channels + channels:
                tensors[first], tensors[DRAWN] = (
                    part.contiguous() for part in own.split((own.shape[1] - channels, channels), 1)
                )
        return tensors

    # --- frames and units ----------------------------------------------------------------------

    def trajectory(self, batch: StateWindows, path: Path | None) -> Trajectory:
        """See `GreyBoxField`: standardised states, rates per model step."""
        frames = self.standardise(batch.states)
        step = torch.arange(frames.shape[1], device=frames.device, dtype=frames.dtype)
        steps, now = step.expand(len(frames), -1), self.memory - 1
        clock = batch.times.double()[:, None] + self.step_seconds * (steps.double() - now)
        return Trajectory(path.nodes(frames, steps) if path else frames.unsqueeze(2), steps, clock)

    def along(
        self,
        path: Path,
        ends: tuple[Tensor, Tensor],
        length: Tensor,
        s: Tensor,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """See `GreyBoxField`: straight where a channel is not prognostic, as rollouts move it."""
        state, rate = super().along(path, ends, length, s, noise)
        if not self.parts.any:
            return state, rate
        begin, end = self.parts.begun(ends[0][:, 0]), ends[1][:, 0]
        part, steps = expand(s, begin), expand(length, begin)
        aside = self.parts.aside
        straight = torch.where(aside, torch.lerp(begin, end, part), state)
        return straight, torch.where(aside, (end - begin) / steps, rate)

    def enter(self, x: Tensor) -> Tensor:
        """See `Dynamics`: diagnostic channels begin at 0."""
        return self.parts.begun(x)

    def rate_units(self, rates: Tensor) -> Tensor:
        """Standardised per step (..., C, H, W) → units of the rms change per model step."""
        return rates / self.change

    def state_units(self, frames: Tensor) -> Tensor:
        """Standardised differences (..., C, H, W) → units of the rms change per model step."""
        return frames / self.change

    def from_changes(self, values: Tensor) -> Tensor:
        """Units of the rms change per model step (..., C, H, W) → standardised.

        Nothing where a channel is not prognostic: what is known or not seen takes no noise.
        """
        return self.parts.quiet(values * self.change)

    def mean_square(self, difference: Tensor) -> Tensor:
        """Weighted mean square (...) of (..., C, H, W) in units of the change per step."""
        weight = self.loss_weight / self.change.square()  # small: the fields are gone through once
        return (difference.square() * weight).mean((-3, -2, -1))

    def mean_square_rate(self, rates: Tensor, matches: int) -> Tensor:
        """See `GreyBoxField`."""
        return self.mean_square(rates).unflatten(0, (-1, matches)).mean(1)

    def mean_square_state(self, frames: Tensor) -> Tensor:
        """See `GreyBoxField`."""
        return self.mean_square(frames).mean(1)

    # --- the network ---------------------------------------------------------------------------

    def network(self, x: Tensor, seconds: Tensor, context: Context) -> tuple[Resolved, Tensor]:
        """The state up to the truncation and the network's outputs at states (B, C, H, W)."""
        x = self.present(x)  # noise is on all points
        state = self.transport.resolve(x - self.climate, self.climate_modes)
        x = self.parts.shown(x)
        features = [x, self.transport.slopes(state)]
        if self.attention is not None and context.history:
            features.append(self.attention(x, context.history))
        features += self.around(seconds)
        out: Tensor = self.trunk(*features, drawn=context.zeta).float()
        return state, out

    def whole(self, own: Tensor, diagnosed: Tensor | None) -> Tensor:
        """Dx (B, C, H, W) per model step of all channels, 0 where masked and of forcing ones.

        Args:
            own: (B, P, H, W) of prognostic channels.
            diagnosed: (B, D, H, W) of diagnostic ones, in the unit of their change.
        """
        if diagnosed is not None:
            diagnosed = diagnosed * self.parts.diagnostic(self.change)
        return self.present(self.parts.joined(own, None, diagnosed))

    # --- what stands still during a step -------------------------------------------------------

    def past(self, history: Tensor | None, latents: bool = True) -> Past:
        """What a standardised history (B, F, C, H, W) says: keys and values, and ζ's prior.

        Args:
            history: see `GreyBoxField`.
            latents: False: there are none in what follows, and no prior is made.
        """
        assert history is not None
        history = self.parts.shown(self.present(history))
        encoded = () if self.history_encoder is None else self.history_encoder(history)
        if self.latents is None or not latents:
            return Past(len(history), encoded, (), None)
        seen = (history.flatten(1, 2), *self.ground(len(history)))
        return Past(len(history), encoded, seen, self.latents.prior(*seen))

    def context(self, past: Past, latents: Latents, repeats: int = 1) -> Context:
        """See `GreyBoxField`; θ (B, P·G) is about what is learned, and ζ is (B, Z, N)."""
        latents = latents.repeat(repeats)
        fields, theta = None, {} if self.theta is None else self.theta(latents.theta)
        if latents.zeta is not None and self.latents is not None:
            fields = self.latents.points.fields(latents.zeta)
        theta = {name: value.expand(past.rows, -1) for name, value in theta.items()}
        return Context(theta, fields, past.history)

    def infer(
        self, window: Window, past: Past, noise: Tensor | None = None
    ) -> tuple[LatentDistribution, Latents]:
        """See `GreyBoxField`: from what the past says and the change that comes."""
        assert self.latents is not None
        change = window.frames[:, -1] - self.enter(window.frames[:, -2])
        posterior: LatentDistribution = self.latents.posterior(*past.seen, self.rate_units(change))
        if noise is None:
            return posterior, posterior.mean
        return posterior, posterior.draw(*self.latents.sizes.split(noise))

    def follows(self, frames: Iterable[Tensor]) -> Driving | None:
        """See `GreyBoxField`: forcing channels."""
        return Driving(self.parts.given, frames) if self.forcing else None

    def penalty(self) -> Tensor | None:
        """See `GreyBoxField`."""
        return None if self.theta is None else self.theta.penalty()

    # --- forecasts -----------------------------------------------------------------------------

    def simulate(
        self,
        states: Tensor,
        times: Tensor,
        n_steps: int,
        members: Members | None = None,
        *,
        checkpoint: bool = False,
        boundary: Iterable[Tensor] | None = None,
        forcing: Iterable[Tensor] | None = None,
    ) -> Iterator[Tensor]:
        """Roll out from histories, with gradients where they are enabled.

        Args:
            states: (B, F, C, H, W) physical, the last frame is the initial state.
            times: (B,) seconds since 1970 of the initial state.
            n_steps: model steps.
            members: whose draws, a row of ``states`` each; None: latents at their prior mean.
            checkpoint: recompute activations backwards rather than keep them.
            boundary: of a region: prognostic channels (B, P, H, W) at each step, physical, of
                which the halo is taken; None: it evolves by itself.
            forcing: forcing channels (B, K, H, W) at each step, physical.

        Yields:
            (B, C, H, W) standardised, step by step.

        Raises:
            InputError: where forcing is wanted and not given.
        """
        history = self.standardise(states)
        clock = times[:, None] + self.step_seconds * torch.arange(n_steps + 1, device=times.device)
        lengths = torch.ones((len(times), n_steps), device=times.device)
        driving = self._driven_by(boundary, forcing)
        return self.march(
            history[:, -1], history, clock, lengths, members, checkpoint=checkpoint, driving=driving
        )

    def _driven_by(
        self, boundary: Iterable[Tensor] | None, forcing: Iterable[Tensor] | None
    ) -> Driving | None:
        """What a rollout follows: forcing channels, and of prognostic ones the halo."""
        if self.forcing and forcing is None:
            raise InputError(
                f"forcing: the model is to be given {', '.join(self.forcing)} at the end of each "
                "step; give forcing=, or forecast by vgbdm.forecast, which reads it"
            )
        if boundary is None:
            if forcing is None:
                return None
            return Driving(self.parts.given, (self._standard(None, x) for x in forcing))
        assert self.halo is not None, "the globe has no boundary"
        if not self.parts.any:
            return Driving(self.halo, (self.standardise(x) for x in boundary))
        share = torch.maximum(self.halo * ~self.parts.aside, self.parts.given)
        both = zip(boundary, itertools.repeat(None) if forcing is None else forcing, strict=False)
        return Driving(share, (self._standard(*one) for one in both))

    def _standard(self, own: Tensor | None, forcing: Tensor | None) -> Tensor:
        """Standardised (B, C, H, W) of physical prognostic and forcing channels."""
        return self.standardise(self.parts.joined(own, forcing))

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
        """See `Forecaster`; without members, of the latents' prior mean."""
        rows = 1 if members is None else len(members)
        draws = None if members is None else self.members(seed, times, members)
        states, clock = (x.repeat_interleave(rows, 0) for x in (states, times))
        around, known = (
            given and (x.expand(-1, rows, -1, -1, -1).flatten(0, 1) for x in given)
            for given in (boundary, forcing)
        )
        for x in self.simulate(states, clock, n_steps, draws, boundary=around, forcing=known):
            yield self.unstandardise(x).unflatten(0, (-1, rows))
