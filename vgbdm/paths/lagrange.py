"""Polynomials through neighbouring frames."""

from __future__ import annotations

import torch
from torch import Tensor

from vgbdm.paths.path import Path, PathPoint, expand
from vgbdm.registry.marks import model_part


@model_part
class LagrangePath(Path):
    """The quadratic through three frames of any spacing: velocity of second order.

    Node values: the frame and the second divided difference around it.
    """

    orders = (1, 2)
    frames = 3

    def extras(self, frames: Tensor, times: Tensor) -> tuple[Tensor, ...]:
        """See `Path`."""
        gaps = expand(times.diff(dim=1), frames)
        slopes = frames.diff(dim=1) / gaps
        inner = slopes.diff(dim=1) / (gaps[:, 1:] + gaps[:, :-1])
        return (torch.cat((inner[:, :1], inner, inner[:, -1:]), 1),)

    def __call__(
        self, a: Tensor, b: Tensor, length: Tensor, s: Tensor, noise: Tensor | None = None
    ) -> PathPoint:
        """See `Path`."""
        curvature, a, b = a[:, 1], a[:, 0], b[:, 0]
        s, length = expand(s, a), expand(length, a)
        state = torch.lerp(a, b, s) + curvature * length**2 * s * (s - 1)
        velocity = (b - a) / length + curvature * length * (2 * s - 1)
        return PathPoint(state, velocity, 2 * curvature)
