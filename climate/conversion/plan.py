"""What a conversion will take, said before it begins."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from climate.conventions.calendar import inside
from climate.conventions.wording import period, size
from climate.conversion.request import read_request
from climate.conversion.shards import Job
from climate.store.layout import chunk_shape
from vgbdm.errors import InputError
from vgbdm.tasks import Dask

log = logging.getLogger(__name__)
TASK_SHARDS = 3.5
"""Shards that a task holds: a source's block, the states, a mask, what is compressed."""
TASK_PIECES = 4
"""Pieces of what is regridded that a task holds: as stored, checked, in float64."""
SPARE_BYTES = 64 * 2**20
"""Room for metadata and records."""


@dataclass(frozen=True)
class ConversionPlan:
    """Sizes in bytes, before compression.

    Attributes:
        steps: times of the store.
        shards: still to write.
        shard: bytes of one.
        chunk: shape (time, channel, lat, lon).
        size: of all that is still to write, with the climatology.
        free: on the disk.
        threads: tasks at a time.
        piece: bytes of what is read at a time and regridded; 0 where nothing is.
    """

    steps: int
    shards: int
    shard: int
    chunk: tuple[int, ...]
    size: int
    free: int
    threads: int
    piece: int = 0

    def __str__(self) -> str:
        memory = TASK_SHARDS * self.shard + TASK_PIECES * self.piece
        return (
            f"{self.steps} steps; {self.shards} shards of {size(self.shard)} to write, chunk "
            f"{self.chunk}; {size(self.size)} before compression, {size(self.free)} free; "
            f"{size(memory)} of memory per task × {self.threads} = {size(memory * self.threads)}"
        )


def make_plan(
    job: Job, indices: Sequence[int], bins: int, scheduler: str, workers: int | None, store: Path
) -> ConversionPlan:
    """The plan of some shards, logged.

    Args:
        job: they belong to.
        indices: still to write.
        bins: of the climatology; 0 where it is not written.
        scheduler: ``threads``, ``synchronous`` or an address.
        workers: threads, by default as many as cores.
        store: folder, which must exist.

    Raises:
        InputError: if it does not fit on the disk.
    """
    shape = (len(job.channels), job.dataset.sizes["lat"], job.dataset.sizes["lon"])
    chunk = chunk_shape(*shape)[0]
    state = 4 * int(np.prod(shape))
    steps = sum(b - a for a, b in map(job.span, indices)) // job.shares
    needed, free = state * (steps + bins + 1), shutil.disk_usage(store).free
    plan = ConversionPlan(
        steps=len(job.times),
        shards=len(indices),
        shard=state // shape[0] * job.share * min(job.steps, len(job.times)),
        chunk=chunk,
        size=needed,
        free=free,
        threads=Dask(scheduler, workers).threads,
        piece=max(job.dataset[name].encoding.get("beside", 0) for name in job.channels),
    )
    log.info("%s", plan)
    if needed + SPARE_BYTES > free:
        raise InputError(
            f"store {store}: needs up to {size(needed + SPARE_BYTES)} for {steps} steps, "
            f"{size(free)} are free; choose another disk, fewer variables or a shorter period"
        )
    return plan


def preview(
    dataset: xr.Dataset,
    store: str | Path,
    splits: Mapping[str, Sequence[object]],
    scheduler: str,
    workers: int | None,
) -> list[str]:
    """What a conversion from its beginning will write, and its periods, in lines; writes nothing.

    Args:
        dataset: lazy, as `climate.sources` says.
        store: folder to make.
        splits: ``train``, ``val``, ``test`` → [start, end].
        scheduler: ``threads``, ``synchronous`` or an address.
        workers: threads; by default as many as cores.

    Raises:
        InputError: what the conversion would refuse before it writes.
    """
    request, path = read_request(dataset, splits, {}), Path(store).absolute()
    job = request.job(path, path)
    there = next(place for place in (path, *path.parents) if place.exists())
    bins = int(np.prod(request.binning.shape))
    plan = make_plan(job, range(job.count), bins, scheduler, workers, there)
    lines = [f"writes      {plan}"]
    for name, (start, end) in request.splits.items():
        count = int(inside(request.times, (start, end)).sum())
        lines.append(f"{name:11} {period(start, end)}, {count} times")
    return lines
