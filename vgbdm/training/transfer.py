"""Between host and device: batches go there one ahead, one vector a step comes back.

Nothing else of a training step may cross: a host that waits for its device, or a copy that waits
for the host, leaves the device idle. `tests/fake_device` holds the whole program to that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from vgbdm.errors import InputError


class TrainingBatch(Protocol):
    """What training needs to know of a batch."""

    ids: Tensor
    """(B,) int64 numbers in the endless sequence of samples: the keys of all randomness."""
    weights: Tensor
    """(B,) float32; 0 for padding."""

    @property
    def origins(self) -> Tensor:
        """(B,) int64: where in the data each sample lies."""
        ...

    def __len__(self) -> int:
        """Samples on this rank."""
        ...

    def part(self, start: int, stop: int) -> TrainingBatch:
        """Some of its samples."""
        ...

    def to(self, device: torch.device) -> TrainingBatch:
        """The batch on a device; copies from pinned memory do not wait."""
        ...

    def tensors(self) -> list[Tensor]:
        """All that it holds."""
        ...

    def describe(self) -> str:
        """Which samples these are, for a message."""
        ...


class Arrived(NamedTuple):
    """A batch where the step needs it, and where the host reads ids, origins and weights."""

    host: TrainingBatch
    device: TrainingBatch


def to_numbers(values: Tensor) -> list[float]:
    """The numbers of a vector (N,). The host waits here for the device, and nowhere else."""
    numbers: list[float] = values.tolist()
    return numbers


def device_of(local_rank: int) -> torch.device:
    """The accelerator of a process, CUDA or ROCm, made the current one; else the CPU.

    Raises:
        InputError: for an accelerator that nothing here was shown to run on.
    """
    kind = torch.accelerator.current_accelerator()
    if kind is None or not torch.accelerator.is_available():
        return torch.device("cpu")
    if kind.type != "cuda":
        raise InputError(
            f"device: this machine has '{kind.type}', and only CUDA, ROCm and the CPU were shown "
            "to work; hide it from torch, or use another machine"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def arrive(batch: TrainingBatch, device: torch.device) -> Arrived:
    """One batch, brought there at once."""
    return Arrived(batch, batch.to(device))


class Feed:
    """Batches on the device, the next one copied on a stream of its own while a step runs.

    A stream that reuses memory waits for ``batch.copied`` before it refills a batch's.

    Args:
        batches: on the host.
        device: where they go. On the CPU they are there already, and nothing is taken ahead.
        streams: the streams and events of the device, as `torch.cuda` has them; None: its own.
    """

    def __init__(
        self, batches: Iterator[Any], device: torch.device, streams: Any | None = None
    ) -> None:
        self.batches, self.device = batches, device
        if streams is None and device.type == "cuda":
            streams = torch.cuda
        self.streams = streams
        self.copying = streams.Stream(device) if streams else None
        self._next: tuple[Arrived, Any] | BaseException | None = None

    def __iter__(self) -> Iterator[Arrived]:
        return self

    def prepare(self) -> None:
        """Take the next batch and begin its copy; what goes wrong is raised when it is asked for.

        Called when a step's work is on its way to the device and the host has nothing to do.
        """
        if self.copying is not None and self._next is None:
            try:
                self._next = self._take()
            except Exception as error:
                self._next = error

    def __next__(self) -> Arrived:
        """The next batch, safe to use on the current stream."""
        taken, self._next = self._next or self._take(), None
        if isinstance(taken, BaseException):
            raise taken
        arrived, copied = taken
        if self.streams is not None:
            current = self.streams.current_stream(self.device)
            current.wait_event(copied)
            for tensor in arrived.device.tensors():
                tensor.record_stream(current)  # its memory is not given away before this is done
        return arrived

    def _take(self) -> tuple[Arrived, Any]:
        batch = next(self.batches)
        if self.streams is None:
            return arrive(batch, self.device), None
        with self.streams.stream(self.copying):
            arrived, copied = arrive(batch, self.device), self.streams.Event()
            copied.record(self.copying)
        batch.copied = copied
        return arrived, copied
