"""Networks on a latitude–longitude grid.

Shapes: ``B`` samples, ``C`` channels, ``F`` frames of history, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vgbdm.networks import Blocks


def soft_bound(x: Tensor, limit: float) -> Tensor:
    """Values bent smoothly into (-limit, limit)."""
    return limit * torch.tanh(x / limit)


class SphereConv(nn.Module):
    """A convolution whose halo is periodic in longitude and goes on across the poles.

    Beyond a pole lies the row on its other side, half a turn away; there the components of a
    vector change sign. Beyond the edge of a box lies the edge again.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: odd kernel size.
        poles: whether the first and last rows lie on the poles; None on a box.
        vector_inputs: indices of input channels that are vector components.
    """

    sign: Tensor | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        *,
        poles: bool | None,
        vector_inputs: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel)
        self.halo, self.poles = kernel // 2, poles
        sign = None
        if vector_inputs:
            sign = torch.ones(inputs, 1, 1)
            sign[list(vector_inputs)] = -1.0
        self.register_buffer("sign", sign, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H, W)."""
        halo = self.halo
        if self.poles is None:
            return self.conv(F.pad(x, (halo, halo, halo, halo), mode="replicate"))
        first = int(self.poles)
        opposite = x.roll(x.shape[-1] // 2, -1)
        if self.sign is not None:
            opposite = opposite * self.sign
        stop = x.shape[-2] - first
        south = opposite[..., first : first + halo, :].flip(-2)
        north = opposite[..., stop - halo : stop, :].flip(-2)
        rows = torch.cat((south, x, north), -2)
        return self.conv(F.pad(rows, (halo, halo, 0, 0), mode="circular"))


class ResidualBlock(nn.Module):
    """Two convolutions around a skip; GroupNorm, so that no statistic crosses samples."""

    def __init__(self, width: int, *, poles: bool | None, dropout: float) -> None:
        super().__init__()
        groups = max(width // 16, 1)
        self.norm_1, self.norm_2 = nn.GroupNorm(groups, width), nn.GroupNorm(groups, width)
        self.conv_1 = SphereConv(width, width, poles=poles)
        self.conv_2 = SphereConv(width, width, poles=poles)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W), same out."""
        h = self.conv_1(F.silu(self.norm_1(x)))
        return x + self.conv_2(self.dropout(F.silu(self.norm_2(h))))


class HistoryEncoder(nn.Module):
    """Keys and values of a history, once per model step.

    Args:
        channels: of a state.
        frames: of history.
        width: of keys and of values.
        poles: whether the grid has rows at the poles; None on a box.
        vector_inputs: state channels that are vector components.
    """

    def __init__(
        self,
        channels: int,
        frames: int,
        width: int,
        *,
        poles: bool | None,
        vector_inputs: Sequence[int],
    ) -> None:
        super().__init__()
        self.conv = SphereConv(channels, 2 * width, poles=poles, vector_inputs=vector_inputs)
        self.lag = nn.Parameter(torch.randn(frames, 2 * width, 1, 1) * 0.1)

    def forward(self, history: Tensor) -> tuple[Tensor, Tensor]:
        """(B, F, C, H, W) → keys and values, two of (B, F, width, H, W)."""
        encoded = self.conv(history.flatten(0, 1)).unflatten(0, history.shape[:2]) + self.lag
        keys, values = encoded.chunk(2, 2)
        return keys, values


class HistoryAttention(nn.Module):
    """Attention of every grid point over its past: which earlier states say something now.

    Args:
        channels: of a state.
        width: of the result; divisible by ``heads``.
        heads: of the attention.
        poles: whether the grid has rows at the poles; None on a box.
        vector_inputs: state channels that are vector components.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        heads: int,
        *,
        poles: bool | None,
        vector_inputs: Sequence[int],
    ) -> None:
        super().__init__()
        self.heads = heads
        self.query = SphereConv(channels, width, poles=poles, vector_inputs=vector_inputs)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, encoded: tuple[Tensor, Tensor]) -> Tensor:
        """State (B, C, H, W) and what `HistoryEncoder` gave → (B, width, H, W)."""
        keys, values = (part.unflatten(2, (self.heads, -1)) for part in encoded)
        query = self.query(x).unflatten(1, (self.heads, -1)).unsqueeze(1)
        scores = (query * keys).sum(3, keepdim=True) / keys.shape[3] ** 0.5
        return self.mix((scores.softmax(1) * values).sum(1).flatten(1, 2))


class Trunk(nn.Module):
    """Features → residual blocks → outputs; the last layer starts at zero.

    Args:
        inputs: feature channels.
        outputs: channels out.
        width: of the hidden layers.
        blocks: how many residual blocks.
        dropout: of whole hidden channels.
        poles: whether the grid has rows at the poles; None on a box.
        vector_inputs: feature channels that are vector components.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int,
        blocks: int,
        dropout: float,
        *,
        poles: bool | None,
        vector_inputs: Sequence[int],
    ) -> None:
        super().__init__()
        self.embed = SphereConv(inputs, width, poles=poles, vector_inputs=vector_inputs)
        self.blocks = Blocks(
            *(ResidualBlock(width, poles=poles, dropout=dropout) for _ in range(blocks))
        )
        self.norm = nn.GroupNorm(max(width // 16, 1), width)
        self.last = nn.Conv2d(width, outputs, 1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H, W)."""
        return self.last(F.silu(self.norm(self.blocks(self.embed(features)))))
