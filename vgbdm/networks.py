"""Residual networks: what the physics leaves out. Their last layer starts at zero.

Shapes: ``N`` points, ``C`` channels, ``...`` axes of a grid where the state is a field.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vgbdm.options.kinds import Depth, Kernel, Size
from vgbdm.registry.marks import model_part


class Blocks(nn.Sequential):
    """Modules in a row whose activations may be computed again backwards rather than kept.

    ``recompute`` says so; it costs one more forward pass and changes no number.

    Args:
        modules: each takes and gives one tensor.
        together: successive modules that are computed again at a time.
    """

    recompute = False

    def __init__(self, *modules: nn.Module, together: int = 1) -> None:
        super().__init__(*modules)
        self.together = together

    def forward(self, x: Tensor) -> Tensor:
        """What the last gives of what the one before gives …"""
        for at in range(0, len(self), self.together):
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(self._some, at, x, use_reentrant=False)
            else:
                x = self._some(at, x)
        return x

    def _some(self, at: int, x: Tensor) -> Tensor:
        for k in range(at, min(at + self.together, len(self))):
            x = self[k](x)
        return x


class ConvSiLU(nn.Conv2d):
    """A convolution and its activation."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, out, H, W)."""
        return F.silu(super().forward(x))


@model_part
class ResidualMLP(nn.Module):
    """A perceptron, for states without a grid.

    Args:
        inputs: channels in.
        outputs: channels out.
        width: hidden units.
        depth: hidden layers.
    """

    def __init__(self, inputs: int, outputs: int, width: Size = 128, depth: Depth = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for k in range(depth):
            layers += [nn.Linear(width if k else inputs, width), nn.SiLU()]
        self.layers = Blocks(*layers, together=2)
        self.last = nn.Linear(width, outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) → (N, outputs)."""
        out: Tensor = self.last(self.layers(x))
        return out


@model_part
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
        self, inputs: int, outputs: int, width: Size = 32, depth: Depth = 2, kernel: Kernel = 3
    ) -> None:
        super().__init__()
        pad, sizes = kernel // 2, [inputs] + [width] * depth
        self.layers = Blocks(
            *(
                ConvSiLU(a, b, kernel, padding=pad, padding_mode="circular" if pad else "zeros")
                for a, b in itertools.pairwise(sizes)
            )
        )
        self.last = nn.Conv2d(width, outputs, 1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H, W)."""
        out: Tensor = self.last(self.layers(x))
        return out
