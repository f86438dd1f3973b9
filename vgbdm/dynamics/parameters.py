"""Physical parameters θ and their priors (docs/method.md#latents).

θ lives in a coordinate y in which its prior is standard normal; the map to physical units is
smooth, so that no bound is ever clamped.

Shapes: ``B`` samples, ``P`` parameters.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgbdm.errors import InputError

Theta = Mapping[str, Tensor]
"""Physical parameters by name."""


class PhysicalParameters(nn.Module, ABC):
    """Parameters of known physics, from coordinates in which their prior is standard normal."""

    names: tuple[str, ...]

    @property
    @abstractmethod
    def count(self) -> int:
        """Numbers in θ of one sample: of coordinates as well."""

    @abstractmethod
    def forward(self, y: Tensor | None = None) -> dict[str, Tensor]:
        """θ by name, in physical units, of coordinates (B, count); each with a first axis B."""

    def penalty(self) -> Tensor | None:
        """-log prior of what is learned, a scalar; None where nothing is."""
        return None


class NormalParameters(PhysicalParameters):
    """θ ~ N(mean, std), kept positive by a softplus where asked; nothing is learned.

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
    softness: Tensor
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
        self.register_buffer("softness", mean.abs() / 10 + 1e-12, persistent=False)
        mask = torch.tensor([name in positive for name in priors], dtype=torch.bool)
        self.register_buffer("positive", mask, persistent=False)

    @property
    def count(self) -> int:
        """Numbers in θ of one sample."""
        return len(self.names)

    def physical(self, y: Tensor) -> Tensor:
        """θ (B, P) in physical units from prior coordinates (B, P)."""
        plain = self.mean + self.std * y
        return torch.where(self.positive, self.softness * F.softplus(plain / self.softness), plain)

    def named(self, theta: Tensor) -> dict[str, Tensor]:
        """θ (B, P) by name, each (B,)."""
        return dict(zip(self.names, theta.unbind(1), strict=True))

    def forward(self, y: Tensor | None = None) -> dict[str, Tensor]:
        """See `PhysicalParameters`; without y, the prior's means, each (1,)."""
        return self.named(self.physical(self.mean.new_zeros(1, self.count) if y is None else y))


class LogNormalParameters(PhysicalParameters):
    """Positive parameters θ = median · exp(spread · (raw + y)) about learned values ``raw``.

    Args:
        priors: name → (median, spread): the median in the parameter's unit and the standard
            deviation of its logarithm.
        shape: of each parameter, e.g. one value per variable.
    """

    def __init__(self, priors: Mapping[str, tuple[float, float]], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.priors, self.shape, self.names = dict(priors), shape, tuple(priors)
        self.raw = nn.ParameterDict({name: nn.Parameter(torch.zeros(shape)) for name in priors})

    @property
    def count(self) -> int:
        """Numbers in θ."""
        return len(self.priors) * math.prod(self.shape)

    def forward(self, y: Tensor | None = None) -> dict[str, Tensor]:
        """See `PhysicalParameters`; without y, the learned values, each of ``shape``."""
        shifts: list[Tensor | float] = [0.0] * len(self.priors)
        if y is not None:
            shifts = list(y.reshape(len(y), len(self.priors), *self.shape).unbind(1))
        return {
            name: median * torch.exp(spread * (self.raw[name] + own))
            for (name, (median, spread)), own in zip(self.priors.items(), shifts, strict=True)
        }

    def penalty(self) -> Tensor:
        """-log prior of the learned values up to a constant, a scalar."""
        learned = self.forward()
        terms = [
            0.5 * ((learned[name] / median).log() / spread).square().sum()
            for name, (median, spread) in self.priors.items()
        ]
        return torch.stack(terms).sum()
