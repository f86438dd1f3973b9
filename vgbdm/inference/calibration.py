"""The widths of the posterior: θ's by the model's own simulations, ζ's by held-out forecasts.

Laplace's width (`vgbdm.inference.laplace`) takes a window's misfit for independent noise, which it
is not: path and network err alike all over a window. What it leaves open is multiplied by factors.

- **θ**, one for each parameter. The model simulates windows with θ from the prior and latents of
  held-out windows; θ is inferred back; and each width is scaled until 90 % of the draws lie in the
  central 90 % of its posterior. No true parameter of any data is used. (Simulation-based
  calibration: Talts et al. 2018.) What the network got wrong of the true dynamics it cannot see.
  Another state of the model as the maker of windows was tried: near the end of a run states differ
  too little, early in it too much (a ten-minute Lorenz run: widths three times too large), and
  where their errors happened to cancel, nothing was covered.
- **ζ given θ**, one for all of it: 90 % of what held-out trajectories do after their context lies
  in the central 90 % of forecasts. Their variance is taken for that which θ makes and this factor's
  square times that which ζ makes, both to first order. So all that a forecast gets wrong is laid on
  ζ. Where the field is not linear in ζ, members lie to one side of the forecast of the means, and
  cover less than is said here: Lorenz after a minute, .79 of trajectories like those calibrated on,
  .90 of ones with θ from the prior.

Shapes: ``B`` windows, ``T`` frames of one, ``L`` frames of a trajectory, ``n`` of a forecast, ``C``
components, ``P`` parameters, ``U`` latents and parameters, ``...`` axes of a grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vgbdm.fields.grey_box import Window
from vgbdm.fields.latent_field import LatentField
from vgbdm.inference.laplace import Laplace
from vgbdm.inference.refinement import laplace_of
from vgbdm.latents.joint import JointGaussian
from vgbdm.latents.latents import Latents
from vgbdm.randomness import keyed_normal

LEVEL, NORMAL_QUANTILE = 0.9, 1.6448536
WIDEST = 1e4
ENOUGH = 20
"""Windows that a quantile of 90 % needs; of fewer it is their largest, and that is said."""
DRAWS = 2
"""Simulations of each held-out window at least, and so many more that there are `DRAWS` · `ENOUGH`
of few windows. Of a grid one, and `ENOUGH`: its windows cost most of a short run, and many cells
say more."""
FINER = 2
"""Substeps to one of a forecast. What a coarse solver gets wrong looks like another θ: with the two
substeps of Lorenz forecasts the widths of β came out twice too large, those of σ four times too
small."""
PASSES, FARTHEST = 2, 100.0
"""In which ζ's factor is found: forecasts are not linear in it. And its largest step in one."""
GRID_FORECASTS, GRID_PASSES = 4, 1
"""Trajectories and passes of a grid, with differences to one side: 20 and 2 to both took eight
minutes of a busy core for reaction–diffusion, and every cell of every frame says something."""
ROWS = 2048
"""Trajectories that are simulated together: more at once are no faster."""
VALUES = 2**22
"""Of forecasts at most, of which the quantile is taken."""


@torch.no_grad()
def calibrate(field: LatentField, frames: Tensor, times: Tensor, seed: int) -> None:
    """Set ``field.theta_factor`` and ``field.zeta_factor``, and say in ``calibrated_on`` by what.

    Args:
        field: trained.
        frames: (B, L, C, ...) held-out trajectories, L > T.
        times: (B, L).
        seed: of the draws.
    """
    context, clock = frames[:, : field.window], times[:, : field.window]
    if field.grey:
        field.calibrated_on[0] = calibrate_theta(field, context, clock, seed)
    field.calibrated_on[1] = calibrate_zeta(field, frames, times)


def describe(field: LatentField, counts: Sequence[float] | None = None) -> str:
    """One line: what the widths were set by, and whether that was enough.

    Args:
        field: that is calibrated.
        counts: what its ``calibrated_on`` holds, where the host has it; None: it is read.
    """
    held = field.calibrated_on.tolist() if counts is None else counts
    windows, forecasts = (int(count) for count in held)
    if not forecasts and not windows:
        return "widths of the posterior: it is not said what they were set by, if by anything"
    parts = [f"θ by {windows} windows of its own making"] if field.grey else []
    parts.append(f"ζ by forecasts of {forecasts} held-out trajectories")
    few = (field.grey and windows < ENOUGH) or (forecasts < ENOUGH and not field.physics.grid)
    rough = f"; fewer than {ENOUGH}: take them for rough" if few else ""
    return f"widths of the posterior: {', '.join(parts)}{rough}"


def calibrate_theta(field: LatentField, frames: Tensor, times: Tensor, seed: int) -> Tensor:
    """Set θ's factors from windows that the field makes of held-out starts and latents.

    Args:
        field: with physics.
        frames: (B, T, C, ...) held-out windows.
        times: (B, T).
        seed: of the draws.

    Returns:
        How many windows were usable, a scalar; the factors are 1 where none was.
    """
    draws = 1 if field.physics.grid else DRAWS
    draws = max(draws, math.ceil(draws * ENOUGH / len(frames)))
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
    factor = factors.nanquantile(LEVEL, 0, interpolation="higher")
    field.theta_factor.copy_(factor.nan_to_num(1.0).clamp(1 / WIDEST, WIDEST))
    return usable.sum()


def calibrate_zeta(field: LatentField, frames: Tensor, times: Tensor) -> Tensor:
    """Set ζ's factor by what held-out trajectories do after their context.

    Args:
        field: whose factors of θ are set.
        frames: (B, L, C, ...).
        times: (B, L).

    Returns:
        How many trajectories were usable, a scalar; the factor is 1 where none was.
    """
    passes = PASSES
    if field.physics.grid:
        frames, times, passes = frames[:GRID_FORECASTS], times[:GRID_FORECASTS], GRID_PASSES
    context = frames[:, : field.window]
    found = laplace_of(field, context, times[:, : field.window])
    field.zeta_factor.fill_(1.0)
    means = calibrated(field, found).mean
    mean = field.forecast(context, times, means)
    error = (mean - frames[:, field.window :]).double()
    base = mean.double() if field.physics.grid else None
    usable = error.flatten(1).isfinite().all(1)
    for _ in range(passes):
        posterior = calibrated(field, found)
        by_theta, by_zeta = forecast_variances(field, context, times, posterior, base)
        wanted = (error / NORMAL_QUANTILE).square() - by_theta
        squares = (wanted / by_zeta.clamp_min(1e-30)).flatten(1)
        finite = squares.isfinite().all(1) & usable
        known = torch.where(finite[:, None], squares, torch.nan).flatten()
        known = known[:: math.ceil(len(known) / VALUES)]
        step = known.nanquantile(LEVEL).clamp_min(0.0).sqrt().nan_to_num(1.0)
        field.zeta_factor.mul_(step.clamp(1 / FARTHEST, FARTHEST).to(frames.dtype))
        usable = finite
    field.zeta_factor.clamp_(1 / WIDEST, WIDEST)
    return usable.sum()


def calibrated(field: LatentField, found: Laplace) -> JointGaussian:
    """The posterior by the field's factors."""
    factor = field.theta_factor if field.grey else field.zeta_factor[:0]
    return found.calibrated(factor, field.zeta_factor)


def forecast_variances(
    field: LatentField,
    context: Tensor,
    times: Tensor,
    posterior: JointGaussian,
    base: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Variances that θ, with what ζ goes along, and ζ given θ make in forecasts, to first order.

    By differences a standard deviation to either side along each column of the factors.

    Args:
        field: that forecasts.
        context: (B, T, C, ...).
        times: (B, T + n).
        posterior: of the windows.
        base: (B, n, C, ...) float64, the forecast of its means, for differences to one side.

    Returns:
        Both (B, n, C, ...) float64.
    """
    along = posterior.slope @ posterior.theta_factor
    still = torch.zeros_like(posterior.theta_mean)
    theta = [(along[:, :, k], posterior.theta_factor[:, :, k]) for k in range(along.shape[2])]
    zeta = [(column, still) for column in posterior.zeta_factor.unbind(2)]
    signs = (1,) if base is not None else (1, -1)
    together = max(1, ROWS // (len(signs) * len(context)))

    def variance(moves: list[tuple[Tensor, Tensor]]) -> Tensor:
        total = context.new_zeros((), dtype=torch.float64)
        for at in range(0, len(moves), together):
            few = moves[at : at + together]
            many = len(few) * len(signs)
            z = torch.cat([posterior.zeta_mean + s * move for move, _ in few for s in signs])
            y = torch.cat([posterior.theta_mean + s * move for _, move in few for s in signs])
            frames, clock = (x.repeat(many, *[1] * (x.dim() - 1)) for x in (context, times))
            made = field.forecast(frames, clock, Latents(z, y if field.grey else None)).double()
            sides = made.unflatten(0, (len(few), len(signs), len(context)))
            other = sides[:, 1] if base is None else base
            total = total + ((sides[:, 0] - other) / len(signs)).square().sum(0)
        return total

    return variance(theta), variance(zeta)
