"""One interval of a rollout: a field as a function of s in [0, 1].

Shapes: ``N`` points, ``...`` further axes of the state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as recomputed

from vgbdm.dynamics.tendency import Context, Dynamics, Slow, SplitDynamics


class Driven(NamedTuple):
    """What drives a state over one interval, in part.

    Attributes:
        share: (...) how much of each value is driven: 1 wholly, 0 not at all.
        change: (N, ...) over the interval, which goes on evenly.
    """

    share: Tensor
    change: Tensor


@dataclass(frozen=True)
class Interval:
    """The field of one interval; s is a number, or what torchdiffeq makes of it.

    Attributes:
        field: gives dx/dt.
        context: what stands still.
        begin: (N,) times of its start, in the data's clock.
        gap: (N,) its lengths in that clock.
        scale: (N, 1, ...) its lengths in the unit of time of the field's answer.
        checkpoint: keep no activations of the field's calls, compute them again backwards.
        driven: what takes the place of the field's answer, in part; None: nothing.
    """

    field: Dynamics
    context: Context
    begin: Tensor
    gap: Tensor
    scale: Tensor
    checkpoint: bool
    driven: Driven | None = None

    def __call__(self, s: float | Tensor, x: Tensor) -> Tensor:
        """dx/ds (N, ...)."""

        def rate(time: Tensor, state: Tensor) -> Tensor:
            total: Tensor = self.field(state, time, self.context).total
            return total

        return self._driven(self._asked(rate, self._time(s), x) * self.scale)

    def slow(self, s: float, x: Tensor) -> Slow:
        """The slow part of a `SplitDynamics` at s."""
        answer: Slow = self._asked(self._split.slow, x, self._time(s), self.context)
        return answer

    def fast(self, x: Tensor, slow: Slow) -> Tensor:
        """dx/ds (N, ...) of a `SplitDynamics` with a slow part that is known."""
        return self._driven(self._asked(self._split.fast, x, slow, self.context) * self.scale)

    def _driven(self, rate: Tensor) -> Tensor:
        """dx/ds (N, ...), of which a share is what drives the state."""
        driven = self.driven
        return rate if driven is None else torch.lerp(rate, driven.change, driven.share)

    @property
    def _split(self) -> SplitDynamics:
        assert isinstance(self.field, SplitDynamics), "a split solver wants a split field"
        return self.field

    def _time(self, s: float | Tensor) -> Tensor:
        return self.begin + s * self.gap

    def _asked(self, ask: Callable[..., Any], *given: Any) -> Any:
        """What a call answers; its activations are computed again where that is wanted."""
        if self.checkpoint and torch.is_grad_enabled():
            return recomputed(ask, *given, use_reentrant=False)
        return ask(*given)
