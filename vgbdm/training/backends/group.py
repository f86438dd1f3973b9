"""Processes that share work: what is asked of them where no model is trained."""

from __future__ import annotations

from typing import Protocol


class Group(Protocol):
    """Some processes; a `vgbdm.training.backends.base.Backend` is one."""

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""

    @property
    def world_size(self) -> int:
        """How many there are."""

    def broadcast(self, value: float) -> float:
        """Rank 0's number on every rank. *Collective.*"""

    def totals(self, *values: float) -> list[float]:
        """Sums over ranks of some numbers. *Collective.*"""


class Alone:
    """This process and no other, whatever started it."""

    rank, world_size = 0, 1

    def broadcast(self, value: float) -> float:
        """See `Group`."""
        return value

    def totals(self, *values: float) -> list[float]:
        """See `Group`."""
        return [*values]
