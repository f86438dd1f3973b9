"""What a source has found, and the lazy dataset made of it: times are read when asked for.

Variables are lazy by xarray's own indexing, without a Dask graph: whoever loads some times, such as
a Dask task that makes a shard, reads those times and no others, and nothing grows with the years
but a table of indices. Levels of one stored variable are read together, so that a stored chunk
which spans many of them is decoded once. Reading goes in pieces, so that what is decoded at once is
bounded by `PIECE_BYTES`, by `REGRIDDED_BYTES` where it is regridded, or by a stored chunk.

Shapes: ``T`` times, ``L`` levels, ``H`` latitudes, ``W`` longitudes of the dataset.
"""

from __future__ import annotations

import logging
import math
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from climate.conventions.calendar import Period, is_monthly
from climate.conventions.variables import known_channel
from climate.conventions.wording import date, duration
from climate.sources.absence import StandingGaps, check_present
from climate.sources.axes import Part, as_slice, same
from climate.sources.clock import check_calendar, decode_times, read_bounds, rounding
from climate.sources.intervals import (
    ROWS_AT_ONCE,
    check_method,
    ends_of_intervals,
    find_method,
    join_intervals,
    joined,
)
from climate.sources.meaning import check_levels, check_pressures, find_units, is_difference
from climate.sources.plausibility import check_heights, check_possible, limits_of
from climate.sources.select import Frame, Selection
from climate.sources.vertical import PRESSURE
from vgbdm.errors import InputError

log = logging.getLogger(__name__)

PIECE_BYTES = 128 * 2**20
"""Of stored chunks, decoded, that a block reads at a time."""
REGRIDDED_BYTES = 32 * 2**20
"""The same where they are regridded: what is kept of a piece is little beside it."""
MAX_REREADS = 32
"""Blocks in a stored chunk above which a warning says that conversion will be slow."""


@dataclass(frozen=True)
class Series:
    """Channels that are levels of the same stored variable, over all its files.

    Attributes:
        channels: short names.
        levels: of the channels, hPa or in the files' units; None where there are none.
        parts: one per file.
        units: of all files' values by the config; None: as each file says.
        sparse: whether absent chunks of a Zarr store mean its fill value.
        method: what they are over time by the config; None: as the files say.
        left: parts of the same variable that have none of these levels.
    """

    channels: tuple[str, ...]
    levels: tuple[float | None, ...]
    parts: tuple[Part, ...]
    units: str | None = None
    sparse: bool = False
    method: str | None = None
    left: tuple[Part, ...] = ()


def timed(part: Part) -> Part:
    """A part that holds one time, which is no dimension of it, as one of that time.

    Raises:
        InputError: if that time cannot be read.
    """
    if part.times is not None or part.stamp is None:
        return part
    time = part.stamp["time"].variable
    times, bounds = decode_times(time, part.where), read_bounds(part.stamp, time, part.where)
    return replace(part, times=times.reshape(1), bounds=bounds, rounded=rounding(time), stamp=None)


def _suspected(series: Series) -> Series:
    """A series whose files may hold undeclared fills."""
    suspects = (replace(p, validity=replace(p.validity, suspected=p.what)) for p in series.parts)
    return replace(series, parts=tuple(suspects))


class SeriesArray:
    """A series as an array (T, L, H, W) float32 that reads what is asked of it.

    Args:
        series: what to read.
        selection: times and grid wanted.
        valid: the only times that hold data, where the source says so.
        over: whether only times are kept whose step is whole, for another series is joined there.
    """

    def __init__(
        self, series: Series, selection: Selection, valid: Period | None, over: bool
    ) -> None:
        stranger = known_channel(series.channels[0]) is None  # the atmosphere has no masks
        series = _suspected(series) if stranger else series
        self.series, self.over, self.joins = series, over, 1
        self.method = find_method(series.channels[0], series.parts, series.method)
        self.where = series.parts[0].where
        self.levels = [
            [part.level_index(level) for level in series.levels] for part in series.parts
        ]
        check_pressures(series.channels, series.levels, series.parts)
        check_levels(series.channels[0], series.parts)
        self.frames = [selection.frame(part) for part in series.parts]
        for part, frame in zip(series.parts, self.frames, strict=True):
            for axis in ("lat", "lon"):
                if not same(getattr(frame, axis), getattr(self.frame, axis)):
                    raise InputError(f"{part.where}: its {axis} differ from those of {self.where}")
        self.units, self.conversions = find_units(
            series.channels[0], series.parts, series.units, self._first_map, series.levels[0]
        )
        self.limits = [
            limits_of(series.channels[0], change, is_difference(part))
            for part, change in zip(series.parts, self.conversions, strict=True)
        ]
        self.gaps: dict[int, StandingGaps] = {}
        self.times, self.part, self.position = self._index(selection, valid)
        if stranger:
            ends = {k: self.position[self.part == k][[0, -1]] for k in np.unique(self.part)}
            self.gaps = {int(k): StandingGaps(series.parts[k], held) for k, held in ends.items()}

    @property
    def source_units(self) -> str:
        """The units that the files have, in order of the files."""
        units = [self.series.units or str(part.units) for part in self.series.parts]
        return ", ".join(dict.fromkeys(units))

    def _first_map(self, index: int) -> np.ndarray:
        """The first time of a part as stored (1, L, H, W)."""
        return self._stored(index, np.zeros(1, int), None)

    @property
    def _piece_bytes(self) -> int:
        return PIECE_BYTES if self.frame.means is None else REGRIDDED_BYTES

    @property
    def beside(self) -> int:
        """Bytes of a piece that is no part of a block, as where it is regridded."""
        if self.frame.means is None:
            return 0
        return max(self._piece_bytes, _stored_chunk(self.series.parts[0].variable)[1])

    def file_at(self, time: np.datetime64) -> str:
        """The file that holds a time, for messages."""
        near = min(
            int(np.searchsorted(self.times, time.astype(self.times.dtype))), self.shape[0] - 1
        )
        return self.series.parts[int(self.part[(near + 1) * self.joins - 1])].what

    @property
    def frame(self) -> Frame:
        """The grid of the dataset."""
        return self.frames[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, L, H, W)."""
        return (len(self.times), len(self.levels[0]), len(self.frame.lat), len(self.frame.lon))

    def _index(
        self, selection: Selection, valid: Period | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Selected times (T,), increasing, and the part and the place in it where each is."""
        parts = self.series.parts
        for part in parts:
            if part.times is None:
                raise InputError(
                    f"{part.where}: {part.name} has no time; leave it out, or give it its time as "
                    "the coordinate time"
                )
        stored = [part.times for part in parts if part.times is not None]
        times = np.concatenate(stored)
        part_of = np.repeat(np.arange(len(parts)), [len(t) for t in stored])
        position = np.concatenate([np.arange(len(t)) for t in stored])
        order = np.argsort(times, kind="stable")
        order = order[selection.within(times[order], valid, self.where)]
        times, part_of, position = times[order], part_of[order], position[order]
        again = np.flatnonzero(np.diff(times) == np.timedelta64(0)) + 1
        for k in again:
            once, twice = (self.read(int(part_of[i]), position[i : i + 1]) for i in (k - 1, k))
            alike = self.conversions[int(part_of[k])] == self.conversions[int(part_of[k - 1])]
            rounding = 0.0 if alike else 1e-5  # of float32, where only one was converted
            if not np.allclose(once, twice, rtol=rounding, atol=rounding, equal_nan=True):
                raise _twice(times[k], *(parts[int(part_of[i])] for i in (k - 1, k)))
        kept = np.setdiff1d(np.arange(len(times)), again)
        if self.over and selection.step is not None:
            ends = self._ends(times[kept], part_of[kept], position[kept])
            selection.subsample(ends, self.where)  # refuses a step that is none
            whole = self._join(ends, selection.step)
            times, kept = ends[whole[:, -1]], kept[whole.ravel()]
        else:
            kept = kept[selection.subsample(times[kept], self.where)]
            times = times[kept]
        if is_monthly(check_calendar(times, self.where, max(part.rounded for part in parts))):
            times = times.astype("datetime64[M]")  # wherever in its month a mean is stamped
        return times.astype("datetime64[ns]"), part_of[kept], position[kept].astype(np.int32)

    def _ends(self, times: np.ndarray, part: np.ndarray, position: np.ndarray) -> np.ndarray:
        """When the intervals at some times (T,) end: what is sampled has its time itself."""
        channel, held = self.series.channels[0], [part.bounds for part in self.series.parts]
        check_method(channel, self.where, self.method)
        if self.method == "point" or any(bounds is None for bounds in held):
            return times
        starts = np.cumsum([0, *(len(bounds) for bounds in held if bounds is not None)])
        bounds = np.concatenate([bounds for bounds in held if bounds is not None])
        return ends_of_intervals(channel, self.where, times, bounds[starts[part] + position])

    def keep(self, chosen: np.ndarray) -> None:
        """Leave out all times but some (T,)."""
        self.times = self.times[chosen]
        self.part, self.position = (
            index.reshape(-1, self.joins)[chosen].ravel() for index in (self.part, self.position)
        )

    def _join(self, times: np.ndarray, step: np.timedelta64) -> np.ndarray:
        """Indices (N, n) of the stored times that make each time; n is 1 for what is sampled."""
        channel = self.series.channels[0]
        count, last = join_intervals(channel, self.where, times, step)
        self.joins = 1 if self.method == "point" else count
        if self.joins > 1:
            names = ", ".join(self.series.channels)
            log.info("%s: the %s over %s of the intervals that end in it", names, self.method,
                     duration(step))  # fmt: skip
        return last[:, None] + np.arange(1 - self.joins, 1)

    def level(self, k: int, index: np.ndarray) -> np.ndarray:
        """Some times of one level (n, H, W).

        All levels of these times are read, and kept for this thread until each was asked for.
        """
        count = self.shape[1]
        if count == 1:
            return self.take(index)[:, 0]
        kept = _kept.levels.get(self)
        if kept is None or k not in kept.waiting or not np.array_equal(kept.index, index):
            kept = _Kept(index, self.take(index), set(range(count)))
            _kept.levels[self] = kept
        kept.waiting.discard(k)
        if not kept.waiting:
            del _kept.levels[self]
        return kept.values[:, k]

    def take(self, index: np.ndarray) -> np.ndarray:
        """Some times (n,) as (n, L, H, W), read in pieces and joined."""
        if self.joins == 1:
            return self._rows(index)
        size, out = max(1, ROWS_AT_ONCE // self.joins), []
        for at in range(0, len(index), size):
            rows = index[at : at + size, None] * self.joins + np.arange(self.joins)
            out.append(joined(self._rows(rows.ravel()), self.joins, self.method))
        return np.concatenate(out) if out else np.empty((0, *self.shape[1:]), np.float32)

    def _rows(self, index: np.ndarray) -> np.ndarray:
        """Some of the stored maps."""
        part, position = self.part[index], self.position[index]
        out = np.empty((len(index), *self.shape[1:]), np.float32)
        start = 0
        while start < len(index):
            end = self._piece_end(part, position, start)
            out[start:end] = self.read(int(part[start]), position[start:end])
            start = end
        return out

    def _piece_end(self, part: np.ndarray, position: np.ndarray, start: int) -> int:
        """The end of a piece from a time on: of one file, and of few stored chunks."""
        along, chunk_bytes = _stored_chunk(self.series.parts[int(part[start])].variable)
        count = along * max(1, self._piece_bytes // chunk_bytes)
        end = (position[start] // along) * along + count
        inside = (part[start:] == part[start]) & (position[start:] < end)
        return len(part) if inside.all() else start + int(inside.argmin())

    def read(self, index: int, positions: np.ndarray) -> np.ndarray:
        """Times of one part as (T, L, H, W) float32, in the channels' unit."""
        part, limits = self.series.parts[index], self.limits[index]
        units = self.series.units or str(part.units)

        def check(values: np.ndarray) -> None:
            if not self.series.sparse:
                wanted = {"time": positions, "level": np.array(self.levels[index])}
                key = f"source.fields.{self.series.channels[0]}.absent"
                check_present(part, wanted, key, self.gaps.get(index))
            check_possible(values, limits, part, positions, self.series.channels, units)
            if self.series.units is None and len(values) and not is_difference(part):
                levels = self.pressures(index)
                change = self.conversions[index]
                check_heights(values[0], part, self.series.channels, levels, change, units)

        return self.conversions[index](self._stored(index, positions, check))

    def pressures(self, index: int) -> tuple[float | None, ...]:
        """The channels' levels in hPa; None where those of a part are no pressures."""
        unit = self.series.parts[index].level_unit
        levels = self.series.levels
        return levels if unit in (PRESSURE, None) else (None,) * len(levels)

    def _stored(
        self, index: int, positions: np.ndarray, check: Callable[[np.ndarray], None] | None
    ) -> np.ndarray:
        """The same in the file's own unit."""
        part, frame = self.series.parts[index], self.frames[index]
        chosen: dict[str, Any] = {}
        if "time" in part.variable.dims:
            chosen["time"] = as_slice(positions)
        if "level" in part.variable.dims:
            chosen["level"] = as_slice(np.array(self.levels[index]))
        return frame.read(part, chosen, check)

    def warn_of_rereads(self, steps: int) -> None:
        """Say so where every stored chunk will be read for many blocks of ``steps``."""
        along, _ = _stored_chunk(self.series.parts[0].variable)
        if along > MAX_REREADS * steps:
            log.warning(
                "%s: %s is stored %d times to a chunk, the training store takes %d at once: each "
                "chunk will be read %d times; rechunk it first",
                self.where, self.series.parts[0].name, along, steps, -(-along // steps),
            )  # fmt: skip


def _twice(time: np.datetime64, first: Part, second: Part) -> InputError:
    """Two values of one time: of two forecasts, or in two files of which one is wrong."""
    starts = sorted({part.initial for part in (first, second) if part.initial is not None})
    if len(starts) == 2:
        return InputError(
            f"{second.where}: {date(time)} comes of the forecasts from {date(starts[0])} and from "
            f"{date(starts[1])}, which are no series of states; keep one of each time, e.g. the "
            f"leads before {duration(starts[1] - starts[0])} of each"
        )
    return InputError(
        f"{second.where}: {date(time)} comes twice with different values; remove the wrong file"
    )


@dataclass(frozen=True)
class _Kept:
    """Levels that were read and not all handed out."""

    index: np.ndarray
    values: np.ndarray
    waiting: set[int]


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.levels: weakref.WeakKeyDictionary[SeriesArray, _Kept] = weakref.WeakKeyDictionary()


_kept = _PerThread()


def _stored_chunk(variable: xr.Variable) -> tuple[int, int]:
    """Times in a stored chunk, and its bytes when decoded; a state where nothing is chunked."""
    chunks = variable.encoding.get("chunks") or variable.encoding.get("chunksizes")
    sizes = dict(variable.sizes)
    if chunks is None or len(chunks) != variable.ndim:
        along = {**sizes, "time": 1}
    else:
        along = dict(zip(variable.sizes, map(int, chunks), strict=True))
    return along.get("time", 1), variable.dtype.itemsize * math.prod(along.values())
