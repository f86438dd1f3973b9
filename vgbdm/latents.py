"""Posteriors over physical parameters θ and latents ζ, and their priors (docs/method.md#latents).

Shapes: ``B`` samples, ``P`` parameters, ``Z`` latent dimensions.

θ lives in a coordinate y in which its prior is standard normal; the map to physical units is
smooth and keeps positive parameters positive. Posteriors are diagonal Gaussians in (ζ, y), so that
KL terms have closed forms and no bound is ever clamped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgbdm.errors import InputError


class DiagonalGaussian(NamedTuple):
    """Independent normals: mean and logarithm of the standard deviation, each (B, ...)."""

    mean: Tensor
    log_std: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """Reparameterised draws from standard normal ``noise`` of the same shape."""
        return self.mean + self.log_std.exp() * noise

    def kl(self, prior: DiagonalGaussian | None = None) -> Tensor:
        """KL to ``prior``, by default the standard normal, summed over dimensions: (B,)."""
        mean, log_std = self
        if prior is not None:
            mean, log_std = (mean - prior.mean) * (-prior.log_std).exp(), log_std - prior.log_std
        terms = (2 * log_std).exp() + mean.square() - 1 - 2 * log_std
        return 0.5 * terms.flatten(1).sum(1)


class PhysicalPrior(nn.Module):
    """θ ~ N(mean, std), bent smoothly to stay positive where asked.

    θ = τ softplus((mean + std · y) / τ), y ~ N(0, 1), τ a tenth of the mean: the normal itself to
    1e-3 of the mean above half of it, positive everywhere.

    Args:
        priors: name → (mean, std), in the parameter's unit.
        positive: names of those that must be.

    Raises:
        InputError: for a mean or std that is not positive.
    """

    mean: Tensor
    std: Tensor
    bend: Tensor
    positive: Tensor

    def __init__(self, priors: Mapping[str, Sequence[float]], positive: Sequence[str] = ()) -> None:
        super().__init__()
        self.names = tuple(priors)
        for name, (middle, width) in priors.items():
            if not width > 0 or (name in positive and not middle > 0):
                raise InputError(f"prior of {name}: N({middle}, {width}); want a positive width")
        mean = torch.tensor([float(p[0]) for p in priors.values()])
        self.register_buffer("mean", mean)
        self.register_buffer("std", torch.tensor([float(p[1]) for p in priors.values()]))
        self.register_buffer("bend", mean.abs() / 10 + 1e-12, persistent=False)
        mask = torch.tensor([name in positive for name in priors], dtype=torch.bool)
        self.register_buffer("positive", mask, persistent=False)

    def forward(self, y: Tensor) -> Tensor:
        """θ (B, P) in physical units from prior coordinates (B, P)."""
        plain = self.mean + self.std * y
        return torch.where(self.positive, self.bend * F.softplus(plain / self.bend), plain)

    def named(self, theta: Tensor) -> dict[str, Tensor]:
        """θ by name, each (B,)."""
        return dict(zip(self.names, theta.unbind(1), strict=True))


class Posterior(NamedTuple):
    """q(ζ | window) and, for a draw of ζ, q(y | window, ζ); ``theta`` is None without physics."""

    zeta: DiagonalGaussian
    theta: DiagonalGaussian | None


class Latents(NamedTuple):
    """One draw (or the means): ζ (B, Z) and physical θ (B, P) or None."""

    zeta: Tensor
    theta: Tensor | None

    def repeat(self, count: int) -> Latents:
        """Each sample ``count`` times in a row."""
        theta = None if self.theta is None else self.theta.repeat_interleave(count, 0)
        return Latents(self.zeta.repeat_interleave(count, 0), theta)


class GaussianHead(nn.Module):
    """Features → a diagonal Gaussian that starts near N(0, 0.05²).

    The logarithm of the width is bent smoothly into (-7, 1).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, 2 * outputs)
        with torch.no_grad():
            self.linear.weight.mul_(0.1)
            self.linear.bias.zero_()

    def forward(self, features: Tensor) -> DiagonalGaussian:
        """Features (B, n) → Gaussian over (B, outputs)."""
        mean, raw = self.linear(features).chunk(2, 1)
        return DiagonalGaussian(mean, -3 + 4 * torch.tanh(raw / 4))
