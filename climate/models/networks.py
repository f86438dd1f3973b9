"""Networks on a latitude–longitude grid.

Shapes: ``B`` samples, ``C`` channels, ``F`` frames of history, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from climate.models.coarsening import doubled, halved
from vgbdm.networks import Blocks

LAYOUT_ON_CPU = (
    torch.channels_last
    if torch.backends.cpu.get_cpu_capability() == "AVX512"
    else torch.contiguous_format
)


Where = Sequence[tuple[int, bool]]
"""Runs of channels: how many, and in which of two tensors."""


def conv_layout(device: torch.device) -> torch.memory_format:
    """How convolutions want their input in memory.

    Channels last, as GPUs and CPUs with AVX-512 rearrange everything else; with AVX2 the gradient
    of a convolution takes half as long again that way (published size: 50 instead of 34 ms).
    """
    return LAYOUT_ON_CPU if device.type == "cpu" else torch.channels_last


def soft_bound(x: Tensor, limit: float) -> Tensor:
    """Values bent smoothly into (-limit, limit)."""
    return limit * torch.tanh(x / limit)


class Halo(torch.autograd.Function):
    """Parts side by side with the rows and columns beyond the edges of the globe, in one tensor.

    Written out rather than composed: every part is copied once and no more than the halo is rolled,
    where rolls and joins of whole fields would cost more than some convolutions. The result lies in
    memory as convolutions want it, see `conv_layout`.
    """

    @staticmethod
    def forward(
        halo: int, first: int, sign: Tensor | None, dtype: torch.dtype, *parts: Tensor
    ) -> Tensor:
        """(B, C, H + 2 halo, W + 2 halo) of parts whose channels add up to C.

        Args:
            halo: rows and columns at each side.
            first: 1 if the first and last rows lie on the poles, else 0.
            sign: (C, 1, 1) of each channel where it has crossed a pole; None: no change.
            dtype: of the result.
            parts: (B, n, H, W) each.
        """
        batch, _, height, width = parts[0].shape
        channels = sum(part.shape[1] for part in parts)
        padded = torch.empty(
            (batch, channels, height + 2 * halo, width + 2 * halo),
            dtype=dtype,
            device=parts[0].device,
            memory_format=conv_layout(parts[0].device),
        )
        inside = padded[..., halo : halo + height, halo : halo + width]
        at = 0
        for part in parts:
            inside[:, at : at + part.shape[1]] = part
            at += part.shape[1]
        beyond = _across(inside, halo, first).roll(width // 2, -1)
        if sign is not None:
            beyond = beyond * sign
        padded[..., :halo, halo : halo + width] = beyond[..., :halo, :]
        padded[..., halo + height :, halo : halo + width] = beyond[..., halo:, :]
        padded[..., :halo] = padded[..., width : width + halo]
        padded[..., width + halo :] = padded[..., halo : 2 * halo]
        return padded

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """What the gradient needs: no more than shapes and signs."""
        ctx.halo, ctx.first, sign, _, *parts = inputs
        ctx.counts = [part.shape[1] for part in parts]
        ctx.dtypes = [part.dtype for part in parts]
        ctx.save_for_backward(sign)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of each part: the halo's added where it came from."""
        (sign,), at = ctx.saved_tensors, 0
        found: list[Tensor | None] = []
        for k, (count, dtype) in enumerate(zip(ctx.counts, ctx.dtypes, strict=True)):
            here = slice(at, at + count)
            at += count
            if not ctx.needs_input_grad[4 + k]:
                found.append(None)
                continue
            own = None if sign is None else sign[here]
            found.append(_folded(gradients[0][:, here], ctx.halo, ctx.first, own, dtype))
        return None, None, None, None, *found


def _across(fields: Tensor, halo: int, first: int) -> Tensor:
    """Rows (..., 2·halo, W) beyond the south, then the north pole, before their roll."""
    stop = fields.shape[-2] - first
    south, north = fields[..., first : first + halo, :], fields[..., stop - halo : stop, :]
    return torch.cat((north, south), -2).flip(-2)


def _folded(
    padded: Tensor, halo: int, first: int, sign: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Gradient (B, C, H + 2 halo, W + 2 halo) of a `Halo` → that of its part, (B, C, H, W)."""
    height, width = (size - 2 * halo for size in padded.shape[-2:])
    middle = padded[..., halo : halo + height, :]
    whole = _without_columns(middle, halo, dtype)
    ends = torch.cat((padded[..., halo + height :, :], padded[..., :halo, :]), -2).flip(-2)
    beyond = _without_columns(ends, halo, dtype)
    if sign is not None:
        beyond = beyond * sign
    beyond = beyond.roll(-(width // 2), -1)
    stop = height - first
    whole[..., first : first + halo, :] += beyond[..., :halo, :]
    whole[..., stop - halo : stop, :] += beyond[..., halo:, :]
    return whole


def _without_columns(padded: Tensor, halo: int, dtype: torch.dtype) -> Tensor:
    """(..., W + 2 halo) → a new (..., W), the outer columns added around the circle."""
    width = padded.shape[-1] - 2 * halo
    whole = padded[..., halo : halo + width].to(dtype, copy=True)
    whole[..., :halo] += padded[..., halo + width :]
    whole[..., width - halo :] += padded[..., :halo]
    return whole


class PartConv(nn.Conv2d):
    """A convolution of channels that come in two tensors."""

    def forward(self, first: Tensor, second: Tensor | None = None, where: Where = ()) -> Tensor:
        """The channels (B, n, H, W) of one tensor, or of two.

        Args:
            first: the one.
            second: the other; None: all channels are in the first.
            where: of each run of channels, how many, and whether they are in the second.
        """
        if second is None:
            return super().forward(first)
        runs = self.weight.split([count for count, _ in where], 1)
        of_first, of_second = (
            torch.cat([run for run, (_, later) in zip(runs, where, strict=True) if later == one], 1)
            for one in (False, True)
        )
        return F.conv2d(first, of_first, self.bias) + F.conv2d(second, of_second)


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
        bias: whether a constant is added.
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
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.conv = PartConv(inputs, outputs, kernel, bias=bias)
        self.halo, self.poles = kernel // 2, poles
        sign = None
        if vector_inputs:
            sign = torch.ones(inputs, 1, 1)
            sign[list(vector_inputs)] = -1.0
        self.register_buffer("sign", sign, persistent=False)

    def forward(self, *parts: Tensor) -> Tensor:
        """Channels in any number of parts, (B, n, H, W) each → (B, outputs, H, W).

        Parts are joined here, where they are copied anyway; those without a gradient apart from the
        others, for the gradient of a convolution's input is made for all of it, and costs as much
        as that of the weights.
        """
        where = [(part.shape[1], part.requires_grad) for part in parts]
        if len({derived for _, derived in where}) == 1:
            return self.conv(self.padded(parts, self.sign))
        signs = None if self.sign is None else self.sign.split([count for count, _ in where])
        joined = []
        for one in (False, True):
            own = [k for k, (_, derived) in enumerate(where) if derived == one]
            sign = None if signs is None else torch.cat([signs[k] for k in own])
            joined.append(self.padded([parts[k] for k in own], sign))
        return self.conv(*joined, where)

    def padded(self, parts: Sequence[Tensor], sign: Tensor | None) -> Tensor:
        """Parts joined, with their halo, in the type that the convolution computes in.

        Args:
            parts: (B, n, H, W) each.
            sign: (C, 1, 1) of all their channels beyond a pole; None: no change.

        Returns:
            (B, C, H + 2 halo, W + 2 halo).
        """
        halo = self.halo
        if self.poles is None:
            x = parts[0] if len(parts) == 1 else torch.cat(tuple(parts), 1)
            x = x.contiguous(memory_format=conv_layout(x.device))
            return F.pad(x, (halo, halo, halo, halo), mode="replicate")
        device = parts[0].device.type
        dtype = functools.reduce(torch.promote_types, (part.dtype for part in parts))
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        # where nothing is to be derived the operation is called without torch's record of it, which
        # its compiler does not follow for several parts
        work = Halo.apply if any(part.requires_grad for part in parts) else Halo.forward
        padded: Tensor = work(halo, int(self.poles), sign, dtype, *parts)
        return padded


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
        encoded = self.conv(history.flatten(0, 1)).contiguous()  # sums over heads want it so
        keys, values = (encoded.unflatten(0, history.shape[:2]) + self.lag).chunk(2, 2)
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
        query = self.query(x).contiguous().unflatten(1, (self.heads, -1)).unsqueeze(1)
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
        coarsening: the blocks work on every so many-th row and column, 1 or 2; what they add is
            linear between these points, and what they are given is kept beside it.
        drawn: channels of latent fields, which come in by weights that start at zero: the trunk of
            a model without them says the same at first. 0: none.
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
        coarsening: int = 1,
        drawn: int = 0,
    ) -> None:
        super().__init__()
        self.coarsening, self.poles = coarsening, poles
        self.embed = SphereConv(inputs, width, poles=poles, vector_inputs=vector_inputs)
        self.blocks = Blocks(
            *(ResidualBlock(width, poles=poles, dropout=dropout) for _ in range(blocks))
        )
        self.norm = nn.GroupNorm(max(width // 16, 1), width)
        self.last = nn.Conv2d(width, outputs, 1)
        self.drawn = SphereConv(drawn, width, poles=poles, bias=False) if drawn else None
        for layer in (self.last, *([] if self.drawn is None else [self.drawn])):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(self, *features: Tensor, drawn: Tensor | None = None) -> Tensor:
        """Features → (B, outputs, H, W).

        Args:
            features: channels in any number of parts, (B, n, H, W) each.
            drawn: (B, Z, H, W) latent fields; None: without.
        """
        hidden = self.embed(*features)
        if drawn is not None:
            assert self.drawn is not None
            hidden = hidden + self.drawn(drawn)
        if self.coarsening == 1:
            hidden = self.blocks(hidden)
        else:
            few = halved(hidden, self.poles)
            change = self.blocks(few) - few
            hidden = hidden + doubled(change, hidden.shape[-2], hidden.shape[-1], self.poles)
        out = self.last(F.silu(self.norm(hidden)))
        return out.contiguous()  # transforms and products want fields side by side again
