"""Hermite polynomials between frames."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Interval
from torch import Tensor

from vgbdm.errors import InputError
from vgbdm.options.kinds import NotNegative
from vgbdm.paths.choosing import EDGE, Choice
from vgbdm.paths.derivatives import derivatives
from vgbdm.paths.noise import per_component
from vgbdm.paths.path import Noise, Path, PathPoint, expand
from vgbdm.paths.splines import FRAMES, smooth
from vgbdm.registry.marks import model_part


@model_part
class HermitePath(Path):
    """The quintic on values, slopes and second derivatives of both ends.

    Without noise these are the frame itself and wide differences: velocity of fifth order, where
    the stencil allows. What second derivatives are worth: the cubic through slopes alone biases σ
    of Lorenz by 2e-3 of its prior's width for every stencil, this by 3e-4. With noise they are
    those of the quintic smoothing spline, which the curve then is.

    Node values: the frame; where it is smoothed, the value of the spline; the slope and the second
    derivative.

    Args:
        stencil: frames that derivatives are taken from; 11 give σ a fifth of the error of 7, at a
            seventh more amplification of noise.
        noise: standard deviation of what was added to the frames, or that of each component;
            auto: what their store says, or else what they show. 0: they are interpolated.
        smoothing: α of the spline, see `vgbdm.paths.splines`; 0 interpolates; null: what the noise
            asks for.
    """

    orders = (1, 2)

    def __init__(
        self,
        stencil: Annotated[int, Interval(ge=3, le=2**16)] = 11,
        noise: Literal["auto"] | NotNegative | list[NotNegative] = "auto",
        smoothing: NotNegative | None = None,
    ) -> None:
        if stencil < 3:
            raise InputError(f"hermite path: stencil={stencil}; it needs at least 3 frames")
        if smoothing is not None and not smoothing >= 0:
            raise InputError(f"hermite path: smoothing={smoothing}; want a number ≥ 0, or null")
        self.stencil, self.noise, self.smoothing = stencil, noise, smoothing
        self.frames = FRAMES if smoothing else 3

    @property
    def edge(self) -> int:
        """See `Path`; interpolation is of full order there, a smoothing spline is not."""
        return EDGE if self.smoothing else 0

    def inside(self, count: int) -> slice:
        """See `Path`.

        On Lorenz windows of 30 the worst error of β by least squares is 0.1, 0.03 and 0.016 of its
        prior's width where the rates of 1, 2 and 3 frames are left out.
        """
        edge = min(count // 10, EDGE)
        return slice(edge, count - edge)

    def fitted(
        self,
        frames: Tensor,
        times: Tensor,
        noise: Noise,
        *,
        order: int = 1,
        window: int | None = None,
    ) -> HermitePath:
        """See `Path`; itself where noise is nothing against what interpolation resolves."""
        each = per_component(noise, frames.shape[2])
        if self.smoothing is not None or not any(each) or frames.shape[1] < FRAMES:
            return self
        length = frames.shape[1]
        window = max(window or length, FRAMES)
        choice = Choice(self.between, frames, times, each, self.stencil, order, window)
        alpha = choice.best()
        return HermitePath(self.stencil, each, alpha) if alpha else self

    def told(self) -> str:
        """See `Path`."""
        spline = f"smoothed, α = {self.smoothing or 0:.2g}"
        return spline if self.smoothing else f"through the frames, by {self.stencil} of them"

    def at_frames(self, nodes: Tensor, times: Tensor) -> PathPoint:
        """See `Path`."""
        return PathPoint(*nodes[:, :, -3:].unbind(2))

    def extras(self, frames: Tensor, times: Tensor) -> tuple[Tensor, ...]:
        """See `Path`."""
        parts = zip(frames.split(64), times.split(64), strict=True)  # bounds the memory
        found = [self._fitted(x, t) for x, t in parts]
        return tuple(torch.cat(part) for part in zip(*found, strict=True))

    def _fitted(self, frames: Tensor, times: Tensor) -> tuple[Tensor, ...]:
        """Node values besides the frames, of some trajectories."""
        if self.smoothing:
            return smooth(frames, times, self.smoothing).unbind(0)
        return derivatives(frames, times, self.stencil)

    def __call__(
        self, a: Tensor, b: Tensor, length: Tensor, s: Tensor, noise: Tensor | None = None
    ) -> PathPoint:
        """See `Path`."""
        return self.between(a[:, -3:], b[:, -3:], length, s)

    @staticmethod
    def between(a: Tensor, b: Tensor, length: Tensor, s: Tensor) -> PathPoint:
        """Points of the quintics with these values, slopes and second derivatives (N, 3, ...)."""
        length, s = expand(length, a[:, 0]), expand(s, a[:, 0])
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
