"""Spherical harmonics of real fields on a global grid: analysis, synthesis, gradient.

Coarse grids take whole matrix products, of which there are fewest. Fine ones take Fourier
transforms along latitudes and, between latitudes and degrees, products by bands of orders and by
the parity of the degree, with tables of a quarter of the size (`climate.operators.legendre`).

Shapes: ``n`` fields, ``H`` latitudes (ascending), ``W`` longitudes (from 0), ``M`` orders 0…N,
``L`` degrees 0…N, ``J`` latitudes from the equator to the north, ``G`` orders of a band, ``K``
degrees of one parity in it. Coefficients are (M, 2·n, L), the real parts of all fields first.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from climate.grids.grid import Grid
from climate.operators.legendre import (
    Tables,
    band_starts,
    band_tables,
    packed,
    whole_tables,
)
from climate.operators.table_cache import cached_tables

FINE = 100
"""Truncation from which on bands are faster than whole products, forwards and backwards."""


class Harmonics(nn.Module):
    """Between fields (n, H, W) and coefficients (M, 2·n, L), in float32."""

    def analysis(self, field: Tensor) -> Tensor:
        """Coefficients (M, 2·n, L) of fields (n, H, W)."""
        raise AssertionError("each kind of tables defines its analysis")

    def synthesis(self, coefficients: Tensor) -> Tensor:
        """Fields (n, H, W) of coefficients (M, 2·n, L)."""
        raise AssertionError("each kind of tables defines its synthesis")

    def gradient(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """∇ of the fields (n, H, W), per metre: its parts to the east and to the north."""
        raise AssertionError("each kind of tables defines its gradient")


def harmonics_of(grid: Grid, truncation: int, radius: float) -> Harmonics:
    """The harmonics of a grid, of the kind that is fast on it.

    Args:
        grid: on the globe.
        truncation: largest degree N.
        radius: of the sphere, m.
    """
    kind = WholeHarmonics if truncation < FINE else BandedHarmonics
    return kind(grid, truncation, radius)


class WholeHarmonics(Harmonics):
    """Harmonics as products with whole tables; see `harmonics_of` for the arguments."""

    dft: Tensor
    idft: Tensor
    idft_quadrature: Tensor
    fit: Tensor
    legendre: Tensor
    legendre_north: Tensor
    legendre_east: Tensor

    def __init__(self, grid: Grid, truncation: int, radius: float) -> None:
        super().__init__()
        width, count = len(grid.lon), truncation + 1
        angle = torch.outer(
            torch.from_numpy(np.deg2rad(grid.lon)), torch.arange(count, dtype=torch.float64)
        )
        cos, sin = angle.cos(), angle.sin()
        scale = torch.full((count,), 2.0, dtype=torch.float64)
        scale[0] = 1.0
        between = whole_tables(grid, truncation, radius)
        tables = {
            "dft": packed(_interleaved(cos, -sin) / width),  # (2M, W)
            "idft": packed(_interleaved(cos * scale, -sin * scale)),
            "idft_quadrature": packed(_interleaved(-sin * scale, -cos * scale)),  # of i times them
            "fit": between.fit,  # (M, H, L)
            "legendre": between.values,  # (M, L, H)
            "legendre_north": between.north,
            "legendre_east": between.east,
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    def analysis(self, field: Tensor) -> Tensor:
        """See `Harmonics`."""
        rows = field.reshape(-1, field.shape[-1])  # (n·H, W)
        waves = self.dft @ rows.T  # (2M, n·H): in the order that the fit needs, uncopied
        return torch.bmm(waves.view(len(self.fit), -1, field.shape[-2]), self.fit)

    def _synthesis(self, coefficients: Tensor, legendre: Tensor, idft: Tensor) -> Tensor:
        waves = torch.bmm(coefficients, legendre)  # (M, 2·n, H)
        rows = waves.view(len(idft), -1).T @ idft  # (n·H, W)
        return rows.view(-1, waves.shape[-1], idft.shape[-1])

    def synthesis(self, coefficients: Tensor) -> Tensor:
        """See `Harmonics`."""
        return self._synthesis(coefficients, self.legendre, self.idft)

    def gradient(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """See `Harmonics`."""
        east = self._synthesis(coefficients, self.legendre_east, self.idft_quadrature)
        return east, self._synthesis(coefficients, self.legendre_north, self.idft)


def _interleaved(real: Tensor, imaginary: Tensor) -> Tensor:
    """What multiplies real and imaginary parts, (W, M) each, as (2M, W): one after the other."""
    return torch.stack((real, imaginary), 2).flatten(1).T


class Band(nn.Module):
    """Tables of some orders, by the parity of the degree.

    Args:
        first: lowest order, even.
        tables: (2, G, J, K) and three of (2, G, K, J).
    """

    fit: Tensor
    values: Tensor
    north: Tensor
    east: Tensor

    def __init__(self, first: int, tables: Tables) -> None:
        super().__init__()
        self.orders = slice(first, first + tables.fit.shape[1])
        self.skipped = first // 2  # degrees of each parity that no order has
        for name, table in tables._asdict().items():
            self.register_buffer(name, table, persistent=False)


class BandedHarmonics(Harmonics):
    """Harmonics by Fourier transforms and bands of orders; see `harmonics_of` for the arguments."""

    def __init__(self, grid: Grid, truncation: int, radius: float) -> None:
        super().__init__()
        self.count, self.height, self.width = truncation + 1, len(grid.lat), len(grid.lon)
        starts = band_starts(truncation)
        tables = cached_tables(
            grid, truncation, radius, lambda: _tables_by_name(grid, truncation, radius)
        )
        bands = (Tables(*(tables[f"{a}.{name}"] for name in Tables._fields)) for a in starts)
        self.bands: Iterable[Band] = nn.ModuleList(map(Band, starts, bands))  # type: ignore[assignment]

    def _opposite(self, field: Tensor) -> Tensor:
        """What lies opposite on the sphere: rows (n, J, W) in reverse order, half a turn away."""
        return field.flip(1).roll(self.width // 2, 2)

    def _waves(self, half: Tensor) -> Tensor:
        """Amplitudes (M, 2·n, J) of a half of fields (n, J, W)."""
        spectrum = torch.fft.rfft(half, norm="forward")[..., : self.count]  # (n, J, M) complex
        parts = torch.view_as_real(spectrum).permute(2, 3, 0, 1)
        return parts.reshape(self.count, -1, half.shape[1])

    def analysis(self, field: Tensor) -> Tensor:
        """See `Harmonics`."""
        north = field[:, self.height // 2 :]
        opposite = self._opposite(field[:, : north.shape[1]])
        waves = self._waves(north + opposite), self._waves(north - opposite)
        parts = []
        for band in self.bands:
            by_parity = [torch.bmm(waves[p][band.orders], band.fit[p]) for p in (0, 1)]
            first, held = band.orders.start, torch.stack(by_parity, -1).flatten(-2)
            parts.append(F.pad(held, (first, self.count - first - held.shape[-1])))
        return torch.cat(parts)

    def _by_parity(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Even and odd degrees of coefficients (M, 2·n, L), as many of each."""
        whole = F.pad(coefficients, (0, self.count % 2))
        return whole[..., 0::2].contiguous(), whole[..., 1::2].contiguous()

    def _spectra(self, degrees: tuple[Tensor, Tensor], name: str) -> list[Tensor]:
        """Complex amplitudes (n, J, M) in the north, of even degrees and of odd ones."""
        spectra = []
        for parity, held in enumerate(degrees):
            parts = [
                torch.bmm(held[band.orders, :, band.skipped :], getattr(band, name)[parity])
                for band in self.bands
            ]
            waves = torch.cat(parts).unflatten(1, (2, -1)).permute(2, 3, 0, 1)
            spectra.append(torch.view_as_complex(waves.contiguous()))
        return spectra

    def _whole(self, even: Tensor, odd: Tensor) -> Tensor:
        """Fields (n, H, W) of amplitudes of what opposite points share, and of what differs."""
        same, other = (torch.fft.irfft(x, self.width, norm="forward") for x in (even, odd))
        south = self._opposite((same - other)[:, self.height % 2 :])
        return torch.cat((south, same + other), 1)

    def synthesis(self, coefficients: Tensor) -> Tensor:
        """See `Harmonics`."""
        even, odd = self._spectra(self._by_parity(coefficients), "values")
        return self._whole(even, odd)

    def gradient(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """See `Harmonics`."""
        degrees = self._by_parity(coefficients)
        even, odd = self._spectra(degrees, "east")
        falling, rising = self._spectra(degrees, "north")  # the opposite of north is south
        return self._whole(even * 1j, odd * 1j), self._whole(rising, falling)


def _tables_by_name(grid: Grid, truncation: int, radius: float) -> dict[str, Tensor]:
    """The tables of all bands, by FIRST_ORDER.NAME."""
    return {
        f"{first}.{name}": table
        for first in band_starts(truncation)
        for name, table in band_tables(grid, truncation, radius, first)._asdict().items()
    }
