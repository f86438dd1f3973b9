"""The widths of the posterior, by the model's own simulations and by held-out trajectories.

Laplace's width (`vgbdm.inference.laplace`) takes a window's misfit for independent noise, which it
is not: path and network err alike all over a window. What it leaves open is multiplied by factors.

- **θ**, one for each parameter, the larger of two. No true parameter of any data is used.
  *By windows*, whose misfit has two parts. Path and solver err in windows that the model simulates
  as well, with θ from the prior and latents of held-out windows; θ is inferred back; and each width
  is scaled until 90 % of the draws lie in the central 90 % of its posterior (simulation-based
  calibration: Talts et al. 2018). What held-out windows err more is the network's; how far that
  goes along with θ their residuals say (`vgbdm.inference.sandwich`). The squares of both factors
  are weighted by the median misfits. By simulations alone the pendulum's widths were twice too
  large, as a thousandth of its misfit was the path's; by residuals alone those of Lorenz, where two
  thirds are, and nearly cancel. Of a grid, whose residuals outnumber windows by far, or of few
  windows simulations say it alone. *By pairs*: θ is the same all along a held-out
  trajectory, so that its first and its last window must agree; widths are scaled until 90 % of
  their differences lie in the central 90 % of what both widths make together. That sees what the
  network gets wrong in one window and not in the other, and nothing that is wrong in both alike.
  Windows side by side were tried: errors of the pendulum's second window are twice as many widths
  as those of the first, from which forecasts start.
  Another state of the model as the maker of windows was tried: near the end of a run states differ
  too little, early in it too much (a ten-minute Lorenz run: widths three times too large), and
  where their errors happened to cancel, nothing was covered.
- **ζ given θ**, one for all of it: 90 % of what held-out trajectories do after their context lies
  in the central 90 % of forecasts. Their variance is taken for that which θ makes and this factor's
  square times that which ζ makes, both to first order. So all that a forecast gets wrong is laid on
  ζ. Where the field is not linear in ζ, members lie to one side of the forecast of the means, and
  cover less: an ensemble is drawn, and the factor raised until that covers as much.

Shapes: ``B`` windows, ``T`` frames of one, ``L`` frames of a trajectory, ``n`` of a forecast, ``C``
components, ``P`` parameters, ``U`` latents and parameters, ``...`` axes of a grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from vgbdm.fields.grey_box import Window
from vgbdm.fields.latent_field import LatentField
from vgbdm.inference.laplace import Laplace
from vgbdm.inference.refinement import Explained, explain, laplace_of
from vgbdm.inference.sandwich import sandwich_factor
from vgbdm.latents.joint import JointGaussian
from vgbdm.latents.latents import Latents
from vgbdm.latents.members import Members
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
MEMBERS, RAISED = 19, 2.0
"""Of the ensemble that is drawn: so many that the central 90 % are all between the outermost. And
how much it may raise ζ's factor: further away members do not move in proportion to it."""


@torch.no_grad()
def calibrate(field: LatentField, frames: Tensor, times: Tensor, seed: int) -> None:
    """Set ``field.theta_factor`` and ``field.zeta_factor``, and say in ``calibrated_on`` by what.

    Args:
        field: trained.
        frames: (B, L, C, ...) held-out trajectories, L > T.
        times: (B, L).
        seed: of the draws.
    """
    window = field.window
    simulated = None
    if field.grey:
        simulated = calibrate_theta(field, frames[:, :window], times[:, :window], seed)
        field.calibrated_on[0] = simulated.usable
    if field.physics.grid:
        frames, times = frames[:GRID_FORECASTS], times[:GRID_FORECASTS]
        first = laplace_of(field, frames[:, :window], times[:, :window])
    else:
        held_out = explain(field, frames[:, :window], times[:, :window])
        first = held_out.found
        if simulated is not None and len(frames) >= ENOUGH:
            field.theta_factor.copy_(with_misfit(field.theta_factor, simulated.variance, held_out))
    if field.grey:
        last = laplace_of(field, frames[:, -window:], times[:, -window:])
        by_pairs = factor_of_pairs(first, last).to(field.theta_factor.dtype)
        field.theta_factor.copy_(torch.maximum(field.theta_factor, by_pairs))
    field.calibrated_on[1] = calibrate_zeta(field, frames, times, first, seed)


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
    parts = []
    if field.grey:
        parts.append(f"θ by {windows} windows of its own making and by held-out ones")
    parts.append(f"ζ by forecasts of {forecasts} held-out trajectories")
    few = (field.grey and windows < ENOUGH) or (forecasts < ENOUGH and not field.physics.grid)
    rough = f"; fewer than {ENOUGH}: take them for rough" if few else ""
    return f"widths of the posterior: {', '.join(parts)}{rough}"


class Simulated(NamedTuple):
    """Windows of a field's own making.

    Attributes:
        usable: how many of them are finite, a scalar.
        variance: the median of their mean square misfits, a scalar; NaN of none.
    """

    usable: Tensor
    variance: Tensor


def calibrate_theta(field: LatentField, frames: Tensor, times: Tensor, seed: int) -> Simulated:
    """Set θ's factors from windows that the field makes of held-out starts and latents.

    Args:
        field: with physics.
        frames: (B, T, C, ...) held-out windows.
        times: (B, T).
        seed: of the draws.

    Returns:
        About the windows; the factors are 1 where none was usable.
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
    misfits = torch.where(usable, found.variance, torch.nan)
    return Simulated(usable.sum(), misfits.nanmedian())


def with_misfit(by_simulations: Tensor, variance: Tensor, held_out: Explained) -> Tensor:
    """θ's factors (P,) by what simulated windows misfit, and what held-out ones do more.

    Args:
        by_simulations: (P,) factors.
        variance: the mean square misfit of a simulated window, a scalar.
        held_out: windows.
    """
    found, dtype = held_out.found, by_simulations.dtype
    share = (variance / found.variance.nanmedian()).nan_to_num(0.0).clamp_max(1.0).to(dtype)
    own = sandwich_factor(held_out.jacobian, held_out.residuals, found.latents).to(dtype)
    both = (share * by_simulations.square() + (1 - share) * own.square()).sqrt()
    return torch.where(both.isfinite(), both, by_simulations).clamp(1 / WIDEST, WIDEST)


def factor_of_pairs(first: Laplace, last: Laplace) -> Tensor:
    """θ's factors (P,) by what two windows of each of B trajectories say of the same θ.

    Args:
        first: windows of one end of the trajectories.
        last: of the other.

    Returns:
        The factors that make nine in ten differences lie within 1.645 widths of both together; 0
        where no difference is finite.
    """
    both = (first.theta_width().square() + last.theta_width().square()).sqrt()
    wanted = (first.theta_mean - last.theta_mean).abs() / NORMAL_QUANTILE / both
    wanted = torch.where(wanted.isfinite(), wanted, torch.nan)
    factor = wanted.nanquantile(LEVEL, 0, interpolation="higher")
    return factor.nan_to_num(0.0).clamp_max(WIDEST)


def calibrate_zeta(
    field: LatentField,
    frames: Tensor,
    times: Tensor,
    found: Laplace | None = None,
    seed: int = 0,
) -> Tensor:
    """Set ζ's factor by what held-out trajectories do after their context.

    Args:
        field: whose factors of θ are set.
        frames: (B, L, C, ...).
        times: (B, L).
        found: what `laplace_of` says of the contexts; None: it is asked.
        seed: of the ensemble.

    Returns:
        How many trajectories were usable, a scalar; the factor is 1 where none was.
    """
    passes = GRID_PASSES if field.physics.grid else PASSES
    context = frames[:, : field.window]
    if found is None:
        found = laplace_of(field, context, times[:, : field.window])
    field.zeta_factor.fill_(1.0)
    posterior = calibrated(field, found)
    mean = field.forecast(context, times, posterior.mean)
    error = (mean - frames[:, field.window :]).double()
    base = mean.double() if field.physics.grid else None
    usable = error.flatten(1).isfinite().all(1)
    # ζ's factor changes nothing of this
    by_theta = forecast_variance(field, context, times, posterior, moves_of_theta(posterior), base)
    for _ in range(passes):
        posterior = calibrated(field, found)
        moves = moves_of_zeta(posterior)
        by_zeta = forecast_variance(field, context, times, posterior, moves, base)
        wanted = (error / NORMAL_QUANTILE).square() - by_theta
        squares = (wanted / by_zeta.clamp_min(1e-30)).flatten(1)
        finite = squares.isfinite().all(1) & usable
        step = quantile_of(squares, finite).clamp_min(0.0).sqrt().nan_to_num(1.0)
        field.zeta_factor.mul_(step.clamp(1 / FARTHEST, FARTHEST).to(frames.dtype))
        usable = finite
    if not field.physics.grid:
        posterior = calibrated(field, found)
        shares = outermost_shares(field, context, times, posterior, mean.double(), error, seed)
        raised = quantile_of(shares, usable).nan_to_num(1.0, RAISED).clamp(1.0, RAISED)
        field.zeta_factor.mul_(raised.to(frames.dtype))
    field.zeta_factor.clamp_(1 / WIDEST, WIDEST)
    return usable.sum()


def quantile_of(values: Tensor, rows: Tensor) -> Tensor:
    """The 90 % quantile, a scalar, of the values (B, N) of some rows (B,); NaN are passed over."""
    known = torch.where(rows[:, None], values, torch.nan).flatten()
    return known[:: math.ceil(len(known) / VALUES)].nanquantile(LEVEL)


def outermost_shares(
    field: LatentField,
    context: Tensor,
    times: Tensor,
    posterior: JointGaussian,
    mean: Tensor,
    error: Tensor,
    seed: int,
) -> Tensor:
    """What multiple of its outermost members an ensemble needs to reach what came.

    Args:
        field: that forecasts.
        context: (B, T, C, ...).
        times: (B, T + n).
        posterior: of the windows.
        mean: (B, n, C, ...) float64, the forecast of its means.
        error: (B, n, C, ...) float64, of that.
        seed: of the ensemble.

    Returns:
        (B, n · C · …): at most 1 where a value lies between the members, infinite where all members
        are on the other side of the mean.
    """
    rows = torch.arange(len(context), device=context.device)
    low, high = torch.zeros_like(mean), torch.zeros_like(mean)
    together = max(1, ROWS // len(context))
    for at in range(0, MEMBERS, together):
        numbers = range(at, min(at + together, MEMBERS))
        latents = Members(field.latent_sizes, seed, rows, numbers).draw(posterior)
        frames, clock = (x.repeat_interleave(len(numbers), 0) for x in (context, times))
        made = field.forecast(frames, clock, latents).double()
        apart = made.unflatten(0, (len(context), len(numbers))) - mean[:, None]
        low, high = torch.minimum(low, apart.amin(1)), torch.maximum(high, apart.amax(1))
    return torch.where(error > 0, -error / low, error.abs() / high).flatten(1)


def calibrated(field: LatentField, found: Laplace) -> JointGaussian:
    """The posterior by the field's factors."""
    factor = field.theta_factor if field.grey else field.zeta_factor[:0]
    return found.calibrated(factor, field.zeta_factor)


class Move(NamedTuple):
    """A way that unknowns of windows may go: (B, Z) and (B, P)."""

    zeta: Tensor
    theta: Tensor


def moves_of_theta(posterior: JointGaussian) -> list[Move]:
    """A standard deviation along each column of θ's factor, and what ζ goes along."""
    along = posterior.slope @ posterior.theta_factor
    columns = zip(along.unbind(2), posterior.theta_factor.unbind(2), strict=True)
    return [Move(zeta, theta) for zeta, theta in columns]


def moves_of_zeta(posterior: JointGaussian) -> list[Move]:
    """A standard deviation along each column of the factor of ζ given θ."""
    still = torch.zeros_like(posterior.theta_mean)
    return [Move(column, still) for column in posterior.zeta_factor.unbind(2)]


def forecast_variance(
    field: LatentField,
    context: Tensor,
    times: Tensor,
    posterior: JointGaussian,
    moves: list[Move],
    base: Tensor | None = None,
) -> Tensor:
    """The variance that moves of the unknowns, each to either side, make in forecasts.

    It is so to first order.

    Args:
        field: that forecasts.
        context: (B, T, C, ...).
        times: (B, T + n).
        posterior: of the windows.
        moves: by a standard deviation.
        base: (B, n, C, ...) float64, the forecast of its means, for differences to one side.

    Returns:
        (B, n, C, ...) float64.
    """
    signs = (1,) if base is not None else (1, -1)
    together = max(1, ROWS // (len(signs) * len(context)))
    total = context.new_zeros((), dtype=torch.float64)
    for at in range(0, len(moves), together):
        few = moves[at : at + together]
        many = len(few) * len(signs)
        z = torch.cat([posterior.zeta_mean + s * move.zeta for move in few for s in signs])
        y = torch.cat([posterior.theta_mean + s * move.theta for move in few for s in signs])
        frames, clock = (x.repeat(many, *[1] * (x.dim() - 1)) for x in (context, times))
        made = field.forecast(frames, clock, Latents(z, y if field.grey else None)).double()
        sides = made.unflatten(0, (len(few), len(signs), len(context)))
        other = sides[:, 1] if base is None else base
        total = total + ((sides[:, 0] - other) / len(signs)).square().sum(0)
    return total
