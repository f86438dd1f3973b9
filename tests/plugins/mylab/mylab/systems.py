"""The van der Pol oscillator; its damping is not known."""

from dataclasses import dataclass

import torch

from physics_systems.systems.system import SimulatedSystem
from vgbdm.registry.marks import model_part


@model_part
@dataclass
class VanDerPol(SimulatedSystem):
    """Ẋ = Y, Ẏ = μ(1 - X²)Y - kX + f; k and f are known of."""

    name = "van_der_pol"
    components = ("X", "Y")
    parameters = ("k", "f", "mu")
    positive = ("k",)

    def known(self, x, t, theta):
        return torch.stack((x[:, 1], theta["f"] - theta["k"] * x[:, 0]), 1)

    def full(self, x, t, parameters):
        damping = parameters["mu"] * (1 - x[:, 0] ** 2) * x[:, 1]
        return self.known(x, t, parameters) + torch.stack((0 * damping, damping), 1)

    def start(self, count, generator):
        return torch.randn((count, 2), generator=generator, dtype=torch.float64)
