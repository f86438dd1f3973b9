"""Integrating a neural ODE over a window, and how its gradient is found.

Shapes: ``B`` samples, ``S`` model steps, ``...`` axes of the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchdiffeq import odeint, odeint_adjoint

from vgbdm.dynamics.rollout import ADAPTIVE, Method
from vgbdm.dynamics.rungekutta import METHODS, integrate
from vgbdm.errors import InputError
from vgbdm.options.kinds import Positive, Size
from vgbdm.registry.marks import model_part

Gradient = Literal["auto", "direct", "checkpoint", "adjoint"]
GRADIENTS = get_args(Gradient)
Motion = Callable[[float | Tensor, Tensor], Tensor]
"""dz/ds of states (B, ...), s in fixed steps."""
ALIKE_GRADIENTS = ("auto", "direct", "checkpoint")
"""Ways to the same gradient, bit for bit."""


@model_part
@dataclass(frozen=True)
class WindowSolver:
    """A solver that reports the state at every model step.

    Attributes:
        method: of fixed steps or adaptive. An adaptive one is run sample by sample, so that the
            steps of one sample do not depend on the others of its batch. Adaptive steps and the
            adjoint equation are torchdiffeq's, whose host reads the device at each step.
        substeps: fixed steps in one model step.
        rtol: relative tolerance of adaptive steps.
        atol: absolute tolerance of adaptive steps, in the units of the state.
        gradient: ``direct`` keeps what every evaluation computed; ``checkpoint`` keeps the states
            and computes it again, same gradient; ``auto`` is decided before training by what fits
            (`gradient_choice`), and ``checkpoint`` until then; ``adjoint`` keeps nothing and
            integrates the adjoint equation backwards, the gradient up to the solver's error.

    Raises:
        InputError: for anything else.
    """

    method: Method
    substeps: Size
    rtol: Positive
    atol: Positive
    gradient: Gradient

    def __post_init__(self) -> None:
        if self.method not in (*METHODS, *ADAPTIVE):
            known = ", ".join((*METHODS, *ADAPTIVE))
            raise InputError(f"model.solver.method={self.method}: unknown; there are {known}")
        if self.gradient not in GRADIENTS:
            known = ", ".join(GRADIENTS)
            raise InputError(f"model.solver.gradient={self.gradient}: unknown; there are {known}")
        if self.substeps < 1 or not (self.rtol > 0 and self.atol > 0):
            raise InputError("model.solver: substeps, rtol and atol must be positive")

    def integrate(
        self,
        tendency: Callable[[Tensor, Tensor], Tensor],
        parameters: Iterable[nn.Parameter],
        start: Tensor,
        times: Tensor,
        step_seconds: int,
        n_steps: int,
        at_step_end: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Solve dz/dt = tendency(z, seconds since 1970), an answer per model step.

        Args:
            tendency: of (B, ...) at times (B,).
            parameters: of the tendency, for the adjoint equation.
            start: (B, ...).
            times: (B,) seconds since 1970 of the start.
            step_seconds: of the model.
            n_steps: S.
            at_step_end: what becomes of the state (B, ...) after each model step; None: nothing.

        Returns:
            (B, S, ...) after every model step.
        """
        if self.method in ADAPTIVE and len(start) > 1:
            parts = zip(start.split(1), times.split(1), strict=True)
            parameters = list(parameters)
            return torch.cat(
                [self.integrate(tendency, parameters, z, t, step_seconds, n_steps, at_step_end)
                 for z, t in parts]
            )  # fmt: skip
        # s counts fixed steps: whole numbers are exact in float32
        length, clock = step_seconds / self.substeps, times.double()

        def motion(s: float | Tensor, z: Tensor) -> Tensor:
            seconds = torch.add(clock, s, alpha=length)
            if self.gradient in ("checkpoint", "auto") and torch.is_grad_enabled():
                change = checkpoint(tendency, z, seconds, use_reentrant=False)
            else:
                change = tendency(z, seconds)
            assert isinstance(change, Tensor)
            return change / self.substeps

        if at_step_end is None:
            return self._solved(motion, parameters, start, range(n_steps))
        states, parameters = [start], list(parameters)
        for k in range(n_steps):
            after = self._solved(motion, parameters, states[-1], range(k, k + 1))[:, 0]
            states.append(at_step_end(after))
        return torch.stack(states[1:], 1)

    def _solved(
        self, motion: Motion, parameters: Iterable[nn.Parameter], start: Tensor, steps: range
    ) -> Tensor:
        """States (B, S, ...) after each of the model steps."""
        if self.method in METHODS and self.gradient != "adjoint":
            states = [start]
            for k in steps:
                begin = float(k * self.substeps)
                states.append(integrate(motion, states[-1], self.method, self.substeps, 1.0, begin))
            return torch.stack(states[1:], 1)
        ends = torch.arange(steps.start, steps.stop + 1, device=start.device, dtype=start.dtype)
        marks = ends * self.substeps
        options = {"step_size": 1.0} if self.method in METHODS else {}
        settings = {"method": self.method, "options": options, "rtol": self.rtol, "atol": self.atol}
        if self.gradient == "adjoint":
            wanted = tuple(p for p in parameters if p.requires_grad)
            solved = odeint_adjoint(motion, start, marks, adjoint_params=wanted, **settings)
        else:
            solved = odeint(motion, start, marks, **settings)
        return solved[1:].transpose(0, 1)
