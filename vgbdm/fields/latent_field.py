"""Grey-box fields with latents: dx/dt = w · f_phys(x, t; θ) + f_net(x, ζ).

Shapes: ``B`` windows, ``N`` points, ``T`` frames of a window, ``K`` frames of history, ``C``
observed components, ``Q`` components of the integrated state (C, or positions and velocities: 2C),
``Z`` latents, ``P`` parameters, ``...`` axes of a grid.

Second order (docs/method.md#second-order-systems): the frames show positions q alone; the state
is (q, q̇), the row q̇ = q̇ is exact, and physics and network give q̈.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import Tensor, nn

from vgbdm.dynamics.parameters import NormalParameters
from vgbdm.dynamics.physics import Physics
from vgbdm.dynamics.rollout import Solver
from vgbdm.dynamics.tendency import Context, Tendency
from vgbdm.errors import InputError
from vgbdm.fields.grey_box import GreyBoxField, Past, Trajectory, Window
from vgbdm.latents.distributions import Distribution, GaussianHead
from vgbdm.latents.latents import LatentDistribution, Latents, LatentSizes
from vgbdm.latents.regression import STENCIL, WindowRates, WindowRegression, inner
from vgbdm.options.kinds import AtLeastTwo, Frames, Size, Text
from vgbdm.paths.derivatives import derivatives
from vgbdm.paths.path import Path, PathPoint
from vgbdm.registry.marks import model_part

SLOPE_FRAMES = 5
"""Frames from which a second-order rollout estimates its initial velocity."""


@model_part
@dataclass(frozen=True)
class FieldStatistics:
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


class TrajectoryBatch(Protocol):
    """What this field reads of a batch."""

    nodes: Tensor
    """(B, L, k, C, ...) of a path; the first node value is the frame."""
    times: Tensor
    """(B, L) float64."""
    ids: Tensor
    """(B,) numbers in the endless sequence: the keys of all randomness."""


@model_part
class LatentField(GreyBoxField[TrajectoryBatch]):
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
        head: (features, numbers) → module that gives their
            `vgbdm.latents.distributions.Distribution`: the family of the posteriors.
        refinement: steps of `vgbdm.inference.refinement` after the encoder, outside training.
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
        statistics: FieldStatistics,
        *,
        grey: bool,
        residual_inputs: Text | Sequence[Text],
        window: AtLeastTwo,
        history: Frames,
        latents: Frames,
        features: Size,
        encoder: Callable[[int, int, int], nn.Module],
        network: Callable[[int, int], nn.Module],
        unmixing: Callable[[int, int], nn.Module] | None,
        head: Callable[[int, int], nn.Module] = GaussianHead,
        refinement: Annotated[int, Interval(ge=0, le=1000)],
        solver: Solver,
    ) -> None:
        super().__init__()
        self.physics, self.history, self.interval = physics, history, statistics.interval
        self._window, self._grey, self._solver = window, grey, solver
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
        evidence = features + self.regression.outputs
        self.zeta_head = head(evidence, latents)
        self.network = network(inputs, self.size)
        self.latents, self.refinement = latents, refinement
        self.unmixing = None
        if grey:
            self.prior = NormalParameters(physics.prior, physics.positive)
            self.theta_head = head(evidence + latents, len(self.prior.names))
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

    # --- what it is ----------------------------------------------------------------------------

    @property
    def grey(self) -> bool:
        """See `GreyBoxField`."""
        return self._grey

    @property
    def memory(self) -> int:
        """See `GreyBoxField`."""
        return self.history if self.everything else 0

    @property
    def window(self) -> int:
        """See `GreyBoxField`."""
        return self._window

    @property
    def solver(self) -> Solver:
        """See `GreyBoxField`."""
        return self._solver

    @property
    def latent_sizes(self) -> LatentSizes:
        """See `GreyBoxField`; latents stand still over a forecast."""
        return LatentSizes((self.latents,), len(self.parameter_names), 1.0)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of θ; none for a black box."""
        return self.prior.names if self.grey else ()

    # --- frames and units ----------------------------------------------------------------------

    def trajectory(self, batch: TrajectoryBatch, path: Path | None) -> Trajectory:
        """See `GreyBoxField`; nodes come with the batch."""
        return Trajectory(batch.nodes, batch.times, batch.times)

    def observe(self, x: Tensor) -> Tensor:
        """The observed components (N, C, ...) of a state."""
        return x[:, : self.size]

    def at(self, point: PathPoint) -> tuple[Tensor, Tensor]:
        """State (N, Q, ...) and its rate (N, Q, ...) at a point of a path."""
        if self.order == 1:
            return point.state, point.velocity
        state = torch.cat((point.state, point.velocity), 1)
        return state, torch.cat((point.velocity, point.acceleration), 1)

    def from_frames(self, frames: Tensor) -> Tensor:
        """See `GreyBoxField`."""
        if self.order == 2:
            raise InputError("objective: path is null, and frames show no velocities; give a path")
        return frames

    def rate_units(self, rates: Tensor) -> Tensor:
        """The last C rows of (..., Q, *grid) in units of their rms."""
        axis = -1 - len(self.physics.grid)
        return rates.narrow(axis, rates.shape[axis] - self.size, self.size) / self.rate

    def state_units(self, frames: Tensor) -> Tensor:
        """Differences of frames (..., C, *grid) in standard deviations."""
        return frames / self.std[: self.size]

    def mean_square_rate(self, rates: Tensor, matches: int) -> Tensor:
        """See `GreyBoxField`."""
        return self.rate_units(rates).square().reshape(len(rates) // matches, -1).mean(1)

    def mean_square_state(self, frames: Tensor) -> Tensor:
        """See `GreyBoxField`."""
        return self.state_units(frames).flatten(1).square().mean(1)

    def average(self, values: Tensor) -> Tensor:
        """Mean over components and grid: (...) of (..., C, *grid)."""
        return values.flatten(-1 - len(self.physics.grid)).mean(-1)

    def from_changes(self, values: Tensor) -> Tensor:
        """Units of the rms change per frame (..., C, *grid) → differences of frames."""
        if self.order == 1:
            return values * self.rate * self.interval
        speed = (self.mean.square() + self.std.square())[self.size :].sqrt()
        return values * speed * self.interval

    # --- latents -------------------------------------------------------------------------------

    def past(self, history: Tensor | None) -> Past:
        """See `GreyBoxField`; (N, ≥ K, C, ...)."""
        if history is None or not self.memory:
            return Past(0, (), (), None)
        return Past(len(history), (history[:, -self.history :],), (), None)

    def context(self, past: Past, latents: Latents, repeats: int = 1) -> Context:
        """See `GreyBoxField`."""
        many = Latents(latents.zeta, self.physical(latents)).repeat(repeats)
        theta = {} if many.theta is None else self.prior.named(many.theta)
        return Context(theta, many.zeta, past.history)

    def infer(
        self, window: Window, past: Past | None = None, noise: Tensor | None = None
    ) -> tuple[LatentDistribution, Latents]:
        """See `GreyBoxField`: the encoder's answer; no past is needed."""
        features = self._read(*window)
        zeta = self.zeta_head(features)
        numbers = None if noise is None else self.latent_sizes.split(noise)
        z = zeta.mean if numbers is None else zeta.draw(numbers[0])
        if not self.grey:
            return LatentDistribution(zeta, None), Latents(z, None)
        if self.unmixing is not None:
            features = self._read(self.unmix(window.frames, z), window.times)
        theta: Distribution = self.theta_head(torch.cat((features, z), 1))
        y = theta.mean if numbers is None else theta.draw(numbers[1])
        return LatentDistribution(zeta, theta), Latents(z, y)

    def physical(self, latents: Latents) -> Tensor | None:
        """θ (B, P) in physical units; None for a black box."""
        return None if latents.theta is None else self.prior.physical(latents.theta)

    def theta_of(self, frames: Tensor, times: Tensor, zeta: Tensor) -> Distribution:
        """q(y | window, ζ) of a window taken as it is."""
        out: Distribution = self.theta_head(torch.cat((self._read(frames, times), zeta), 1))
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
        evidence = self.regression(self._rates(frames, times))
        return torch.cat((F.silu(self.merge(torch.cat((seen, evidence), 1))), evidence), 1)

    def _rates(self, frames: Tensor, times: Tensor) -> WindowRates:
        """Rates of a window, and what they may be made of."""
        slope, curvature = derivatives(frames, times, STENCIL)
        state, rate = frames, slope
        if self.order == 2:
            state, rate = torch.cat((frames, slope), 2), curvature
        cut = inner(frames.shape[1])
        state, rate, times = state[:, cut], rate[:, cut], times[:, cut]
        seen = ((state - self.mean) / self.std).index_select(2, self.seen)
        if not self.grey:
            return WindowRates(rate / self.rate, seen, rate[:, :, None, :][:, :, :0])
        points, clock, count = state.flatten(0, 1), times.flatten(), len(self.prior.names)
        known = [
            self.physics.known(points, clock, self.prior.named(theta.expand(len(points), -1)))
            for theta in self.prior.physical(self.sides.to(points.dtype))
        ]
        sides = torch.stack(known[1:], 1) / self.rate
        answers = (sides[:, count:] - sides[:, :count]) / 2
        missing = rate - known[0].view_as(rate)
        return WindowRates(missing / self.rate, seen, answers.unflatten(0, times.shape))

    @torch.no_grad()
    def scale_regression(self, frames: Tensor, times: Tensor) -> None:
        """Standardise regression features by the windows (W, T, C, ...) of training."""
        self.regression.fit_scale(self.regression.coefficients(self._rates(frames, times)))

    # --- the field -----------------------------------------------------------------------------

    def forward(self, x: Tensor, t: Tensor, context: Context, weight: float = 1.0) -> Tendency:
        """Velocity of states (N, Q, ...) at times (N,), in physical units."""
        known = self.physics.known(x, t, context.theta) if self.grey else None
        own = self.network(self._inputs(x, t, known, context))
        change = own * self.rate
        if known is not None:
            change = weight * known + change
        total = torch.cat((x[:, self.size :], change), 1) if self.order == 2 else change
        residual = {"network": own.square()} if self.grey else {}
        return Tendency(total, residual, context.theta, {})

    def _inputs(self, x: Tensor, t: Tensor, known: Tensor | None, context: Context) -> Tensor:
        grid = [1] * (x.dim() - 2)
        assert context.zeta is not None
        scaled = (x - self.mean) / self.std
        parts = [scaled.index_select(1, self.seen)]
        spread = [context.zeta] if self.grey else [context.zeta, self.physics.forcing(t).to(x)]
        for part in spread:
            parts.append(part.reshape(*part.shape, *grid).expand(-1, -1, *x.shape[2:]))
        if self.everything:
            parts.append(self.standardise(*context.history).flatten(1, 2))
            parts += [] if known is None else [known / self.rate]
        return torch.cat(parts, 1)

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
        steps = self.march(start, history, times, times.diff(dim=1), latents, solver)
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
