"""Families of posteriors and priors."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor, nn

from vgbdm.registry.marks import model_part


class Distribution(Protocol):
    """What a family of latents answers; each tensor has a first axis of samples."""

    @property
    def mean(self) -> Tensor:
        """Where a single forecast takes it."""

    def draw(self, noise: Tensor) -> Tensor:
        """Reparameterised draws from standard normal ``noise`` of the same shape."""

    def kl(self, prior: Self | None = None) -> Tensor:
        """KL to a prior of the same family, by default the standard normal: (B,)."""

    def about(self, mean: Tensor) -> Self:
        """The same, moved to another mean."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same of other samples: its tensors changed alike along the first axis."""


class DiagonalGaussian(NamedTuple):
    """Independent normals: mean and logarithm of the standard deviation, each (B, ...)."""

    mean: Tensor
    log_std: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """See `Distribution`."""
        return self.mean + self.log_std.exp() * noise

    def kl(self, prior: DiagonalGaussian | None = None) -> Tensor:
        """See `Distribution`; summed over dimensions."""
        mean, log_std = self
        if prior is not None:
            mean, log_std = (mean - prior.mean) * (-prior.log_std).exp(), log_std - prior.log_std
        terms = (2 * log_std).exp() + mean.square() - 1 - 2 * log_std
        return 0.5 * terms.flatten(1).sum(1)

    def about(self, mean: Tensor) -> DiagonalGaussian:
        """See `Distribution`."""
        return DiagonalGaussian(mean, self.log_std)

    def map(self, change: Callable[[Tensor], Tensor]) -> DiagonalGaussian:
        """See `Distribution`."""
        return DiagonalGaussian(change(self.mean), change(self.log_std))


@model_part
class GaussianHead(nn.Module):
    """Features → a diagonal Gaussian that starts near N(0, 0.05²).

    The logarithm of the width is kept in (-7, 1) by a hyperbolic tangent.
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
