"""Spherical harmonics on a Gaussian grid as batched matrix products.

Shapes: ``M`` zonal wavenumbers 0…N, ``L`` degrees 0…N, ``W`` Gaussian longitudes, ``K`` latitudes
(ascending), ``F`` fields. Coefficients are complex (M, L, F), grid values (W, K, F): longitude
first, so that one product per wavenumber serves all fields without copies. Angles in radians.

At these sizes one step of a model is bound by the number of calls, not by arithmetic; stacking
values and both derivatives in one product is several times faster than one transform object per
field. Quadrature and Legendre functions are torch-harmonics', and its `RealSHT` and
`RealVectorSHT` are what the tests compare with.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch_harmonics.legendre import dlegpoly, legpoly
from torch_harmonics.quadrature import precompute_latitudes

from vgbdm.errors import InputError


def _basis(truncation: int, colatitudes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Orthonormal P, dP/dθ and m P / sin θ at colatitudes (K,): three of (M, L, K), float64."""
    size = truncation + 1
    values = legpoly(size, size, torch.cos(colatitudes))
    derivative, slope = dlegpoly(size, size, colatitudes)
    return values, derivative, slope


class Synthesis:
    """Coefficients → values and derivatives on any latitudes and evenly spaced longitudes.

    Args:
        truncation: largest degree N (triangular).
        latitudes: (K,) radians, any order, float64.
        longitudes: number of longitudes W, the first at 0; at least 2N + 1.

    Raises:
        InputError: where there are too few longitudes.
    """

    def __init__(self, truncation: int, latitudes: Tensor, longitudes: int) -> None:
        if longitudes < 2 * truncation + 1:
            raise InputError(
                f"truncation {truncation}: {longitudes} longitudes do not resolve it; "
                f"use at most {(longitudes - 1) // 2}"
            )
        self.truncation = truncation
        self.longitudes = longitudes
        self.latitudes = latitudes
        basis = _basis(truncation, math.pi / 2 - latitudes)
        self._matrix = torch.cat([part.transpose(1, 2) for part in basis], dim=1).contiguous()

    def values(self, coefficients: Tensor) -> Tensor:
        """Complex (M, L, F) → real (W, K, F)."""
        count = len(self.latitudes)
        return self.to_grid(self._multiply(self._matrix[:, :count], coefficients))

    def parts(self, coefficients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values, ∂/∂θ and i m / sin θ, still per wavenumber: three of complex (M, K, F)."""
        value, d_theta, slope = self._multiply(self._matrix, coefficients).chunk(3, dim=1)
        return value, d_theta, slope * 1j

    def wind(self, psi_chi: Tensor, radius: float) -> Tensor:
        """Eastward and northward wind (W, K, 2) of stream function and potential (M, L, 2).

        u = (∂ψ/∂θ + ∂χ/∂λ / sin θ) / R, v = (∂ψ/∂λ / sin θ - ∂χ/∂θ) / R, θ the colatitude.
        """
        _, d_theta, d_lambda = self.parts(psi_chi)
        u = d_theta[..., 0] + d_lambda[..., 1]
        v = d_lambda[..., 0] - d_theta[..., 1]
        return self.to_grid(torch.stack((u, v), dim=-1)) / radius

    def _multiply(self, matrix: Tensor, coefficients: Tensor) -> Tensor:
        columns = torch.view_as_real(coefficients).flatten(2)
        product = torch.bmm(matrix, columns)
        return torch.view_as_complex(product.unflatten(2, (-1, 2)))

    def to_grid(self, waves: Tensor) -> Tensor:
        """Complex (M, K, ...) per zonal wavenumber → real (W, K, ...)."""
        return torch.fft.irfft(waves, n=self.longitudes, dim=0, norm="forward")


class GaussianTransform(Synthesis):
    """Analysis and synthesis on the Gaussian grid free of quadratic aliasing (3N + 1 longitudes).

    Args:
        truncation: largest degree N; the grid has about 3N/2 latitudes, a multiple of four, and
            twice as many longitudes.
    """

    def __init__(self, truncation: int) -> None:
        latitudes = math.ceil((3 * truncation + 1) / 2 / 4) * 4
        colatitudes, weights = precompute_latitudes(latitudes, grid="legendre-gauss")
        super().__init__(truncation, math.pi / 2 - colatitudes.flip(0), 2 * latitudes)
        self.weights = weights.flip(0)
        basis = _basis(truncation, colatitudes.flip(0))
        scaled = [part * (2 * math.pi * self.weights) for part in basis]
        self._analysis = torch.cat(scaled, dim=1).contiguous()

    def analyse(self, scalars: Tensor, vectors: Tensor, radius: float) -> tuple[Tensor, ...]:
        """Coefficients of scalars, and divergence and curl of vectors, in one product.

        Args:
            scalars: (W, K, F).
            vectors: (W, K, 2, G), eastward and northward components.
            radius: of the sphere, m.

        Returns:
            Coefficients of the scalars (M, L, F), of the divergence and of the curl (M, L, G),
            by parts: ∇·(A, B) = (i m P / sin θ · A + dP/dθ · B) / R under the integral.
        """
        n_scalars = scalars.shape[-1]
        grid = torch.cat((scalars, vectors.flatten(2)), dim=-1)
        size = self._analysis.shape[0]
        waves = torch.fft.rfft(grid, dim=0, norm="forward")[:size]
        plain, d_theta, slope = self._multiply(self._analysis, waves).chunk(3, dim=1)
        east = slice(n_scalars, n_scalars + vectors.shape[-1])
        north = slice(east.stop, None)
        divergence = (slope[..., east] * 1j + d_theta[..., north]) / radius
        curl = (slope[..., north] * 1j - d_theta[..., east]) / radius
        return plain[..., :n_scalars], divergence, curl

    def coefficients(self, scalars: Tensor) -> Tensor:
        """Real (W, K, F) → complex (M, L, F)."""
        none = scalars.new_zeros(*scalars.shape[:2], 2, 0)
        return self.analyse(scalars, none, 1.0)[0]
