"""One shard: read, check, write, sync, digest, record, in that order.

Shards are numbered by their times, and among those of the same times by their channels.

Shapes: ``N`` times of a shard, ``C`` its channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from climate.conventions.calendar import Period, in_unit_of, inside
from climate.conversion.map_survey import survey
from climate.conversion.moments import Partial, summarise
from climate.store.layout import chunk_shape, codecs, open_folder
from climate.store.mask import check_atmosphere, pack
from climate.store.odd_maps import Maps
from climate.store.reader import ShardedArray, digest_shard
from vgbdm.errors import InputError
from vgbdm.storage.door import open_array
from vgbdm.storage.files import sync, write_json
from vgbdm.storage.sealing import digest_file


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
        planned: (C, H, W) points that may be masked; None: none.
        mask: (C, H, W) those of them that are not ruled out yet; None: none.
        settled: whether the mask is the store's: all of its points must be missing.
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
    planned: np.ndarray | None
    mask: np.ndarray | None
    settled: bool
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
    values, filled, masked = load_states(job, index)
    arrays = {"state": values} if filled is None else {"state": values, "filled": filled}
    for name in ("state", "filled"):
        job.file(index, name).unlink(missing_ok=True)  # zarr-python would read what is damaged
    for name, array in arrays.items():
        write_array(job.out, name, (job.span(index)[0], job.part(index).start), array)
    paths = {name: job.file(index, name) for name in arrays}
    for path in paths.values():
        sync(path)
        for folder in path.parents[:4]:
            sync(folder)
    before = _before(job, index)
    partial = _summarise(job, index, values, before, masked)
    planned = None if job.planned is None else job.planned[job.part(index)]
    record: dict[str, Any] = {
        "files": {str(p.relative_to(job.out)): _digest(job, n, p) for n, p in paths.items()},
        "partial": partial.to_json() if partial else None,
        "maps": [one.to_json() for one in _survey(job, index, values, filled, before)],
    }
    if planned is not None:  # what is as planned is not said again for each of many shards
        own = np.zeros_like(planned) if masked is None else masked
        record["mask"] = None if np.array_equal(own, planned) else pack(own)
    write_json(job.records / f"{index:06d}.json", record)
    return partial


def _digest(job: Job, name: str, path: Path) -> list[Any]:
    """What the manifest says of a shard: of states, with its seal."""
    if name != "state":
        return digest_file(path)
    chunk, _ = chunk_shape(len(job.channels), *(job.dataset.sizes[k] for k in ("lat", "lon")))
    return digest_shard(path, job.steps // chunk[0], job.share // chunk[1])


def write_array(root: Path, name: str, place: tuple[int, int], values: np.ndarray) -> None:
    """Put states into an array, from a time and a channel on; zarr-python renames what is whole."""
    array = open_array(root, name)
    time, channel = place
    array[time : time + len(values), channel : channel + values.shape[1]] = values


def load_states(job: Job, index: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """States (N, C, H, W) float32, NaN where they are masked and nowhere else.

    Returns:
        The states; where they were filled, if any were; the masked points (C, H, W), if there are.
    """
    (start, stop), part = job.span(index), job.part(index)
    maps = tuple(job.dataset.sizes[axis] for axis in ("lat", "lon"))
    shape = (stop - start, part.stop - part.start, *maps)
    values, filled = np.empty(shape, np.float32), None
    kept = max(0, min(job.offset - start, stop - start))
    if kept:
        assert job.earlier is not None
        held = slice(start, start + kept)
        earlier = open_folder(job.earlier)
        values[:kept] = ShardedArray(earlier).read(start, start + kept)[:, part]
        before = np.asarray(earlier.open("filled")[held, part])
        if before.any():
            filled = np.zeros(shape, bool)
            filled[:kept] = before
    place = slice(start + kept - job.offset, stop - job.offset)
    for c, field in enumerate(job.load(index, place)):
        values[kept:, c] = field
    missing, masked = _settle(job, index, values[kept:], job.times[start + kept : stop])
    if missing is not None:
        filled = np.zeros(shape, bool) if filled is None else filled
        filled[kept:] = missing
    return values, filled, masked


def _settle(
    job: Job, index: int, values: np.ndarray, times: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Fill what is missing in new states (N, C, H, W), but for the mask, which becomes NaN.

    Returns:
        Where they were filled; the masked points (C, H, W); None where there are none.
    """
    part = job.part(index)
    limit = None if job.mask is None else job.mask[part]
    with np.errstate(all="ignore"):
        if limit is None and np.isfinite(values.sum()):  # far cheaper, and rarely wrong
            return None, None
    filled, masked = None, np.zeros(values.shape[1:], bool)
    for c, name in enumerate(job.channels[part]):
        own, missing = values[:, c], ~np.isfinite(values[:, c])
        if limit is not None:
            masked[c] = _standing(job, name, missing, limit[c], times)
            missing &= ~masked[c]
            own[:, masked[c]] = np.nan
        if missing.any():
            _fill(own, missing, int((~masked[c]).sum()), name, job, times)
            filled = np.zeros(values.shape, bool) if filled is None else filled
            filled[:, c] = missing
    return filled, masked if masked.any() else None


def _standing(
    job: Job, name: str, missing: np.ndarray, limit: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """Points (H, W) of the mask ``limit`` that are missing at all times of (N, H, W).

    Raises:
        InputError: if these are all points, the channel must be whole, or the store's mask is not
            met.
    """
    stands = limit & missing.all(0)
    if stands.all():
        raise InputError(_all_missing(name, times))
    if stands.mean() > job.nan_allowance:  # else all shards together tell whether it stands
        check_atmosphere(name, _where(job, name, times[0]), stands, times)
    there = limit & ~stands
    if job.settled and there.any():
        first = times[int(np.flatnonzero((~missing & there).any((1, 2)))[0])]
        raise InputError(
            f"{_where(job, name, first)}variable {name}: has values at {first} on "
            f"{int(there.sum())} points that are masked in the store, as in every time; give data "
            "with the store's mask, or convert all of it anew to another store"
        )
    return stands


def _where(job: Job, name: str, time: np.datetime64) -> str:
    """The file that holds a time, to begin a message with; empty where it is not known."""
    told = job.dataset[name].encoding.get("file_at")
    return f"{told(time)}: " if told else ""


def _all_missing(name: str, times: np.ndarray) -> str:
    return (
        f"variable {name}: all its values of {times[0]} … {times[-1]} are missing; leave out the "
        "variable or the period"
    )


def _before(job: Job, index: int) -> Sequence[np.ndarray] | None:
    """The state before a shard, C maps (H, W), NaN where missing; None if it isn't one step before.

    Of a shard that begins with times the store held before it is not wanted.
    """
    start, part = job.span(index)[0], job.part(index)
    clock = in_unit_of(job.step, job.times)
    if not start or start < job.offset or clock[start] - clock[start - 1] != job.step:
        return None
    if start > job.offset:
        halo = slice(start - 1 - job.offset, start - job.offset)
        return [field[0] for field in job.load(index, halo)]
    assert job.earlier is not None
    earlier = open_folder(job.earlier)
    held = ShardedArray(earlier).read(start - 1, start)[0, part]
    filled = np.asarray(earlier.open("filled")[start - 1, part])
    return list(np.where(filled, np.float32(np.nan), held))


def _survey(
    job: Job,
    index: int,
    values: np.ndarray,
    filled: np.ndarray | None,
    before: Sequence[np.ndarray] | None,
) -> list[Maps]:
    """What the maps of a shard are like that the store did not hold before."""
    start, stop = job.span(index)
    old = max(0, job.offset - start)
    if old:
        absent = np.zeros((), bool) if filled is None else filled[old - 1]
        before = list(np.where(absent, np.float32(np.nan), values[old - 1]))
    linked = np.zeros(stop - start, bool)
    linked[1:] = np.diff(in_unit_of(job.step, job.times)[start:stop]) == job.step
    linked[0] = before is not None
    missing = None if filled is None else filled[old:]
    times = job.times[start + old : stop]
    return survey(values[old:], before, missing, linked[old:], times, job.weights)


def _summarise(
    job: Job,
    index: int,
    values: np.ndarray,
    before: Sequence[np.ndarray] | None,
    masked: np.ndarray | None,
) -> Partial | None:
    start, stop = job.span(index)
    chosen = inside(job.times[start:stop], job.training)
    if not chosen.any() or job.earlier is not None:  # an append changes no statistic
        return None
    linked = np.zeros_like(chosen)
    clock = in_unit_of(job.step, job.times)
    linked[1:] = chosen[1:] & chosen[:-1] & (np.diff(clock[start:stop]) == job.step)
    if before is not None and chosen[0]:
        linked[0] = bool(inside(job.times[start - 1 : start], job.training)[0])
    return summarise(values, before, chosen, linked, job.weights, masked)


def _fill(
    values: np.ndarray, missing: np.ndarray, points: int, name: str, job: Job, times: np.ndarray
) -> None:
    """Fill missing values with their channel's mean over the shard, as far as that is allowed.

    Args:
        values: (N, H, W) of one channel.
        missing: (N, H, W) which are missing, masked points aside.
        points: of a map that are not masked.
        name: of the channel.
        job: the shard's.
        times: (N,).
    """
    share = float(missing.sum() / (len(missing) * points))
    if share > job.nan_allowance:
        first = int(np.flatnonzero(missing.any((1, 2)))[0])
        beside = "" if points == missing[0].size else " beside those that are masked in every time"
        raise InputError(
            f"{_where(job, name, times[first])}variable {name}: {share:.2%} of its values around "
            f"{times[first]} are missing or not finite{beside}, nan_allowance is "
            f"{job.nan_allowance:.2%}; mend the file or allow more"
        )
    if share == 1.0:
        raise InputError(_all_missing(name, times))
    held = ~missing & np.isfinite(values)
    values[missing] = values[held].mean(dtype=np.float64)
