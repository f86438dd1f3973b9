"""A field and a history → a trajectory.

Shapes: ``B`` samples, ``F`` frames of history, ``...`` axes of the state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torchdiffeq import odeint

from vgbdm.errors import InputError
from vgbdm.fields import GreyBoxField


@dataclass(frozen=True)
class Solver:
    """How one model step is integrated in s ∈ [0, 1] by torchdiffeq.

    Attributes:
        method: a torchdiffeq method; fixed-step ones take ``substeps``.
        substeps: of a fixed-step method in one model step.
    """

    method: str = "midpoint"
    substeps: int = 2

    def __post_init__(self) -> None:
        if self.substeps < 1:
            raise InputError(f"solver.substeps={self.substeps}: at least 1 is needed")


def rollout(
    field: GreyBoxField,
    history: Tensor,
    seconds: Tensor,
    step_seconds: float,
    n_steps: int,
    solver: Solver,
) -> Iterator[Tensor]:
    """Integrate step by step; the history slides over the predictions and ends at the current one.

    Args:
        field: in units of one model step.
        history: (B, F, ...) standardised, the last frame is the initial state.
        seconds: (B,) time of the initial state.
        step_seconds: length of a model step.
        n_steps: how many.
        solver: of each step.

    Yields:
        (B, ...) standardised states after 1, 2, … steps.
    """
    ends = torch.tensor([0.0, 1.0], device=history.device)
    seconds = seconds.double()
    for _ in range(n_steps):
        context, start = field.encode(history), seconds

        def velocity(
            s: Tensor, x: Tensor, context: object = context, start: Tensor = start
        ) -> Tensor:
            return field(x, start + s.double() * step_seconds, context).total

        state = odeint(
            velocity,
            history[:, -1],
            ends,
            method=solver.method,
            options={"step_size": 1.0 / solver.substeps},
        )[-1]
        yield state
        history = torch.cat((history[:, 1:], state.unsqueeze(1)), 1)
        seconds = seconds + step_seconds
