"""The climatology and the mean map of the training period, from the states of a store.

They take one more pass, over the written shards: sums by day and hour are larger than the shards
they come from, so they are not kept per shard. The pass goes through the year instead of through
time: the sums of a day are made from that day of every year, and only those that a bin is smoothed
over are held, whose sum goes from day to day by what the window adds and takes away
(`climate.store.windows`). So memory stays below a budget while each state is read once, and again
those of two months around New Year. Where maps are chunks of their own, hours and channels are
taken one by one; otherwise only what does not fit the budget whole is read again, for groups of
channels.

Shapes: ``C`` channels, ``H`` latitudes, ``W`` longitudes; ``c``, ``h`` those of a piece, ``p`` its
parts of the day (or of the year).
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import zarr

from climate.store.layout import chunk_shape
from climate.store.statistics import Binning
from climate.store.windows import Window

SUM_BYTES = 512 * 2**20
"""Of float64 sums held at a time."""
READ_BYTES = 32 * 2**20
"""Of states read at a time."""
BLOCK_DAYS = 8
"""Summed together where a chunk holds many steps, so that few chunks are read twice."""


@dataclass(frozen=True)
class Piece:
    """What is summed together.

    Attributes:
        parts: of the day (or of the year).
        channels: of the states.
        rows: of their maps.
    """

    parts: slice
    channels: slice
    rows: slice


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
    index = binning.index(times[start:stop])
    counts = np.bincount(index, minlength=bins).reshape(binning.shape)
    if binning.window:
        counts = smoothed(counts, binning.window)
    mean_map = np.zeros(shape, np.float32)
    total = np.zeros(0)
    for piece in pieces(binning, shape, chunks[0]):
        days = _Days(state, start, index, binning, piece)
        window = binning.window
        for day, sums in smoothed_sums(days, window) if window else [(0, days.sums(0))]:
            number = counts[day, piece.parts]
            if not number.any():
                continue
            bin_ = day * binning.shape[1] + piece.parts.start
            mean = np.empty(sums.shape, np.float32)
            some = np.where(number > 0, number, 1)[:, None, None, None]
            np.divide(sums, some, mean, casting="same_kind")
            climatology[bin_ : bin_ + len(mean), piece.channels, piece.rows] = mean
        total = days.total if piece.parts.start == 0 else total + days.total
        mean_map[piece.channels, piece.rows] = total / len(index)
    _fill_empty(climatology, counts)
    group.create_array(
        "mean_map",
        shape=shape,
        dtype="float32",
        dimension_names=["channel", "lat", "lon"],
        overwrite=True,
    )[...] = mean_map
    return mean_map


def pieces(binning: Binning, shape: tuple[int, ...], chunk_steps: int) -> Iterator[Piece]:
    """Parts, channels and rows whose sums fit the budget, all parts of the same maps in a row.

    Args:
        binning: of the climatology.
        shape: (C, H, W).
        chunk_steps: states of a chunk; where it is one, parts and channels are chunks apart.
    """
    channels, height, width = shape
    parts, row = binning.shape[1], 8 * _days_held(binning, chunk_steps) * width
    if chunk_steps == 1 and parts * height * row > SUM_BYTES:
        parts = 1
    many = min(channels, max(1, SUM_BYTES // (parts * height * row)))
    high = min(height, max(1, SUM_BYTES // (parts * row)))
    for channel, top, part in itertools.product(
        range(0, channels, many), range(0, height, high), range(0, binning.shape[1], parts)
    ):
        yield Piece(
            slice(part, part + parts),
            slice(channel, min(channel + many, channels)),
            slice(top, min(top + high, height)),
        )


def _days_held(binning: Binning, chunk_steps: int) -> int:
    """Days whose sums are in memory at a time: those smoothed over, in blocks, and their sums."""
    if binning.window is None:
        return 2
    first, last = binning.window.span
    return last + 1 - first + 2 * (_block_days(chunk_steps) - 1) + 2


def _block_days(chunk_steps: int) -> int:
    return 1 if chunk_steps == 1 else BLOCK_DAYS


class _Days:
    """Sums over the years of a piece, day by day.

    Attributes:
        total: (c, h, W) sum of all days asked for the first time.
    """

    def __init__(
        self, state: zarr.Array, start: int, index: np.ndarray, binning: Binning, piece: Piece
    ) -> None:
        self._state, self._piece, self.count = state, piece, binning.shape[0]
        day, part = np.divmod(index, binning.shape[1])
        chosen = (part >= piece.parts.start) & (part < piece.parts.stop)
        self._steps = start + np.flatnonzero(chosen)
        self._day, self._part = day[chosen], part[chosen] - piece.parts.start
        rows, channels = (s.stop - s.start for s in (piece.rows, piece.channels))
        self._shape = (piece.parts.stop - piece.parts.start, channels, rows, state.shape[3])
        self._block, self._held = _block_days(state.chunks[0]), np.empty(0)
        self._first = -1
        self._seen = np.zeros(self.count, bool)
        self.total = np.zeros(self._shape[1:])

    def sums(self, day: int) -> np.ndarray:
        """Sums (p, c, h, W) float64 of a day of the year, in the order of time."""
        first = day // self._block * self._block
        if first != self._first:
            self._held, self._first = self._read(first), first
        sums = self._held[day - first]
        if not self._seen[day]:
            self._seen[day] = True
            self.total += sums.sum(0)
        return sums

    def _read(self, first: int) -> np.ndarray:
        """The sums of a block of days."""
        block = np.zeros((min(self._block, self.count - first), *self._shape))
        inside = np.flatnonzero((self._day >= first) & (self._day < first + len(block)))
        size = max(1, READ_BYTES // (4 * int(np.prod(self._state.shape[2:])) * self._shape[1]))
        for run in np.split(inside, np.flatnonzero(np.diff(self._steps[inside]) > 1) + 1):
            for some in np.split(run, range(size, len(run), size)):
                if len(some):
                    steps = slice(int(self._steps[some[0]]), int(self._steps[some[-1]]) + 1)
                    values = np.asarray(self._state[steps, self._piece.channels])
                    for k, value in zip(some, values[..., self._piece.rows, :], strict=True):
                        block[self._day[k] - first, self._part[k]] += value
        return block


def smoothed_sums(days: _Days, window: Window) -> Iterator[tuple[int, np.ndarray]]:
    """Each day of the year and the sums (p, c, h, W) of those around it, by the window's weights.

    The array is valid until the next day.
    """
    order, (first, last) = window.order, window.span
    around = deque(days.sums(day % days.count) for day in range(first, last))
    levels: list[np.ndarray] = []  # the smoothed sums, and their differences from the day before
    for day in range(days.count):
        around.append(days.sums((day + last) % days.count))
        if not levels:
            shape = around[0].shape
            levels = [np.zeros(shape) for _ in range(max(order, 1))]
            for k, level in enumerate(levels):
                _add(level, around, window.taps(k), first)
        else:
            if order == 0:
                levels[0][:] = 0
            _add(levels[-1], around, window.taps(order), first)
            for level, change in itertools.pairwise(reversed(levels)):
                change += level
        yield day, levels[0]
        around.popleft()


def _add(
    into: np.ndarray, around: Sequence[np.ndarray], taps: Mapping[int, float], first: int
) -> None:
    """Add the sums of the days at each lag, times its factor; one at a time, in the same order.

    Not as a product of matrices, whose rounding differs between machines: repair compares bytes.
    Small whole factors are added so often, which takes no memory.
    """
    for lag, factor in taps.items():
        day = around[lag - first]
        if factor in (1, 2):
            for _ in range(int(factor)):
                into += day
        elif factor in (-1, -2):
            for _ in range(int(-factor)):
                into -= day
        else:
            into += factor * day


def smoothed(counts: np.ndarray, window: Window) -> np.ndarray:
    """Counts (days, parts) summed over the days around, by the window's weights."""
    shifted = (factor * np.roll(counts, -lag, 0) for lag, factor in window.taps(0).items())
    return np.asarray(sum(shifted))


def _fill_empty(climatology: zarr.Array, counts: np.ndarray) -> None:
    """Hours or months without data take the mean of those of their day or year that have some.

    Args:
        climatology: (bins, C, H, W) with the means where there are data.
        counts: (days, parts) of the data.
    """
    parts = counts.shape[1]
    for day, number in enumerate(counts):
        if number.all() or not number.any():
            continue
        bins, share = slice(day * parts, (day + 1) * parts), climatology.chunks[1]
        for channel in range(0, climatology.shape[1], share):
            place = bins, slice(channel, channel + share)
            values = np.asarray(climatology[place])
            held = np.flatnonzero(number)
            total = sum(float(number[k]) * values[k].astype(np.float64) for k in held)
            values[number == 0] = total / number.sum()
            climatology[place] = values
