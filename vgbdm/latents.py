"""Latents of a field, ζ and θ's coordinate y: their distributions (docs/method.md#latents).

A posterior is a distribution over ζ and, for a draw of ζ, over y, in which the prior of θ is
standard normal (`vgbdm.parameters`). A prior is standard normal too, or learned from the history.

Shapes: ``B`` samples, ``M`` members, ``P`` parameters, ``...`` axes of ζ: (Z,), or (Z, N) where ζ
lives at points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor, nn

from vgbdm.listed import model_part
from vgbdm.randomness import keyed_normal, paired


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


class Latents(NamedTuple):
    """One draw, or the means: ζ (B, ...) and the coordinate y of θ (B, P), each None without."""

    zeta: Tensor | None
    theta: Tensor | None

    def repeat(self, count: int) -> Latents:
        """Each sample ``count`` times in a row; as it is for 1."""
        if count == 1:
            return self
        return Latents(*(x if x is None else x.repeat_interleave(count, 0) for x in self))


NO_LATENTS = Latents(None, None)
"""Of a field that is deterministic."""


class LatentDistribution(NamedTuple):
    """A posterior or a prior: of ζ and of θ's coordinate; ``theta`` is None without physics."""

    zeta: Distribution
    theta: Distribution | None

    @property
    def mean(self) -> Latents:
        """The means."""
        return Latents(self.zeta.mean, None if self.theta is None else self.theta.mean)

    def draw(self, zeta: Tensor, theta: Tensor) -> Latents:
        """A draw by standard normal numbers, each of the shape of what they draw."""
        return Latents(self.zeta.draw(zeta), None if self.theta is None else self.theta.draw(theta))

    def kl(self, prior: LatentDistribution | None) -> dict[str, Tensor]:
        """``kl_zeta`` and, where there is one, ``kl_theta``, each (B,), to a prior or N(0, 1)."""
        terms = {"kl_zeta": self.zeta.kl(prior and prior.zeta)}
        if self.theta is not None:
            terms["kl_theta"] = self.theta.kl(prior and prior.theta)
        return terms

    def map(self, change: Callable[[Tensor], Tensor]) -> LatentDistribution:
        """Both of other samples."""
        return LatentDistribution(
            self.zeta.map(change), None if self.theta is None else self.theta.map(change)
        )


class LatentSizes(NamedTuple):
    """What is behind one draw of a field's latents.

    Attributes:
        zeta: axes of ζ.
        theta: numbers in θ.
        memory: correlation, 0 to 1, of the normal numbers behind ζ from one model step to the next;
            0 draws anew at each step, 1 keeps them over the forecast.
    """

    zeta: tuple[int, ...]
    theta: int
    memory: float

    @property
    def total(self) -> int:
        """Normal numbers of one draw."""
        return math.prod(self.zeta) + self.theta

    def split(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers (B, total) → those of ζ (B, ...) and of θ (B, P)."""
        zeta, theta = noise.split((noise.shape[1] - self.theta, self.theta), 1)
        return zeta.unflatten(1, self.zeta), theta


class Members:
    """Ensemble members: normal numbers keyed by (seed, sample, member, step), drawn step by step.

    Rows are samples times members, the members of a sample side by side.

    Args:
        sizes: of the field's latents.
        seed: of the ensemble.
        ids: (B,) int64 sample ids, or initial times.
        numbers: of the M members.
    """

    def __init__(self, sizes: LatentSizes, seed: int, ids: Tensor, numbers: range) -> None:
        self.sizes, self.seed = sizes, seed
        members = torch.arange(numbers.start, numbers.stop, numbers.step, device=ids.device)
        self.keys = paired(ids, members)
        self.rows = len(self.keys)
        self.step, self.state = 0, torch.zeros((), device=ids.device)

    def _normal(self, name: str, count: int) -> Tensor:
        """(B·M, count) for one use."""
        return keyed_normal(self.seed, f"{name} of a member", self.keys, count)

    def theta(self) -> Tensor:
        """Numbers (B·M, P) of θ, the same over the whole forecast."""
        return self._normal("theta", self.sizes.theta)

    def next_zeta(self) -> Tensor:
        """Numbers (B·M, ...) of ζ at the next step: an autoregressive process of first order."""
        memory = self.sizes.memory
        if self.step == 0 or memory < 1:
            count = self.sizes.total - self.sizes.theta
            fresh = self._normal(f"zeta {self.step}", count).unflatten(1, self.sizes.zeta)
            old = memory * self.state
            self.state = fresh if self.step == 0 else old + math.sqrt(1 - memory**2) * fresh
        self.step += 1
        return self.state

    def draw(self, given: LatentDistribution | None) -> Latents:
        """The members' latents at the next step.

        Args:
            given: distribution of a row each, or of a sample each; None: standard normal.
        """
        zeta, theta = self.next_zeta(), self.theta()
        if given is None:
            return Latents(zeta, theta if self.sizes.theta else None)
        if len(given.zeta.mean) < self.rows:
            count = self.rows // len(given.zeta.mean)
            given = given.map(lambda x: x.repeat_interleave(count, 0))
        return given.draw(zeta, theta)
