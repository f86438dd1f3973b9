"""Widths of latents that a window says little about, where residuals are not linear in them.

Laplace takes the misfit for a parabola. Along the directions of ζ in which the Jacobian is almost
zero at the means it is one only near by: a step of the width that Laplace gives, almost the
prior's, raises the misfit of a Lorenz window a hundredfold of what it should. There the width is
that at which the misfit itself rises as a parabola would, on the average of both sides.

Shapes: ``B`` windows, ``Z`` latents, ``U`` unknowns, ``R`` residuals of a window.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vgbdm.inference.laplace import Laplace

POWERS = (0.3, 0.5)
"""Of the rise, by which a width is divided, try by try: the misfit grows with the fourth power of a
width where it is not a parabola, and almost with the second when the first try was enough."""
PARABOLA = 1.2
"""A rise up to which it is taken for one."""


def bent(found: Laplace, residuals: Callable[[Tensor], Tensor], values: Tensor) -> Laplace:
    """The same with the precision of ζ raised where the window allows less than Laplace says.

    Args:
        found: by Laplace.
        residuals: of unknowns (B, U): (B, R).
        values: residuals at the means.
    """
    z, means = found.latents, found.means
    eye = torch.eye(z, dtype=found.precision.dtype, device=means.device)
    own = found.precision[:, :z, :z]
    fine = own.isfinite().flatten(1).all(1)[:, None, None]  # the others are left as they are
    precisions, axes = torch.linalg.eigh(torch.where(fine, own, 0.0) + eye)
    precisions = precisions.clamp_min(1.0)  # the prior's
    widths = precisions.rsqrt()
    least = values.double().square().sum(1)

    def rise(axis: int) -> Tensor:
        """Of misfit and prior, a width away along one axis: 1 for a parabola."""
        step = torch.zeros_like(means)
        step[:, :z] = (axes[:, :, axis] * widths[:, axis, None]).to(means.dtype)
        sides = (residuals(means + step), residuals(means - step))
        higher = torch.stack([side.double().square().sum(1) for side in sides]).mean(0) - least
        return higher.clamp_min(0.0) / found.variance + widths[:, axis].square()

    for power in POWERS:
        rises = torch.stack([rise(axis) for axis in range(z)], 1).nan_to_num(1.0, 1e12)
        widths = torch.where(rises > PARABOLA, widths * rises.clamp_max(1e12) ** -power, widths)
    raised = torch.maximum(precisions, widths**-2) - 1
    precision = found.precision.clone()
    precision[:, :z, :z] = torch.where(fine, (axes * raised[:, None]) @ axes.transpose(1, 2), own)
    return found._replace(precision=precision)
