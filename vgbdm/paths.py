"""Simulation-free targets: where to ask the field, and what it should answer.

Shapes: ``B`` trajectories, ``L`` frames, ``k`` node values, ``N`` points, ``...`` axes of a
frame.

A path joins two successive frames a, b by a curve x(s), s ∈ [0, 1]. Training asks the field at x(s)
and regresses the curve's own velocity dx/dt = x'(s)/Δ (docs/method.md#paths). What a curve needs of
the frames around it is computed once per frame, by `Path.nodes`; a point then costs two nodes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from vgbdm.errors import InputError
from vgbdm.listed import model_part
from vgbdm.precision import in_full


class PathPoint(NamedTuple):
    """A point of a path, and the first two derivatives there, each (N, ...)."""

    state: Tensor
    velocity: Tensor
    acceleration: Tensor


class Path(ABC):
    """One way to join successive frames."""

    needs_noise = False
    """Whether points take normal draws."""
    frames = 2
    """Frames it needs at least."""

    def nodes(self, frames: Tensor, times: Tensor) -> Tensor:
        """What the curves need of each frame.

        Args:
            frames: (B, L, ...).
            times: (B, L), increasing, in the unit the velocity is wanted per.

        Returns:
            (B, L, k, ...), the frame itself first.

        Raises:
            InputError: for too few frames.
        """
        if frames.shape[1] < self.frames:
            raise InputError(
                f"{type(self).__name__}: {frames.shape[1]} frames; it needs at least {self.frames}"
            )
        extras = self.extras(frames, times)
        return torch.stack((frames, *extras), 2) if extras else frames.unsqueeze(2)

    def extras(self, frames: Tensor, times: Tensor) -> tuple[Tensor, ...]:
        """Node values besides the frames, each (B, L, ...)."""
        return ()

    @abstractmethod
    def __call__(
        self, a: Tensor, b: Tensor, length: Tensor, s: Tensor, noise: Tensor | None = None
    ) -> PathPoint:
        """Points between nodes.

        Args:
            a: (N, k, ...) nodes where the intervals start.
            b: (N, k, ...) nodes where they end.
            length: (N,) Δ.
            s: (N,) positions.
            noise: (N, ...) standard normal draws where `needs_noise`.
        """


def _expand(value: Tensor, like: Tensor) -> Tensor:
    return value.to(like.dtype).reshape(value.shape + (1,) * (like.dim() - value.dim()))


@model_part
class LinearPath(Path):
    """x = (1-s) a + s b; the velocity is the mean one, of first order."""

    def __call__(
        self, a: Tensor, b: Tensor, length: Tensor, s: Tensor, noise: Tensor | None = None
    ) -> PathPoint:
        """See `Path`."""
        a, b = a[:, 0], b[:, 0]
        velocity = (b - a) / _expand(length, a)
        straight = a.new_zeros(()).expand_as(a)
        return PathPoint(torch.lerp(a, b, _expand(s, a)), velocity, straight)


@model_part
class BridgePath(Path):
    """A linear path plus a Brownian bridge: x = (1-s) a + s b + σ √(s(1-s)) ε.

    Velocity (b-a)/Δ + σ (1-2s) / (2 √(s(1-s))) · ε/Δ, bounded by keeping s ∈ [δ, 1-δ].

    Args:
        sigma: σ, in units of the frames.
        margin: δ.
    """

    needs_noise = True

    def __init__(self, sigma: float = 0.1, margin: float = 0.02) -> None:
        if not (sigma >= 0 and 0 < margin < 0.5):
            raise InputError(f"bridge path: sigma={sigma}, margin={margin}; want ≥ 0 and 0…0.5")
        self.sigma, self.margin = sigma, margin

    def __call__(
        self, a: Tensor, b: Tensor, length: Tensor, s: Tensor, noise: Tensor | None = None
    ) -> PathPoint:
        """See `Path`."""
        a, b = a[:, 0], b[:, 0]
        s = _expand(self.margin + (1 - 2 * self.margin) * s, a)
        root, length = torch.sqrt(s * (1 - s)), _expand(length, a)
        bump = self.sigma * (torch.zeros_like(a) if noise is None else noise)
        velocity = ((b - a) + bump * (1 - 2 * s) / (2 * root)) / length
        acceleration = -bump / (4 * root**3) / length**2
        return PathPoint(torch.lerp(a, b, s) + root * bump, velocity, acceleration)


@model_part
class LagrangePath(Path):
    """The quadratic through three frames of any spacing: velocity of second order.

    Node values: the frame and the second divided difference around it.
    """

    frames = 3

    def extras(self, frames: Tensor, times: Tensor) -> tuple[Tensor, ...]:
        """See `Path`."""
        gaps = _expand(times.diff(dim=1), frames)
        slopes = frames.diff(dim=1) / gaps
        inner = slopes.diff(dim=1) / (gaps[:, 1:] + gaps[:, :-1])
        return (torch.cat((inner[:, :1], inner, inner[:, -1:]), 1),)

    def __call__(
        self, a: Tensor, b: Tensor, length: Tensor, s: Tensor, noise: Tensor | None = None
    ) -> PathPoint:
        """See `Path`."""
        curvature, a, b = a[:, 1], a[:, 0], b[:, 0]
        s, length = _expand(s, a), _expand(length, a)
        state = torch.lerp(a, b, s) + curvature * length**2 * s * (s - 1)
        velocity = (b - a) / length + curvature * length * (2 * s - 1)
        return PathPoint(state, velocity, 2 * curvature)


@in_full
def derivatives(frames: Tensor, times: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """First and second derivative at every frame of the polynomial through the nearest frames.

    Barycentric differentiation weights for any spacing (Berrut & Trefethen 2004, §9.3).

    Args:
        frames: (B, L, ...).
        times: (B, L).
        width: frames of a stencil; one-sided towards the ends.

    Returns:
        Both (B, L, ...).
    """
    count, width = frames.shape[1], min(width, frames.shape[1])
    nodes = torch.arange(count, device=frames.device)
    start = (nodes - width // 2).clamp(0, count - width)
    index = start[:, None] + torch.arange(width, device=frames.device)
    t, own = times[:, index], (nodes - start)[None, :, None].expand(len(times), -1, 1)
    gaps = t[..., :, None] - t[..., None, :] + torch.eye(width, dtype=t.dtype, device=t.device)
    weights = 1.0 / gaps.prod(3)
    distance = (t.gather(2, own) - t).scatter(2, own, 1.0)
    first = (weights / weights.gather(2, own) / distance).scatter(2, own, 0.0)
    middle = -first.sum(2, keepdim=True)
    second = (2 * first * (middle - 1 / distance)).scatter(2, own, 0.0)
    second = second.scatter(2, own, -second.sum(2, keepdim=True))
    rows = torch.stack((first.scatter(2, own, middle), second)).to(frames.dtype)
    slope, curvature = torch.einsum("kblw,blw...->kbl...", rows, frames[:, index])
    return slope, curvature


@model_part
class HermitePath(Path):
    """The quintic on the values, slopes and second derivatives of both ends, by wide differences.

    Velocity of fifth order, where the stencil allows. What second derivatives are worth: the cubic
    through slopes alone biases σ of Lorenz by 2e-3 of its prior's width for every stencil, this by
    3e-4.

    Node values: the frame, its slope and its second derivative.

    Args:
        stencil: frames that derivatives are taken from; 11 give σ a fifth of the error of 7, at a
            seventh more amplification of noise.
    """

    frames = 3

    def __init__(self, stencil: int = 11) -> None:
        if stencil < 3:
            raise InputError(f"hermite path: stencil={stencil}; it needs at least 3 frames")
        self.stencil = stencil

    def extras(self, frames: Tensor, times: Tensor) -> tuple[Tensor, ...]:
        """See `Path`."""
        parts = zip(frames.split(64), times.split(64), strict=True)  # bounds the memory of stencils
        found = [derivatives(x, t, self.stencil) for x, t in parts]
        return tuple(torch.cat(part) for part in zip(*found, strict=True))

    def __call__(
        self, a: Tensor, b: Tensor, length: Tensor, s: Tensor, noise: Tensor | None = None
    ) -> PathPoint:
        """See `Path`."""
        length, s = _expand(length, a[:, 0]), _expand(s, a[:, 0])
        slope, curvature = a[:, 1] * length, a[:, 2] * length**2 / 2
        rise = b[:, 0] - a[:, 0] - slope - curvature
        slope_gap = b[:, 1] * length - slope - 2 * curvature
        curvature_gap = b[:, 2] * length**2 / 2 - curvature
        c3 = 10 * rise - 4 * slope_gap + curvature_gap
        c4 = -15 * rise + 7 * slope_gap - 2 * curvature_gap
        c5 = 6 * rise - 3 * slope_gap + curvature_gap
        state = a[:, 0] + s * (slope + s * (curvature + s * (c3 + s * (c4 + s * c5))))
        velocity = slope + s * (2 * curvature + s * (3 * c3 + s * (4 * c4 + s * 5 * c5)))
        acceleration = 2 * curvature + s * (6 * c3 + s * (12 * c4 + s * 20 * c5))
        return PathPoint(state, velocity / length, acceleration / length**2)


def cubic(
    a: Tensor, b: Tensor, slope_a: Tensor, slope_b: Tensor, length: Tensor, s: Tensor
) -> PathPoint:
    """Points of the cubics with these values and slopes at both ends, each (N, ...)."""
    length = _expand(length, a)
    slope_a, slope_b = slope_a * length, slope_b * length
    s, rise = _expand(s, a), b - a
    c2, c3 = 3 * rise - 2 * slope_a - slope_b, slope_a + slope_b - 2 * rise
    state = a + s * (slope_a + s * (c2 + s * c3))
    velocity = (slope_a + s * (2 * c2 + 3 * s * c3)) / length
    return PathPoint(state, velocity, (2 * c2 + 6 * s * c3) / length**2)


@model_part
class SmoothingPath(Path):
    """The natural cubic spline f that minimises Σ (x_i - f_i)² + α Δ³ ∫ f''² dt, for noisy frames.

    Node values: the frame, the spline's value and its slope. α → 0 interpolates, α → ∞ is the
    least-squares line; it is to be chosen by validation error. (Reinsch 1967.)

    Args:
        smoothing: α; Δ is the mean gap between frames.
    """

    frames = 4

    def __init__(self, smoothing: float = 1.0) -> None:
        if not smoothing > 0:
            raise InputError(f"smoothing path: smoothing={smoothing}; it must be positive")
        self.smoothing = smoothing

    def extras(self, frames: Tensor, times: Tensor) -> tuple[Tensor, ...]:
        """See `Path`."""
        parts = zip(frames.split(64), times.split(64), strict=True)  # bounds the memory of solves
        fitted = [self._fit(x, t.double()) for x, t in parts]
        values, slope = (torch.cat(part).to(frames.dtype) for part in zip(*fitted, strict=True))
        return values, slope

    def _fit(self, frames: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Values and slopes (B, L, ...) of the splines, float64."""
        gaps, x = times.diff(dim=1), frames.flatten(2).double()
        size, count = gaps.shape[0], gaps.shape[1] - 1
        inner = torch.arange(count, device=frames.device)
        second = torch.zeros(size, count, count + 2, dtype=x.dtype, device=x.device)
        second[:, inner, inner] = 1 / gaps[:, :-1]
        second[:, inner, inner + 2] = 1 / gaps[:, 1:]
        second[:, inner, inner + 1] = -1 / gaps[:, :-1] - 1 / gaps[:, 1:]
        mass = torch.diag_embed((gaps[:, :-1] + gaps[:, 1:]) / 3)
        beside = torch.diag_embed(gaps[:, 1:-1] / 6, offset=1)
        weight = self.smoothing * gaps.mean(1)[:, None, None] ** 3
        system = mass + beside + beside.transpose(1, 2) + weight * second @ second.transpose(1, 2)
        curvature = torch.linalg.solve_ex(system, second @ x).result  # second derivatives inside
        values = x - weight * second.transpose(1, 2) @ curvature
        curvature = torch.nn.functional.pad(curvature, (0, 0, 1, 1))
        rise, length = values.diff(dim=1) / gaps[..., None], gaps[..., None]
        slope = rise - length / 6 * (2 * curvature[:, :-1] + curvature[:, 1:])
        last = rise[:, -1:] + length[:, -1:] / 6 * (curvature[:, -2:-1] + 2 * curvature[:, -1:])
        return values.view_as(frames), torch.cat((slope, last), 1).view_as(frames)

    def __call__(
        self, a: Tensor, b: Tensor, length: Tensor, s: Tensor, noise: Tensor | None = None
    ) -> PathPoint:
        """See `Path`."""
        return cubic(a[:, 1], b[:, 1], a[:, 2], b[:, 2], length, s)
