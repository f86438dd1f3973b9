"""Shards as Dask tasks: threads here, or any ``dask.distributed`` cluster by address."""

from __future__ import annotations

import importlib
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import dask
from tqdm import tqdm

from climate.conversion.shards import Job, write_shard
from vgbdm.errors import InputError
from vgbdm.extras import need

WAIT_SECONDS = "30s"
"""For a cluster to answer."""
WORKERS_DIED = (
    "a worker died while it wrote a shard, more often than the cluster allows; see its log, give "
    "it more memory where it had none left, and run the same command again"
)


def thread_count(scheduler: str, workers: int | None) -> int:
    """Tasks at work at a time on this machine.

    Raises:
        InputError: for a scheduler that is none.
    """
    if scheduler not in ("threads", "synchronous") and "://" not in scheduler:
        raise InputError(
            f"dask.scheduler={scheduler}: want threads, synchronous or tcp://HOST:PORT"
        )
    if scheduler == "synchronous":
        return 1
    return workers or len(os.sched_getaffinity(0))


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
    with tqdm(total=size, unit="B", unit_scale=True, desc="converting") as bar:

        def advance() -> None:
            bar.update(size // len(indices))

        if "://" in scheduler:
            _on_cluster(job, indices, scheduler, advance)
        else:
            _here(job, indices, scheduler, thread_count(scheduler, workers), advance)


def _here(
    job: Job, indices: Sequence[int], scheduler: str, threads: int, advance: Callable[[], None]
) -> None:
    def write(index: int) -> None:
        write_shard(job, index)
        advance()

    task = dask.delayed(write, pure=False, traverse=False)
    pool = ThreadPoolExecutor(threads)
    try:
        dask.compute(*map(task, indices), scheduler=scheduler, pool=pool, optimize_graph=False)
    finally:
        pool.shutdown(cancel_futures=True)  # none writes after the lock is given back


def _on_cluster(
    job: Job, indices: Sequence[int], address: str, advance: Callable[[], None]
) -> None:
    """A shard whose worker dies is done again by the scheduler.

    Few tasks are out at a time, so that after an error those can be waited for.
    """
    need("distributed", f"dask.scheduler={address}")
    distributed = importlib.import_module("distributed")
    try:
        client = distributed.Client(address, timeout=WAIT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"dask.scheduler={address}: does not answer ({error})") from None
    with client, client.as_current():
        shared = client.scatter(job, broadcast=True, hash=False)
        left = iter(indices)
        threads = sum(client.nthreads().values())
        submit = partial(client.submit, write_shard, shared, pure=False)
        out = distributed.as_completed(
            [submit(index) for index in itertools.islice(left, 2 * max(1, threads))]
        )
        failed: BaseException | None = None
        for future in out:
            if future.status != "finished":  # also those lost with all workers that had the job
                failed = failed or (future.exception() if future.status == "error" else None)
                failed = failed or InputError(f"dask.scheduler={address}: {WORKERS_DIED}")
                continue
            advance()
            following = None if failed else next(left, None)
            if following is not None:
                out.add(submit(following))
        if isinstance(failed, distributed.KilledWorker):
            raise InputError(f"dask.scheduler={address}: {WORKERS_DIED} ({failed})") from failed
        if failed:
            raise failed
