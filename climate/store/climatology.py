"""The climatology and the mean map of the training period, from the states of a store.

They take one more pass, over the written shards: sums by day and hour are larger than the shards
they come from, so they are not kept per shard. Memory stays below a budget: where the sums do not
fit, the states are read again for each group of channels or strip of rows.

Shapes: ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import zarr

from climate.store.layout import chunk_shape
from climate.store.statistics import HALF_WINDOW, Binning

SUM_BYTES = 256 * 2**20
"""Of float64 sums held at a time; smoothing takes about twice that again."""
READ_BYTES = 32 * 2**20
"""Of states read at a time."""


def write_climatology(
    group: zarr.Group, state: zarr.Array, times: np.ndarray, start: int, stop: int, binning: Binning
) -> np.ndarray:
    """Write ``climatology`` and ``mean_map``; give back the mean map (C, H, W) float32.

    Args:
        group: to write to.
        state: (T, C, H, W).
        times: of the states.
        start: index of the first training time.
        stop: one past the last.
        binning: of the climatology.
    """
    shape, bins = state.shape[1:], int(np.prod(binning.shape))
    chunks = chunk_shape(*shape)[0]
    climatology = group.create_array(
        "climatology",
        shape=(bins, *shape),
        dtype="float32",
        chunks=(min(chunks[0], bins), *chunks[1:]),
        dimension_names=["bin", "channel", "lat", "lon"],
        overwrite=True,
    )
    mean_map = np.empty(shape, np.float32)
    index = binning.index(times[start:stop])
    counts = np.bincount(index, minlength=bins).astype(np.float64)
    for channels, rows in pieces(bins, shape):
        sums = _sums(state, start, index, bins, channels, rows)
        mean_map[channels, rows] = sums.sum(0) / len(index)
        climatology[:, channels, rows] = means(sums, counts, binning)
    group.create_array(
        "mean_map",
        shape=shape,
        dtype="float32",
        dimension_names=["channel", "lat", "lon"],
        overwrite=True,
    )[...] = mean_map
    return mean_map


def pieces(bins: int, shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Channels and rows whose sums fit the budget."""
    row = 8 * bins * shape[2]
    many = max(1, SUM_BYTES // (row * shape[1]))
    high = shape[1] if row * shape[1] <= SUM_BYTES else max(1, SUM_BYTES // row)
    for channel in range(0, shape[0], many):
        for top in range(0, shape[1], high):
            yield (
                slice(channel, min(channel + many, shape[0])),
                slice(top, min(top + high, shape[1])),
            )


def _sums(
    state: zarr.Array, start: int, index: np.ndarray, bins: int, channels: slice, rows: slice
) -> np.ndarray:
    """Sums (bins, c, h, W) float64, in the order of time."""
    width = state.shape[3]
    size = (channels.stop - channels.start, rows.stop - rows.start)
    sums = np.zeros((bins, *size, width))
    block = max(1, READ_BYTES // (4 * size[0] * state.shape[2] * width))
    for first in range(0, len(index), block):
        last = min(first + block, len(index))
        values = np.asarray(state[start + first : start + last, channels])[..., rows, :]
        for place, value in zip(index[first:last], values, strict=True):
            sums[place] += value
    return sums


def means(sums: np.ndarray, counts: np.ndarray, binning: Binning) -> np.ndarray:
    """Means (bins, c, h, W) float32; hours or months without data take that of those that have.

    With seasons, a bin is the mean over ±30 days of the year at its hour.

    Args:
        sums: (bins, c, h, W).
        counts: (bins,) times summed.
        binning: of the first axis.
    """
    shape = sums.shape[1:]
    sums, counts = sums.reshape(*binning.shape, *shape), counts.reshape(binning.shape)
    if binning.smoothed:
        counts = _running_sum(counts)
        smooth = np.empty(sums.shape, np.float32)
        for hour in range(binning.shape[1]):
            smooth[:, hour] = _running_sum(sums[:, hour])
        sums = smooth
    mean = (sums / np.maximum(counts, 1)[..., None, None, None]).astype(np.float32)
    empty = counts == 0
    if empty.any():
        total = sums.sum(1, dtype=np.float64)
        fallback = total / np.maximum(counts.sum(1), 1)[:, None, None, None]
        mean[empty] = fallback[np.nonzero(empty)[0]]
    return mean.reshape(-1, *shape)


def _running_sum(values: np.ndarray) -> np.ndarray:
    """Sum over ±`HALF_WINDOW` places along the first axis, around the year."""
    padded = np.concatenate((values[-HALF_WINDOW:], values, values[:HALF_WINDOW]))
    total = np.concatenate((np.zeros_like(padded[:1]), padded.cumsum(0)))
    width = 2 * HALF_WINDOW + 1
    return total[width:] - total[:-width]
