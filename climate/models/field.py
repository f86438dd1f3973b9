"""What every matched weather model shares: units, features, trunk, latents and forecasts.

Shapes: ``B`` samples, ``M`` members, ``F`` frames of history, ``C`` channels, ``G`` variables (a
vector pair is one), ``S`` steps, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from climate.grid import Grid
from climate.models.base import WeatherModel
from climate.models.domain import Domain
from climate.models.latents import Gaussians, Members, WeatherLatents
from climate.models.networks import HistoryAttention, HistoryEncoder, Trunk
from climate.models.transport import Resolved, Transport
from climate.sphere import TangentBasis
from vgbdm.fields import GreyBoxField, LogNormalParameters, Theta
from vgbdm.rollout import Solver, rollout


class Context(NamedTuple):
    """What stands still during one model step.

    Attributes:
        history: keys and values of the past states, or None without history.
        theta: physical parameters by name, (B, G) each.
        zeta: (B, Z, H, W) latent fields, or None where the model has none.
    """

    history: tuple[Tensor, Tensor] | None
    theta: Theta
    zeta: Tensor | None


class Past(NamedTuple):
    """What a history says.

    Attributes:
        rows: B.
        encoded: keys and values of the states, (B, F, width, H, W) each, or None without history.
        seen: what the encoders of latents read, parts of (B, n, H, W); None without latents.
        prior: p(ζ | history) and p(θ); None without latents.
    """

    rows: int
    encoded: tuple[Tensor, Tensor] | None
    seen: tuple[Tensor, ...] | None
    prior: Gaussians | None

    def repeat(self, count: int) -> Past:
        """Each sample ``count`` times in a row."""

        def again(value: Tensor) -> Tensor:
            return value.repeat_interleave(count, 0)

        keys_values = self.encoded and (again(self.encoded[0]), again(self.encoded[1]))
        seen = None if self.seen is None else tuple(map(again, self.seen))
        prior = None if self.prior is None else self.prior.map(again)
        return Past(self.rows * count, keys_values, seen, prior)


class WeatherField(WeatherModel, GreyBoxField):
    """A network on states, gradients, history, calendar, ground and latents; its rollouts.

    Args:
        domain: grid, channels, static fields and statistics.
        outputs: channels of the network.
        parameters: physical parameters, one of each per variable; None for a model without.
        width: hidden channels.
        blocks: residual blocks.
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
        width: int,
        blocks: int,
        history_width: int,
        heads: int,
        dropout: float,
        operators: Callable[[Grid], TangentBasis] | None,
        truncation: int | None,
        latents: Callable[..., WeatherLatents] | None,
    ) -> None:
        grid = domain.grid
        super().__init__(domain, Transport(grid, domain.variables, truncation, operators))
        self.theta = parameters
        channels, vectors = len(domain.channels), domain.vector_channels
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
        inputs += self.latents.channels if self.latents else 0
        self.trunk = Trunk(
            inputs, outputs, width, blocks, dropout,
            poles=poles, vector_inputs=[*vectors, *gradients],
        )  # fmt: skip

    # --- units ---------------------------------------------------------------------------------

    @property
    def stochastic(self) -> bool:
        """Whether forecasts can be drawn."""
        return self.latents is not None

    @property
    def solver(self) -> Solver:
        """How one model step is integrated."""
        raise AssertionError("a model says how it is integrated")

    def in_changes(self, difference: Tensor) -> Tensor:
        """Standardised (..., C, H, W) → units of the rms change per model step."""
        return difference / self.change

    def from_changes(self, values: Tensor) -> Tensor:
        """Units of the rms change per model step (..., C, H, W) → standardised."""
        return values * self.change

    def mean_square(self, difference: Tensor) -> Tensor:
        """Area-weighted mean square (...) of (..., C, H, W) in units of the change per step."""
        weight = self.score_area / self.change.square()  # small: the fields are gone through once
        return (difference.square() * weight).mean((-3, -2, -1))

    # --- the network ---------------------------------------------------------------------------

    def network(self, x: Tensor, seconds: Tensor, context: Context) -> tuple[Resolved, Tensor]:
        """The state up to the truncation and the network's outputs at states (B, C, H, W)."""
        x = self.present(x)  # noise is on all points
        state = self.transport.resolve(x - self.climate, self.climate_modes)
        features = [x, self.transport.slopes(state)]
        if self.attention is not None and context.history is not None:
            features.append(self.attention(x, context.history))
        features += self.around(seconds)
        if context.zeta is not None:
            features.append(context.zeta)
        out: Tensor = self.trunk(*features).float()
        return state, out

    # --- what stands still during a step -------------------------------------------------------

    def past(self, history: Tensor) -> Past:
        """What a standardised history (B, F, C, H, W) says, once for all uses."""
        history = self.present(history)
        encoded = None if self.history_encoder is None else self.history_encoder(history)
        if self.latents is None:
            return Past(len(history), encoded, None, None)
        seen = (history.flatten(1, 2), *self.ground(len(history)))
        return Past(len(history), encoded, seen, self.latents.prior(*seen))

    def context(self, past: Past, shift: Tensor | None, zeta: Tensor | None) -> Context:
        """Of a past, a shift of θ (B, P·G) and ζ (B, Z, N)."""
        fields = None if zeta is None or self.latents is None else self.latents.points.fields(zeta)
        theta = {} if self.theta is None else self.theta(shift)
        theta = {name: value.expand(past.rows, -1) for name, value in theta.items()}
        return Context(past.encoded, theta, fields)

    def encode(self, history: Tensor) -> Context:
        """The context of a standardised history (B, F, C, H, W), latents at their prior mean."""
        past = self.past(history)
        return self.context(past, None, None if past.prior is None else past.prior.zeta.mean)

    def infer(
        self, past: Past, change: Tensor, noise: Callable[[int], Tensor]
    ) -> tuple[Context, dict[str, Tensor]]:
        """The context of a draw from the posterior, and its distance from the prior.

        Args:
            past: of the history, as the forecast sees it.
            change: (B, C, H, W) the target less the current state, standardised.
            noise: how many normal numbers per sample → (B, count).

        Returns:
            The context; ``kl_zeta`` and ``kl_theta`` (B,) of what latents there are.
        """
        if self.latents is None or past.prior is None or past.seen is None:
            return self.context(past, None, None), {}
        posterior: Gaussians = self.latents.posterior(*past.seen, self.in_changes(change))
        for_zeta, for_theta = self.latents.split(noise(self.latents.size))
        kl, shift = {"kl_zeta": posterior.zeta.kl(past.prior.zeta)}, None
        if posterior.theta is not None:
            kl["kl_theta"] = posterior.theta.kl(past.prior.theta)
            shift = posterior.theta.draw(for_theta)
        return self.context(past, shift, posterior.zeta.draw(for_zeta)), kl

    def draw(self, past: Past, members: Members) -> Context:
        """The context of members' next model step, drawn from the prior.

        Args:
            past: of as many histories as there are rows of members, or of samples.
            members: whose draws.
        """
        if past.rows < members.rows:
            past = past.repeat(members.rows // past.rows)
        assert past.prior is not None
        shift = None if past.prior.theta is None else past.prior.theta.draw(members.theta())
        return self.context(past, shift, past.prior.zeta.draw(members.next_zeta()))

    def penalty(self) -> Tensor | None:
        """-log prior of the learned θ up to a constant, a scalar; None without θ."""
        return None if self.theta is None else self.theta.penalty(self.theta())

    # --- forecasts -----------------------------------------------------------------------------

    def simulate(
        self,
        states: Tensor,
        times: Tensor,
        n_steps: int,
        members: Members | None = None,
        *,
        checkpoint: bool = False,
    ) -> Iterator[Tensor]:
        """Roll out from histories, with gradients where they are enabled.

        Args:
            states: (B, F, C, H, W) physical, the last frame is the initial state.
            times: (B,) seconds since 1970 of the initial state.
            n_steps: model steps.
            members: whose draws, a row of ``states`` each; None: latents at their prior mean.
            checkpoint: recompute activations backwards rather than keep them.

        Yields:
            (B, C, H, W) standardised, step by step.
        """
        history = self.standardise(states)
        clock = times[:, None] + self.step_seconds * torch.arange(n_steps + 1, device=times.device)
        lengths = torch.ones((len(times), n_steps), device=times.device)

        def condition(frames: Tensor) -> Context:
            return self.encode(frames) if members is None else self.draw(self.past(frames), members)

        return rollout(
            self, condition, history[:, -1], history, clock, lengths, self.solver, checkpoint
        )

    def members(self, seed: int, ids: Tensor, numbers: range) -> Members | None:
        """The draws of M members for each of the samples (B,); None where nothing is drawn."""
        return None if self.latents is None else Members(self.latents, seed, ids, numbers)

    @torch.no_grad()
    def forecast(self, states: Tensor, times: Tensor, n_steps: int) -> Tensor:
        """One forecast, of the latents' prior mean.

        Args:
            states: (B, F, C, H, W) physical, the last frame is the initial state.
            times: (B,) seconds since 1970 of the initial state.
            n_steps: model steps.

        Returns:
            (B, n_steps, C, H, W) physical.
        """
        steps = self.simulate(states, times, n_steps)
        return torch.stack([self.unstandardise(x) for x in steps], 1)

    @torch.no_grad()
    def forecast_ensemble(
        self, states: Tensor, times: Tensor, n_steps: int, members: int, seed: int
    ) -> Tensor:
        """Draws from the prior; those of a member depend on (seed, initial time, member) alone.

        Args:
            states: (B, F, C, H, W) physical, the last frame is the initial state.
            times: (B,) int64 seconds since 1970 of the initial state.
            n_steps: model steps.
            members: M.
            seed: of the draws.

        Returns:
            (B, M, n_steps, C, H, W) physical.
        """
        draws = self.members(seed, times, range(members))
        states, clock = (x.repeat_interleave(members, 0) for x in (states, times))
        steps = self.simulate(states, clock, n_steps, draws)
        drawn = torch.stack([self.unstandardise(x) for x in steps], 1)
        return drawn.unflatten(0, (-1, members))
