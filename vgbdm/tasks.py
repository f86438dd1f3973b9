"""Work in Dask tasks: threads here, or any ``dask.distributed`` cluster by address."""

from __future__ import annotations

import importlib
import itertools
import os
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from vgbdm.errors import InputError
from vgbdm.extras import need

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")
ADDRESS = re.compile(r"[a-z]+://[^\s/]+:[0-9]+")
"""Of a cluster."""
TOGETHER = 16
"""Tasks for each thread that are planned together: a plan of all takes memory."""
ADDRESS = re.compile(r"[a-z]+://[^\s/]+:[0-9]+")
WAIT_SECONDS = "30s"
"""For a cluster to answer."""


@dataclass(frozen=True)
class Dask:
    """Who works.

    Attributes:
        scheduler: ``threads``, ``synchronous`` or the address of a ``dask.distributed`` cluster.
        workers: threads here; None: as many as cores. A cluster has its own.

    Raises:
        InputError: for a scheduler that is none.
    """

    scheduler: str = "threads"
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.scheduler not in ("threads", "synchronous") and not ADDRESS.fullmatch(
            self.scheduler
        ):
            raise InputError(
                f"dask.scheduler={self.scheduler}: want threads, synchronous or tcp://HOST:PORT"
            )

    @property
    def is_cluster(self) -> bool:
        """Whether other processes work."""
        return ADDRESS.fullmatch(self.scheduler) is not None

    def path(self, given: str | Path) -> Path:
        """A path as those who work find it: absolute for other processes."""
        return Path(given).resolve() if self.is_cluster else Path(given)

    @property
    def threads(self) -> int:
        """Tasks at work at a time on this machine."""
        if self.scheduler == "synchronous":
            return 1
        return self.workers or len(os.sched_getaffinity(0))


def run_tasks(
    work: Callable[[Shared, Item], Result],
    shared: Shared,
    items: Sequence[Item],
    take: Callable[[Result], object],
    dask: Dask,
    died: str,
) -> None:
    """Do a work for each item; the results are taken in the order of the items, as they come.

    Args:
        work: of a task, from what all have and its item.
        shared: what all tasks have; a cluster gets it pickled, once.
        items: a task each.
        take: is given each result here, one at a time.
        dask: who works.
        died: what to say, after "a worker died", where a cluster loses its workers.

    Raises:
        InputError: what a task refuses, or a cluster that does not answer.
    """
    ordered = _InOrder(take)
    if dask.is_cluster:
        _on_cluster(work, shared, items, ordered, dask.scheduler, f"a worker died {died}")
    else:
        _here(work, shared, items, ordered, dask)


class _InOrder:
    """Gives on results in the order of their numbers, whatever order they come in."""

    def __init__(self, take: Callable[[Any], object]) -> None:
        self._take, self._next = take, 0
        self._held: dict[int, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, number: int, result: object) -> None:
        with self._lock:
            self._held[number] = result
            while self._next in self._held:
                self._take(self._held.pop(self._next))
                self._next += 1


def _here(work: Callable, shared: object, items: Sequence, ordered: _InOrder, told: Dask) -> None:
    import dask

    def do(number: int, item: object) -> None:
        ordered(number, work(shared, item))

    task = dask.delayed(do, pure=False, traverse=False)
    pool, left = ThreadPoolExecutor(told.threads), enumerate(items)
    try:
        while some := list(itertools.islice(left, TOGETHER * told.threads)):
            tasks = [task(number, item) for number, item in some]
            dask.compute(*tasks, scheduler=told.scheduler, pool=pool, optimize_graph=False)
    finally:
        pool.shutdown(cancel_futures=True)  # none works on after its error was told


def _on_cluster(
    work: Callable, shared: object, items: Sequence, ordered: _InOrder, address: str, died: str
) -> None:
    """A task whose worker dies is done again by the scheduler.

    Few tasks are out at a time, so that after an error those can be waited for.
    """
    need("distributed", f"dask.scheduler={address}")
    distributed = importlib.import_module("distributed")
    try:
        client = distributed.Client(address, timeout=WAIT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"dask.scheduler={address}: does not answer ({error})") from None
    with client, client.as_current():
        held = client.scatter(shared, broadcast=True, hash=False)
        left, numbers = iter(enumerate(items)), dict[str, int]()
        submit = partial(client.submit, work, held, pure=False)

        def begin(number: int, item: object) -> Any:
            future = submit(item)
            numbers[future.key] = number
            return future

        many = 2 * max(1, sum(client.nthreads().values()))
        out = distributed.as_completed([begin(*one) for one in itertools.islice(left, many)])
        failed: BaseException | None = None
        for future in out:
            if future.status != "finished":  # also those lost with all workers that had the shared
                failed = failed or (future.exception() if future.status == "error" else None)
                failed = failed or InputError(f"dask.scheduler={address}: {died}")
                continue
            ordered(numbers.pop(future.key), future.result())
            following = None if failed else next(left, None)
            if following is not None:
                out.add(begin(*following))
        if isinstance(failed, distributed.KilledWorker):
            raise InputError(f"dask.scheduler={address}: {died} ({failed})") from failed
        if failed:
            raise failed
