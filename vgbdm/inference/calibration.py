"""The width of the posterior of θ, set by the model's own simulations.

Laplace's width (`vgbdm.inference.laplace`) takes a window's misfit for independent noise, which
it is not: path and network err alike all over a window. So the model simulates windows with θ from
the prior and latents of held-out windows; θ is inferred back; and each parameter's width is scaled
until 90 % of the draws lie in the central 90 % of its posterior. No true parameter of any data is
used. (Simulation-based calibration: Talts et al. 2018.) What the network got wrong of the true
dynamics it cannot see. Another state of the model as the maker of windows was tried: near the end
of a run states differ too little, early in it too much (a ten-minute Lorenz run: widths three times
too large), and where their errors happened to cancel, nothing was covered.

Shapes: ``B`` windows, ``T`` frames, ``C`` components, ``P`` parameters.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vgbdm.fields.grey_box import Window
from vgbdm.fields.latent_field import LatentField
from vgbdm.inference.refinement import laplace_of
from vgbdm.latents.latents import Latents
from vgbdm.randomness import keyed_normal

LEVEL, NORMAL_QUANTILE = 0.9, 1.6448536
WIDEST = 1e4
DRAWS = 2
"""Simulations of each held-out window: a quantile of few is noisy. Of a grid one: its windows cost
most of a short run, and many cells say more."""
FINER = 2
"""Substeps to one of a forecast. What a coarse solver gets wrong looks like another θ: with the two
substeps of Lorenz forecasts the widths of β came out twice too large, those of σ four times too
small."""
ENOUGH_WINDOWS = 20
"""Finite windows that a quantile needs."""


@torch.no_grad()
def calibrate_width(field: LatentField, frames: Tensor, times: Tensor, seed: int) -> None:
    """Set ``field.theta_factor`` from windows that the field makes of held-out starts and latents.

    Args:
        field: with physics; a black box is left as it is.
        frames: (B, T, C, ...) held-out windows.
        times: (B, T).
        seed: of the draws.
    """
    if not field.grey:
        return
    draws = 1 if field.physics.grid else DRAWS
    frames, times = frames.repeat_interleave(draws, 0), times.repeat_interleave(draws, 0)
    rows = torch.arange(len(frames), device=frames.device)
    y = keyed_normal(seed, "calibration", rows, len(field.parameter_names)).to(frames.dtype)
    _, held_out = field.infer(Window(frames, times))
    drawn, depth = Latents(held_out.zeta, y), max(field.memory, 1)
    start = field.begin(frames, times, depth - 1)
    solver = replace(field.solver, substeps=FINER * field.solver.substeps)
    states = field.simulate(start, frames[:, :depth], times[:, depth - 1 :], drawn, solver)
    window = torch.cat((frames[:, :depth], states[:, :, : field.size]), 1)
    usable = window.flatten(1).isfinite().all(1)
    kept = usable.reshape(-1, *[1] * (window.dim() - 1))
    found = laplace_of(field, torch.where(kept, window, frames), times)
    error = (y - found.theta_mean).abs().nan_to_num(WIDEST)
    # the factor each window wants: its posterior's precision is 1 / (factor · own)² + 1
    wanted = (error / NORMAL_QUANTILE).square().clamp_max(1 - 1e-6)
    factors = ((1 / (1 / wanted - 1)).sqrt() / found.theta_width()).nan_to_num(WIDEST, WIDEST)
    factors = torch.where(usable[:, None], factors, torch.nan)
    factor = factors.nanquantile(LEVEL, 0).clamp(1 / WIDEST, WIDEST)
    field.theta_factor.copy_(torch.where(usable.sum() < ENOUGH_WINDOWS, 1.0, factor))
