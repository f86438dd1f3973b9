"""One shard: read, check, write, sync, digest, record, in that order.

Shards are numbered by their times, and among those of the same times by their channels.

Shapes: ``N`` times of a shard, ``C`` its channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from climate.store.calendar import Period, in_unit_of, inside
from climate.store.layout import chunk_shape, codecs, open_folder
from climate.store.reader import ShardedArray, digest_shard
from climate.store.statistics import Partial, summarise
from vgbdm.door import open_array
from vgbdm.errors import InputError
from vgbdm.files import sync, write_json
from vgbdm.sealing import digest_file


@dataclass(frozen=True)
class Job:
    """What every shard's task needs to know; it can be sent to a Dask worker.

    Attributes:
        dataset: lazy; its first time is number ``offset`` of the store.
        offset: times of the store before those of the dataset.
        earlier: the store that holds these.
        channels: in the order of the state.
        times: all of the store.
        step: between times where none is missing.
        steps: times of a shard.
        share: channels of a shard; fewer in the last of the same times.
        training: period of the statistics.
        weights: (H,) area weights.
        nan_allowance: share of missing values per channel and shard that may be filled.
        out: the group to write to.
        records: folder of the records.
    """

    dataset: xr.Dataset
    offset: int
    earlier: Path | None
    channels: tuple[str, ...]
    times: np.ndarray
    step: np.timedelta64
    steps: int
    share: int
    training: Period
    weights: np.ndarray
    nan_allowance: float
    out: Path
    records: Path

    @property
    def shares(self) -> int:
        """Shards of the same times."""
        return -(-len(self.channels) // self.share)

    @property
    def count(self) -> int:
        """How many shards the store has."""
        return -(-len(self.times) // self.steps) * self.shares

    def span(self, index: int) -> tuple[int, int]:
        """First time of a shard, and one past its last."""
        first = index // self.shares * self.steps
        return first, min(first + self.steps, len(self.times))

    def part(self, index: int) -> slice:
        """Channels of a shard."""
        first = index % self.shares * self.share
        return slice(first, min(first + self.share, len(self.channels)))

    def file(self, index: int, name: str) -> Path:
        """Of a shard of an array, ``state`` or ``filled``."""
        time, share = divmod(index, self.shares)
        return self.out / f"{name}/c/{time}/{share}/0/0"

    def load(self, index: int, times: slice) -> Iterator[np.ndarray]:
        """Times of the dataset, of a shard's channels: C arrays (N, H, W), one by one."""
        names = self.channels[self.part(index)]
        block = self.dataset[list(names)].isel(time=times)
        if block.chunks:  # channels may share work
            block = block.compute(scheduler="synchronous")
        for name in names:
            yield block[name].values


def create_arrays(
    group: zarr.Group, shape: tuple[int, int, int], times: np.ndarray, codec: str
) -> int:
    """The empty states and fill mask, and the times.

    Args:
        group: to make them in.
        shape: (C, H, W).
        times: of the store.
        codec: of the states, see `climate.store.layout.codecs`.

    Returns:
        How many times a shard has.
    """
    chunks, shards = chunk_shape(*shape)
    names = ["time", "channel", "lat", "lon"]
    group.create_array(
        "state",
        shape=(len(times), *shape),
        dtype="float32",
        chunks=chunks,
        shards=shards,
        compressors=codecs(codec, *shape),
        fill_value=float("nan"),
        dimension_names=names,
        config={"write_empty_chunks": True},
    )
    group.create_array(
        "filled",
        shape=(len(times), *shape),
        dtype="bool",
        chunks=chunks,
        shards=shards,
        fill_value=False,
        dimension_names=names,
        attributes={"long_name": "missing in the source, filled with the channel's mean"},
    )
    clock = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}
    group.create_array(
        "time",
        shape=times.shape,
        dtype="int64",
        chunks=(TIME_CHUNK,),
        dimension_names=["time"],
        attributes={"standard_name": "time", **clock},
    )[...] = times.astype(np.int64)
    return shards[0]


TIME_CHUNK = 8192
"""Fixed, so that appended times leave those before where they are."""


def write_shard(job: Job, index: int) -> Partial | None:
    """Write one shard and its record; what its training states add up to."""
    values, mask = load_states(job, index)
    arrays = {"state": values} if mask is None else {"state": values, "filled": mask}
    for name in ("state", "filled"):
        job.file(index, name).unlink(missing_ok=True)  # zarr-python would read what is damaged
    for name, array in arrays.items():
        write_array(job.out, name, (job.span(index)[0], job.part(index).start), array)
    paths = {name: job.file(index, name) for name in arrays}
    for path in paths.values():
        sync(path)
        for folder in path.parents[:4]:
            sync(folder)
    partial = _summarise(job, index, values)
    record = {
        "files": {str(p.relative_to(job.out)): _digest(job, n, p) for n, p in paths.items()},
        "partial": partial.to_json() if partial else None,
    }
    write_json(job.records / f"{index:06d}.json", record)
    return partial


def _digest(job: Job, name: str, path: Path) -> list[Any]:
    """What the manifest says of a shard: of states, with its seal."""
    if name != "state":
        return digest_file(path)
    chunk, shard = chunk_shape(len(job.channels), *(job.dataset.sizes[k] for k in ("lat", "lon")))
    return digest_shard(path, shard[0] // chunk[0], shard[1] // chunk[1])


def write_array(root: Path, name: str, place: tuple[int, int], values: np.ndarray) -> None:
    """Put states into an array, from a time and a channel on; zarr-python renames what is whole."""
    array = open_array(root, name)
    time, channel = place
    array[time : time + len(values), channel : channel + values.shape[1]] = values


def load_states(job: Job, index: int) -> tuple[np.ndarray, np.ndarray | None]:
    """States (N, C, H, W) float32 without missing values; where they were filled, if any were."""
    (start, stop), part = job.span(index), job.part(index)
    maps = tuple(job.dataset.sizes[axis] for axis in ("lat", "lon"))
    shape = (stop - start, part.stop - part.start, *maps)
    values, mask = np.empty(shape, np.float32), None
    kept = max(0, min(job.offset - start, stop - start))
    if kept:
        assert job.earlier is not None
        held = slice(start, start + kept)
        earlier = open_folder(job.earlier)
        values[:kept] = ShardedArray(earlier).read(start, start + kept)[:, part]
        filled = np.asarray(earlier.open("filled")[held, part])
        if filled.any():
            mask = np.zeros(shape, bool)
            mask[:kept] = filled
    place = slice(start + kept - job.offset, stop - job.offset)
    for c, field in enumerate(job.load(index, place)):
        values[kept:, c] = field
    with np.errstate(all="ignore"):
        whole = np.isfinite(values[kept:].sum())  # far cheaper than a mask, and rarely wrong
    missing = None if whole else ~np.isfinite(values[kept:])
    if missing is not None and missing.any():
        _fill(values[kept:], missing, job.channels[part], job, job.times[start + kept : stop])
        mask = np.zeros(shape, bool) if mask is None else mask
        mask[kept:] = missing
    return values, mask


def _summarise(job: Job, index: int, values: np.ndarray) -> Partial | None:
    start, stop = job.span(index)
    chosen = inside(job.times[start:stop], job.training)
    if not chosen.any() or job.earlier is not None:  # an append changes no statistic
        return None
    linked, before = np.zeros_like(chosen), None
    clock = in_unit_of(job.step, job.times)
    linked[1:] = chosen[1:] & chosen[:-1] & (np.diff(clock[start:stop]) == job.step)
    if start and chosen[0] and clock[start] - clock[start - 1] == job.step:
        linked[0] = bool(inside(job.times[start - 1 : start], job.training)[0])
    if linked[0]:
        halo = slice(start - 1 - job.offset, start - job.offset)
        before = [field[0] for field in job.load(index, halo)]
    return summarise(values, before, chosen, linked, job.weights)


def _fill(
    values: np.ndarray, missing: np.ndarray, names: tuple[str, ...], job: Job, times: np.ndarray
) -> None:
    """Fill missing values with their channel's mean over the shard, as far as that is allowed."""
    for c, name in enumerate(names):
        share = float(missing[:, c].mean())
        if share > job.nan_allowance:
            first = int(np.flatnonzero(missing[:, c].any((1, 2)))[0])
            told = job.dataset[name].encoding.get("file_at")
            where = f"{told(times[first])}: " if told else ""
            raise InputError(
                f"{where}variable {name}: {share:.2%} of its values around {times[first]} are "
                f"missing or not finite, nan_allowance is {job.nan_allowance:.2%}; mend the file "
                "or allow more"
            )
        if share == 1.0:
            raise InputError(
                f"variable {name}: all its values of {times[0]} … {times[-1]} are missing; leave "
                "out the variable or the period"
            )
        if share:
            values[:, c][missing[:, c]] = values[:, c][~missing[:, c]].mean(dtype=np.float64)
