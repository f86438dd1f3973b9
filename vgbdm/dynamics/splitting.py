"""Two calls of the slow, costly part of a field per interval, however fast the rest moves.

    dx/ds = fast(x, k(s)),   k(s) = slow(x(s), s)

    k_0 = slow(x_0, 0)      s in [0, h]:   k = k_0
    k_1 = slow(x_h, h)      s in [h, 2h]:  k = 2 k_1 - k_0

The second half takes the line through both calls at its end, and so makes up for what the first
half, a step of Euler, has left out: over both the mean of k is that at the middle. The error of a
step is of third order, the scheme of second; where ``fast`` is k alone it is the midpoint rule.
See docs/method.md#split-steps.

Shapes: ``N`` points, ``...`` further axes of the state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vgbdm.dynamics.interval import Interval
from vgbdm.dynamics.rungekutta import integrate
from vgbdm.dynamics.tendency import Slow
from vgbdm.errors import InputError


@dataclass(frozen=True)
class SplitSolver:
    """How one model step is integrated in s ∈ [0, 1], with few calls of the slow part.

    Attributes:
        calls: of the slow part in a model step, an even number.
        substeps: Runge–Kutta steps (rk4) of the fast part after each call.

    Raises:
        InputError: for an odd number of calls.
    """

    calls: int
    substeps: int

    def __post_init__(self) -> None:
        if self.calls < 2 or self.calls % 2:
            raise InputError(
                f"model.network_calls={self.calls}: they come in pairs; want 2, 4, 6, … or null "
                "for one at each stage of Runge-Kutta"
            )

    @property
    def steps(self) -> int:
        """Runge–Kutta steps in a model step."""
        return self.calls * self.substeps

    def advance(self, interval: Interval, state: Tensor) -> Tensor:
        """States (N, ...) at s = 0 → those at s = 1."""
        part = 1.0 / self.calls
        for k in range(0, self.calls, 2):
            begun = interval.slow(k * part, state)
            state = self._carried(interval, state, begun)
            middle = interval.slow((k + 1) * part, state)
            ahead = tuple(torch.lerp(a, b, 2.0) for a, b in zip(begun, middle, strict=True))
            state = self._carried(interval, state, ahead)
        return state

    def _carried(self, interval: Interval, state: Tensor, slow: Slow) -> Tensor:
        """States (N, ...) one call later."""
        size = 1.0 / (self.calls * self.substeps)
        return integrate(lambda _, x: interval.fast(x, slow), state, "rk4", self.substeps, size)
