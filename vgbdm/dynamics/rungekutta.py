"""Explicit Runge-Kutta methods with fixed steps, without a look at any number.

Times are Python floats and coefficients multiply as such: the host never waits for the device.

Shapes: ``...`` axes of the state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Tableau(NamedTuple):
    """A method: k_i = f(s + c_i h, x + h Σ_j a_ij k_j), then x + h Σ_i b_i k_i.

    Source: Butcher 1964.

    Attributes:
        nodes: c, the part of a step at which each stage is evaluated.
        stages: a, a row per stage, of the stages before it.
        weights: b.
        order: of convergence.
    """

    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    order: int


METHODS = {
    "euler": Tableau((0.0,), ((),), (1.0,), 1),
    "midpoint": Tableau((0.0, 0.5), ((), (0.5,)), (0.0, 1.0), 2),
    "heun2": Tableau((0.0, 1.0), ((), (1.0,)), (0.5, 0.5), 2),
    "heun3": Tableau((0.0, 1 / 3, 2 / 3), ((), (1 / 3,), (0.0, 2 / 3)), (1 / 4, 0.0, 3 / 4), 3),
    "rk4": Tableau(
        (0.0, 1 / 3, 2 / 3, 1.0),
        ((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)),
        (1 / 8, 3 / 8, 3 / 8, 1 / 8),
        4,
    ),
}
"""As torchdiffeq has them under these names; ``rk4`` is Kutta's 3/8 rule."""


def integrate(
    rate: Callable[[float, Tensor], Tensor],
    state: Tensor,
    method: str,
    steps: int,
    size: float,
    begin: float = 0.0,
) -> Tensor:
    """Solve dx/ds = rate(s, x) by equal steps.

    Args:
        rate: of s and x (...), in the unit of x per unit of s.
        state: (...) at ``begin``.
        method: of `METHODS`.
        steps: how many.
        size: of a step, in the unit of s.
        begin: the first s.

    Returns:
        (...) at ``begin + steps · size``.
    """
    tableau = METHODS[method]
    for k in range(steps):
        slopes: list[Tensor] = []
        for node, row in zip(tableau.nodes, tableau.stages, strict=True):
            slopes.append(rate(begin + (k + node) * size, _moved(state, slopes, row, size)))
        state = _moved(state, slopes, tableau.weights, size)
    return state


def _moved(
    state: Tensor, slopes: Sequence[Tensor], weights: Sequence[float], size: float
) -> Tensor:
    """The state plus ``size`` times the weighted slopes."""
    for slope, weight in zip(slopes, weights, strict=True):
        if weight:
            state = torch.add(state, slope, alpha=weight * size)
    return state
