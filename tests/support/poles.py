"""How far states are from having one value at each pole.

Shapes: ``...`` leading axes, ``C`` channels, ``V`` vectors, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def in_the_plane(states: Tensor, lon: Sequence[float], pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Vectors on the rows at both poles along fixed axes, x + iy: (..., V, 2, W).

    Args:
        states: (..., C, H, W).
        lon: (W,) degrees.
        pairs: channels of the eastward and the northward part of each vector.
    """
    rows = states[..., [0, -1], :].double()
    turn = torch.exp(1j * torch.deg2rad(torch.as_tensor(lon).double()))
    towards = torch.tensor([1.0, -1.0])[:, None]
    return torch.stack([(1j * rows[..., i, :, :] + towards * rows[..., j, :, :]) * turn
                        for i, j in pairs], -3)  # fmt: skip


def pole_spread(states: Tensor, lon: Sequence[float], pairs: Sequence[tuple[int, int]]) -> float:
    """Largest standard deviation along a row at a pole, of scalars and of `in_the_plane`."""
    parts = [i for pair in pairs for i in pair]
    scalars = [i for i in range(states.shape[-3]) if i not in parts]
    flat = states[..., scalars, :, :][..., [0, -1], :].double().std(-1)
    vectors = in_the_plane(states, lon, pairs).std(-1)
    return max(float(x.max()) for x in (flat, vectors) if x.numel())
