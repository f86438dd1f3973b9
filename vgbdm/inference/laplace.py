"""Laplace's approximation of the latents of a window: exact where residuals are linear in them.

With r (R numbers) the residuals of a window and σ² their mean square, the likelihood is taken as
that of R independent normals, so that the precision of the unknowns (ζ, y) is J'J / σ², J = ∂r/∂(ζ,
y), plus that of the prior, which is 1 for each. Residuals are not independent, as path and network
err alike all over a window; so what a window leaves open is multiplied by factors from
`vgbdm.inference.calibration`, of each parameter and one of ζ, before the prior is added.

Shapes: ``B`` windows, ``Z`` latents, ``P`` parameters, ``U`` = Z + P unknowns, ``R`` residuals of a
window.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vgbdm.latents.joint import JointGaussian
from vgbdm.precision import in_full

SMALLEST_VARIANCE = 1e-12
"""Of residuals, against windows explained exactly."""
NOT_KNOWN = 1e-6
"""The precision of y that stands for none where its width is asked for without the prior."""
ROUNDING = 1e-14
"""Of J'J in float64, relative: what is left of y's precision less than that is not known."""


class Laplace(NamedTuple):
    """Where the unknowns of windows are, and what the windows alone say of them.

    Attributes:
        means: (B, U), ζ first.
        precision: (B, U, U) float64, J'J / σ².
        latents: Z.
    """

    means: Tensor
    precision: Tensor
    latents: int

    @property
    def theta_mean(self) -> Tensor:
        """(B, P)."""
        return self.means[:, self.latents :]

    def given_zeta(self) -> tuple[Tensor, Tensor]:
        """What is left for y with ζ integrated out under its prior, and how ζ goes along.

        Returns:
            The precision of y (B, P, P) without its prior, and S (B, Z, P) of `JointGaussian`.
        """
        own, cross, theta = self._blocks()
        square = _square_root(own + _eye(own))
        slope = -torch.cholesky_solve(cross, square)
        left = theta + cross.transpose(1, 2) @ slope
        left = (left + left.transpose(1, 2)) / 2
        return left + torch.diag_embed(ROUNDING * theta.diagonal(dim1=1, dim2=2)), slope

    def theta_width(self) -> Tensor:
        """Standard deviations (B, P) of y by the window alone: no prior of it, no factor."""
        left, _ = self.given_zeta()
        inverse = torch.cholesky_inverse(_square_root(left + NOT_KNOWN * _eye(left)))
        return inverse.diagonal(dim1=1, dim2=2).sqrt().to(self.means.dtype)

    def calibrated(self, theta_factor: Tensor, zeta_factor: Tensor) -> JointGaussian:
        """The posterior: what windows leave open times the factors, and the priors.

        Args:
            theta_factor: (P,) multiples of the widths of y.
            zeta_factor: (1,) multiple of those of ζ given y.
        """
        left, slope = self.given_zeta()
        scale = theta_factor.double()
        left = left / (scale[:, None] * scale) + _eye(left)
        own = self._blocks()[0] / zeta_factor.double().square()
        kind, z = self.means.dtype, self.latents
        return JointGaussian(
            self.means[:, :z],
            self.means[:, z:],
            slope.to(kind),
            _spread(own + _eye(own)).to(kind),
            _spread(left).to(kind),
        )

    def _blocks(self) -> tuple[Tensor, Tensor, Tensor]:
        """Precision of ζ (B, Z, Z), between ζ and y (B, Z, P), of y (B, P, P)."""
        z = self.latents
        return self.precision[:, :z, :z], self.precision[:, :z, z:], self.precision[:, z:, z:]


@in_full
def laplace(jacobian: Tensor, residuals: Tensor, means: Tensor, latents: int) -> Laplace:
    """From the Jacobian (B, R, U) and the residuals (B, R) at the means (B, U)."""
    variance = residuals.double().square().mean(1).clamp_min(SMALLEST_VARIANCE)
    jacobian = jacobian.double()
    products = jacobian.transpose(1, 2) @ jacobian
    return Laplace(means, products / variance[:, None, None], latents)


def _eye(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)


def _square_root(precision: Tensor) -> Tensor:
    """Cholesky's lower factor (B, n, n); without a look at whether there is one."""
    return torch.linalg.cholesky_ex(precision).L


def _spread(precision: Tensor) -> Tensor:
    """F (B, n, n) with F F' the inverse of the precision."""
    lower = _square_root(precision)
    return torch.linalg.solve_triangular(lower.transpose(1, 2), _eye(lower), upper=True)
