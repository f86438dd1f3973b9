"""Channels as scalars that are smooth at the poles: a vector pair as its Cartesian components.

Shapes: ``B`` samples, ``C`` channels, ``T`` scalars (a vector pair is three), ``H`` latitudes,
``W`` longitudes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from climate.operators.sphere import TangentBasis

Variables = tuple[tuple[int, ...], ...]
"""Channel indices of each variable: (i,) a scalar, (i, j) a vector."""


def scalar_slices(variables: Variables) -> list[slice]:
    """The scalars of each variable."""
    sizes = [2 * len(v) - 1 for v in variables]
    starts = [sum(sizes[:g]) for g in range(len(sizes))]
    return [slice(a, a + n) for a, n in zip(starts, sizes, strict=True)]


def as_scalars(x: Tensor, variables: Variables, basis: TangentBasis) -> Tensor:
    """(B, C, H, W) → (B, T, H, W)."""
    parts = [
        x[:, v[0] : v[0] + 1] if len(v) == 1 else basis.to_cartesian(x[:, v[0]], x[:, v[1]])
        for v in variables
    ]
    return torch.cat(parts, 1)


def as_channels(fields: Tensor, variables: Variables, basis: TangentBasis) -> Tensor:
    """(B, T, H, W) → the channels of these variables in their order, (B, C, H, W).

    Vectors are projected on the tangent plane.
    """
    by_channel: dict[int, Tensor] = {}
    for v, at in zip(variables, scalar_slices(variables), strict=True):
        if len(v) == 1:
            by_channel[v[0]] = fields[:, at.start]
        else:
            by_channel[v[0]], by_channel[v[1]] = basis.to_tangent(fields[:, at])
    return torch.stack([by_channel[i] for i in sorted(by_channel)], 1)
