"""Random numbers keyed by what they are for, never by the order of calls.

Bits come from a counter and a mixing function, so every device makes the same ones, all at once.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

GOLDEN_STEP = -0x61C8864680B583EB
"""2⁶⁴ / φ, odd, as int64: multiples of it spread evenly (Steele, Lea & Flood 2014)."""

BLOCK, LARGEST = {"cpu": 2**15}, 2**26
"""Pairs of normal numbers made at a time: on a CPU as many as its cache holds with their bits."""


@torch.compiler.assume_constant_result  # a graph holds the number
def keyed_seed(seed: int, purpose: str, *keys: int) -> int:
    """A 63-bit seed that depends on (seed, purpose, keys) alone, on every machine."""
    text = "/".join((str(seed), purpose, *map(str, keys)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def keyed_generator(seed: int, purpose: str, *keys: int) -> torch.Generator:
    """A generator on the host seeded by `keyed_seed`, for data that are made or shuffled there."""
    return torch.Generator().manual_seed(keyed_seed(seed, purpose, *keys))


def _mix(x: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014) on int64, in place; it wraps around.

    Beside ``x`` it takes the memory of one more like it.
    """
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15), (31, 1)):
        high = x >> shift
        high &= (1 << (64 - shift)) - 1
        x ^= high
        if factor != 1:
            x *= factor
    return x


def checksum(numbers: Tensor, origins: Tensor) -> Tensor:
    """32 bits per pair of whole numbers, alike on every machine; a set of pairs has their sum's.

    Args:
        numbers: (B,) int64.
        origins: (B,) int64.

    Returns:
        (B,) int64 in [0, 2³²), whose sum over a million is exact in float64.
    """
    return _mix(_mix(numbers * GOLDEN_STEP) + origins) >> 32 & 0xFFFFFFFF


def pair_keys(ids: Tensor, numbers: Tensor) -> Tensor:
    """A key for each pair of an id and a number, such as a sample and a member of its ensemble.

    Args:
        ids: (B,) int64.
        numbers: (M,) int64.

    Returns:
        (B·M,) int64, the numbers of an id side by side.
    """
    return _mix(_mix(ids * GOLDEN_STEP)[:, None] + numbers).flatten()


def keyed_bits(seed: int, purpose: str, ids: Tensor, places: Tensor) -> Tensor:
    """64 random bits per place, a pure function of (seed, purpose, id, place); alike everywhere.

    Args:
        seed: of the run.
        purpose: keeps uses apart.
        ids: (B,) int64.
        places: (N,) int64.

    Returns:
        (B, N) int64.
    """
    return _bits(_bases(seed, purpose, ids), places)


def _bases(seed: int, purpose: str, ids: Tensor) -> Tensor:
    """Where the counters of ids begin, (B,) int64."""
    return _mix(ids * GOLDEN_STEP + keyed_seed(seed, purpose))


def _bits(bases: Tensor, places: Tensor) -> Tensor:
    """64 random bits per base (B,) and place (N,): (B, N) int64."""
    # ~n is -(n + 1); a compiler that reckons with `arange` by symbols does not know that n wraps
    return _mix(bases[:, None] + ~places * -GOLDEN_STEP)


def keyed_uniform(seed: int, purpose: str, ids: Tensor, count: int) -> Tensor:
    """Uniform draws in (0, 1) of `keyed_bits`, (B, count) float64; equal on every device."""
    bits = keyed_bits(seed, purpose, ids, torch.arange(count, device=ids.device))
    bits >>= 11
    bits &= (1 << 53) - 1
    return bits.double().add_(0.5).mul_(2.0**-53)


def keyed_normal(seed: int, purpose: str, ids: Tensor, count: int) -> Tensor:
    """Standard normal draws of `keyed_bits`, (B, count) float32; two of one place's bits.

    By Box and Muller (1958), sine and cosine both used; up to 6.5 standard deviations. Devices
    differ by what their logarithm and sine do, in the last two digits.
    """
    bases, pairs = _bases(seed, purpose, ids), -(-count // 2)
    drawn = torch.empty((len(ids), 2, pairs), device=ids.device)
    places = torch.arange(pairs, device=ids.device)
    at_once = max(1, BLOCK.get(ids.device.type, LARGEST) // max(1, len(ids)))
    for some, out in zip(places.split(at_once), drawn.split(at_once, 2), strict=True):
        bits = _bits(bases, some)
        bits &= (1 << 63) - 1
        low, high = bits.view(torch.int32).unflatten(1, (-1, 2)).unbind(2)
        sine, angle = out.unbind(1)
        radius = high.float().add_(0.5).mul_(2.0**-31).log_().mul_(-2.0).sqrt_()
        angle.copy_(low).mul_(2 * math.pi * 2.0**-32)
        sine.copy_(angle).sin_()
        angle.cos_()
        out.mul_(radius[:, None])
    return drawn.flatten(1)[:, :count]
