"""A window of frames → features for the posterior.

Shapes: ``B`` windows, ``T`` frames, ``C`` channels (components, known forcing, time gap), ``...``
axes of a grid where the state is a field.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgbdm.options.kinds import Depth, Size
from vgbdm.registry.marks import model_part


@model_part
class WindowMLP(nn.Module):
    """All frames of a window into one perceptron: the fastest, for small states.

    Args:
        channels: C.
        window: T.
        features: of the answer.
        width: hidden units.
        depth: hidden layers.
    """

    def __init__(
        self, channels: int, window: int, features: int, width: Size = 256, depth: Depth = 2
    ) -> None:
        super().__init__()
        sizes = [channels * window] + [width] * depth
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(sizes):
            layers += [nn.Linear(a, b), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, features), nn.SiLU())

    def forward(self, window: Tensor) -> Tensor:
        """(B, T, C) → (B, features)."""
        out: Tensor = self.layers(window.flatten(1))
        return out


@model_part
class WindowGRU(nn.Module):
    """A recurrent encoder, for windows too long to flatten.

    Args:
        channels: C.
        window: T; any length is read.
        features: of the answer.
        width: of the recurrent state.
    """

    def __init__(self, channels: int, window: int, features: int, width: Size = 64) -> None:
        super().__init__()
        self.recurrent = nn.GRU(channels, width, batch_first=True)
        self.last = nn.Linear(width, features)

    def forward(self, window: Tensor) -> Tensor:
        """(B, T, C) → (B, features), from the last state."""
        _, state = self.recurrent(window)
        return F.silu(self.last(state[-1]))


@model_part
class WindowConv(nn.Module):
    """Frames of a periodic field as channels of a small convolutional net, averaged over the grid.

    Squared activations before the mean make the features second moments, such as the products of a
    tendency and a Laplacian that tell a diffusivity.

    Args:
        channels: C.
        window: T.
        features: of the answer.
        width: channels of the hidden layers.
    """

    def __init__(self, channels: int, window: int, features: int, width: Size = 32) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels * window, width, 3, padding=1, padding_mode="circular")
        self.second = nn.Conv2d(width, width, 3, padding=1, padding_mode="circular")
        self.moments = nn.Conv2d(width, 2 * width, 1)
        self.head = nn.Sequential(
            nn.Linear(4 * width, 128), nn.SiLU(), nn.Linear(128, features), nn.SiLU()
        )

    def forward(self, window: Tensor) -> Tensor:
        """(B, T, C, H, W) → (B, features)."""
        hidden = self.first(window.flatten(1, 2))
        hidden = hidden + self.second(F.silu(hidden))
        maps = self.moments(hidden)
        means, squares = maps.mean((2, 3)), maps.square().mean((2, 3))
        out: Tensor = self.head(torch.cat((means, torch.log1p(squares)), 1))
        return out
