"""Points where a channel has no values at any time: sea-surface temperature on land, soil at sea.

A mask that stands still is kept in the store; its points are NaN there at all times. Which points
may be in it is planned from the first and the last time of the source; every shard says which of
these it misses at all of its own times, and the mask is what all of them miss. So nothing is read
twice, unless a mask moves: then the shards that took more for masked are written again, and what is
missing beyond the mask is held against ``nan_allowance`` like any missing value.

Shapes: ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from climate.conventions.variables import known_channel
from vgbdm.errors import InputError

if TYPE_CHECKING:
    from climate.store.layout import TrainingStore


def pack(mask: np.ndarray) -> str:
    """A mask of any shape as text for JSON."""
    return base64.b64encode(zlib.compress(np.packbits(mask).tobytes())).decode()


def not_finite(values: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Which of (N, ..., H, W) have a value that is not finite outside of a mask: (N,) bool.

    Args:
        values: physical units.
        mask: bool, of a shape that spreads over `values`; None: nothing is masked.
    """
    with np.errstate(all="ignore"):
        if np.isfinite(values.sum(dtype=np.float64)):  # far cheaper than a map, and rarely wrong
            return np.zeros(len(values), bool)
    good = np.isfinite(values)
    if mask is not None:
        good |= mask
    return ~good.all(tuple(range(1, values.ndim)))


def unpack(text: str, shape: tuple[int, ...]) -> np.ndarray:
    """What `pack` was given."""
    bits = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    return np.unpackbits(bits, count=int(np.prod(shape))).astype(bool).reshape(shape)


def check_atmosphere(name: str, where: str, stands: np.ndarray, times: np.ndarray) -> None:
    """Refuse a mask of a channel that physics works on.

    Args:
        name: of the channel.
        where: file, to begin the message with; empty where it is not known.
        stands: (H, W) points that are missing at all of some times.
        times: (N,) these.

    Raises:
        InputError: if it is one of the atmosphere's and any point is masked.
    """
    if stands.any() and known_channel(name) is not None:
        raise InputError(
            f"{where}variable {name}: {percent(stands.mean())} of the points are missing at all "
            f"times from {times[0]} to {times[-1]}, but channels of the atmosphere (z, t, t2m, "
            "winds) must be whole; fill them in the files, e.g. by cdo setmisstonn, or leave "
            f"{name} out of variables=, and convert again with restart=true"
        )


def percent(share: float) -> str:
    """A share in words, with as many digits as it takes to be none of 0 and 100 %."""
    digits = next((k for k in range(6) if 0 < float(f"{100 * share:.{k}f}") < 100), 0)
    return f"{100 * share:.{digits}f} %"


def shares(channels: Sequence[str], mask: np.ndarray | None) -> dict[str, float]:
    """Share of the points that are masked, of the channels that have a mask.

    Args:
        channels: (C) short names.
        mask: (C, H, W); None: no mask.
    """
    if mask is None:
        return {}
    means = zip(channels, mask.mean((1, 2)).tolist(), strict=True)
    return {name: share for name, share in means if share > 0}


def describe_mask(channels: Sequence[str], mask: np.ndarray | None) -> str:
    """Which channels are masked how far, and a digest of where; empty for none.

    Two masks are the same where their descriptions are.
    """
    held = shares(channels, mask)
    if mask is None or not held:
        return ""
    digest = hashlib.sha256(f"{list(channels)} {mask.shape}".encode())
    digest.update(np.packbits(mask).tobytes())
    parts = ", ".join(f"{name} {percent(share)}" for name, share in held.items())
    return f"{parts} of the points ({digest.hexdigest()[:12]})"


def mask_lines(channels: Sequence[str], mask: np.ndarray | None) -> list[str]:
    """One line for each masked channel, for people."""
    return [
        f"{name}: {percent(share)} of the points are masked, as in every time"
        for name, share in shares(channels, mask).items()
    ]


def area_lines(
    channels: Sequence[str], mask: np.ndarray | None, weights: np.ndarray
) -> dict[str, str]:
    """For each masked channel which share of an area has no values.

    Args:
        channels: (C) short names.
        mask: (C, H, W) on the area; None: no mask.
        weights: (H,) area weights.
    """
    if mask is None:
        return {}
    means = mask.mean(-1) @ (weights / weights.sum())
    return {
        name: f"{percent(share)} of the area is masked and left out"
        for name, share in zip(channels, means.tolist(), strict=True)
        if share > 0
    }


def store_lines(store: TrainingStore) -> dict[str, str]:
    """`area_lines` of a store without its halo."""
    mask = None if store.mask is None else store.without_halo(store.mask)
    return area_lines(store.channels, mask, store.grid.area_weights[store.interior[0]])


def check_left(what: str, channels: Sequence[str], mask: np.ndarray, remedy: str) -> None:
    """Refuse a part of a store on which a channel has no point left.

    Args:
        what: the part, for the message.
        channels: (C) short names.
        mask: (C, ...) on the part.
        remedy: what to do.

    Raises:
        InputError: naming the channel.
    """
    for name, here in zip(channels, mask, strict=True):
        if here.all():
            raise InputError(f"{what}: {name} is masked on all of its points; {remedy}")


def in_one_line(held: Mapping[str, str]) -> str:
    """What `area_lines` says, for rules and notes; empty where it says nothing."""
    return "; ".join(f"{name}: {line}" for name, line in held.items())
