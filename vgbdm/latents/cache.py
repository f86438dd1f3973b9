"""What is computed of a window alone, kept for when the window comes again.

Features that least squares gives (`vgbdm.latents.regression`) have neither parameters nor gradients
and are a function of a trajectory and the window's first frame; a training meets each many times.

Shapes: ``B`` windows, ``N`` trajectories, ``S`` first frames, ``n`` numbers of a window.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

LIMIT = 2**30
"""Bytes of a cache; windows beyond are computed anew each time."""
FEWEST = 2
"""Windows computed at once, at least: sums of one may be taken in another order."""


class WindowCache:
    """Numbers of the windows of some trajectories, float32, on the CPU.

    They are those that computing anew would give, bit for bit. Windows are counted by their first
    frame, then by trajectory: where not all fit, those at the first frame are kept, which come
    most often.

    Args:
        trajectories: N.
        starts: S, frames that a window may begin with.
        limit: bytes.
    """

    def __init__(self, trajectories: int, starts: int, limit: int = LIMIT) -> None:
        self.trajectories, self.limit = trajectories, limit
        self.known = torch.zeros(trajectories * starts, dtype=torch.bool)
        self.table: Tensor | None = None

    def at(self, rows: Tensor, start: Tensor) -> CachedWindows:
        """The windows of trajectories ``rows`` (B,) that begin with frames ``start`` (B,)."""
        return CachedWindows(self, start * self.trajectories + rows)

    def _room(self, count: int) -> Tensor:
        """The table, for ``count`` numbers of a window; memory is taken as it is filled."""
        if self.table is None:
            most = self.limit // (4 * max(count, 1))
            self.table = torch.empty(min(len(self.known), most), count)
        return self.table

    def take(self, numbers: Tensor, count: int, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """(B, n) of windows by their numbers (B,); see `CachedWindows.take`."""
        table, missing = self._room(count), ~self.known[numbers]
        places = missing.nonzero()[:, 0]
        if not len(places):
            return table.index_select(0, numbers)
        repeated = places.expand(FEWEST) if len(places) < FEWEST else places
        fresh = compute(repeated)[: len(places)]
        held = numbers[places] < len(table)
        table[numbers[places[held]]] = fresh[held]
        self.known[numbers[places[held]]] = True
        found = table.new_empty(len(numbers), count)
        there = (~missing).nonzero()[:, 0]
        found[there] = table.index_select(0, numbers[there])
        found[places] = fresh
        return found


class CachedWindows(NamedTuple):
    """Windows that a cache knows by numbers (B,)."""

    cache: WindowCache
    numbers: Tensor

    @torch.no_grad()
    def take(self, count: int, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """What is known of the windows (B, n), the rest computed.

        Args:
            count: n.
            compute: (m,) places among these windows → (m, n), for those that are not known.
        """
        return self.cache.take(self.numbers, count, compute)


class CachedTrajectories(NamedTuple):
    """Trajectories of a batch, whose windows a cache knows; rows are (B,)."""

    cache: WindowCache
    rows: Tensor

    def windows(self, start: Tensor) -> CachedWindows:
        """Those that begin with frames ``start`` (B,)."""
        return self.cache.at(self.rows, start)
