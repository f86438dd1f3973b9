"""A driven series RLC circuit; the resistance is not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from physics_systems.systems.system import SimulatedSystem
from vgbdm.registry.marks import model_part


@model_part
@dataclass
class RLC(SimulatedSystem):
    """U̇ = I/C, İ = (V(t) - U - R I/C)/L with V = 1 + 2.5 sin 2t; V, L and C are known of.

    Attributes:
        voltage_std: of the initial voltage; the initial current is 0.
    """

    name = "rlc"
    components = ("U", "I")
    parameters = ("L", "C", "R")
    positive = ("L", "C")
    forcings = 1

    voltage_std: float = 1.0

    def forcing(self, t: Tensor) -> Tensor:
        """The source V(t)."""
        return (1 + 2.5 * torch.sin(2 * t))[..., None]

    def _rate(self, x: Tensor, t: Tensor, parameters: Mapping[str, Tensor], drop: Tensor) -> Tensor:
        u, i = x.unbind(1)
        source = self.forcing(t)[..., 0].to(x.dtype)
        return torch.stack((i / parameters["C"], (source - u - drop) / parameters["L"]), 1)

    def full(self, x: Tensor, t: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """See `SimulatedSystem`."""
        return self._rate(x, t, parameters, parameters["R"] * x[:, 1] / parameters["C"])

    def known(self, x: Tensor, t: Tensor, theta: Mapping[str, Tensor]) -> Tensor:
        """The circuit without a resistance."""
        return self._rate(x, t, theta, torch.zeros_like(x[:, 1]))

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        """(N(0, voltage_std²), 0)."""
        voltage = torch.randn(count, generator=generator, dtype=torch.float64) * self.voltage_std
        return torch.stack((voltage, torch.zeros_like(voltage)), 1)
