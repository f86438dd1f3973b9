"""Random numbers keyed by what they are for, never by the order of calls."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor


def keyed_seed(seed: int, purpose: str, *keys: int) -> int:
    """A 63-bit seed that depends on (seed, purpose, keys) alone, on every machine."""
    text = "/".join((str(seed), purpose, *map(str, keys)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def keyed_generator(
    seed: int, purpose: str, *keys: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator on ``device`` seeded by `keyed_seed`."""
    return torch.Generator(device).manual_seed(keyed_seed(seed, purpose, *keys))


def _mix(x: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014) on int64, which wraps around."""
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        x = (x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return x ^ ((x >> 31) & ((1 << 33) - 1))


def checksum(numbers: Tensor, origins: Tensor) -> Tensor:
    """32 bits per pair of whole numbers, alike on every machine; a set of pairs has their sum's.

    Args:
        numbers: (B,) int64.
        origins: (B,) int64.

    Returns:
        (B,) int64 in [0, 2³²), whose sum over a million is exact in float64.
    """
    return _mix(_mix(numbers * -0x61C8864680B583EB) + origins) >> 32 & 0xFFFFFFFF


def keyed_uniform(seed: int, purpose: str, ids: Tensor, count: int) -> Tensor:
    """Uniform draws in (0, 1), a pure function of (seed, purpose, id, place); all at once.

    Args:
        seed: of the run.
        purpose: keeps uses apart.
        ids: (B,) int64.
        count: draws per id.

    Returns:
        (B, count) float64.
    """
    base = _mix(ids * -0x61C8864680B583EB + keyed_seed(seed, purpose))
    places = torch.arange(1, count + 1, device=ids.device) * -0x61C8864680B583EB
    bits = _mix(base[:, None] + places) >> 11 & ((1 << 53) - 1)
    return (bits.double() + 0.5) * 2.0**-53


def keyed_normal(seed: int, purpose: str, ids: Tensor, count: int) -> Tensor:
    """Standard normal draws (B, count), float64, keyed like `keyed_uniform`."""
    first, second = keyed_uniform(seed, purpose, ids, 2 * count).chunk(2, 1)
    return torch.sqrt(-2 * first.log()) * torch.cos(2 * math.pi * second)
