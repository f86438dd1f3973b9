"""Channels that do not vary in training: nothing can be scaled by their standard deviation.

Shapes: ``C`` channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vgbdm.errors import InputError

RESOLUTION = 1e-7
"""Of float32 numbers: what varies by less than this share of the largest does not vary."""


def check_variation(
    where: str,
    channels: Sequence[str],
    std: np.ndarray,
    tendency_std: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    again: str,
) -> None:
    """Refuse channels that are one number all through training, or never change there.

    Args:
        where: store, for the message.
        channels: short names (C).
        std: (C,) of the values in training.
        tendency_std: (C,) of their changes over one step.
        low: (C,) smallest value.
        high: (C,) largest.
        again: how to convert with other settings, beginning the remedy.

    Raises:
        InputError: naming the first such channel and what to do.
    """
    least = RESOLUTION * np.maximum(np.abs(low), np.abs(high))
    flat, still = std <= least, tendency_std <= least
    if not (flat | still).any():
        return
    k = int(np.flatnonzero(flat | still)[0])
    others = ",".join(c for c, bad in zip(channels, flat | still, strict=True) if not bad)
    leave = f"leave it out by variables=[{others}], or " if others else ""
    reason = (
        f"is {low[k]:g} all through training, its standard deviation is 0"
        if flat[k]
        else "does not change from step to step in training, its tendency is 0"
    )
    raise InputError(
        f"{where}: {channels[k]} {reason}; {again}: {leave}lengthen split.train until it varies"
    )
