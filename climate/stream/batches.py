"""The training store → batches, in process: read ahead by threads into reused memory.

A loader thread reads the blocks of the next group (Dask, threads) into one of two reused pools
while an assembler thread cuts windows out of the other into a ring of reused buffers; big maps are
read straight into the ring (see `climate.stream.pool`). The order of samples is
`vgbdm.training.order`'s. Memory is the pools and the ring: known before it is taken, and refused
above the budget.

Shapes: ``B`` samples, ``F`` frames of a window, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Interval
from torch import Tensor

from climate.conventions.wording import duration
from climate.store.layout import TrainingStore
from climate.stream.pool import Aside, Direct, Pool, Source, WindowShape, Workers, pool_steps
from vgbdm.errors import InputError
from vgbdm.options.kinds import Count, Positive, Unit
from vgbdm.training.order import PADDING, Group, Order
from vgbdm.training.shares import Share

log = logging.getLogger(__name__)
GIB = 2**30
RING = 4
"""Batch buffers: one at the consumer, one kept valid after it, two being filled."""
LOOK_SECONDS = 0.2
MUCH = 2.0
"""Shares of the store above which what a rank reads is worth a line."""


@dataclass
class WeatherBatch:
    """Windows of states.

    Attributes:
        states: (B, F, C, H, W) float32, physical units, oldest first: past states, the current one,
            and those ahead.
        times: (B,) int64 seconds since 1970 of the current state.
        ids: (B,) int64 numbers in the endless sequence of samples.
        weights: (B,) float32; 0 for padding.
        aside: (B, ...) float32, what an array beside the states says of the current one, or None.
        copied: event after which the batch has reached a device; None: it is not on its way.
    """

    states: Tensor
    times: Tensor
    ids: Tensor
    weights: Tensor
    aside: Tensor | None = None
    copied: Any = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def origins(self) -> Tensor:
        """(B,) int64: where in the data each sample lies."""
        return self.times

    def part(self, start: int, stop: int) -> WeatherBatch:
        """Some of the samples."""
        return self._map(lambda tensor: tensor[start:stop])

    def describe(self) -> str:
        """The span of its times."""
        times = np.sort(self.times.cpu().numpy()).astype("datetime64[s]")
        return f"{times[0]} … {times[-1]}"

    def to(self, device: torch.device) -> WeatherBatch:
        """The batch on a device; copies do not wait where the memory is pinned."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def tensors(self) -> list[Tensor]:
        """All that it holds."""
        held = (self.states, self.times, self.ids, self.weights, self.aside)
        return [tensor for tensor in held if tensor is not None]

    def _map(self, change: Callable[[Tensor], Tensor]) -> WeatherBatch:
        return WeatherBatch(
            change(self.states),
            change(self.times),
            change(self.ids),
            change(self.weights),
            None if self.aside is None else change(self.aside),
        )


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
    wanted = store.frames(anchors, WindowShape(stride, history, ahead).offsets)
    first, last = int(wanted.min()), int(wanted.max())
    if not store.is_big and last - first < 4 * wanted.size:
        return store.read(first, last + 1)[wanted - first]
    out = np.empty((*wanted.shape, *store.state.shape[1:]), np.float32)
    for place in np.ndindex(*wanted.shape):
        at = int(wanted[place])
        store.read(at, at + 1, out[place][None])
    return out


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
        accumulation: micro-batches that this rank's samples are cut into.
        seed: of the order.
        lanes: V of the order; a rank reads those that its samples are from.
        block_steps: time steps per block.
        pool_blocks: blocks shuffled together; two pools of them are the memory used.
        consumed: samples of the whole sequence already taken.
        threads: of Dask when reading.
        pin: whether buffers are pinned for copies to a GPU.
        aside: an array whose rows at the current states come with the windows.
        memory_gib: what pools and ring may take.

    Raises:
        InputError: one line, for what does not fit together, or not into the memory.
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
        accumulation: int = 1,
        seed: int = 0,
        lanes: Count = 8,
        block_steps: Count = 96,
        pool_blocks: Count = 96,
        consumed: int = 0,
        threads: Annotated[int, Interval(ge=1, le=1024)] = 1,
        pin: bool = False,
        aside: Aside | None = None,
        memory_gib: Annotated[Positive, Unit("GiB")] = 4.0,
    ) -> None:
        self.share = Share.of(global_batch, lanes, rank, ranks, accumulation)
        self.store, self.aside, self.pin = store, aside, pin
        self.window = WindowShape(store.stride(step), history, ahead)
        anchors = store.anchors(split, step, history, ahead)
        if not len(anchors):
            raise InputError(
                f"{store.path}: split {split} has no window of {history + 1 + ahead} states "
                f"{duration(step)} apart; choose a longer period or a shorter step"
            )
        self.order = Order(anchors, block_steps, lanes, pool_blocks, seed, self.window.before)
        self.ranks, self.consumed = ranks, consumed
        self.blocks_held = self.order.blocks_held(self.share.lanes_read)
        self._check_memory(memory_gib)
        self._stop = threading.Event()
        self._workers = Workers(threads)
        self._loaded: queue.Queue[tuple[Group, Source] | BaseException] = queue.Queue(1)
        self._free_sources: queue.Queue[Source] = queue.Queue()
        self._ready: queue.Queue[WeatherBatch | BaseException] = queue.Queue()
        self._free: queue.Queue[WeatherBatch] = queue.Queue()
        self.sources: list[Source] = []
        self._given: list[WeatherBatch] = []
        self._threads: list[threading.Thread] = []

    # --- memory --------------------------------------------------------------------------------

    @property
    def pools(self) -> int:
        """How many pools there are; one where it holds everything, none for big maps."""
        if self.store.is_big:
            return 0
        return 1 if self.order.fits_pool else 2

    @property
    def memory_bytes(self) -> int:
        """Of the pools and the ring: what the stream holds, whatever the store's size."""
        beside = 1 if self.aside is None else 1 + int(np.prod(self.aside.shape)) * 4
        state = 4 * int(np.prod(self.store.state.shape[1:]))
        frames = len(self.window.offsets)
        block = pool_steps(self.order, self.window) * state + self.order.block * (beside - 1)
        batch = len(self.share) * (frames * state + 20 + beside - 1)
        return self.pools * self.blocks_held * block + RING * batch

    @property
    def reading(self) -> float:
        """What this rank reads of the store, in shares of a rank; 1 where it is by map."""
        if self.pools == 2:
            return self.share.lanes_read * self.ranks / self.share.lanes
        return 1.0

    def _check_memory(self, gib: float) -> None:
        if self.memory_bytes > gib * GIB:
            raise InputError(
                f"stream: {self.pools} pools of {self.blocks_held} blocks and "
                f"{RING} batches of {len(self.share)} need {self.memory_bytes / GIB:.2f} GiB, "
                f"memory_gib={gib}; lower pool_blocks, block_steps or the batch, or allow more"
            )

    def _start(self) -> None:
        """Take the memory and start the threads: when the first batch is asked for."""
        held = self.memory_bytes / GIB
        log.info("stream: %.2f GiB, %d pools and %d batches", held, self.pools, RING)
        times = self.reading
        if times > MUCH:
            log.warning(
                "stream: %d ranks share %d lanes, this one reads %.3g times its share of the "
                "store; runs begun with more stream.lanes read less",
                self.ranks, self.share.lanes, times,
            )  # fmt: skip
        for _ in range(RING):
            self._free.put(self._buffer())
        self.sources = self.make_sources()
        for source in self.sources:
            self._free_sources.put(source)
        for name, work, out in (
            ("loader", self._load, self._loaded),
            ("assembler", self._assemble, self._ready),
        ):
            thread = threading.Thread(
                target=self._guard, args=(work, out), name=f"stream-{name}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def make_sources(self) -> list[Source]:
        """What takes turns in loading groups: pools that copy from each other, or one for maps."""
        pools = [
            Pool(self.store, self.order, self.window, self.blocks_held, self.aside, self._workers)
            for _ in range(self.pools)
        ]
        if len(pools) == 2:
            pools[0].beside, pools[1].beside = reversed(pools)
        return [*pools] or [Direct(self.store, self.window, self.aside, self._workers)]

    def _buffer(self) -> WeatherBatch:
        frame, size, pin = self.store.state.shape[1:], len(self.share), self.pin
        aside = None
        if self.aside is not None:
            aside = torch.zeros((size, *self.aside.shape), pin_memory=pin)
        return WeatherBatch(
            zeros((size, len(self.window.offsets), *frame), pin),
            torch.zeros(size, dtype=torch.int64, pin_memory=pin),
            torch.zeros(size, dtype=torch.int64, pin_memory=pin),
            torch.zeros(size, pin_memory=pin),
            aside,
        )

    # --- consumer ------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[WeatherBatch]:
        return self

    def __next__(self) -> WeatherBatch:
        """The next batch; an error in a thread is raised here, with its cause."""
        if not self._threads:
            self._start()
        if len(self._given) == 2:
            self._free.put(self._given.pop(0))
        batch: WeatherBatch | BaseException = self._get(self._ready)
        if isinstance(batch, BaseException):
            self.close()
            raise batch
        self._given.append(batch)
        return batch

    def __enter__(self) -> WindowStream:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop and join the threads."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._workers.close()

    # --- threads -------------------------------------------------------------------------------

    def _guard(self, work: Callable[[], None], out: queue.Queue) -> None:
        """Run a thread's work; hand its error to whoever waits for its results."""
        try:
            work()
        except _StoppedError:
            pass
        except BaseException as error:
            with contextlib.suppress(_StoppedError):
                self._put(out, error)

    def _get(self, source: queue.Queue) -> Any:
        while not self._stop.is_set():
            try:
                return source.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
        raise _StoppedError

    def _put(self, target: queue.Queue, item: object) -> None:
        while not self._stop.is_set():
            try:
                return target.put(item, timeout=LOOK_SECONDS)
            except queue.Full:
                continue
        raise _StoppedError

    def _load(self) -> None:
        """Read what group after group needs into whichever pool is free."""
        for group in self.order.groups(self.consumed, self.share):
            source = self._get(self._free_sources)
            source.load(group.anchors)
            self._put(self._loaded, (group, source))

    def _assemble(self) -> None:
        """Cut the windows of group after group into batches, across groups and epochs."""
        batch, filled = self._next_buffer(), 0
        while True:
            loaded = self._get(self._loaded)
            if isinstance(loaded, BaseException):
                raise loaded
            group, source = loaded
            done = 0
            while done < len(group.ids):
                count = min(len(batch) - filled, len(group.ids) - done)
                part = slice(done, done + count)
                self._fill(batch.part(filled, filled + count), group, part, source)
                filled, done = filled + count, done + count
                if filled == len(batch):
                    self._put(self._ready, batch)
                    batch, filled = self._next_buffer(), 0
            self._free_sources.put(source)

    def _next_buffer(self) -> WeatherBatch:
        """Memory to fill: nobody reads it, nor is a copy of it on its way to a device."""
        batch: WeatherBatch = self._get(self._free)
        if batch.copied is not None:
            batch.copied.synchronize()
            batch.copied = None
        return batch

    def _fill(self, batch: WeatherBatch, group: Group, part: slice, source: Source) -> None:
        """Some samples of a group into so many places of a batch."""
        anchors = group.anchors[part]
        batch.ids.numpy()[:] = group.ids[part]
        seconds = self.store.times[anchors].astype(np.int64)
        batch.times.numpy()[:] = np.where(anchors == PADDING, 0, seconds)
        batch.weights.numpy()[:] = group.weights[part]
        source.cut(anchors, batch.states, batch.aside)


def zeros(shape: tuple[int, ...], pin: bool) -> Tensor:
    """Zeros to copy into: pinned, or numpy's, which asks for huge pages where torch does not."""
    if pin:
        return torch.zeros(shape, pin_memory=True)
    return torch.from_numpy(np.zeros(shape, np.float32))


class _StoppedError(Exception):
    """The stream was closed while a thread waited."""
