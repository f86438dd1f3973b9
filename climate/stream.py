"""The training store → batches, in process: blocks are read ahead, windows are cut in memory.

A loader thread reads the blocks of the next group (Dask, threads) into one of two reused pools
while an assembler thread cuts windows out of the other into a ring of reused buffers. The order of
samples is `vgbdm.order`'s. Memory is bounded by two pools and the ring.

Shapes: ``B`` samples, ``F`` frames of a window, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import dask
import numpy as np
import torch
from torch import Tensor

from climate.store.layout import TrainingStore
from vgbdm.errors import InputError
from vgbdm.order import PADDING, Group, Order

RING = 4
"""Batch buffers: one at the consumer, one kept valid after it, two being filled."""
POLL_SECONDS = 0.2


@dataclass
class WindowBatch:
    """Windows of states.

    Attributes:
        states: (B, F, C, H, W) float32, physical units, oldest first: past states, the current one,
            and those ahead.
        times: (B,) int64 seconds since 1970 of the current state.
        ids: (B,) int64 numbers in the endless sequence of samples.
        weights: (B,) float32; 0 for padding.
        aside: (B, ...) float32, what an array beside the states says of the current one, or None.
    """

    states: Tensor
    times: Tensor
    ids: Tensor
    weights: Tensor
    aside: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, start: int, stop: int) -> WindowBatch:
        """Some of the samples."""
        return self._map(lambda tensor: tensor[start:stop])

    def describe(self) -> str:
        """The span of its times."""
        times = np.sort(self.times.cpu().numpy()).astype("datetime64[s]")
        return f"{times[0]} … {times[-1]}"

    def to(self, device: torch.device) -> WindowBatch:
        """The batch on a device; copies do not wait where the memory is pinned."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def _map(self, change: Callable[[Tensor], Tensor]) -> WindowBatch:
        return WindowBatch(
            change(self.states),
            change(self.times),
            change(self.ids),
            change(self.weights),
            None if self.aside is None else change(self.aside),
        )


class Aside(Protocol):
    """An array with a row for each time of the store."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a row."""
        ...

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows (N, ...) float32 of times ``start`` to ``stop``; NaN where there are none."""
        ...


def read_windows(
    store: TrainingStore, anchors: np.ndarray, *, stride: int, history: int, ahead: int = 0
) -> np.ndarray:
    """Windows in the order asked for: (N, history + 1 + ahead, C, H, W) float32, physical units.

    Args:
        store: to read from.
        anchors: (N,) time indices of the current states.
        stride: store steps between frames.
        history: past states before the current one.
        ahead: states after it.
    """
    offsets = np.arange(-history, ahead + 1) * stride
    wanted = anchors[:, None] + offsets
    first, last = int(wanted.min()), int(wanted.max())
    if last - first < 4 * wanted.size:
        return store.read(first, last + 1)[wanted - first]
    return np.stack([store.read(int(i), int(i) + 1)[0] for i in wanted.ravel()]).reshape(
        *wanted.shape, *store.state.shape[1:]
    )


class _Pool:
    """The blocks of one group in memory, each with the halo its windows need."""

    def __init__(self, blocks: int, steps: int, frame: tuple[int, ...]) -> None:
        self.data = np.empty((blocks, steps, *frame), np.float32)
        self.place: dict[int, int] = {}
        self.aside: dict[int, np.ndarray] = {}


class WindowStream:
    """Endless batches of this rank's share of the training samples; a context manager.

    A batch's tensors stay valid until the next but one is taken.

    Args:
        store: a finished training store.
        split: whose windows.
        step: between the frames of a window.
        history: past states in a window, before the current one.
        ahead: states in it after the current one.
        global_batch: samples per batch over all ranks; a multiple of ``lanes``.
        rank: of this process.
        ranks: how many there are.
        seed: of the order.
        lanes: V of the order; divisible by the ranks.
        block_steps: time steps per block.
        pool_blocks: blocks shuffled together; two pools of them are the memory used.
        consumed: samples of the whole sequence already taken.
        threads: of Dask when reading.
        pin: whether buffers are pinned for copies to a GPU.
        aside: an array whose rows at the current states come with the windows.
    """

    def __init__(
        self,
        store: TrainingStore,
        split: str,
        *,
        step: np.timedelta64,
        history: int,
        ahead: int = 1,
        global_batch: int,
        rank: int = 0,
        ranks: int = 1,
        seed: int = 0,
        lanes: int = 8,
        block_steps: int = 96,
        pool_blocks: int = 96,
        consumed: int = 0,
        threads: int = 1,
        pin: bool = False,
        aside: Aside | None = None,
    ) -> None:
        if global_batch % lanes:
            raise InputError(
                f"stream: a batch of {global_batch} does not divide by {lanes} lanes; choose a "
                "multiple"
            )
        self.store, self.threads, self.aside = store, threads, aside
        self.frames = history + 1 + ahead
        self.stride = store.stride(step)
        anchors = store.anchors(split, step, history, ahead)
        if not len(anchors):
            raise InputError(
                f"{store.path}: split {split} has no window of {self.frames} states {step} apart; "
                "choose a longer period or a shorter step"
            )
        self.order = Order(anchors, block_steps, lanes, pool_blocks, seed)
        self.rank, self.ranks, self.consumed = rank, ranks, consumed
        self.rows = global_batch // lanes
        self.before, self.after = history * self.stride, ahead * self.stride
        self._stop = threading.Event()
        self._loaded: queue.Queue[tuple[Group, _Pool] | BaseException] = queue.Queue(1)
        self._free_pools: queue.Queue[_Pool] = queue.Queue()
        self._ready: queue.Queue[WindowBatch | BaseException] = queue.Queue()
        self._free: queue.Queue[WindowBatch] = queue.Queue()
        size = self.rows * (lanes // ranks)
        for _ in range(RING):
            self._free.put(self._buffer(size, pin))
        self._given: list[WindowBatch] = []
        self._threads = [
            threading.Thread(
                target=self._guard, args=(work, out), name=f"stream-{name}", daemon=True
            )
            for name, work, out in (
                ("loader", self._load, self._loaded),
                ("assembler", self._assemble, self._ready),
            )
        ]
        for thread in self._threads:
            thread.start()

    def _buffer(self, size: int, pin: bool) -> WindowBatch:
        frame, aside = self.store.state.shape[1:], None
        if self.aside is not None:
            aside = torch.zeros((size, *self.aside.shape), pin_memory=pin)
        return WindowBatch(
            torch.zeros((size, self.frames, *frame), pin_memory=pin),
            torch.zeros(size, dtype=torch.int64, pin_memory=pin),
            torch.zeros(size, dtype=torch.int64, pin_memory=pin),
            torch.zeros(size, pin_memory=pin),
            aside,
        )

    # --- consumer ------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[WindowBatch]:
        return self

    def __next__(self) -> WindowBatch:
        """The next batch; an error in a thread is raised here, with its cause."""
        if len(self._given) == 2:
            self._free.put(self._given.pop(0))
        batch: WindowBatch | BaseException = self._get(self._ready)
        if isinstance(batch, BaseException):
            self.close()
            raise batch
        self._given.append(batch)
        return batch

    def __enter__(self) -> WindowStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop and join the threads."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    # --- threads -------------------------------------------------------------------------------

    def _guard(self, work: Callable[[], None], out: queue.Queue) -> None:
        """Run a thread's work; hand its error to whoever waits for its results."""
        try:
            work()
        except _StoppedError:
            pass
        except BaseException as error:
            out.put(error)

    def _get(self, source: queue.Queue) -> Any:
        while not self._stop.is_set():
            try:
                return source.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
        raise _StoppedError

    def _put(self, target: queue.Queue, item: object) -> None:
        while not self._stop.is_set():
            try:
                return target.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue
        raise _StoppedError

    def _load(self) -> None:
        """Read the blocks of group after group into whichever pool is free."""
        pools = 0
        for group in self.order.groups(self.consumed, self.rank, self.ranks):
            inside = group.anchors[group.anchors != PADDING]
            blocks = np.unique(inside // self.order.block).tolist()
            if pools < 2:
                steps = self.order.block + self.before + self.after
                size = self._pool_size(len(blocks))
                self._free_pools.put(_Pool(size, steps, self.store.state.shape[1:]))
                pools += 1
            pool: _Pool = self._get(self._free_pools)
            if list(pool.place) != blocks:
                self._read_blocks(pool, blocks)
            self._put(self._loaded, (group, pool))

    def _pool_size(self, blocks: int) -> int:
        """Blocks a pool must hold: those of the largest group this rank can meet."""
        if self.order.fits_pool:
            return blocks
        lanes = self.order.lanes // self.ranks
        total = len(np.unique(self.order.anchors // self.order.block))
        return min(total, self.order.pool // self.ranks + 3 * lanes)

    def _read_blocks(self, pool: _Pool, blocks: list[int]) -> None:
        """One small Dask graph: read each block and its halo in place."""
        pool.place = {block: k for k, block in enumerate(blocks)}
        pool.aside.clear()
        last = len(self.store.times)

        def read(block: int, slot: int) -> None:
            start = block * self.order.block - self.before
            stop = (block + 1) * self.order.block + self.after
            low, high = max(start, 0), min(stop, last)
            self.store.read(low, high, pool.data[slot, low - start : high - start])
            if self.aside is not None:
                first = block * self.order.block
                pool.aside[block] = self.aside.read(first, min(first + self.order.block, last))

        tasks = [dask.delayed(read, pure=False)(block, k) for block, k in pool.place.items()]
        dask.compute(*tasks, scheduler="threads", num_workers=self.threads)

    def _assemble(self) -> None:
        """Cut the windows of group after group into batches, across groups and epochs."""
        batch, row = None, 0
        while True:
            loaded = self._get(self._loaded)
            if isinstance(loaded, BaseException):
                raise loaded
            group, pool = loaded
            lanes = group.anchors.shape[1]
            ids = self.order.sample_ids(group.first_slot, len(group.anchors), self.rank, self.ranks)
            for k, anchors in enumerate(group.anchors):
                if batch is None:
                    batch, row = self._get(self._free), 0
                for lane, anchor in enumerate(anchors.tolist()):
                    self._cut(batch, row * lanes + lane, anchor, int(ids[k, lane]), pool)
                row += 1
                if row == self.rows:
                    self._put(self._ready, batch)
                    batch = None
            self._free_pools.put(pool)

    def _cut(self, batch: WindowBatch, k: int, anchor: int, sample: int, pool: _Pool) -> None:
        """One window into place ``k`` of a batch."""
        batch.ids[k], batch.weights[k] = sample, float(anchor != PADDING)
        if anchor == PADDING:
            batch.states[k] = 0.0
            batch.times[k] = 0
            if batch.aside is not None:
                batch.aside[k] = 0.0
            return
        block, inside = divmod(anchor, self.order.block)
        if batch.aside is not None:
            row = pool.aside[block][inside]
            if np.isnan(row).any():
                raise InputError(
                    f"{self.store.path}: nothing stands aside of {self.store.times[anchor]}; "
                    "remove what is cached in the store and start again"
                )
            np.copyto(batch.aside[k].numpy(), row)
        frames = slice(inside, inside + self.before + self.after + 1, self.stride)
        np.copyto(batch.states[k].numpy(), pool.data[pool.place[block], frames])
        batch.times[k] = int(self.store.times[anchor].astype(np.int64))


class _StoppedError(Exception):
    """The stream was closed while a thread waited."""
