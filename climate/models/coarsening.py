"""Fields on a grid with half as many rows and columns, and back.

Written out rather than by `torch.nn.functional.interpolate`, whose gradient on a GPU adds in
any order, so that a resumed run would not be the run that did not stop.

Shapes: ``B`` samples, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vgbdm.errors import InputError


def check_coarsening(coarsening: int, rows: int, poles: bool | None) -> None:
    """Refuse what cannot be halved.

    Args:
        coarsening: 1 or 2, see `climate.models.networks.Trunk`.
        rows: of the grid.
        poles: as `halved` takes it.

    Raises:
        InputError: for a globe whose rows are odd without rows at the poles, or even with them.
    """
    if coarsening > 1 and poles is not None and rows % 2 != int(poles):
        raise InputError(
            f"size.coarsening={coarsening}: {rows} rows cannot be halved: want an "
            f"{'odd' if poles else 'even'} number; give size.coarsening=1"
        )


def halved(x: Tensor, poles: bool | None) -> Tensor:
    """Means over two columns and two rows, or over three rows about every other one.

    Args:
        x: (B, C, H, W).
        poles: whether the first and last rows lie on the poles, so that they stay there; None: a
            box, whose last row and column stand alone where their number is odd.

    Returns:
        (B, C, ⌈H/2⌉, ⌈W/2⌉).
    """
    if poles:
        return F.avg_pool2d(_with_rows(x, 1), (3, 2), (2, 2))
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


def doubled(x: Tensor, height: int, width: int, poles: bool | None) -> Tensor:
    """Linear between the points of a halved grid, around the globe and across its poles.

    Args:
        x: (B, C, ⌈H/2⌉, ⌈W/2⌉).
        height: H.
        width: W.
        poles: as in `halved`.

    Returns:
        (B, C, H, W).
    """
    if poles is None:
        columns = _between(x, _edged(x, -1), -1)[..., :width]
        return _between(columns, _edged(columns, -2), -2)[..., :height, :]
    columns = _between(x, torch.cat((x[..., -1:], x, x[..., :1]), -1), -1)
    if poles:
        means = (columns[..., :-1, :] + columns[..., 1:, :]) / 2
        pairs = torch.stack((columns[..., :-1, :], means), -2).flatten(-3, -2)
        return torch.cat((pairs, columns[..., -1:, :]), -2)
    return _between(columns, _with_rows(columns, 0), -2)


def _between(x: Tensor, wider: Tensor, axis: int) -> Tensor:
    """Two points for each along an axis, a quarter of the way to its neighbours.

    Args:
        x: the points.
        wider: the same, with one more at each end of the axis.
        axis: -1 or -2.
    """
    size, near = x.shape[axis], 0.75 * x
    before, after = wider.narrow(axis, 0, size), wider.narrow(axis, 2, size)
    return torch.stack((near + 0.25 * before, near + 0.25 * after), axis).flatten(axis - 1, axis)


def _edged(x: Tensor, axis: int) -> Tensor:
    """A box with its edges along an axis once more beyond them."""
    last = x.shape[axis] - 1
    return torch.cat((x.narrow(axis, 0, 1), x, x.narrow(axis, last, 1)), axis)


def _with_rows(x: Tensor, own: int) -> Tensor:
    """A globe with a row beyond each pole: the one on its other side, half a turn away.

    Args:
        x: (B, C, H, W).
        own: rows that lie on a pole, 1 or 0, and are not what is beyond it.

    Returns:
        (B, C, H + 2, W).
    """
    half, last = x.shape[-1] // 2, x.shape[-2] - 1 - own
    south = x[..., own : own + 1, :].roll(half, -1)
    north = x[..., last : last + 1, :].roll(half, -1)
    return torch.cat((south, x, north), -2)
