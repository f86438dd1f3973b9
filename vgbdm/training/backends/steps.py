"""What steps are made with and what one gives: groups of parameters, and a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import nn


class ParameterGroup(NamedTuple):
    """Parameters that share a weight decay and a multiple of the learning rate.

    ``schedule`` names a scheduled value that multiplies the rate too; at 0 the group stands still.
    """

    parameters: list[nn.Parameter]
    rate_factor: float
    weight_decay: float
    schedule: str = ""

    def rate(self, rate: float, values: Mapping[str, float]) -> float:
        """Its learning rate."""
        return rate * self.rate_factor * (values[self.schedule] if self.schedule else 1.0)


class StepResult(NamedTuple):
    """What one optimiser step gave: means over the global batch, the norm, any rank's wishes."""

    terms: dict[str, float]
    gradient_norm: float
    wishes: frozenset[str]
    samples: int  # sum of the checksums of what all ranks took
