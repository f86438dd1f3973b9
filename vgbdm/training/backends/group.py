"""Processes that share work: what is asked of them where no model is trained."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from vgbdm.errors import InputError


class Group(Protocol):
    """Some processes; a `vgbdm.training.backends.base.Backend` is one."""

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""

    @property
    def world_size(self) -> int:
        """How many there are."""

    @property
    def device(self) -> torch.device:
        """Of this process."""

    def broadcast(self, value: float) -> float:
        """Rank 0's number on every rank. *Collective.*"""

    def sum(self, values: Tensor) -> Tensor:
        """Sum over ranks of a tensor, in place. *Collective.*"""


class Alone:
    """This process and no other, whatever started it."""

    rank, world_size, device = 0, 1, torch.device("cpu")

    def broadcast(self, value: float) -> float:
        """See `Group`."""
        return value

    def sum(self, values: Tensor) -> Tensor:
        """See `Group`."""
        return values


def agree_on_any_error(group: Group, error: Exception | None, purpose: str) -> None:
    """Raise an error of any rank on every rank, so that none waits for another. *Collective.*

    Args:
        group: the processes.
        error: of this rank.
        purpose: what cannot be done, a verb for the others' message.
    """
    failed = float(group.sum(torch.tensor([float(error is not None)], device=group.device)).item())
    if error is not None:
        raise error
    if failed:
        raise InputError(f"another rank cannot {purpose}, its line says why")
