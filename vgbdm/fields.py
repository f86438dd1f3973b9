"""Grey-box fields: known physics plus a residual network (docs/method.md#grey-box-field).

Shapes: ``B`` samples, ``F`` frames of history, ``...`` axes of the state.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Theta = Mapping[str, Tensor]


class LogNormalParameters(nn.Module):
    """Positive physical parameters θ = median · exp(spread · raw), learned, with their priors.

    Args:
        priors: name → (median, spread): the median in the parameter's unit and the standard
            deviation of its logarithm.
        shape: of each parameter, e.g. one value per variable.
    """

    def __init__(self, priors: Mapping[str, tuple[float, float]], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.priors, self.shape = dict(priors), shape
        self.raw = nn.ParameterDict({name: nn.Parameter(torch.zeros(shape)) for name in priors})

    @property
    def count(self) -> int:
        """Numbers in θ."""
        return len(self.priors) * math.prod(self.shape)

    def forward(self, shift: Tensor | None = None) -> dict[str, Tensor]:
        """θ by name, in the units of the medians.

        Args:
            shift: (B, count) added to ``raw``, in units of the prior; θ then has a first axis B.
        """
        shifts: list[Tensor | float] = [0.0] * len(self.priors)
        if shift is not None:
            shifts = list(shift.reshape(len(shift), len(self.priors), *self.shape).unbind(1))
        return {
            name: median * torch.exp(spread * (self.raw[name] + own))
            for (name, (median, spread)), own in zip(self.priors.items(), shifts, strict=True)
        }

    def penalty(self, theta: Theta) -> Tensor:
        """-log prior of θ up to a constant, a scalar."""
        terms = [
            0.5 * ((theta[name] / median).log() / spread).square().sum()
            for name, (median, spread) in self.priors.items()
        ]
        return torch.stack(terms).sum()


class Tendency(NamedTuple):
    """What a field answers.

    Attributes:
        total: dx/dt (B, ...), in standardised units per unit of time.
        residual: by name, squares of what the network added (B, ...), each in its honest unit, for
            the gauge penalty.
        theta: the physical parameters used.
        diagnostics: by name, numbers (B,) worth a line in the log.
    """

    total: Tensor
    residual: Mapping[str, Tensor]
    theta: Theta
    diagnostics: Mapping[str, Tensor]


class GreyBoxField(nn.Module, ABC):
    """dx/dt = w · f_phys(x, t; θ) + f_net(x, context).

    A field keeps nothing between calls: what depends on history or latents alone is computed once
    and handed back, as the context, at each evaluation.
    """

    @abstractmethod
    def forward(self, x: Tensor, t: Tensor, context: Any, weight: float = 1.0) -> Tendency:
        """The field at states.

        Args:
            x: (B, ...).
            t: (B,) times in the data's clock, float64.
            context: what the field made of history and latents.
            weight: w, the warm-up of the physics; 1 outside training.
        """

    def observe(self, x: Tensor) -> Tensor:
        """The part of an integrated state (B, ...) that a frame of the data shows."""
        return x
