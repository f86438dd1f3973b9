"""Latents of a field, ζ and θ's coordinate y: their distributions (docs/method.md#latents).

A posterior is a distribution over ζ and, for a draw of ζ, over y, in which the prior of θ is
standard normal (`vgbdm.dynamics.parameters`). A prior is standard normal too, or learned from the
history.

Shapes: ``B`` samples, ``M`` members, ``P`` parameters, ``...`` axes of ζ: (Z,), or (Z, N) where ζ
lives at points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, Self

from torch import Tensor

from vgbdm.latents.distributions import Distribution


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


class Posterior(Protocol):
    """A distribution of ζ and θ's coordinate that members are drawn from."""

    @property
    def mean(self) -> Latents:
        """The means."""

    def draw(self, zeta: Tensor, theta: Tensor) -> Latents:
        """A draw by standard normal numbers, each of the shape of what they draw."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same of other samples: its tensors changed alike along the first axis."""


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
