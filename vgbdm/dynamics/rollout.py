"""A field and a history → a trajectory.

Shapes: ``B`` samples, ``F`` frames of history, ``...`` axes of the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torchdiffeq import odeint

from vgbdm.dynamics.interval import Driven, Interval
from vgbdm.dynamics.rungekutta import METHODS, integrate
from vgbdm.dynamics.splitting import SplitSolver
from vgbdm.dynamics.tendency import Context, Dynamics
from vgbdm.errors import InputError
from vgbdm.options.kinds import Size
from vgbdm.registry.marks import model_part

Adaptive = Literal["adaptive_heun", "fehlberg2", "bosh3", "dopri5", "dopri8"]
ADAPTIVE = get_args(Adaptive)
"""Methods that choose their steps, by torchdiffeq; its host reads the device at each."""
Method = Literal["euler", "midpoint", "heun2", "heun3", "rk4"] | Adaptive


@model_part
@dataclass(frozen=True)
class Solver:
    """How one model step is integrated in s ∈ [0, 1].

    Attributes:
        method: of fixed steps (`rungekutta.METHODS`) or adaptive (`ADAPTIVE`).
        substeps: of a fixed-step method in one model step.

    Raises:
        InputError: for anything else.
    """

    method: Method = "midpoint"
    substeps: Size = 2

    def __post_init__(self) -> None:
        known = (*METHODS, *ADAPTIVE)
        if self.method not in known:
            raise InputError(f"solver.method={self.method}: unknown; there are {', '.join(known)}")
        if self.substeps < 1:
            raise InputError(f"solver.substeps={self.substeps}: at least 1 is needed")

    @property
    def steps(self) -> int:
        """Of a fixed-step method in one model step."""
        return self.substeps

    def advance(self, interval: Interval, state: Tensor) -> Tensor:
        """States (B, ...) at s = 0 → those at s = 1."""
        if self.method in METHODS:
            return integrate(interval, state, self.method, self.substeps, 1.0 / self.substeps)
        ends = torch.tensor([0.0, 1.0], dtype=state.dtype, device=state.device)
        solved: Tensor = odeint(interval, state, ends, method=self.method)[-1]
        return solved


class Driving(NamedTuple):
    """Known states that a rollout follows, in part, such as those around a region.

    Attributes:
        share: (...) how much of each value follows them: 1 wholly, 0 not at all.
        states: (N, ...) at each of the wanted times, asked for one by one.
    """

    share: Tensor
    states: Iterable[Tensor]


def rollout(
    field: Dynamics,
    condition: Callable[[Tensor], Context],
    start: Tensor,
    history: Tensor,
    times: Tensor,
    lengths: Tensor,
    solver: Solver | SplitSolver,
    checkpoint: bool = False,
    driving: Driving | None = None,
) -> Iterator[Tensor]:
    """Integrate from time to time; the history slides over the predictions and ends at the current.

    Every sample has its own times: an interval is integrated in s ∈ [0, 1] with the field times its
    length.

    Args:
        field: gives dx/dt.
        condition: history (B, F, ...) → the context of the field for the next interval.
        start: (B, ...) initial state.
        history: (B, F, ...) frames, the last one at the initial time.
        times: (B, n + 1) of the initial and the wanted states, in the data's clock.
        lengths: (B, n) of the intervals, in the unit of time of the field's answer.
        solver: of each interval.
        checkpoint: keep no activations of the field's calls, compute them again backwards.
        driving: what is known of the states: within an interval it changes evenly.

    Yields:
        (B, ...) states at the 2nd, 3rd, … of ``times``.
    """
    times, state = times.double(), start
    known = None if driving is None else iter(driving.states)
    for k in range(lengths.shape[1]):
        gap = times[:, k + 1] - times[:, k]
        scale = lengths[:, k].to(start.dtype).reshape(-1, *[1] * (start.dim() - 1))
        interval = Interval(field, condition(history), times[:, k], gap, scale, checkpoint)
        state = field.enter(state)
        if driving is None or known is None:
            state = field.at_step_end(solver.advance(interval, state))
        else:
            end = next(known)
            driven = replace(interval, driven=Driven(driving.share, end - state))
            state = field.at_step_end(solver.advance(driven, state))
            state = torch.lerp(state, end, driving.share)
        yield state
        history = torch.cat((history[:, 1:], field.observe(state).unsqueeze(1)), 1)
