"""What can be integrated: states and times → rates.

Shapes: ``N`` points, ``C`` channels, ``...`` further axes of the state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from vgbdm.dynamics.parameters import Theta


class Tendency(NamedTuple):
    """What a field answers.

    Attributes:
        total: dx/dt (N, ...), in the field's units per its unit of time.
        residual: by name, squares of what the network added (N, parts, ...), each in its honest
            unit, for the gauge: one part of the penalty for each index of the second axis.
        theta: the physical parameters used.
        diagnostics: by name, numbers (N,) worth a line in the log.
    """

    total: Tensor
    residual: Mapping[str, Tensor]
    theta: Theta
    diagnostics: Mapping[str, Tensor]


class Context(NamedTuple):
    """What stands still while a field is asked along one interval.

    Attributes:
        theta: physical parameters by name, each with a first axis N; empty without physics.
        zeta: what the network is given of ζ; None without latents.
        history: what the field is given of it, each with a first axis N; empty where nothing.
    """

    theta: Theta
    zeta: Tensor | None
    history: tuple[Tensor, ...]


Slow = tuple[Tensor, ...]
"""What moves slowly in a field: tensors, each with a first axis N."""


class Dynamics(nn.Module, ABC):
    """dx/dt of states, given a context."""

    @abstractmethod
    def forward(self, x: Tensor, t: Tensor, context: Context, weight: float = 1.0) -> Tendency:
        """The rates at states.

        Args:
            x: (N, ...).
            t: (N,) times in the data's clock, float64.
            context: what stands still.
            weight: w, the warm-up of known physics; 1 outside training.
        """

    def observe(self, x: Tensor) -> Tensor:
        """The part of an integrated state (N, ...) that a frame of the data shows."""
        return x

    def enter(self, x: Tensor) -> Tensor:
        """The states (N, ...) that an interval begins with, of those that the last one ended with.

        What is not fed back begins anew.
        """
        return x

    def at_step_end(self, state: Tensor) -> Tensor:
        """States (N, ...) integrated to the end of an interval → those the next one starts from."""
        return state


class SplitDynamics(Dynamics):
    """Dynamics of a slow part that is costly and a fast one that is not (`splitting`).

    Its rate, without warm-up, is ``fast(x, slow(x, t, context), context)``.
    """

    @abstractmethod
    def slow(self, x: Tensor, t: Tensor, context: Context) -> Slow:
        """The slow part at states (N, ...) and times (N,) in the data's clock, float64."""

    @abstractmethod
    def fast(self, x: Tensor, slow: Slow, context: Context) -> Tensor:
        """dx/dt (N, ...) at states (N, ...), with a slow part that is known."""
