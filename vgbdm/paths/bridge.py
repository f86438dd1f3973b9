"""The Brownian bridge between frames."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor

from vgbdm.errors import InputError
from vgbdm.options.kinds import NotNegative
from vgbdm.paths.linear import LinearPath
from vgbdm.paths.path import Path, PathPoint, expand
from vgbdm.registry.marks import model_part


@model_part
class BridgePath(Path):
    """A linear path plus a Brownian bridge: x = (1-s) a + s b + σ √(s(1-s)) ε.

    Velocity (b-a)/Δ + σ (1-2s) / (2 √(s(1-s))) · ε/Δ, bounded by keeping s ∈ [δ, 1-δ].

    Args:
        sigma: σ, in units of the frames.
        margin: δ.
    """

    needs_noise = True

    def __init__(
        self, sigma: NotNegative = 0.1, margin: Annotated[float, Interval(gt=0, lt=0.5)] = 0.02
    ) -> None:
        if not (sigma >= 0 and 0 < margin < 0.5):
            raise InputError(f"bridge path: sigma={sigma}, margin={margin}; want ≥ 0 and 0…0.5")
        self.sigma, self.margin = sigma, margin

    def at_frames(self, nodes: Tensor, times: Tensor) -> PathPoint:
        """See `Path`; without the bridge, which is 0 there."""
        return LinearPath().at_frames(nodes, times)

    def __call__(
        self, a: Tensor, b: Tensor, length: Tensor, s: Tensor, noise: Tensor | None = None
    ) -> PathPoint:
        """See `Path`."""
        a, b = a[:, 0], b[:, 0]
        s = expand(self.margin + (1 - 2 * self.margin) * s, a)
        root, length = torch.sqrt(s * (1 - s)), expand(length, a)
        bump = self.sigma * (torch.zeros_like(a) if noise is None else noise)
        velocity = ((b - a) + bump * (1 - 2 * s) / (2 * root)) / length
        acceleration = -bump / (4 * root**3) / length**2
        return PathPoint(torch.lerp(a, b, s) + root * bump, velocity, acceleration)
