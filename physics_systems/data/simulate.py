"""A system → a store of trajectories (docs/method.md#benchmark-systems).

Shapes: ``N`` trajectories, ``L`` frames, ``C`` observed components, ``Q`` of the full state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torchdiffeq import odeint

from physics_systems.data.trajectories import describe_system, layout
from physics_systems.systems.system import SimulatedSystem, System
from vgbdm.dynamics.parameters import NormalParameters
from vgbdm.errors import InputError
from vgbdm.progress import each
from vgbdm.randomness import keyed_generator

TOLERANCE = 1e-8


def draw_parameters(
    system: SimulatedSystem, count: int, generator: torch.Generator, source: str
) -> dict[str, Tensor]:
    """Parameters (N,) float64: uniform in the system's ranges, or the known ones from their prior.

    Raises:
        InputError: for a source that is neither ``ranges`` nor ``prior``.
    """
    if source not in ("ranges", "prior"):
        raise InputError(f"parameters={source}: want ranges or prior")
    drawn = {}
    for name in system.parameters:
        low, high = system.ranges[name]
        uniform = torch.rand(count, generator=generator, dtype=torch.float64)
        drawn[name] = low + (high - low) * uniform
    if source == "prior":
        prior = NormalParameters(system.prior, system.positive).double()
        shape = (count, len(prior.names))
        y = torch.randn(shape, generator=generator, dtype=torch.float64)
        drawn |= prior(y)
    return drawn


def draw_times(
    system: SimulatedSystem, count: int, generator: torch.Generator, irregular: float
) -> Tensor:
    """Times (N, L) float64 from 0 to the horizon; inner ones moved by ± ``irregular`` / 2 steps.

    Raises:
        InputError: for a share that is not in [0, 1).
    """
    if not 0 <= irregular < 1:
        raise InputError(f"irregular={irregular}: want a share of a step in [0, 1)")
    step = system.horizon / (system.frames - 1)
    times = torch.arange(system.frames, dtype=torch.float64) * step
    shift = torch.rand((count, system.frames), generator=generator, dtype=torch.float64) - 0.5
    shift[:, [0, -1]] = 0.0
    return times + irregular * step * shift


Rate = Callable[[Tensor, Tensor, Mapping[str, Tensor]], Tensor]
"""(states (N, Q, ...), times (N,), parameters by name) → rates (N, Q, ...)."""


def solve_system(
    dynamics: Rate, start: Tensor, times: Tensor, parameters: Mapping[str, Tensor], label: str
) -> Tensor:
    """States (N, L, Q, ...) by Dormand–Prince at 1e-8, every trajectory at its own times.

    Args:
        dynamics: what is integrated.
        start: (N, Q, ...) float64.
        times: (N, L) float64.
        parameters: by name, each (N,).
        label: of the progress bar.
    """
    states, ends = [start], torch.tensor([0.0, 1.0], dtype=torch.float64)
    count = times.shape[1] - 1
    for k in each(range(count), count, "frame", label):
        begin, gap = times[:, k], times[:, k + 1] - times[:, k]
        scale = gap.reshape(-1, *[1] * (start.dim() - 1))

        def rate(
            s: Tensor, x: Tensor, begin: Tensor = begin, gap: Tensor = gap, scale: Tensor = scale
        ) -> Tensor:
            return dynamics(x, begin + s * gap, parameters) * scale

        state = odeint(rate, states[-1], ends, rtol=TOLERANCE, atol=TOLERANCE, method="dopri5")
        states.append(state[-1])
    return torch.stack(states, 1)


def simulate(
    system: System,
    count: int,
    seed: int,
    *,
    split: str = "train",
    irregular: float = 0.0,
    noise: float = 0.0,
    parameters: str = "ranges",
) -> xr.Dataset:
    """Trajectories of a system, a pure function of the arguments; with noise, ``truth`` has none.

    Args:
        system: with its ranges, starts, frames and horizon.
        count: N.
        seed: with ``split``, the key of all draws.
        split: ``train``, ``val`` or ``test``, or any other word.
        irregular: see `draw_times`.
        noise: standard deviation of what is added to observations.
        parameters: ``ranges`` or ``prior``.

    Raises:
        InputError: for options that cannot be.
    """
    if not isinstance(system, SimulatedSystem):
        raise InputError(
            f"system {system.name}: its whole dynamics are not given; derive it from "
            "SimulatedSystem to simulate it, or train on trajectories of your own"
        )
    if count < 1 or noise < 0:
        raise InputError(
            f"n={count}, noise={noise}: want at least 1 trajectory and no negative noise"
        )

    def generator(purpose: str) -> torch.Generator:
        return keyed_generator(seed, f"{system.name}/{split}/{purpose}")

    drawn = draw_parameters(system, count, generator("parameters"), parameters)
    times = draw_times(system, count, generator("times"), irregular)
    start = system.start(count, generator("start"))
    label = f"simulating {system.name}"
    states = solve_system(system.full, start, times, drawn, label)[:, :, : len(system.components)]
    observed, truth = states, None
    if noise:
        extra = torch.randn(states.shape, generator=generator("noise"), dtype=torch.float64)
        observed, truth = states + noise * extra, states.float().numpy()
    facts = {
        "system": system.name,
        "seed": seed,
        "split": split,
        "irregular": irregular,
        "noise": noise,
        "parameters": parameters,
        "solver": f"dopri5 at rtol = atol = {TOLERANCE}",
        "system_config": describe_system(system),
    }
    values = np.stack([drawn[name].numpy() for name in system.parameters], 1)
    return layout(type(system), observed.float().numpy(), times.numpy(), values, facts, truth)
