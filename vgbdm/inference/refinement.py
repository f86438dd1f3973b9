"""Latents of a context window: the encoder's answer, refined on the window itself; their widths.

An encoder answers at once, and badly on the rare window unlike those it was trained on. A few
Levenberg–Marquardt steps on the matching error of the context frames alone then move its means to
where the field explains what is seen (semi-amortised inference, Kim et al. 2018). No frame after
the context is used and nothing is simulated. It helps fields that learned by matching, and need not
help others: each field says whether it is refined, and evaluation may ask for either.

The widths follow from the same error at the means, refined or not, by Laplace's approximation
(`vgbdm.inference.laplace`). An ELBO on data without noise sees no reason for any width, and one
factor on the encoder's would not distinguish a window that says much from one that says little.

Shapes: ``B`` windows, ``T`` frames, ``C`` components, ``Z`` latents, ``P`` parameters, ``U`` = Z +
P unknowns, ``R`` residuals of a window, ``...`` axes of a grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from annotated_types import Interval
from torch import Tensor

from vgbdm.errors import InputError
from vgbdm.fields.grey_box import Window
from vgbdm.fields.latent_field import LatentField, Refining
from vgbdm.inference.curvature import bent
from vgbdm.inference.laplace import Laplace, laplace
from vgbdm.latents.joint import JointGaussian
from vgbdm.latents.latents import Latents
from vgbdm.options.kinds import NotNegative, Positive
from vgbdm.precision import in_full
from vgbdm.registry.marks import model_part

FIRST_DAMPING, DAMPING_FACTOR = 1e-2, 5.0
ZETA_REACH = 4.0
"""Widths of its prior that a latent may be moved to, or as far as the encoder has it already: a
network says anything where it was never asked. θ is not bounded, for physics holds everywhere."""
JACOBIAN_BYTES = 2**25
"""Of the windows that are inferred at once: a grid's have thousands of residuals."""


@model_part
@dataclass(frozen=True)
class Refinement:
    """Levenberg–Marquardt steps from the encoder's means, which hold them as an anchor does.

    Anchor and width were chosen on 1000 simulated Lorenz trajectories whose true σ and β were
    known. Held by the encoder's own widths instead, latents that mean little ran off to mend what
    one that counts had wrong.

    Attributes:
        steps: at most taken of a window; 0: none.
        anchor: how much the encoder is believed, in the unit of the mean square error: the scale of
            a Student's t about its means, alike in every unknown.
        anchor_width: of that, in widths of the prior squared; beyond, the anchor gives way.
        doubt: where a search with the anchor leaves a mean square misfit of which this multiple
            is more than the anchor, there is another one with that: what a window cannot be
            explained by is no reason to move far.

    Raises:
        InputError: for numbers out of range.
    """

    steps: Annotated[int, Interval(ge=0, le=1000)] = 5
    anchor: NotNegative = 3e-5
    anchor_width: Positive = 4.0
    doubt: NotNegative = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.steps <= 1000 and self.anchor >= 0 and self.anchor_width > 0):
            raise InputError(
                f"refinement: steps={self.steps}, anchor={self.anchor}, "
                f"anchor_width={self.anchor_width}; want 0 … 1000, ≥ 0 and > 0"
            )
        if not self.doubt >= 0:
            raise InputError(f"refinement: doubt={self.doubt}; want 0 or more")


class _Part(NamedTuple):
    """Some windows, inferred at once: residuals of unknowns, and where these are."""

    residuals: Callable[[Tensor], Tensor]
    means: Tensor


@torch.no_grad()
def posterior_of(
    field: LatentField, frames: Tensor, times: Tensor, refined: bool | None = None
) -> JointGaussian:
    """The calibrated posterior of windows: ζ and y, normal together.

    Args:
        field: trained.
        frames: (B, T, C, ...) context.
        times: (B, T).
        refined: whether the encoder's means are refined; None: as the field says.
    """
    found = laplace_of(field, frames, times, refined)
    factor = field.theta_factor if field.grey else field.zeta_factor[:0]
    return found.calibrated(factor, field.zeta_factor)


class Explained(NamedTuple):
    """Windows at the means of their unknowns.

    Attributes:
        found: what they say of the unknowns before factors and priors.
        residuals: (B, R).
        jacobian: (B, R, U).
    """

    found: Laplace
    residuals: Tensor
    jacobian: Tensor


def laplace_of(
    field: LatentField, frames: Tensor, times: Tensor, refined: bool | None = None
) -> Laplace:
    """What windows say of the unknowns before factors and priors; arguments of `posterior_of`."""
    return _joined([part.found for part in _explained(field, frames, times, refined)])


def explain(
    field: LatentField, frames: Tensor, times: Tensor, refined: bool | None = None
) -> Explained:
    """The same with residuals and Jacobian, of windows without a grid: those of one are large."""
    parts = list(_explained(field, frames, times, refined))
    return Explained(
        _joined([part.found for part in parts]),
        torch.cat([part.residuals for part in parts]),
        torch.cat([part.jacobian for part in parts]),
    )


@torch.no_grad()
def _explained(
    field: LatentField, frames: Tensor, times: Tensor, refined: bool | None
) -> Iterator[Explained]:
    for residuals, means in _parts(field, frames, times, refined):
        values, jacobian = residuals(means), jacobian_of(residuals, means)
        linear = laplace(jacobian, values, means, field.latents)
        yield Explained(bent(linear, residuals, values), values, jacobian)


def _joined(parts: Sequence[Laplace]) -> Laplace:
    means, precision, variance = (
        torch.cat(own)
        for own in zip(*((f.means, f.precision, f.variance) for f in parts), strict=True)
    )
    return Laplace(means, precision, parts[0].latents, variance)


@torch.no_grad()
def means_of(
    field: LatentField, frames: Tensor, times: Tensor, refined: bool | None = None
) -> Latents:
    """The means of `posterior_of`, without the cost of its widths."""
    if _plan(field, refined) is None:
        return field.infer(Window(frames, times))[0].mean
    means = torch.cat([part.means for part in _parts(field, frames, times, refined)])
    return _latents(field, means)


def _plan(field: LatentField, refined: bool | None) -> Refining | None:
    """How the field is refined; None: it is not."""
    own = field.refinement
    has_steps = own is not None and own.steps > 0
    if refined is None:
        refined = has_steps
    if not refined:
        return None
    if own is None or has_steps:
        return own or Refinement()
    return Refinement(anchor=own.anchor, anchor_width=own.anchor_width, doubt=own.doubt)


def _latents(field: LatentField, unknowns: Tensor) -> Latents:
    zeta, y = unknowns[:, : field.latents], unknowns[:, field.latents :]
    return Latents(zeta, y if field.grey else None)


def _parts(
    field: LatentField, frames: Tensor, times: Tensor, refined: bool | None
) -> Iterator[_Part]:
    """As many windows at once as memory takes, with their means."""
    unknowns = field.latents + len(field.parameter_names)
    residual_bytes = 8 * frames[0].numel() * max(unknowns, 1)
    rows = max(1, JACOBIAN_BYTES // residual_bytes)
    plan = _plan(field, refined)
    for x, t in zip(frames.split(rows), times.split(rows), strict=True):
        latents = field.infer(Window(x, t))[0].mean
        assert latents.zeta is not None
        means = latents.zeta
        if latents.theta is not None:
            means = torch.cat((means, latents.theta), 1)
        residuals = MatchingResiduals(field, x, t)
        yield _Part(
            residuals, means if plan is None else minimise(residuals, means, plan, field.latents)
        )


class MatchingResiduals:
    """Unknowns (B, U) → residuals (B, R) whose mean square is the matching error of windows.

    They are taken at the middles of the intervals whose derivatives the path knows best.

    Args:
        field: that is asked.
        frames: (B, T, C, ...).
        times: (B, T).
    """

    def __init__(self, field: LatentField, frames: Tensor, times: Tensor) -> None:
        nodes, inside = field.path.nodes(frames, times), field.path.inside(frames.shape[1])
        first, last = max(inside.start, field.memory - 1), inside.stop - 1
        a, b = nodes[:, first:last], nodes[:, first + 1 : last + 1]
        begin, end = times[:, first:last], times[:, first + 1 : last + 1]
        self.field, (self.windows, self.count) = field, begin.shape
        half = torch.full((begin.numel(),), 0.5, dtype=times.dtype, device=times.device)
        point = field.path(a.flatten(0, 1), b.flatten(0, 1), (end - begin).flatten(), half)
        self.state, self.rate = field.at(point)
        self.middle = ((begin + end) / 2).flatten()
        history = None
        if field.memory:
            spans = [slice(first + k + 1 - field.memory, first + k + 1) for k in range(self.count)]
            history = torch.stack([frames[:, span] for span in spans], 1).flatten(0, 1)
        self.past = field.past(history)

    def __call__(self, unknowns: Tensor) -> Tensor:
        """(B, R) of (B, U)."""
        return self._at_points(unknowns, self.count).reshape(self.windows, -1)

    def _at_points(self, unknowns: Tensor, repeats: int) -> Tensor:
        """(N, C, ...) at all points, of unknowns each for ``repeats`` of them side by side."""
        context = self.field.context(self.past, _latents(self.field, unknowns), repeats)
        answer = self.field(self.state, self.middle, context).total
        return self.field.rate_units(answer - self.rate)

    def jacobian(self, unknowns: Tensor) -> Tensor:
        """(B, R, U): backwards from each component of a point, or forward where there is a grid.

        A point without a grid has fewer components than there are unknowns, and none but its own
        unknowns move it, so that all points are asked at once.
        """
        if self.field.physics.grid:
            return columns_of(self, unknowns)
        with torch.enable_grad():
            own = unknowns.repeat_interleave(self.count, 0).requires_grad_()
            sums = self._at_points(own, 1).sum(0)
            rows = [torch.autograd.grad(each, own, retain_graph=True)[0] for each in sums]
        return torch.stack(rows, 1).reshape(self.windows, -1, unknowns.shape[1])


def jacobian_of(residuals: Callable[[Tensor], Tensor], unknowns: Tensor) -> Tensor:
    """(B, R, U), as the residuals know it, or else column by column."""
    if isinstance(residuals, MatchingResiduals):
        return residuals.jacobian(unknowns)
    return columns_of(residuals, unknowns)


def columns_of(residuals: Callable[[Tensor], Tensor], unknowns: Tensor) -> Tensor:
    """(B, R, U), column by column forward: U is small."""
    eye = torch.eye(unknowns.shape[1], dtype=unknowns.dtype, device=unknowns.device)
    columns = [
        torch.func.jvp(residuals, (unknowns,), (direction.expand_as(unknowns),))[1]
        for direction in eye
    ]
    return torch.stack(columns, 2)


@in_full
def mean_products(jacobian: Tensor) -> Tensor:
    """J'J / R, (B, U, U) of (B, R, U)."""
    return jacobian.transpose(1, 2) @ jacobian / jacobian.shape[1]


def minimise(
    residuals: Callable[[Tensor], Tensor], start: Tensor, refinement: Refining, bounded: int = 0
) -> Tensor:
    """Levenberg–Marquardt from and anchored to ``start`` (B, U), row by row.

    Of the first ``bounded`` unknowns it ends at `ZETA_REACH` at the latest.
    """
    reach = torch.full_like(start, torch.inf)
    reach[:, :bounded] = ZETA_REACH
    bounds = (torch.minimum(-reach, start), torch.maximum(reach, start))
    anchor = torch.full_like(start[:, 0], refinement.anchor)
    found = _search(residuals, start, refinement, anchor, bounds)
    if not refinement.steps or not refinement.doubt:
        return found
    misfit = refinement.doubt * residuals(found).square().mean(1)
    again = _search(residuals, start, refinement, torch.maximum(anchor, misfit), bounds)
    return torch.where((misfit > anchor)[:, None], again, found)


def _search(
    residuals: Callable[[Tensor], Tensor],
    start: Tensor,
    refinement: Refining,
    anchor: Tensor,
    bounds: tuple[Tensor, Tensor],
) -> Tensor:
    """The steps of `minimise`, with the anchor (B,) of each window.

    A step is kept where it lowers mean r² + A · w · log(1 + d² / w), A and w the anchor and its
    width, d² the mean of (u - start)²: the unknowns are standard normal in the prior.
    """
    width = refinement.anchor_width
    unknowns, size = start, start.shape[1]
    damping = torch.full((len(start), 1, 1), FIRST_DAMPING, device=start.device)
    now = residuals(unknowns)

    def distance(at: Tensor) -> Tensor:
        return (at - start).square().mean(1)

    def loss(values: Tensor, at: Tensor) -> Tensor:
        return values.square().mean(1) + anchor * width * torch.log1p(distance(at) / width)

    for _ in range(refinement.steps):
        jacobian = jacobian_of(residuals, unknowns)
        gram = mean_products(jacobian)
        # the Student's t as a normal of the width that it has here
        hold = (anchor / size / (1 + distance(unknowns) / width))[:, None].expand_as(start)
        slope = (jacobian * now[..., None]).mean(1) + hold * (unknowns - start)
        scale = torch.diag_embed(gram.diagonal(dim1=1, dim2=2))
        curvature = gram + torch.diag_embed(hold) + damping * scale
        move = torch.linalg.solve_ex(curvature.double(), -slope.double()).result
        trial = unknowns + move.to(unknowns.dtype).nan_to_num(0.0)
        trial = torch.clamp(trial, *bounds)
        new = residuals(trial)
        better = (loss(new, trial) < loss(now, unknowns))[:, None]
        unknowns = torch.where(better, trial, unknowns)
        now = torch.where(better, new, now)
        factor = torch.where(better, 1 / DAMPING_FACTOR, DAMPING_FACTOR)
        damping = damping * factor[..., None]
    return unknowns
