"""Where the stream's windows come from: blocks held in memory, or big maps read one by one.

States of up to a MiB are chunked many steps at a time: their windows are cut out of whole blocks,
which are read once per epoch. Larger ones are stored map by map: their windows are read straight
into the batch. Both serve the same order of samples.

Shapes: ``K`` samples, ``F`` frames of a window, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import dask.threaded
import numpy as np
import torch
from torch import Tensor

from climate.conventions.wording import date
from climate.store.layout import TrainingStore
from vgbdm.errors import InputError
from vgbdm.training.order import PADDING, Order


class Aside(Protocol):
    """An array with a row for each time of the store."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a row."""
        ...

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows (N, ...) float32 of times ``start`` to ``stop``; NaN where there are none."""
        ...


@dataclass(frozen=True)
class WindowShape:
    """Which states a window has.

    Attributes:
        stride: store steps between frames.
        history: past states.
        ahead: future states.
    """

    stride: int
    history: int
    ahead: int

    @property
    def offsets(self) -> np.ndarray:
        """(F,) store steps from the current state, oldest first."""
        return np.arange(-self.history, self.ahead + 1) * self.stride

    @property
    def before(self) -> int:
        """Store steps that it reaches back."""
        return self.history * self.stride

    @property
    def after(self) -> int:
        """Store steps that it reaches forward."""
        return self.ahead * self.stride


class Workers:
    """Dask's threads of one stream; ended with it."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "stream-reader")

    def run(self, work: Callable[..., object], jobs: Iterable[tuple]) -> None:
        """One small graph: the work on each tuple of arguments."""
        graph = {f"read-{k}": (work, *job) for k, job in enumerate(jobs)}
        dask.threaded.get(graph, list(graph), pool=self._pool)

    def close(self) -> None:
        """Join the threads."""
        self._pool.shutdown()


class Source(Protocol):
    """Gives the windows of a group of samples; anchors may be `PADDING`."""

    @property
    def memory_bytes(self) -> int:
        """That it holds."""
        ...

    def load(self, anchors: np.ndarray) -> None:
        """Read ahead what these samples need."""
        ...

    def cut(self, anchors: np.ndarray, states: Tensor, aside: Tensor | None) -> None:
        """Fill the windows (K, F, C, H, W), and the rows aside, of samples (K,)."""
        ...


class Pool:
    """The blocks of one group in memory, each with the halo its windows need.

    What the pool beside it holds already is copied from there: a lane's last block of a group is
    mostly the first of its next. The states of a block begin where a chunk does.
    """

    def __init__(
        self,
        store: TrainingStore,
        order: Order,
        window: WindowShape,
        size: int,
        aside: Aside | None,
        workers: Workers,
    ) -> None:
        self._store, self._order, self._window = store, order, window
        self._aside, self._workers = aside, workers
        self._blocks = np.empty(0, np.int64)
        self.beside: Pool | None = None
        steps, frame = pool_steps(order, window), store.state.shape[1:]
        self._data = np.empty((size, steps, *frame), np.float32)
        self._flat = self._data.reshape(size * steps, -1)
        beside = aside.shape if aside is not None else (0,)
        self._rows = np.empty((size, order.block, *beside), np.float32)

    @property
    def memory_bytes(self) -> int:
        """Of its blocks and what stands aside of them."""
        return self._data.nbytes + self._rows.nbytes

    def load(self, anchors: np.ndarray) -> None:
        """Read the blocks of these samples, unless they are here."""
        blocks = self._order.blocks_of(anchors)
        if np.array_equal(blocks, self._blocks):
            return
        self._blocks = blocks
        others = [] if self.beside is None else self.beside._blocks.tolist()
        held = {block: slot for slot, block in enumerate(others)}
        jobs = [(block, slot, held.get(block)) for slot, block in enumerate(blocks.tolist())]
        self._workers.run(self._fetch, jobs)

    def _fetch(self, block: int, slot: int, held: int | None) -> None:
        """One block into a slot: from that of the pool beside, or from the store."""
        if held is not None and self.beside is not None:
            np.copyto(self._data[slot], self.beside._data[held])
            np.copyto(self._rows[slot], self.beside._rows[held])
            return
        length, last = self._order.block, len(self._store.times)
        first = block * length + self._order.origin
        low = first - self._window.before
        high = min(first + length + self._window.after, last)
        self._store.read(low, high, self._data[slot, : high - low])
        if self._aside is not None:
            stop = min(first + length, last)
            self._rows[slot, : stop - first] = self._aside.read(first, stop)

    def cut(self, anchors: np.ndarray, states: Tensor, aside: Tensor | None) -> None:
        """One gather for all windows, in one call that leaves the interpreter to the readers."""
        real = anchors != PADDING
        places = np.where(real, anchors - self._order.origin, 0)
        block, inside = np.divmod(places, self._order.block)
        slot = np.where(real, np.searchsorted(self._blocks, block), 0)
        first = slot * self._data.shape[1] + inside + self._window.before
        rows = (first[:, None] + frames_of(self._store, anchors, self._window)).ravel()
        np.take(self._flat, rows, axis=0, out=states.numpy().reshape(len(rows), -1), mode="clip")
        if aside is not None:
            np.copyto(aside.numpy(), self._rows[slot, inside])
        check_windows(self._store, anchors, states, aside)


class Direct:
    """Windows of big maps, read straight into the batch."""

    def __init__(
        self, store: TrainingStore, window: WindowShape, aside: Aside | None, workers: Workers
    ) -> None:
        self._store, self._window, self._aside = store, window, aside
        self._workers = workers

    memory_bytes = 0

    def load(self, anchors: np.ndarray) -> None:
        """Nothing: a window is read when its batch is filled."""

    def cut(self, anchors: np.ndarray, states: Tensor, aside: Tensor | None) -> None:
        """One task per map, or per window where its frames follow each other."""
        real = anchors != PADDING
        places = np.where(real, anchors, 0)[:, None] + frames_of(self._store, anchors, self._window)
        out, count = states.numpy(), places.shape[1]
        together = count if self._window.stride == 1 else 1

        def read(sample: int, frame: int) -> None:
            start = int(places[sample, frame])
            self._store.read(start, start + together, out[sample, frame : frame + together])

        frames = range(0, count, together)
        self._workers.run(read, ((int(k), f) for k in np.flatnonzero(real) for f in frames))
        if aside is not None and self._aside is not None:
            for k in np.flatnonzero(real):
                at = int(anchors[k])
                aside[k] = torch.from_numpy(self._aside.read(at, at + 1)[0])
        check_windows(self._store, anchors, states, aside)


def pool_steps(order: Order, window: WindowShape) -> int:
    """Steps of a block with its halo."""
    return order.block + window.before + window.after


def frames_of(store: TrainingStore, anchors: np.ndarray, window: WindowShape) -> np.ndarray:
    """Rows of the store (K, F) from each anchor to its frames; fewer than steps across a gap.

    Where an anchor is `PADDING` they are those of the first time.
    """
    real = np.where(anchors == PADDING, 0, anchors)
    return store.frames(real, window.offsets) - real[:, None]


def check_windows(
    store: TrainingStore, anchors: np.ndarray, states: Tensor, aside: Tensor | None
) -> None:
    """Zeros where there is no sample, and nothing missing where there is one.

    Args:
        store: that the windows are from.
        anchors: (K,) of the samples.
        states: (K, F, C, H, W).
        aside: (K, ...) or None.

    Raises:
        InputError: if what stands aside of a sample is missing.
    """
    padding = torch.from_numpy(anchors == PADDING)
    if padding.any():
        states[padding] = 0.0
    if aside is not None:
        aside[padding] = 0.0
        missing = torch.isnan(aside).flatten(1).any(1).numpy()
        if missing.any():
            raise InputError(
                f"{store.path}: nothing stands aside of {date(store.times[anchors[missing][0]])}; "
                "remove what is cached in the store and start again"
            )
