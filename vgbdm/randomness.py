"""Random numbers keyed by what they are for, never by the order of calls."""

from __future__ import annotations

import hashlib

import torch


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
