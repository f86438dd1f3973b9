"""What a system is (docs/method.md#benchmark-systems): physics that is known in part.

Shapes: ``N`` points, ``C`` observed components, ``Q`` components of the full state (C, or positions
and velocities), ``...`` axes of a grid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from physics_systems.systems.presets import Presets
from vgbdm.errors import InputError


@dataclass(kw_only=True)
class System(ABC):
    """Names, known dynamics and priors: all that training on one's own data needs.

    A subclass gives ``name``, ``components``, ``parameters`` and `known`; where they apply also
    ``positive`` (parameters that are > 0), ``order`` (2: q̈ is modelled, q observed), ``forcings``
    (how many source terms are known) and ``grid`` (cells along each axis).

    Attributes:
        prior: known parameter → [mean, standard deviation].
        presets: how it is trained by default, see `Presets`.
    """

    name: ClassVar[str]
    components: ClassVar[tuple[str, ...]]
    parameters: ClassVar[tuple[str, ...]]
    positive: ClassVar[tuple[str, ...]] = ()
    order: ClassVar[int] = 1
    forcings: ClassVar[int] = 0
    grid: ClassVar[tuple[int, ...]] = ()

    prior: Mapping[str, Sequence[float]]
    presets: Presets | None = None

    def __post_init__(self) -> None:
        self._refuse_strangers("prior", self.prior)
        # the order of θ is the system's, whatever file the config went through
        self.prior = {name: self.prior[name] for name in self.parameters if name in self.prior}

    def _refuse_strangers(self, what: str, given: Mapping[str, Sequence[float]]) -> None:
        """Parameters that the system does not have."""
        unknown = sorted(set(given) - set(self.parameters))
        if unknown:
            raise InputError(
                f"system {self.name}: {what}.{unknown[0]} is none of its parameters, "
                f"{', '.join(self.parameters)}"
            )

    @abstractmethod
    def known(self, x: Tensor, t: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
        """The incomplete physics: dx/dt (N, C, ...), or q̈ (N, C) for second order.

        Args:
            x: states (N, Q, ...).
            t: times (N,).
            theta: known parameters by name, each (N,).
        """

    def forcing(self, t: Tensor) -> Tensor:
        """Known source terms at times t: t.shape + (forcings,)."""
        return t.new_zeros((*t.shape, self.forcings))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an observed frame: (C, ...)."""
        return (len(self.components), *self.grid)


@dataclass
class SimulatedSystem(System):
    """A system whose whole dynamics are known too, so that trajectories of it can be made.

    Attributes:
        frames: of a trajectory.
        horizon: time of the last frame, the first is at 0.
        ranges: parameter → [low, high], uniform.
    """

    frames: int
    horizon: float
    ranges: Mapping[str, Sequence[float]]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._refuse_strangers("ranges", self.ranges)
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
    def start(self, count: int, generator: torch.Generator) -> Tensor:
        """Initial states (count, Q, ...), float64."""
