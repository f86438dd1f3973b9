"""Latents that are normal together: y by its marginal, ζ by its conditional given y.

Shapes: ``B`` windows, ``Z`` latents, ``P`` parameters; a black box has P = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vgbdm.latents.distributions import DiagonalGaussian
from vgbdm.latents.latents import Latents


class JointGaussian(NamedTuple):
    """y ~ N(m_y, F_y F_y') and ζ | y ~ N(m_ζ + S (y - m_y), F_ζ F_ζ').

    Attributes:
        zeta_mean: m_ζ (B, Z).
        theta_mean: m_y (B, P).
        slope: S (B, Z, P), by how much ζ goes along with y.
        zeta_factor: F_ζ (B, Z, Z).
        theta_factor: F_y (B, P, P).
    """

    zeta_mean: Tensor
    theta_mean: Tensor
    slope: Tensor
    zeta_factor: Tensor
    theta_factor: Tensor

    @property
    def mean(self) -> Latents:
        """The means."""
        return Latents(self.zeta_mean, self._or_none(self.theta_mean))

    @property
    def zeta(self) -> DiagonalGaussian:
        """The marginal of ζ, without what its components have in common."""
        spread = torch.cat((self.slope @ self.theta_factor, self.zeta_factor), 2)
        return _diagonal(self.zeta_mean, spread)

    @property
    def theta(self) -> DiagonalGaussian | None:
        """The marginal of y, without what its components have in common; None for a black box."""
        if not self.theta_mean.shape[1]:
            return None
        return _diagonal(self.theta_mean, self.theta_factor)

    def zeta_given(self, theta: Tensor) -> Tensor:
        """Conditional means (B, Z) of ζ given y (B, P)."""
        return self.zeta_mean + _times(self.slope, theta - self.theta_mean)

    def draw(self, zeta: Tensor, theta: Tensor) -> Latents:
        """A draw by standard normal numbers (B, Z) and (B, P)."""
        y = self.theta_mean + _times(self.theta_factor, theta)
        z = self.zeta_given(y) + _times(self.zeta_factor, zeta)
        return Latents(z, self._or_none(y))

    def map(self, change: Callable[[Tensor], Tensor]) -> JointGaussian:
        """The same of other samples: its tensors changed alike along the first axis."""
        return JointGaussian(*map(change, self))

    def _or_none(self, theta: Tensor) -> Tensor | None:
        return theta if theta.shape[1] else None


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    """(B, n) of (B, n, m) and (B, m), summed row by row: batches change no bit."""
    return (matrix * vector[:, None]).sum(2)


def _diagonal(mean: Tensor, factor: Tensor) -> DiagonalGaussian:
    """Of a square root (B, n, m) of the covariance."""
    return DiagonalGaussian(mean, 0.5 * factor.square().sum(2).log())
