"""The networks that only ClimODE has: attention over the sphere, and the emission.

Shapes: ``B`` samples, ``C`` channels, ``H`` latitudes, ``W`` longitudes, ``D`` width of a head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from climate.models.networks import Trunk

PATCHES = (8, 16)
"""Keys and values are means over this many patches of the grid, latitude by longitude."""
FLOOR = 0.02
"""Smallest standard deviation, ÷ rms change per step."""


class SphereAttention(nn.Module):
    """Attention of every grid point over patches of the whole sphere.

    Args:
        inputs: channels in, position features among them.
        width: of the result; divisible by ``heads``.
        heads: of the attention.
    """

    def __init__(self, inputs: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Conv2d(inputs, width, 1)
        self.memory = nn.Conv2d(inputs, 2 * width, 1)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, width, H, W)."""
        height, width = features.shape[2:]
        patches = (min(PATCHES[0], height), min(PATCHES[1], width))
        keys, values = self.memory(F.adaptive_avg_pool2d(features, patches)).chunk(2, 1)
        query, keys, values = map(self._tokens, (self.query(features), keys, values))
        seen = F.scaled_dot_product_attention(query, keys, values)
        return self.mix(seen.transpose(2, 3).flatten(1, 2).unflatten(2, (height, width)))

    def _tokens(self, x: Tensor) -> Tensor:
        """(B, width, H, W) → (B, heads, H·W, D)."""
        return x.flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3)


class Emitted(NamedTuple):
    """A normal distribution at every point: mean and standard deviation, (..., C, H, W)."""

    mean: Tensor
    std: Tensor


class Emission(nn.Module):
    """What is observed of a state: its mean, corrected, and its standard deviation.

    At the start the correction is zero and the standard deviation the rms change per step.

    Args:
        channels: of a state.
        surroundings: further input channels.
        width: hidden channels.
        blocks: residual blocks.
        limit: bound of the correction, ÷ rms change per step.
        poles: whether the grid has rows at the poles.
        vector_inputs: state channels that are vector components.
    """

    def __init__(
        self,
        channels: int,
        surroundings: int,
        width: int,
        blocks: int,
        limit: float,
        *,
        poles: bool | None,
        vector_inputs: Sequence[int],
    ) -> None:
        super().__init__()
        self.channels, self.limit = channels, limit
        self.trunk = Trunk(
            channels + surroundings,
            2 * channels,
            width,
            blocks,
            0.0,
            poles=poles,
            vector_inputs=vector_inputs,
        )

    def forward(self, x: Tensor, surroundings: Tensor, change: Tensor) -> Emitted:
        """The distribution of standardised observations.

        Args:
            x: (B, C, H, W) standardised states.
            surroundings: (B, n, H, W).
            change: (C, 1, 1) rms change per step, standardised.
        """
        out = self.trunk(torch.cat((x, surroundings), 1)).float()
        correction = self.limit * torch.tanh(out[:, : self.channels] / self.limit)
        spread = FLOOR + (1 - FLOOR) * F.softplus(out[:, self.channels :] + math.log(math.e - 1))
        return Emitted(x + correction * change, spread * change)
