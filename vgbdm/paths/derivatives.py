"""Derivatives at frames, by polynomials through their neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from vgbdm.precision import in_full


@in_full
def derivatives(frames: Tensor, times: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """First and second derivative at every frame of the polynomial through the nearest frames.

    Barycentric differentiation weights for any spacing (Berrut & Trefethen 2004, §9.3).

    Args:
        frames: (B, L, ...).
        times: (B, L).
        width: frames of a stencil; one-sided towards the ends.

    Returns:
        Both (B, L, ...).
    """
    count, width = frames.shape[1], min(width, frames.shape[1])
    nodes = torch.arange(count, device=frames.device)
    start = (nodes - width // 2).clamp(0, count - width)
    index = start[:, None] + torch.arange(width, device=frames.device)
    t, own = times[:, index], (nodes - start)[None, :, None].expand(len(times), -1, 1)
    gaps = t[..., :, None] - t[..., None, :] + torch.eye(width, dtype=t.dtype, device=t.device)
    weights = 1.0 / gaps.prod(3)
    distance = (t.gather(2, own) - t).scatter(2, own, 1.0)
    first = (weights / weights.gather(2, own) / distance).scatter(2, own, 0.0)
    middle = -first.sum(2, keepdim=True)
    second = (2 * first * (middle - 1 / distance)).scatter(2, own, 0.0)
    second = second.scatter(2, own, -second.sum(2, keepdim=True))
    rows = torch.stack((first.scatter(2, own, middle), second)).to(frames.dtype)
    slope, curvature = torch.einsum("kblw,blw...->kbl...", rows, frames[:, index])
    return slope, curvature
