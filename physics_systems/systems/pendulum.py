"""A damped pendulum of which only the angle is seen; the friction is not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from physics_systems.systems.system import SimulatedSystem
from vgbdm.registry.marks import model_part


@model_part
@dataclass
class Pendulum(SimulatedSystem):
    """q̈ = -ω² sin q - γ q̇; ω is known of.

    Attributes:
        angle: initial angles are uniform in ± this, at rest.
    """

    name = "pendulum"
    components = ("q",)
    parameters = ("omega", "gamma")
    positive = ("omega",)
    order = 2

    angle: float = 1.57

    def full(self, x: Tensor, t: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """See `SimulatedSystem`."""
        friction = parameters["gamma"][:, None] * x[:, 1:]
        return torch.cat((x[:, 1:], self.known(x, t, parameters) - friction), 1)

    def known(self, x: Tensor, t: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
        """The pendulum without friction: q̈."""
        return -theta["omega"].square()[:, None] * torch.sin(x[:, :1])

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        """(U(±angle), 0)."""
        angle = torch.rand(count, generator=generator, dtype=torch.float64) * 2 - 1
        return torch.stack((angle * self.angle, torch.zeros_like(angle)), 1)
