"""Known physics of a system, and its trajectories without any network.

Shapes: ``B`` trajectories, ``N`` points, ``C`` observed components, ``Q`` components of the
integrated state (C, or positions and velocities: 2C), ``...`` axes of a grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from vgbdm.dynamics.rollout import Solver, rollout
from vgbdm.dynamics.tendency import Context, Dynamics, Tendency


class Physics(Protocol):
    """What a field must know of a system."""

    @property
    def prior(self) -> Mapping[str, Sequence[float]]:
        """Known parameter → [mean, standard deviation]."""

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


class PhysicsField(Dynamics):
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
        """See `Dynamics`."""
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
    field: PhysicsField, start: Tensor, times: Tensor, theta: Mapping[str, Tensor], solver: Solver
) -> Tensor:
    """States (B, n, Q, ...) of given dynamics at the n last of ``times`` (B, n + 1)."""
    context = Context(theta, None, ())
    history = field.observe(start).unsqueeze(1)
    lengths = times.diff(dim=1)
    steps = rollout(field, lambda _: context, start, history, times, lengths, solver)
    return torch.stack(list(steps), 1)
