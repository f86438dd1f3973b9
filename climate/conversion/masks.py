"""The mask of a store that is being converted: planned from the source, settled by its shards.

Shapes: ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr

from climate.conversion.shards import Job
from climate.store.mask import unpack


def plan_mask(dataset: xr.Dataset, channels: Sequence[str]) -> np.ndarray | None:
    """Points (C, H, W) that may be masked: missing at the first time and at the last one.

    The last time is read only where something is missing at the first.

    Args:
        dataset: lazy, as `climate.sources` says.
        channels: in the order of the state.

    Returns:
        None where there are none.
    """
    mask = _missing(dataset, channels, 0)
    if mask.any():
        mask &= _missing(dataset, channels, dataset.sizes["time"] - 1)
    return mask if mask.any() else None


def _missing(dataset: xr.Dataset, channels: Sequence[str], time: int) -> np.ndarray:
    """Which points (C, H, W) have no value at a time."""
    block = dataset[list(channels)].isel(time=slice(time, time + 1))
    if block.chunks:  # channels may share work
        block = block.compute(scheduler="synchronous")
    return np.stack([~np.isfinite(block[name].values[0]) for name in channels])


def merge_masks(job: Job, masks: Iterable[str | None]) -> tuple[np.ndarray, list[int]]:
    """The points (C, H, W) that all shards miss, and the shards that took more for masked.

    Args:
        job: that the shards belong to, with the planned mask.
        masks: of each shard, packed; None where it is the planned one.
    """
    planned = job.planned
    assert planned is not None
    mask, own = planned.copy(), {}
    for index, text in enumerate(masks):
        if text is not None:
            own[index] = text
            mask[job.part(index)] &= unpack(text, planned[job.part(index)].shape)

    def taken(index: int) -> np.ndarray:
        held = planned[job.part(index)]
        return unpack(own[index], held.shape) if index in own else held

    return mask, [
        index
        for index in range(job.count)
        if not np.array_equal(taken(index), mask[job.part(index)])
    ]
