"""Trajectories in memory → batches.

Shapes: ``B`` trajectories of a batch, ``L`` frames, ``k`` node values of a path, ``C`` components.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physics_systems.data.trajectories import Trajectories
from vgbdm.fields.system_field import FieldStatistics
from vgbdm.latents.cache import CachedTrajectories, WindowCache
from vgbdm.paths.path import Path
from vgbdm.training.order import Order
from vgbdm.training.shares import Share


@dataclass
class TrajectoryBatch:
    """A batch of whole trajectories.

    Attributes:
        nodes: (B, L, k, C, ...) of the path, the frame first.
        times: (B, L) float64.
        ids: (B,) numbers in the endless sequence of samples.
        weights: (B,) 0 for padding.
        rows: (B,) which trajectories.
        cache: of what is computed of their windows, on the CPU; None: none.
        copied: event after which the batch has reached a device; None: it is not on its way.
    """

    nodes: Tensor
    times: Tensor
    ids: Tensor
    weights: Tensor
    rows: Tensor
    copied: Any = None
    cache: WindowCache | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def origins(self) -> Tensor:
        """(B,) int64: where in the data each sample lies."""
        return self.rows

    @property
    def cached(self) -> CachedTrajectories | None:
        """What is kept of the windows of these trajectories."""
        return None if self.cache is None else CachedTrajectories(self.cache, self.rows)

    def part(self, start: int, stop: int) -> TrajectoryBatch:
        """Some of its samples."""
        tensors = (tensor[start:stop] for tensor in self.tensors())
        return TrajectoryBatch(*tensors, cache=self.cache)

    def to(self, device: torch.device) -> TrajectoryBatch:
        """The batch on a device; copies do not wait where the memory is pinned.

        A cache stays on the CPU: a step would wait for what a GPU finds missing in it.
        """
        tensors = (x.to(device, non_blocking=True) for x in self.tensors())
        return TrajectoryBatch(*tensors, cache=self.cache if device.type == "cpu" else None)

    def tensors(self) -> list[Tensor]:
        """All that it holds."""
        return [self.nodes, self.times, self.ids, self.weights, self.rows]

    def describe(self) -> str:
        """Numbers of the trajectories."""
        rows = sorted(self.rows.tolist())
        return f"trajectories {rows[0]} … {rows[-1]}"


class TrajectoryStream:
    """Endless batches of this rank's share; a context manager and an iterator.

    Args:
        data: trajectories.
        nodes: of the path, (N, L, k, C, ...).
        order: of the samples; its lanes are the global batch.
        consumed: samples already taken.
        share: of this rank in a batch.
        pin: whether batches are pinned for copies to a GPU.
        cache: of windows of these trajectories; None: none.
    """

    def __init__(
        self,
        data: Trajectories,
        nodes: Tensor,
        order: Order,
        consumed: int,
        share: Share,
        pin: bool = False,
        cache: WindowCache | None = None,
    ) -> None:
        self.nodes, self.times, self.cache = nodes, data.t, cache
        self.order, self.share, self.pin = order, share, pin
        self.batches = self._batches(consumed)

    def _batches(self, consumed: int) -> Iterator[TrajectoryBatch]:
        for group in self.order.groups(consumed, self.share):
            for start in range(0, len(group.ids), len(self.share)):
                own = slice(start, start + len(self.share))
                rows = torch.from_numpy(np.maximum(group.anchors[own], 0))
                ids, weights = (torch.from_numpy(x[own]) for x in (group.ids, group.weights))
                # whole trajectories are copied; an index would go through them number by number
                nodes, times = (x.index_select(0, rows) for x in (self.nodes, self.times))
                parts = (nodes, times, ids, weights, rows)
                tensors = (x.pin_memory() if self.pin else x for x in parts)
                yield TrajectoryBatch(*tensors, cache=self.cache)

    def __iter__(self) -> Iterator[TrajectoryBatch]:
        return self.batches

    def __next__(self) -> TrajectoryBatch:
        return next(self.batches)

    def __enter__(self) -> TrajectoryStream:
        return self

    def __exit__(self, *error: object) -> None:
        self.batches.close()  # type: ignore[attr-defined]


def statistics(data: Trajectories, nodes: Tensor, path: Path, order: int) -> FieldStatistics:
    """Mean and width of states and rates of the training trajectories, at mid-intervals.

    Args:
        data: of training.
        nodes: of the path.
        path: that made them.
        order: of the system; states of second order are (q, q̇).
    """
    a, b = nodes[:, :-1].flatten(0, 1), nodes[:, 1:].flatten(0, 1)
    lengths = data.t.diff(dim=1).flatten()
    point = path(a, b, lengths, torch.full_like(lengths, 0.5))
    rate = point.velocity if order == 1 else point.acceleration
    state = point.state if order == 1 else torch.cat((point.state, point.velocity), 1)

    def over(values: Tensor) -> Tensor:
        return values.double().transpose(0, 1).flatten(1)

    # components that hardly move are not blown up
    smallest = 1e-6
    return FieldStatistics(
        over(state).mean(1).tolist(),
        over(state).std(1).clamp_min(smallest).tolist(),
        over(rate).square().mean(1).sqrt().clamp_min(smallest).tolist(),
        float(lengths.mean()),
    )
