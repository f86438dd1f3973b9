"""What a field of a system knows without its networks: units, derivatives, answers to θ.

Shapes: ``B`` windows, ``N`` points, ``T`` frames of a window, ``L`` of a trajectory, ``k`` node
values of a path, ``C`` observed components, ``Q`` components of the integrated state (C, or
positions and velocities: 2C), ``S`` inputs of the residual network, ``P`` parameters, ``...`` axes
of a grid.

Second order (docs/method.md#second-order-systems): the frames show positions q alone; the state
is (q, q̇), the row q̇ = q̇ is exact, and physics and network give q̈.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vgbdm.dynamics.parameters import NormalParameters
from vgbdm.dynamics.physics import Physics
from vgbdm.errors import InputError
from vgbdm.fields.grey_box import GreyBoxField, Trajectory
from vgbdm.latents.cache import CachedTrajectories
from vgbdm.latents.regression import WindowRates
from vgbdm.paths.path import Path, PathPoint
from vgbdm.registry.marks import model_part


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
    """What these fields read of a batch."""

    nodes: Tensor
    """(B, L, k, C, ...) of a path; the first node value is the frame."""
    times: Tensor
    """(B, L) float64."""
    ids: Tensor
    """(B,) numbers in the endless sequence: the keys of all randomness."""
    cached: CachedTrajectories | None
    """What is kept of their windows."""


class SystemField(GreyBoxField[TrajectoryBatch]):
    """Units of states and rates, the path's derivatives, and how the physics answers to θ.

    Args:
        physics: the system.
        statistics: of the training trajectories.
        path: gives every derivative at frames: of features, of the start of a rollout, and of
            what inference compares the field with.
        grey: whether the known physics takes part; a black box has no θ either.
        residual_inputs: names of state components that the network sees, or ``state`` or
            ``everything`` for all.

    Raises:
        InputError: for components that the system does not have, and for a path that does not
            serve its order.
    """

    mean: Tensor
    std: Tensor
    rate: Tensor
    seen: Tensor  # (S,) components that the network sees
    sides: Tensor  # (1 + 2P, P) coordinates of the prior's mean, and a width below and above it

    def __init__(
        self,
        physics: Physics,
        statistics: FieldStatistics,
        path: Path,
        grey: bool,
        residual_inputs: str | Sequence[str],
    ) -> None:
        super().__init__()
        path.check_order(physics.order)
        self.physics, self.path, self.interval = physics, path, statistics.interval
        self._grey = grey
        self.order, self.size = physics.order, len(physics.components)
        seen = self._components(residual_inputs)
        self.register_buffer("seen", torch.tensor(seen), persistent=False)
        for name in ("mean", "std", "rate"):
            values = torch.tensor(getattr(statistics, name), dtype=torch.float32)
            self.register_buffer(name, values.reshape(-1, *[1] * len(physics.grid)))
        if grey:
            self.prior = NormalParameters(physics.prior, physics.positive)
        eye = torch.eye(len(self.parameter_names))
        self.register_buffer("sides", torch.cat((0 * eye[:1], -eye, eye)), persistent=False)

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

    @property
    def grey(self) -> bool:
        """See `GreyBoxField`."""
        return self._grey

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of θ; none for a black box."""
        return self.prior.names if self.grey else ()

    # --- frames and units ----------------------------------------------------------------------

    def trajectory(self, batch: TrajectoryBatch, path: Path | None) -> Trajectory:
        """See `GreyBoxField`; nodes come with the batch."""
        return Trajectory(batch.nodes, batch.times, batch.times, batch.cached)

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

    def standardise(self, frames: Tensor) -> Tensor:
        """Frames (..., C, *grid) in standard deviations."""
        return (frames - self.mean[: self.size]) / self.std[: self.size]

    # --- derivatives ---------------------------------------------------------------------------

    def begin(self, frames: Tensor, times: Tensor, place: int) -> Tensor:
        """State (B, Q, ...) at one of the frames (B, T, C, ...), by the path through them all."""
        return state_at(self.path, self.order, frames, times, place)

    def window_rates(self, frames: Tensor, times: Tensor) -> WindowRates:
        """Rates of windows (B, T, C, ...), where the path knows them best, and their parts."""
        inside = self.path.inside(frames.shape[1])
        point = self.path.at_frames(self.path.nodes(frames, times), times)
        clock = times[:, inside]
        points = PathPoint(*(values[:, inside].flatten(0, 1) for values in point))
        state, rate = self.at(points)
        rate = rate[:, rate.shape[1] - self.size :]
        seen = ((state - self.mean) / self.std).index_select(1, self.seen)
        if not self.grey:
            rate = (rate / self.rate).unflatten(0, clock.shape)
            return WindowRates(rate, seen.unflatten(0, clock.shape), rate[:, :, None][:, :, :0])
        known = [
            self.physics.known(state, clock.flatten(), self.prior.named(y.expand(len(state), -1)))
            for y in self.prior.physical(self.sides.to(state.dtype))
        ]
        sides, count = torch.stack(known[1:], 1) / self.rate, len(self.prior.names)
        answers = (sides[:, count:] - sides[:, :count]) / 2
        missing = (rate - known[0]) / self.rate
        return WindowRates(*(x.unflatten(0, clock.shape) for x in (missing, seen, answers)))


def state_at(path: Path, order: int, frames: Tensor, times: Tensor, place: int) -> Tensor:
    """States (B, C, ...), or for second order (B, 2C, ...), at one of the frames.

    Args:
        path: through the frames.
        order: of the system.
        frames: (B, T, C, ...).
        times: (B, T).
        place: which of them.
    """
    point = path.at_frames(path.nodes(frames, times), times)
    state, velocity = point.state[:, place], point.velocity[:, place]
    return state if order == 1 else torch.cat((state, velocity), 1)
