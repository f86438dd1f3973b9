"""Grey-box fields with latents: dx/dt = w · f_phys(x, t; θ) + f_net(x, ζ).

Shapes: ``B`` windows, ``N`` points, ``T`` frames of a window, ``K`` frames of history, ``C``
observed components, ``Q`` components of the integrated state (C, or positions and velocities: 2C),
``Z`` latents, ``P`` parameters, ``...`` axes of a grid.

Second order (docs/method.md#second-order-systems): the frames show positions q alone; the state
is (q, q̇), the row q̇ = q̇ is exact, and physics and network give q̈.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgbdm.errors import InputError
from vgbdm.fields import GreyBoxField, Tendency
from vgbdm.latents import DiagonalGaussian, GaussianHead, Latents, PhysicalPrior, Posterior
from vgbdm.paths import PathPoint, derivatives
from vgbdm.regression import STENCIL, WindowRates, WindowRegression, inner
from vgbdm.rollout import Solver, rollout

SLOPE_FRAMES = 5
"""Frames from which a second-order rollout estimates its initial velocity."""


class Physics(Protocol):
    """What a field must know of a system."""

    prior: Mapping[str, Sequence[float]]

    @property
    def order(self) -> int:
        """1, or 2 where the frames show positions alone."""

    @property
    def components(self) -> tuple[str, ...]:
        """Names of what is observed."""

    @property
    def grid(self) -> tuple[int, ...]:
        """Of a field; empty for a plain state."""

    @property
    def positive(self) -> tuple[str, ...]:
        """Names of θ that must be."""

    @property
    def forcings(self) -> int:
        """Number of known source terms."""

    def known(self, x: Tensor, t: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
        """The incomplete physics: dx/dt (N, C, ...), or q̈ for second order."""

    def forcing(self, t: Tensor) -> Tensor:
        """Known source terms at times t: t.shape + (forcings,)."""


@dataclass(frozen=True)
class Statistics:
    """Of the training trajectories, per component; buffers of the field.

    Attributes:
        mean: (Q,) of the state.
        std: (Q,).
        rate: (C,) root mean square of the velocity, or of the acceleration for second order.
        interval: mean time between frames.
    """

    mean: list[float]
    std: list[float]
    rate: list[float]
    interval: float


class Context(NamedTuple):
    """What a field is given at every point: ζ (N, Z), θ by name or None, history (N, K, C, ...)."""

    zeta: Tensor
    theta: dict[str, Tensor] | None
    history: Tensor | None


class LatentField(GreyBoxField):
    """Known physics with θ, a residual network with ζ, and the encoder that infers both.

    Args:
        physics: the system.
        statistics: of the training trajectories.
        grey: whether the known physics takes part; a black box has no θ either.
        residual_inputs: names of state components that the network sees, ``state`` for all, or
            ``everything``: all, K frames of history, and the known physics, as published.
        window: T.
        history: K.
        latents: Z.
        features: between encoder and posteriors.
        encoder: (channels, window, features) → module.
        network: (inputs, outputs) → module whose last layer starts at zero.
        unmixing: (numbers in, numbers out) → module: a correction of the window before θ is
            inferred from it, as PhysVAE has; None without.
        refinement: steps of `vgbdm.inference` after the encoder, outside training.
        solver: of rollouts, per interval.

    Raises:
        InputError: for components that the system does not have.
    """

    mean: Tensor
    std: Tensor
    rate: Tensor
    width: Tensor
    seen: Tensor  # (S,) components that the network sees
    sides: Tensor  # (1 + 2P, P) coordinates of the prior's mean, and a width below and above it

    def __init__(
        self,
        physics: Physics,
        statistics: Statistics,
        *,
        grey: bool,
        residual_inputs: str | Sequence[str],
        window: int,
        history: int,
        latents: int,
        features: int,
        encoder: Callable[[int, int, int], nn.Module],
        network: Callable[[int, int], nn.Module],
        unmixing: Callable[[int, int], nn.Module] | None,
        refinement: int,
        solver: Solver,
    ) -> None:
        super().__init__()
        self.physics, self.window, self.history = physics, window, history
        self.grey, self.solver, self.interval = grey, solver, statistics.interval
        self.order, self.size = physics.order, len(physics.components)
        self.everything = residual_inputs == "everything"
        seen = self._components(residual_inputs)
        self.register_buffer("seen", torch.tensor(seen), persistent=False)
        for name in ("mean", "std", "rate"):
            values = torch.tensor(getattr(statistics, name), dtype=torch.float32)
            self.register_buffer(name, values.reshape(-1, *[1] * len(physics.grid)))
        forcings = physics.forcings if not grey else 0
        inputs = len(seen) + latents + forcings
        if self.everything:
            inputs += history * self.size + (self.size if grey else 0)
        self.encoder = encoder(self.size + physics.forcings + 1, window, features)
        parameters = len(physics.prior) if grey else 0
        self.regression = WindowRegression(self.size, len(seen), parameters)
        eye = torch.eye(parameters)
        self.register_buffer("sides", torch.cat((0 * eye[:1], -eye, eye)), persistent=False)
        self.merge = nn.Linear(features + self.regression.outputs, features)
        told = features + self.regression.outputs
        self.zeta_head = GaussianHead(told, latents)
        self.network = network(inputs, self.size)
        self.latents, self.refinement = latents, refinement
        self.unmixing = None
        if grey:
            self.prior = PhysicalPrior(physics.prior, physics.positive)
            self.theta_head = GaussianHead(told + latents, len(self.prior.names))
            self.register_buffer("width", torch.ones(len(self.prior.names)))
            if unmixing is not None:
                flat = window * self.size * int(torch.Size(physics.grid).numel())
                self.unmixing = unmixing(flat + latents, flat)

    def _components(self, residual_inputs: str | Sequence[str]) -> list[int]:
        names = list(self.physics.components)
        names += [f"d{name}" for name in names] if self.order == 2 else []
        if residual_inputs in ("state", "everything"):
            return list(range(len(names)))
        unknown = [name for name in residual_inputs if name not in names]
        if unknown or isinstance(residual_inputs, str) or not residual_inputs:
            raise InputError(
                f"residual_inputs={residual_inputs}: want state, everything, or some of "
                f"[{', '.join(names)}]"
            )
        return [names.index(name) for name in residual_inputs]

    # --- inference -----------------------------------------------------------------------------

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of θ; none for a black box."""
        return self.prior.names if self.grey else ()

    def infer(
        self, frames: Tensor, times: Tensor, noise: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Posterior, Latents]:
        """The encoder's posterior, and a draw from it, or the means where ``noise`` is None.

        Args:
            frames: (B, T, C, ...).
            times: (B, T).
            noise: standard normal (B, Z) and (B, P).
        """
        features = self._read(frames, times)
        zeta = self.zeta_head(features)
        z = zeta.mean if noise is None else zeta.draw(noise[0])
        if not self.grey:
            return Posterior(zeta, None), Latents(z, None)
        if self.unmixing is not None:
            features = self._read(self.unmix(frames, z), times)
        theta: DiagonalGaussian = self.theta_head(torch.cat((features, z), 1))
        y = theta.mean if noise is None else theta.draw(noise[1])
        return Posterior(zeta, theta), Latents(z, self.prior(y))

    def theta_of(self, frames: Tensor, times: Tensor, zeta: Tensor) -> DiagonalGaussian:
        """q(y | window, ζ) of a window taken as it is."""
        out: DiagonalGaussian = self.theta_head(torch.cat((self._read(frames, times), zeta), 1))
        return out

    def unmix(self, frames: Tensor, zeta: Tensor) -> Tensor:
        """The window as the physics alone would have made it (PhysVAE)."""
        assert self.unmixing is not None
        scaled = self.standardise(frames)
        change = self.unmixing(torch.cat((scaled.flatten(1), zeta), 1)).view_as(scaled)
        return frames + change * self.std[: self.size]

    def standardise(self, frames: Tensor) -> Tensor:
        """Frames (..., C, *grid) in standard deviations."""
        return (frames - self.mean[: self.size]) / self.std[: self.size]

    def _read(self, frames: Tensor, times: Tensor) -> Tensor:
        """Features (B, n) of a window: frames, known forcing and relative time gaps."""
        forcing, scaled = self.physics.forcing(times), self.standardise(frames)
        grid = frames.shape[3:]
        gaps = times.diff(dim=1, prepend=times[:, :1] - self.interval) / self.interval
        extras = torch.cat((gaps[..., None], forcing), 2).to(frames.dtype)
        extras = extras.reshape(*extras.shape, *[1] * len(grid)).expand(*extras.shape, *grid)
        seen = self.encoder(torch.cat((scaled, extras), 2))
        told = self.regression(self._rates(frames, times))
        return torch.cat((F.silu(self.merge(torch.cat((seen, told), 1))), told), 1)

    def _rates(self, frames: Tensor, times: Tensor) -> WindowRates:
        """Rates of a window, and what they may be made of."""
        slope, bend = derivatives(frames, times, STENCIL)
        state, rate = (frames, slope) if self.order == 1 else (torch.cat((frames, slope), 2), bend)
        cut = inner(frames.shape[1])
        state, rate, times = state[:, cut], rate[:, cut], times[:, cut]
        seen = ((state - self.mean) / self.std).index_select(2, self.seen)
        if not self.grey:
            return WindowRates(rate / self.rate, seen, rate[:, :, None, :][:, :, :0])
        points, clock, count = state.flatten(0, 1), times.flatten(), len(self.prior.names)
        known = [
            self.physics.known(points, clock, self.prior.named(theta.expand(len(points), -1)))
            for theta in self.prior(self.sides.to(points.dtype))
        ]
        sides = torch.stack(known[1:], 1) / self.rate
        answers = (sides[:, count:] - sides[:, :count]) / 2
        missing = rate - known[0].view_as(rate)
        return WindowRates(missing / self.rate, seen, answers.unflatten(0, times.shape))

    @torch.no_grad()
    def calibrate(self, frames: Tensor, times: Tensor) -> None:
        """Standardise regression features by the windows (W, T, C, ...) of training."""
        self.regression.calibrate(self.regression.coefficients(self._rates(frames, times)))

    # --- the field -----------------------------------------------------------------------------

    def condition(self, latents: Latents, history: Tensor | None = None) -> Context:
        """Latents, and history (N, ≥ K, C, ...) ending at the current frame, for `forward`."""
        theta = None if latents.theta is None else self.prior.named(latents.theta)
        kept = history[:, -self.history :] if self.everything and history is not None else None
        return Context(latents.zeta, theta, kept)

    def forward(self, x: Tensor, t: Tensor, context: Context, weight: float = 1.0) -> Tendency:
        """Velocity of states (N, Q, ...) at times (N,), in physical units."""
        known = None
        if self.grey:
            assert context.theta is not None
            known = self.physics.known(x, t, context.theta)
        own = self.network(self._inputs(x, t, known, context))
        change = own * self.rate
        if known is not None:
            change = weight * known + change
        total = torch.cat((x[:, self.size :], change), 1) if self.order == 2 else change
        return Tendency(total, {"network": own.square()}, context.theta or {}, {})

    def _inputs(self, x: Tensor, t: Tensor, known: Tensor | None, context: Context) -> Tensor:
        grid = [1] * (x.dim() - 2)
        scaled = (x - self.mean) / self.std
        parts = [scaled.index_select(1, self.seen)]
        spread = [context.zeta] if self.grey else [context.zeta, self.physics.forcing(t).to(x)]
        for part in spread:
            parts.append(part.reshape(*part.shape, *grid).expand(-1, -1, *x.shape[2:]))
        if self.everything:
            assert context.history is not None
            parts.append(self.standardise(context.history).flatten(1, 2))
            parts += [] if known is None else [known / self.rate]
        return torch.cat(parts, 1)

    def observe(self, x: Tensor) -> Tensor:
        """The observed components (N, C, ...) of a state."""
        return x[:, : self.size]

    def at(self, point: PathPoint) -> tuple[Tensor, Tensor]:
        """State (N, Q, ...) and its rate (N, Q, ...) at a point of a path."""
        if self.order == 1:
            return point.state, point.velocity
        state = torch.cat((point.state, point.velocity), 1)
        return state, torch.cat((point.velocity, point.acceleration), 1)

    def rate_error(self, difference: Tensor) -> Tensor:
        """What a loss is made of: the last C rows of (N, Q, ...) in units of their rms."""
        return difference[:, -self.size :] / self.rate

    # --- trajectories --------------------------------------------------------------------------

    def begin(self, frames: Tensor, times: Tensor, place: int) -> Tensor:
        """State (B, Q, ...) at one of the frames; velocities are estimated from those around it."""
        if self.order == 1:
            return frames[:, place]
        velocity, _ = derivatives(frames, times, SLOPE_FRAMES)
        return torch.cat((frames[:, place], velocity[:, place]), 1)

    def simulate(
        self,
        start: Tensor,
        history: Tensor,
        times: Tensor,
        latents: Latents,
        solver: Solver | None = None,
    ) -> Tensor:
        """States (B, n, Q, ...) at the n last of ``times`` (B, n + 1), θ and ζ fixed."""
        steps = rollout(
            self,
            lambda frames: self.condition(latents, frames),
            start,
            history,
            times,
            times.diff(dim=1),
            solver or self.solver,
        )
        return torch.stack(list(steps), 1)

    def forecast(self, frames: Tensor, times: Tensor, latents: Latents) -> Tensor:
        """Forecast from context frames.

        Args:
            frames: (B, T, C, ...) context.
            times: (B, T + n) of the context and of the wanted frames.
            latents: from `infer`.

        Returns:
            (B, n, C, ...).
        """
        count = frames.shape[1]
        start = self.begin(frames, times[:, :count], count - 1)
        states = self.simulate(start, frames, times[:, count - 1 :], latents)
        return states[:, :, : self.size]


class PhysicsField(GreyBoxField):
    """Given dynamics alone: the known part with some θ, or a whole system with the true one.

    Args:
        rate: (state (N, Q, ...), times (N,), θ by name) → its rate, (N, Q, ...).
        size: observed components, C.
    """

    def __init__(
        self, rate: Callable[[Tensor, Tensor, Mapping[str, Tensor]], Tensor], size: int
    ) -> None:
        super().__init__()
        self.rate, self.size = rate, size

    def forward(self, x: Tensor, t: Tensor, context: Context, weight: float = 1.0) -> Tendency:
        """See `GreyBoxField`."""
        assert context.theta is not None
        return Tendency(weight * self.rate(x, t, context.theta), {}, context.theta, {})

    def observe(self, x: Tensor) -> Tensor:
        """The observed components (N, C, ...) of a state."""
        return x[:, : self.size]


def known_field(physics: Physics) -> PhysicsField:
    """The incomplete physics of a system as a field of its own."""
    size = len(physics.components)

    def rate(x: Tensor, t: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
        known = physics.known(x, t, theta)
        return torch.cat((x[:, size:], known), 1) if physics.order == 2 else known

    return PhysicsField(rate, size)


def simulate_physics(
    field: PhysicsField, start: Tensor, times: Tensor, theta: dict[str, Tensor], solver: Solver
) -> Tensor:
    """States (B, n, Q, ...) of given dynamics at the n last of ``times`` (B, n + 1)."""
    context = Context(start[:, :0], theta, None)
    history = field.observe(start).unsqueeze(1)
    lengths = times.diff(dim=1)
    steps = rollout(field, lambda _: context, start, history, times, lengths, solver)
    return torch.stack(list(steps), 1)
