"""One shard: read, check, write, sync, digest, record, in that order.

Shapes: ``N`` times of a shard, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import dask
import numpy as np
import xarray as xr
import zarr

from climate.store.calendar import Period, in_unit_of, inside
from climate.store.journal import digest_file
from climate.store.layout import chunk_shape, codecs
from climate.store.statistics import Partial, summarise
from vgbdm.errors import InputError
from vgbdm.training.checkpoint import sync, write_json


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
    training: Period
    weights: np.ndarray
    nan_allowance: float
    out: Path
    records: Path

    @property
    def count(self) -> int:
        """How many shards the store has."""
        return -(-len(self.times) // self.steps)

    def span(self, index: int) -> tuple[int, int]:
        """First time of a shard, and one past its last."""
        return index * self.steps, min((index + 1) * self.steps, len(self.times))


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


def shard_files(index: int) -> tuple[str, str]:
    """Files of a shard: states, and the fill mask where anything was filled."""
    return f"state/c/{index}/0/0/0", f"filled/c/{index}/0/0/0"


def write_shard(job: Job, index: int) -> Partial | None:
    """Write one shard and its record; what its training states add up to."""
    start, stop = job.span(index)
    values, mask = load_states(job, start, stop)
    for name in shard_files(index):
        (job.out / name).unlink(missing_ok=True)  # zarr-python would read what is damaged
    written = [write_array(job.out, "state", start, values)]
    if mask.any():
        written.append(write_array(job.out, "filled", start, mask))
    paths = [job.out / name for name in shard_files(index)[: len(written)]]
    for path in paths:
        sync(path)
        for folder in path.parents[:4]:
            sync(folder)
    partial = _summarise(job, start, stop, values)
    record = {
        "files": {str(path.relative_to(job.out)): digest_file(path) for path in paths},
        "partial": partial.to_json() if partial else None,
    }
    write_json(job.records / f"{index:06d}.json", record)
    return partial


def write_array(root: Path, name: str, start: int, values: np.ndarray) -> str:
    """Put times into an array; zarr-python writes aside and renames."""
    array = zarr.open_array(root / name, mode="r+")
    array[start : start + len(values)] = values
    return name


def load_states(job: Job, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """States (N, C, H, W) float32 without missing values, and where they were filled."""
    shape = (stop - start, len(job.channels), *(job.dataset.sizes[a] for a in ("lat", "lon")))
    values, mask = np.empty(shape, np.float32), np.zeros(shape, bool)
    kept = max(0, min(job.offset - start, stop - start))
    if kept:
        assert job.earlier is not None
        for name, out in (("state", values), ("filled", mask)):
            out[:kept] = zarr.open_array(job.earlier / name, mode="r")[start : start + kept]
    place = slice(start + kept - job.offset, stop - job.offset)
    with dask.config.set(scheduler="synchronous"):
        block = job.dataset.isel(time=place).load()
    for c, name in enumerate(job.channels):
        values[kept:, c] = block[name].values
    del block
    np.logical_not(np.isfinite(values[kept:]), out=mask[kept:])
    if mask[kept:].any():
        _fill(values[kept:], mask[kept:], job, job.times[start + kept : stop])
    return values, mask


def _summarise(job: Job, start: int, stop: int, values: np.ndarray) -> Partial | None:
    chosen = inside(job.times[start:stop], job.training)
    if not chosen.any():
        return None
    linked, before = np.zeros_like(chosen), None
    clock = in_unit_of(job.step, job.times)
    linked[1:] = chosen[1:] & chosen[:-1] & (np.diff(clock[start:stop]) == job.step)
    if start and chosen[0] and clock[start] - clock[start - 1] == job.step:
        linked[0] = bool(inside(job.times[start - 1 : start], job.training)[0])
    if linked[0]:
        with dask.config.set(scheduler="synchronous"):
            halo = job.dataset[list(job.channels)].isel(time=start - 1 - job.offset).load()
        before = np.stack([halo[name].values for name in job.channels]).astype(np.float32)
    return summarise(values, before, chosen, linked, job.weights)


def _fill(values: np.ndarray, missing: np.ndarray, job: Job, times: np.ndarray) -> None:
    """Fill missing values with their channel's mean over the shard, as far as that is allowed."""
    for c, name in enumerate(job.channels):
        share = float(missing[:, c].mean())
        if share > job.nan_allowance:
            first = int(np.flatnonzero(missing[:, c].any((1, 2)))[0])
            raise InputError(
                f"variable {name}: {share:.2%} of its values around {times[first]} are missing or "
                f"not finite, nan_allowance is {job.nan_allowance:.2%}; mend the file or allow more"
            )
        if share == 1.0:
            raise InputError(
                f"variable {name}: all its values of {times[0]} … {times[-1]} are missing; leave "
                "out the variable or the period"
            )
        if share:
            values[:, c][missing[:, c]] = values[:, c][~missing[:, c]].mean(dtype=np.float64)
