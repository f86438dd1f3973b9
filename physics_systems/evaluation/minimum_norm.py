"""The θ that a perfect residual network would be left with: the limit of the gauge penalty alone.

R (`vgbdm.objectives.gauge`) asks for the smallest network. Where what is missing goes along with
what is known, the smallest network is not the true one, and its θ is biased however well it is
learned (docs/method.md#gauge). Here the network is exact, f_net = full - known(θ), and θ minimises
R.

Shapes: ``N`` trajectories, ``L`` frames, ``C`` components, ``P`` parameters, ``...`` grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from physics_systems.data.trajectories import Trajectories
from physics_systems.systems.system import SimulatedSystem
from vgbdm.dynamics.parameters import NormalParameters
from vgbdm.objectives.gauge import gauge
from vgbdm.paths.path import Path

REACH = 10.0
"""Widths of the prior searched to either side."""
FRAMES, SWEEPS, HALVINGS = 25, 3, 30
GOLDEN_SECTION = (math.sqrt(5) - 1) / 2


def minimum_norm(
    system: SimulatedSystem,
    data: Trajectories,
    truth: Mapping[str, Tensor],
    rate: Tensor,
    path: Path,
) -> Tensor:
    """θ (N, P) that makes the residual of each trajectory smallest, with the true dynamics known.

    Args:
        system: with its prior, whose coordinate is searched.
        data: trajectories.
        truth: true parameters by name, each (N,).
        rate: (C, ...) rms of the rates, the unit of R.
        path: gives the velocities that frames of second order do not show.
    """
    x, t = data.x.double(), data.t
    if system.order == 2:
        x = torch.cat(path.at_frames(path.nodes(x, t), t)[:2], 2)
    every = max(1, x.shape[1] // FRAMES)
    x, t = x[:, ::every], t[:, ::every]
    size, frames, channels = len(x), x.shape[1], len(system.components)
    states, times = x.flatten(0, 1), t.flatten()
    everywhere = {name: value.repeat_interleave(frames) for name, value in truth.items()}
    full = system.full(states, times, everywhere)[:, -channels:]
    prior = NormalParameters(system.prior, system.positive).double()

    def size_of(y: Tensor) -> Tensor:
        theta = prior(y.repeat_interleave(frames, 0))
        missing = (full - system.known(states, times, theta)) / rate.double()
        squares = missing.square().reshape(size, frames, channels, -1)
        return gauge(squares.mean((1, 3)))

    y = torch.zeros(size, len(prior.names), dtype=torch.float64)

    def along(place: int, value: Tensor) -> Tensor:
        changed = y.clone()
        changed[:, place] = value
        return size_of(changed)

    for _ in range(SWEEPS):
        for p in range(y.shape[1]):
            y[:, p] = golden_section(partial(along, p), size)
    return prior.physical(y)


def golden_section(function: Callable[[Tensor], Tensor], size: int) -> Tensor:
    """Minimisers (N,) in ± `REACH` of functions with one minimum each, by golden sections."""
    low = torch.full((size,), -REACH, dtype=torch.float64)
    high = -low
    for _ in range(HALVINGS):
        step = GOLDEN_SECTION * (high - low)
        left, right = high - step, low + step
        below = function(left) < function(right)
        low, high = torch.where(below, low, left), torch.where(below, right, high)
    return (low + high) / 2
