"""FitzHugh–Nagumo reaction–diffusion on a periodic square; U's reaction is not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from physics_systems.systems.system import SimulatedSystem
from vgbdm.registry.marks import model_part

SPACING = 2.0 / 31.0
"""Between cells; the published benchmark's, on 32 of them."""


def laplacian(x: Tensor) -> Tensor:
    """Five-point ∇² on a periodic grid: (..., H, W), per unit of length squared."""
    around = x.roll(1, -1) + x.roll(-1, -1) + x.roll(1, -2) + x.roll(-1, -2)
    return (around - 4 * x) / SPACING**2


@model_part
@dataclass
class ReactionDiffusion(SimulatedSystem):
    """U̇ = a∇²U + U - U³ - k - V, V̇ = b∇²V + U - V; a, b, diffusion and V's reaction are known.

    Attributes:
        start_range: initial cells are uniform in it, each for itself.
    """

    name = "reaction_diffusion"
    components = ("U", "V")
    parameters = ("a", "b", "k")
    positive = ("a", "b")
    grid = (32, 32)

    start_range: tuple[float, float] = (0.0, 1.0)

    def full(self, x: Tensor, t: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """See `SimulatedSystem`."""
        u, v = x.unbind(1)
        reaction = u - u**3 - parameters["k"][:, None, None] - v
        return self.known(x, t, parameters) + torch.stack((reaction, torch.zeros_like(v)), 1)

    def known(self, x: Tensor, t: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
        """Diffusion of both, and V's reaction."""
        u, v = x.unbind(1)
        spread = laplacian(x)
        du = theta["a"][:, None, None] * spread[:, 0]
        return torch.stack((du, theta["b"][:, None, None] * spread[:, 1] + u - v), 1)

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        """U(start_range) in each cell."""
        draws = torch.rand((count, *self.shape), generator=generator, dtype=torch.float64)
        low, high = self.start_range
        return low + (high - low) * draws
