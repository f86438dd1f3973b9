"""Simulation-free targets: where to ask the field, and what it should answer.

Shapes: ``B`` samples, ``L`` frames of a window, ``...`` axes of the state.

A path joins two successive frames a, b of a window by a curve x(s), s ∈ [0, 1]. Training asks the
field at x(s) and regresses the curve's own velocity dx/dt = x'(s)/Δ (METHOD §2).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from vgbdm.errors import InputError


class PathPoint(NamedTuple):
    """A point of a path and the velocity there, both shaped like a frame (B, ...)."""

    state: Tensor
    velocity: Tensor


class Path(Protocol):
    """One way to join frames ``interval`` and ``interval + 1`` of a window."""

    needs_noise: bool

    def __call__(
        self, frames: Tensor, times: Tensor, interval: int, s: Tensor, noise: Tensor | None
    ) -> PathPoint:
        """The point at ``s`` and its velocity.

        Args:
            frames: (B, L, ...).
            times: (B, L), increasing, in the unit the velocity is wanted per.
            interval: the frame where the interval starts, 0 ≤ interval < L - 1.
            s: (B,) position inside the interval.
            noise: (B, ...) standard normal draws where `needs_noise`.
        """


def _expand(value: Tensor, like: Tensor) -> Tensor:
    return value.reshape(value.shape + (1,) * (like.dim() - value.dim()))


class LinearPath:
    """x = (1-s) a + s b; the velocity is the mean one, of first order."""

    needs_noise = False

    def __call__(
        self, frames: Tensor, times: Tensor, interval: int, s: Tensor, noise: Tensor | None = None
    ) -> PathPoint:
        """See `Path`."""
        a, b = frames[:, interval], frames[:, interval + 1]
        length = _expand(times[:, interval + 1] - times[:, interval], a)
        return PathPoint(torch.lerp(a, b, _expand(s, a)), (b - a) / length)


class BridgePath:
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
        self, frames: Tensor, times: Tensor, interval: int, s: Tensor, noise: Tensor | None = None
    ) -> PathPoint:
        """See `Path`."""
        a, b = frames[:, interval], frames[:, interval + 1]
        length = _expand(times[:, interval + 1] - times[:, interval], a)
        s = _expand(self.margin + (1 - 2 * self.margin) * s, a)
        root = torch.sqrt(s * (1 - s))
        bump = self.sigma * (torch.zeros_like(a) if noise is None else noise)
        velocity = (b - a) + bump * (1 - 2 * s) / (2 * root)
        return PathPoint(torch.lerp(a, b, s) + root * bump, velocity / length)


def _node_slopes(frames: Tensor, times: Tensor, node: int, width: int) -> Tensor:
    """Derivative at ``node`` of the polynomial through the ``width`` frames nearest to it.

    Barycentric differentiation weights for any spacing (Berrut & Trefethen 2004).
    """
    count = frames.shape[1]
    start = min(max(node - width // 2, 0), max(count - width, 0))
    chosen = slice(start, min(start + width, count))
    t, x, own = times[:, chosen], frames[:, chosen], node - start
    gaps = t[:, :, None] - t[:, None, :] + torch.eye(t.shape[1], dtype=t.dtype, device=t.device)
    weights = 1.0 / gaps.prod(2)
    distance = t[:, own, None] - t
    distance[:, own] = 1.0
    row = weights / weights[:, own, None] / distance
    row[:, own] = 0.0
    row[:, own] = -row.sum(1)
    return torch.einsum("bl,bl...->b...", row.to(x.dtype), x)


class LagrangePath:
    """The quadratic through three frames of any spacing: velocity of second order."""

    needs_noise = False

    def __call__(
        self, frames: Tensor, times: Tensor, interval: int, s: Tensor, noise: Tensor | None = None
    ) -> PathPoint:
        """See `Path`."""
        if frames.shape[1] < 3:
            raise InputError(f"lagrange3 path: {frames.shape[1]} frames; it needs 3")
        first = max(interval - 1, 0)
        x, t = frames[:, first : first + 3], times[:, first : first + 3]
        now = torch.lerp(times[:, interval], times[:, interval + 1], s.to(times.dtype))
        state, velocity = torch.zeros_like(x[:, 0]), torch.zeros_like(x[:, 0])
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            scale = (t[:, i] - t[:, j]) * (t[:, i] - t[:, k])
            value = (now - t[:, j]) * (now - t[:, k]) / scale
            slope = (2 * now - t[:, j] - t[:, k]) / scale
            state = state + _expand(value.to(x.dtype), state) * x[:, i]
            velocity = velocity + _expand(slope.to(x.dtype), state) * x[:, i]
        return PathPoint(state, velocity)


class HermitePath:
    """The cubic on a, b and node slopes of fourth-order differences: velocity of third order.

    Args:
        stencil: frames a node slope is taken from; 5 gives fourth order, and the windows hold at
            least as many as there are.
    """

    needs_noise = False

    def __init__(self, stencil: int = 5) -> None:
        if stencil < 3:
            raise InputError(f"hermite path: stencil={stencil}; it needs at least 3 frames")
        self.stencil = stencil

    def __call__(
        self, frames: Tensor, times: Tensor, interval: int, s: Tensor, noise: Tensor | None = None
    ) -> PathPoint:
        """See `Path`."""
        if frames.shape[1] < 3:
            raise InputError(f"hermite path: {frames.shape[1]} frames; it needs at least 3")
        a, b = frames[:, interval], frames[:, interval + 1]
        length = _expand((times[:, interval + 1] - times[:, interval]).to(a.dtype), a)
        slope_a = _node_slopes(frames, times, interval, self.stencil) * length
        slope_b = _node_slopes(frames, times, interval + 1, self.stencil) * length
        s = _expand(s.to(a.dtype), a)
        rise = b - a
        c2, c3 = 3 * rise - 2 * slope_a - slope_b, slope_a + slope_b - 2 * rise
        state = a + s * (slope_a + s * (c2 + s * c3))
        return PathPoint(state, (slope_a + s * (2 * c2 + 3 * s * c3)) / length)
