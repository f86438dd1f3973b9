"""Shards as tasks."""

from __future__ import annotations

from collections.abc import Sequence

from climate.conversion.shards import Job, write_shard
from vgbdm.progress import progress
from vgbdm.tasks import Dask, run_tasks

DIED = (
    "while it wrote a shard, more often than the cluster allows; see its log, give it more memory "
    "where it had none left, and run the same command again"
)


def write_shards(job: Job, indices: Sequence[int], scheduler: str, workers: int | None) -> None:
    """Write shards; as many at a time as there are threads.

    Args:
        job: that they belong to.
        indices: of the shards.
        scheduler: ``threads``, ``synchronous`` or the address of a cluster.
        workers: threads; by default as many as cores. A cluster has its own.

    Raises:
        InputError: what a shard's task refuses, or a cluster that does not answer.
    """
    times = sum(b - a for a, b in map(job.span, indices)) // job.shares
    size = 4 * times * len(job.channels) * job.dataset.sizes["lat"] * job.dataset.sizes["lon"]
    with progress(size, "B", "converting") as bar:

        def advance(_: object) -> None:
            bar.update(size // len(indices))

        run_tasks(write_shard, job, indices, advance, Dask(scheduler, workers), DIED)
