"""Lorenz-63; the product X(ρ - Z) is not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from physics_systems.systems.system import SimulatedSystem
from vgbdm.registry.marks import model_part


@model_part
@dataclass
class Lorenz(SimulatedSystem):
    """Ẋ = σ(Y - X), Ẏ = X(ρ - Z) - Y, Ż = XY - βZ; known: σ(Y - X), -Y, XY - βZ.

    Attributes:
        start_std: of each initial component.
    """

    name = "lorenz"
    components = ("X", "Y", "Z")
    parameters = ("sigma", "rho", "beta")
    positive = ("sigma", "beta")

    start_std: float = 0.5

    def full(self, x: Tensor, t: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """See `SimulatedSystem`."""
        lift = x[:, 0] * (parameters["rho"] - x[:, 2])
        return self.known(x, t, parameters) + torch.stack((0 * lift, lift, 0 * lift), 1)

    def known(self, x: Tensor, t: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
        """Lorenz-63 without X(ρ - Z)."""
        a, b, c = x.unbind(1)
        return torch.stack((theta["sigma"] * (b - a), -b, a * b - theta["beta"] * c), 1)

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        """N(0, start_std²) in each component."""
        draws = torch.randn((count, 3), generator=generator, dtype=torch.float64)
        return draws * self.start_std
