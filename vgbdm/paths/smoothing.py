"""A smoothing path for noisy frames."""

from __future__ import annotations

import torch
from torch import Tensor

from vgbdm.errors import InputError
from vgbdm.options.kinds import Positive
from vgbdm.paths.hermite import cubic
from vgbdm.paths.path import Path, PathPoint
from vgbdm.registry.marks import model_part


@model_part
class SmoothingPath(Path):
    """The natural cubic spline f that minimises Σ (x_i - f_i)² + α Δ³ ∫ f''² dt, for noisy frames.

    Node values: the frame, the spline's value and its slope. α → 0 interpolates, α → ∞ is the
    least-squares line; it is to be chosen by validation error. (Reinsch 1967.)

    Args:
        smoothing: α; Δ is the mean gap between frames.
    """

    orders = (1, 2)
    frames = 4

    def __init__(self, smoothing: Positive = 1.0) -> None:
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
