"""Residual networks: what the physics leaves out. Their last layer starts at zero.

Shapes: ``N`` points, ``C`` channels, ``...`` axes of a grid where the state is a field.
"""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn


class ResidualMLP(nn.Module):
    """A perceptron, for states without a grid.

    Args:
        inputs: channels in.
        outputs: channels out.
        width: hidden units.
        depth: hidden layers.
    """

    def __init__(self, inputs: int, outputs: int, width: int = 128, depth: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for k in range(depth):
            layers += [nn.Linear(width if k else inputs, width), nn.SiLU()]
        self.layers = nn.Sequential(*layers)
        self.last = nn.Linear(width, outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) → (N, outputs)."""
        out: Tensor = self.last(self.layers(x))
        return out


class ResidualConv(nn.Module):
    """A convolutional net on a periodic grid; with ``kernel=1`` it sees no neighbours.

    Args:
        inputs: channels in.
        outputs: channels out.
        width: hidden channels.
        depth: hidden layers.
        kernel: cells across, odd.
    """

    def __init__(
        self, inputs: int, outputs: int, width: int = 32, depth: int = 2, kernel: int = 3
    ) -> None:
        super().__init__()
        pad, sizes = kernel // 2, [inputs] + [width] * depth
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, kernel, padding=pad, padding_mode="circular" if pad else "zeros")
            for a, b in itertools.pairwise(sizes)
        )
        self.last = nn.Conv2d(width, outputs, 1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H, W)."""
        for layer in self.layers:
            x = F.silu(layer(x))
        out: Tensor = self.last(x)
        return out
