"""The straight line between frames."""

from __future__ import annotations

import torch
from torch import Tensor

from vgbdm.paths.path import Path, PathPoint, expand
from vgbdm.registry.marks import model_part


@model_part
class LinearPath(Path):
    """x = (1-s) a + s b; the velocity is the mean one, of first order."""

    def __call__(
        self, a: Tensor, b: Tensor, length: Tensor, s: Tensor, noise: Tensor | None = None
    ) -> PathPoint:
        """See `Path`."""
        a, b = a[:, 0], b[:, 0]
        velocity = (b - a) / expand(length, a)
        straight = a.new_zeros(()).expand_as(a)
        return PathPoint(torch.lerp(a, b, expand(s, a)), velocity, straight)
