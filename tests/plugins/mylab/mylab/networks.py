"""A network of our own."""

import torch

from vgbdm.registry.marks import model_part


@model_part
class Sines(torch.nn.Module):
    """One layer of sines."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int = 1) -> None:
        super().__init__()
        self.first = torch.nn.Linear(inputs, width)
        self.last = torch.nn.Linear(width, outputs)

    def forward(self, x):
        """(N, inputs) → (N, outputs)."""
        return self.last(torch.sin(self.first(x)))
