"""A path of our own."""

from torch import Tensor

from vgbdm.paths.path import Path, PathPoint, expand
from vgbdm.registry.marks import model_part


@model_part
class SmoothStep(Path):
    """x = a + (3s² - 2s³) (b - a): it leaves each frame, and comes to the next, at rest."""

    def __call__(
        self, a: Tensor, b: Tensor, length: Tensor, s: Tensor, noise: Tensor | None = None
    ) -> PathPoint:
        """See `Path`."""
        a, b = a[:, 0], b[:, 0]
        s, length = expand(s, a), expand(length, a)
        rise, slope, bend = s**2 * (3 - 2 * s), 6 * s * (1 - s), 6 - 12 * s
        return PathPoint(a + rise * (b - a), slope * (b - a) / length, bend * (b - a) / length**2)
