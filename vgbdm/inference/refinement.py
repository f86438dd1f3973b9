"""Latents of a context window: the encoder's answer, refined on the window itself.

An encoder answers at once, and badly on the rare window unlike those it was trained on. A few
Levenberg–Marquardt steps on the matching error of the context frames alone then move its means to
where the field explains what is seen (semi-amortised inference, Kim et al. 2018). No frame after
the context is used, nothing is simulated, and every model of a table is treated alike.

The width of θ follows from the same error (Laplace's approximation): what the window's misfit
leaves open, ζ integrated out under its prior, times a factor from `vgbdm.inference.calibration`. An
ELBO on data without noise sees no reason for any width, and one factor on the encoder's would not
tell a window that says much from one that says little.

Shapes: ``B`` windows, ``T`` frames, ``C`` components, ``Z`` latents, ``P`` parameters, ``U`` = Z +
P unknowns, ``R`` residuals of a window, ``...`` axes of a grid.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vgbdm.fields.grey_box import Window
from vgbdm.fields.latent_field import LatentField
from vgbdm.latents.distributions import DiagonalGaussian
from vgbdm.latents.latents import LatentDistribution, Latents
from vgbdm.latents.regression import STENCIL, inner
from vgbdm.paths.hermite import HermitePath
from vgbdm.precision import in_full

ANCHOR, ANCHOR_WIDTH = 3e-5, 4.0
"""How much the encoder is believed: in the unit of the mean square error, as a Student's t one
prior wide, alike in every unknown; chosen on 1000 Lorenz trajectories made for it. Held by the
encoder's own widths, latents that mean little ran off to mend what one that counts had wrong."""
SMALLEST_VARIANCE, NOT_KNOWN = 1e-12, 1e-6
"""Of residuals, against windows explained exactly; and the precision that y is given."""
FIRST_DAMPING, DAMPING_FACTOR = 1e-2, 5.0


@torch.no_grad()
def posterior_of(field: LatentField, frames: Tensor, times: Tensor) -> LatentDistribution:
    """q(ζ) q(y) of windows: refined means; the encoder's width of ζ, Laplace's of θ.

    Args:
        field: trained.
        frames: (B, T, C, ...) context.
        times: (B, T).
    """
    posterior, residuals = _refine(field, frames, times)
    zeta, theta = posterior
    if theta is None:
        return posterior
    means = torch.cat((zeta.mean, theta.mean), 1)
    open_ = field.width * likelihood_width(residuals, means, field.latents)
    log_std = -0.5 * torch.log(open_**-2 + 1)  # the prior's precision is 1
    return LatentDistribution(zeta, DiagonalGaussian(theta.mean, log_std))


@torch.no_grad()
def means_of(field: LatentField, frames: Tensor, times: Tensor) -> Latents:
    """The means of `posterior_of`, without the cost of its widths."""
    return _refine(field, frames, times)[0].mean


def _refine(
    field: LatentField, frames: Tensor, times: Tensor
) -> tuple[LatentDistribution, Callable[[Tensor], Tensor]]:
    """The encoder's posterior about refined means, and the residuals they were found by."""
    (zeta, theta), _ = field.infer(Window(frames, times))
    parts = [zeta] if theta is None else [zeta, theta]
    start = torch.cat([part.mean for part in parts], 1)
    residuals = matching_residuals(field, frames, times)
    means = minimise(residuals, start, field.refinement)
    moved = [
        part.about(mean)
        for mean, part in zip(means.split([p.mean.shape[1] for p in parts], 1), parts, strict=True)
    ]
    return LatentDistribution(moved[0], None if theta is None else moved[1]), residuals


def matching_residuals(
    field: LatentField, frames: Tensor, times: Tensor
) -> Callable[[Tensor], Tensor]:
    """Unknowns (B, U) → residuals (B, R) whose mean square is the matching error of the windows."""
    path = HermitePath(STENCIL)
    nodes, cut = path.nodes(frames, times), inner(frames.shape[1])
    first = max(cut.start, field.memory - 1)
    a, b = nodes[:, first : cut.stop - 1], nodes[:, first + 1 : cut.stop]
    begin, end = times[:, first : cut.stop - 1], times[:, first + 1 : cut.stop]
    size, count = begin.shape
    half = torch.full((size * count,), 0.5, dtype=times.dtype, device=times.device)
    point = path(a.flatten(0, 1), b.flatten(0, 1), (end - begin).flatten(), half)
    state, rate = field.at(point)
    middle = ((begin + end) / 2).flatten()
    history = None
    if field.memory:
        seen = [frames[:, first + k + 1 - field.memory : first + k + 1] for k in range(count)]
        history = torch.stack(seen, 1).flatten(0, 1)
    past = field.past(history)

    def residuals(unknowns: Tensor) -> Tensor:
        zeta, y = unknowns[:, : field.latents], unknowns[:, field.latents :]
        latents = Latents(zeta, y if field.grey else None)
        answer = field(state, middle, field.context(past, latents, count)).total
        return field.rate_units(answer - rate).reshape(size, -1)

    return residuals


def jacobian_of(residuals: Callable[[Tensor], Tensor], unknowns: Tensor) -> Tensor:
    """(B, R, U), column by column forward: U is small."""
    eye = torch.eye(unknowns.shape[1], device=unknowns.device)
    columns = [
        torch.func.jvp(residuals, (unknowns,), (direction.expand_as(unknowns),))[1]
        for direction in eye
    ]
    return torch.stack(columns, 2)


@in_full
def mean_products(jacobian: Tensor) -> Tensor:
    """J'J / R, (B, U, U) of (B, R, U)."""
    return jacobian.transpose(1, 2) @ jacobian / jacobian.shape[1]


def likelihood_width(
    residuals: Callable[[Tensor], Tensor], unknowns: Tensor, latents: int
) -> Tensor:
    """Standard deviations (B, P) of y by the window alone, ζ integrated out under its prior.

    The inverse of J'J / (R σ²) + diag(1 for ζ, almost 0 for y); σ² is the window's own mean square.

    Args:
        residuals: of `matching_residuals`.
        unknowns: (B, U) where they are smallest.
        latents: Z, the first of the unknowns.
    """
    jacobian = jacobian_of(residuals, unknowns).double()
    variance = residuals(unknowns).double().square().mean(1).clamp_min(SMALLEST_VARIANCE)
    gram = mean_products(jacobian)
    known = torch.full_like(gram[0, 0], NOT_KNOWN)
    known[:latents] = 1.0
    covariance = torch.linalg.inv_ex(gram / variance[:, None, None] + torch.diag(known)).inverse
    spread = covariance.diagonal(dim1=1, dim2=2)[:, latents:].clamp_min(0.0).sqrt()
    return spread.to(unknowns.dtype).clamp_min(1e-6)


def minimise(residuals: Callable[[Tensor], Tensor], start: Tensor, steps: int) -> Tensor:
    """Levenberg–Marquardt from and anchored to ``start`` (B, U), row by row.

    A step is kept where it lowers mean r² + ANCHOR · w · log(1 + d² / w), w = `ANCHOR_WIDTH` and
    d² the mean of (u - start)²: the unknowns are standard normal in the prior.
    """
    unknowns, size = start, start.shape[1]
    damping = torch.full((len(start), 1, 1), FIRST_DAMPING, device=start.device)
    now = residuals(unknowns)

    def distance(at: Tensor) -> Tensor:
        return (at - start).square().mean(1)

    def loss(values: Tensor, at: Tensor) -> Tensor:
        return values.square().mean(1) + ANCHOR * ANCHOR_WIDTH * torch.log1p(
            distance(at) / ANCHOR_WIDTH
        )

    for _ in range(steps):
        jacobian = jacobian_of(residuals, unknowns)
        gram = mean_products(jacobian)
        # the Student's t as a normal of the width that it has here
        hold = (ANCHOR / size / (1 + distance(unknowns) / ANCHOR_WIDTH))[:, None].expand_as(start)
        slope = (jacobian * now[..., None]).mean(1) + hold * (unknowns - start)
        scale = torch.diag_embed(gram.diagonal(dim1=1, dim2=2))
        curvature = gram + torch.diag_embed(hold) + damping * scale
        move = torch.linalg.solve_ex(curvature.double(), -slope.double()).result
        trial = unknowns + move.to(unknowns.dtype).nan_to_num(0.0)
        new = residuals(trial)
        better = (loss(new, trial) < loss(now, unknowns))[:, None]
        unknowns = torch.where(better, trial, unknowns)
        now = torch.where(better, new, now)
        factor = torch.where(better, 1 / DAMPING_FACTOR, DAMPING_FACTOR)
        damping = damping * factor[..., None]
    return unknowns
