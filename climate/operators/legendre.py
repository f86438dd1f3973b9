"""Tables of Legendre functions on the latitudes of a global grid, in float32.

They are torch-harmonics', evaluated at the grid's own latitudes in float64, without the phase
(-1)^m. Each table is made for some orders at a time and kept in float32 at once, so that the
numbers in float64 never are more than those of a band of orders.

A function of degree l takes the sign (-1)^l at the point opposite on the sphere. So those of even
and of odd degree are fitted apart and known by their values on the northern half; and an order m
has no degrees below m. Both together, tables by bands are a quarter of whole ones.

Shapes: ``M`` orders 0…N, ``L`` degrees 0…N, ``H`` latitudes (ascending), ``J`` those from the
equator to the north, ``G`` orders of a band, ``K`` degrees of one parity from its first order on.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_harmonics.legendre import dlegpoly, legpoly

from climate.grids.grid import Grid

NEGLIGIBLE = 1e-15
"""Part of the largest number of a table below which none counts."""
BAND = 48
"""Orders of a band, about. More are fewer products with more zeros in them: 12 % at N = 479."""


def without_negligible(table: Tensor) -> Tensor:
    """A table of any shape with 0 where it is too small to matter in float32.

    Subnormal numbers make a processor multiply many times slower.
    """
    return table.where(table.abs() > NEGLIGIBLE * table.abs().max(), 0.0)


class Tables(NamedTuple):
    """Float32 tables between latitudes and degrees, for each order.

    Attributes:
        fit: (…, latitudes, degrees) area-weighted least-squares fit of a field's coefficients.
        values: (…, degrees, latitudes) the Legendre functions P.
        north: (…, degrees, latitudes) their northward derivatives, per metre.
        east: (…, degrees, latitudes) m P / (R cos φ), per metre.
    """

    fit: Tensor
    values: Tensor
    north: Tensor
    east: Tensor


def shapes_alone() -> bool:
    """Whether tensors made now have shapes and no numbers, as fake and meta ones."""
    probe = torch.empty(0)
    return type(probe) is not Tensor or probe.device.type != "cpu"


def empty_tables(*shape: int) -> Tables:
    """Tables without numbers, of a fit of this shape (…, latitudes, degrees)."""
    others = (*shape[:-2], shape[-1], shape[-2])
    return Tables(torch.empty(shape), *(torch.empty(others) for _ in Tables._fields[1:]))


def whole_tables(grid: Grid, truncation: int, radius: float) -> Tables:
    """Tables of all latitudes, orders and degrees: (M, H, L) and three of (M, L, H).

    Args:
        grid: on the globe.
        truncation: largest degree N.
        radius: R, m.
    """
    if shapes_alone():
        return empty_tables(truncation + 1, len(grid.lat), truncation + 1)
    count, colatitudes = truncation + 1, torch.from_numpy(np.deg2rad(90.0 - grid.lat))
    values = legpoly(count, count, colatitudes.cos(), csphase=False)
    slopes = dlegpoly(count, count, colatitudes, csphase=False) / radius
    fit, root = torch.zeros_like(values).mT.contiguous(), _root_weights(grid.area_weights)
    for m, table in enumerate(values):
        fit[m, :, m:] = _fit(table[m:], root)
    return Tables(*map(packed, (fit, values, -slopes[0], slopes[1])))


def band_starts(truncation: int) -> range:
    """The first orders of the bands, all even, in steps of their orders."""
    count = truncation + 1
    size = 2 * math.ceil(count / math.ceil(count / BAND) / 2)
    return range(0, count, size)


def band_tables(grid: Grid, truncation: int, radius: float, first: int) -> Tables:
    """Tables of a band by the parity of the degree: (2, G, J, K) and three of (2, G, K, J).

    The fit is of the sum of a field and of what is opposite, for even degrees; for odd ones of the
    difference; the equator is opposite to itself.

    Args:
        grid: on the globe; where its latitudes are not quite symmetric, their mean with what is
            opposite is taken.
        truncation: largest degree N.
        radius: R, m.
        first: order of the band, one of `band_starts`.
    """
    starts, count = band_starts(truncation), truncation + 1
    stop, half = min(first + starts.step, count), len(grid.lat) // 2
    latitudes = (grid.lat - grid.lat[::-1])[half:] / 2
    degrees = (count - first + 1) // 2
    if shapes_alone():
        return empty_tables(2, stop - first, len(latitudes), degrees)
    colatitudes = torch.from_numpy(np.deg2rad(90.0 - latitudes))
    bounds = {"csphase": False, "mmin": first, "lmin": first}
    values = legpoly(stop, count, colatitudes.cos(), **bounds)
    slopes = dlegpoly(stop, count, colatitudes, **bounds) / radius
    weights = grid.area_weights[half:].copy()
    weights[latitudes == 0] /= 2  # it is there twice
    root = _root_weights(weights)
    fit = torch.zeros(2, stop - first, len(latitudes), degrees)
    for m, table in enumerate(values):
        for parity in (0, 1):
            begin = (m + 1 - parity) // 2
            held = table[2 * begin + parity :: 2]
            fit[parity, m, :, begin : begin + len(held)] = _fit(held, root) / 2
    parts = (_by_parity(part, degrees) for part in (values, -slopes[0], slopes[1]))
    return Tables(packed(fit), *map(packed, parts))


def _by_parity(table: Tensor, degrees: int) -> Tensor:
    """Degrees (G, L, J) as even and odd ones (2, G, K, J), in float32, the last 0 if one lacks."""
    parted = torch.zeros(2, len(table), degrees, table.shape[-1])
    for parity in (0, 1):
        held = table[:, parity::2]
        parted[parity, :, : held.shape[1]] = held
    return parted


def _root_weights(area: np.ndarray) -> Tensor:
    """Roots of area weights (H,), of rows on a pole too."""
    return torch.from_numpy(np.sqrt(np.clip(area, 1e-12, None)))


def _fit(functions: Tensor, root: Tensor) -> Tensor:
    """The weighted least-squares fit (H, K) of functions (K, H), of weights ``root``² (H,)."""
    basis, factor = torch.linalg.qr(functions.T * root[:, None])
    return (torch.linalg.solve_triangular(factor, basis.T, upper=True) * root).T


def packed(table: Tensor) -> Tensor:
    """A table in float32, without what is negligible, in one piece."""
    return without_negligible(table.float()).contiguous()
