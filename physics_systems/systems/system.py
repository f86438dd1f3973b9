"""What a benchmark system is (docs/method.md#benchmark-systems).

Shapes: ``N`` points, ``C`` observed components, ``Q`` components of the full state (C, or positions
and velocities), ``...`` axes of a grid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from vgbdm.errors import InputError


@dataclass
class System(ABC):
    """Full dynamics, known dynamics, priors and presets of one system.

    Attributes:
        frames: of a trajectory.
        horizon: time of the last frame, the first is at 0.
        ranges: parameter → [low, high], uniform.
        prior: known parameter → [mean, standard deviation].
        presets: how it is trained by default; read by configs/train_system.yaml.
    """

    name: ClassVar[str]
    components: ClassVar[tuple[str, ...]]
    parameters: ClassVar[tuple[str, ...]]
    positive: ClassVar[tuple[str, ...]]
    order: ClassVar[int] = 1
    forcings: ClassVar[int] = 0
    grid: ClassVar[tuple[int, ...]] = ()

    frames: int
    horizon: float
    ranges: Mapping[str, Sequence[float]]
    prior: Mapping[str, Sequence[float]]
    presets: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, given in (("ranges", self.ranges), ("prior", self.prior)):
            unknown = sorted(set(given) - set(self.parameters))
            if unknown:
                raise InputError(
                    f"system {self.name}: {what}.{unknown[0]} is none of its parameters, "
                    f"{', '.join(self.parameters)}"
                )
        # the order of θ is the system's, whatever file the config went through
        self.prior = {name: self.prior[name] for name in self.parameters if name in self.prior}
        missing = sorted(set(self.parameters) - set(self.ranges))
        if missing:
            raise InputError(
                f"system {self.name}: ranges.{missing[0]} is missing; give [low, high]"
            )
        for name, (low, high) in self.ranges.items():
            if not low <= high:
                raise InputError(
                    f"system {self.name}: ranges.{name}=[{low}, {high}]; want low ≤ high"
                )
        if self.frames < 2 or not self.horizon > 0:
            raise InputError(
                f"system {self.name}: frames={self.frames}, horizon={self.horizon}; want at least "
                "2 frames and a positive time"
            )

    @abstractmethod
    def full(self, x: Tensor, t: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """The whole dynamics: rate (N, Q, ...) of states (N, Q, ...) at times (N,)."""

    @abstractmethod
    def known(self, x: Tensor, t: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
        """The incomplete physics: dx/dt (N, C, ...), or q̈ (N, C) for second order."""

    @abstractmethod
    def start(self, count: int, generator: torch.Generator) -> Tensor:
        """Initial states (count, Q, ...), float64."""

    def forcing(self, t: Tensor) -> Tensor:
        """Known source terms at times t: t.shape + (forcings,)."""
        return t.new_zeros((*t.shape, self.forcings))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an observed frame: (C, ...)."""
        return (len(self.components), *self.grid)
