"""Quintic smoothing splines: value, slope and second derivative at frames that carry noise.

The f that minimises Σ (x_i - f(t_i))² + α Δ⁵ ∫ f'''² dt, Δ the mean gap between frames, for any
spacing. f is a natural spline of degree five with knots at the frames; its third derivative is
Σ γ_j M_j in quadratic B-splines of unit integral, for which ∫ M_j f''' = 3! [t_j … t_{j+3}] f. With
G the Gram matrix of the M_j and Q' f those divided differences (Reinsch 1967, for the third
derivative):

    (G + α Q'Q) γ = Q' x,    f = x - α Q γ

Shapes: ``B`` trajectories, ``L`` frames, ``M`` numbers of a frame, ``n`` = L - 3 B-splines, ``...``
axes of a frame.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from vgbdm.precision import in_full

GAUSS = (0.5 - 0.15**0.5, 0.5, 0.5 + 0.15**0.5)
WEIGHTS = (5 / 18, 8 / 18, 5 / 18)
"""Of three points in [0, 1]: exact to degree 5, and no integrand here has more."""
FRAMES = 4
"""That are needed at least."""
ENTRIES = 2**22
"""Of the matrices that are solved at once."""
SAME = 2.0**-36
"""Gaps, in units of their mean, are whole multiples of it: those of regular clocks are equal."""


@in_full
def smooth(frames: Tensor, times: Tensor, alpha: float) -> Tensor:
    """Value, slope and second derivative of the spline at every frame.

    Args:
        frames: (B, L, ...).
        times: (B, L).
        alpha: α; 0 interpolates, ∞ is a parabola.

    Returns:
        (3, B, L, ...).
    """
    x, size = frames.flatten(2).double(), frames.shape[1]
    gaps = times.double().diff(dim=1)
    unit = gaps.mean(1, keepdim=True)
    gaps = torch.round(gaps / unit / SAME).clamp_min(1) * SAME
    # one set of equations for all; on a device that would be a read, and many are solved at once
    if len(gaps) > 1 and gaps.device.type == "cpu" and bool((gaps == gaps[:1]).all()):
        columns = x.movedim(0, 1).reshape(1, size, -1)
        found = _solve(columns, gaps[:1], alpha)
        found = found.reshape(3, size, len(x), -1).movedim(2, 1)
    else:
        rows = max(1, ENTRIES // size**2)
        parts = zip(x.split(rows), gaps.split(rows), strict=True)
        found = torch.cat([_solve(*part, alpha) for part in parts], 1)
    scale = torch.stack((torch.ones_like(unit), 1 / unit, 1 / unit**2))
    return (found * scale[..., None]).to(frames.dtype).view(3, *frames.shape)


def _solve(x: Tensor, gaps: Tensor, alpha: float) -> Tensor:
    """The same of x (B, L, M), (3, B, L, M), where the mean gap is 1."""
    splines = _third_derivatives(gaps)
    differences = _differences(gaps)
    system = _gram(splines, gaps) + alpha * differences @ differences.transpose(1, 2)
    gamma = torch.linalg.solve_ex(system, differences @ x).result
    value = x - alpha * differences.transpose(1, 2) @ gamma
    around = pad(gamma, (0, 0, 2, 2)).unfold(1, 3, 1)  # (B, L - 1, M, 3)
    third = torch.einsum("bkgj,bkmj->bkgm", splines, around)
    return torch.stack((value, *_derivatives(value, third, gaps)))


def _numbers(values: tuple[float, ...], like: Tensor) -> Tensor:
    """Constants of the type of a tensor, made where it is: copies are waited for."""
    return torch.stack([like.new_full((), value) for value in values])


def _third_derivatives(gaps: Tensor) -> Tensor:
    """(B, L - 1, 3, 3) at the Gauss points of every interval k, the M_j of j = k-2, k-1 and k.

    0 for those that do not have all their knots among the frames.
    """
    count = gaps.shape[1]
    h = pad(gaps, (2, 2), value=1.0)
    before, own, after = h[:, 1 : 1 + count, None], gaps[..., None], h[:, 3 : 3 + count, None]
    s = _numbers(GAUSS, gaps)
    rise, fall = own * s, own * (1 - s)
    left, right = (before + own) * own, (own + after) * own
    middle = (before + rise) * fall / left + (after + fall) * rise / right
    parts = torch.stack((fall**2 / left, middle, rise**2 / right), 3)
    sums = h.unfold(1, 3, 1).sum(2)  # of the gaps under the splines j = -2 … L - 2
    k = torch.arange(count, device=gaps.device)[:, None] + torch.arange(3, device=gaps.device)
    whole = (k >= 2) & (k < count)
    return torch.where(whole[:, None], parts * (3 / sums[:, k])[:, :, None], 0.0)


def _gram(splines: Tensor, gaps: Tensor) -> Tensor:
    """G, (B, n, n): the integrals of the products of the M_j."""
    weights = _numbers(WEIGHTS, gaps)
    blocks = torch.einsum("bkgj,bkgi,bk,g->bkji", splines, splines, gaps, weights)
    count = gaps.shape[1]
    found = gaps.new_zeros(len(gaps), count + 2, count + 2)
    k = torch.arange(count, device=gaps.device)
    for i in range(3):
        for j in range(3):
            found[:, k + i, k + j] += blocks[:, :, i, j]
    return found[:, 2:count, 2:count]


def _differences(gaps: Tensor) -> Tensor:
    """Q', (B, n, L): six times the divided differences of third order."""
    t = pad(gaps.cumsum(1), (1, 0))
    count = t.shape[1] - 3
    j = torch.arange(count, device=t.device)
    found = t.new_zeros(len(t), count, count + 3)
    knots = torch.stack([t[:, k : k + count] for k in range(4)], 2)
    eye = torch.eye(4, dtype=t.dtype, device=t.device)
    weights = 6 / (knots[..., :, None] - knots[..., None, :] + eye).prod(-1)
    for k in range(4):
        found[:, j, j + k] = weights[..., k]
    return found


def _derivatives(value: Tensor, third: Tensor, gaps: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes and second derivatives (B, L, M) of values, given f''' (B, L - 1, 3, M).

    Inside, of the parabola that is left when what f''' adds is taken off the frames on both sides;
    the first and the last follow from their neighbours.
    """
    s, weights = _numbers(GAUSS, value), _numbers(WEIGHTS, value)
    h = gaps[..., None]

    def integral(kernel: Tensor) -> Tensor:
        return torch.einsum("bkgm,g->bkm", third, weights * kernel)

    # Taylor's remainders at the end of an interval from its beginning, and the other way round
    ahead, behind = (h**3 * integral(k**2 / 2) for k in (1 - s, s))
    rise = value.diff(dim=1)
    forward = ((rise - ahead) / h)[:, 1:]
    backward = ((rise - behind) / h)[:, :-1]
    before, after = h[:, :-1], h[:, 1:]
    bend = 2 * (forward - backward) / (before + after)
    slope = (backward * after + forward * before) / (before + after)
    bends = [h * integral(torch.ones_like(s)), h**2 * integral(1 - s), h**2 * integral(s)]
    first_bend = bend[:, :1] - bends[0][:, :1]
    last_bend = bend[:, -1:] + bends[0][:, -1:]
    first = slope[:, :1] - h[:, :1] * bend[:, :1] + bends[2][:, :1]
    last = slope[:, -1:] + h[:, -1:] * bend[:, -1:] + bends[1][:, -1:]
    return torch.cat((first, slope, last), 1), torch.cat((first_bend, bend, last_bend), 1)
