"""How noisy frames are, from the frames alone.

Shapes: ``B`` trajectories, ``L`` frames, ``C`` components, ``...`` axes of a grid.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vgbdm.paths.path import Noise

ORDERS = (3, 5, 7, 9, 11, 15, 19, 23, 27, 31)
"""Of the divided differences. Those of smooth states fall with the order, those of noise do not. On
Lorenz without noise the median of the differences of order 15 is the rounding of float32 (2e-6);
with noise of 0.02 that of order 15 is a tenth too large, that of order 31 a fiftieth."""
NORMAL_MEDIAN = 0.6745
"""Of the size of a standard normal number."""
ENOUGH = 200
"""Differences that share no frame. The smallest of several medians of fewer is too small, by up to
a quarter; it counts only where it is far smaller still, as it is without noise."""
MOST = 2**16
"""Differences of an order that are looked at."""


def estimate_noise(frames: Tensor, times: Tensor) -> tuple[float, ...]:
    """Standard deviation of the noise of each component; nearly 0 where there is none.

    A divided difference whose weights have unit length has the variance of the noise. Its median
    over all places is not moved by the few where the states themselves are rough, and of several
    orders that which finds least is nearest to the noise alone. Components have sensors of their
    own, and so noise of their own.

    Args:
        frames: (B, L, C, ...).
        times: (B, L).

    Returns:
        One for each component; 0 for fewer than 5 frames, which tell nothing.
    """
    x = frames.flatten(3) if frames.dim() > 3 else frames.unsqueeze(3)
    length, numbers = x.shape[1], len(x) * x.shape[1] * x.shape[3]
    orders = [order for order in ORDERS if order < length - 1]
    if not orders:
        return (0.0,) * x.shape[2]
    found = torch.stack([_median_difference(x, times, order) for order in orders]) / NORMAL_MEDIAN
    many = sum(numbers >= ENOUGH * (order + 1) for order in orders[1:])
    least, sure = found.amin(0), found[: 1 + many].amin(0)
    return tuple(torch.where(least < 0.6 * sure, least, sure).tolist())


def _median_difference(x: Tensor, times: Tensor, order: int) -> Tensor:
    """(C,) medians of the size of differences of x (B, L, C, cells)."""
    places = x.shape[1] - order
    rows = max(1, MOST // places)
    every = max(1, len(x) // rows)
    cells = max(1, x.shape[3] * min(rows, len(x)) // rows)
    x, times = x[::every, ..., ::cells].double(), times[::every].double()
    index = torch.arange(places, device=x.device)[:, None] + torch.arange(
        order + 1, device=x.device
    )
    clock = times[:, index]
    clock = (clock - clock[..., :1]) / (clock[..., -1:] - clock[..., :1])
    eye = torch.eye(order + 1, dtype=clock.dtype, device=clock.device)
    weights = 1 / (clock[..., :, None] - clock[..., None, :] + eye).prod(-1)
    weights = weights / weights.norm(dim=-1, keepdim=True)
    size = torch.einsum("blw,blwcg->clbg", weights, x[:, index]).abs()
    return size.flatten(1).median(1).values


def per_component(noise: Noise, count: int) -> list[float]:
    """One standard deviation for each component."""
    return [float(noise)] * count if isinstance(noise, int | float) else [float(s) for s in noise]
