"""Plain torch: one process, or one replica per rank (DistributedDataParallel)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from vgbdm.errors import InputError
from vgbdm.registry.marks import buildable
from vgbdm.training.backends.base import (
    COLLECTIVE_TIMEOUT,
    Backend,
)
from vgbdm.training.backends.fragments import Fragment, whole_parameters
from vgbdm.training.backends.learner import Learner, weighted_sums
from vgbdm.training.backends.rendezvous import INIT_METHOD
from vgbdm.training.transfer import TrainingBatch, device_of

CLIP_EPS = 1e-6
"""Added to the norm that gradients are divided by, as torch and DeepSpeed do."""


@buildable
class SingleBackend(Backend):
    """One process, no process group.

    Args:
        options: of `Backend`.

    Raises:
        InputError: where a launcher started more than one.
    """

    name = "single"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.device = device_of(int(os.environ.get("LOCAL_RANK", "0")))
        self.join()

    def join(self) -> None:
        """Meet the other ranks: here there must be none."""
        ranks = int(os.environ.get("WORLD_SIZE", "1"))
        if ranks > 1:
            raise InputError(
                f"backend=single with {ranks} processes: each would train alone; use backend=auto"
            )

    def wrap(self, learner: Learner, optimizer: torch.optim.Optimizer) -> None:
        """See `Backend`."""
        self.optimizer = optimizer
        self.module: Any = learner

    def waiting(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Whether gradients wait for later micro-batches before ranks share them."""
        return contextlib.nullcontext()

    def gradients(
        self, micro: TrainingBatch, values: Mapping[str, float], last: bool
    ) -> dict[str, Tensor]:
        """See `Backend`."""
        with self.waiting(last):
            sums = weighted_sums(self.module, micro, values)
            (sums["loss"] * (self.world_size / self.global_batch)).backward()
        return sums

    def _gradients(self) -> list[Tensor]:
        """All there are."""
        parameters = (p for group in self.optimizer.param_groups for p in group["params"])
        return [p.grad for p in parameters if p.grad is not None]

    def norm(self) -> Tensor:
        """See `Backend`."""
        return torch.nn.utils.get_total_norm(self._gradients())

    def move(self, norm: float | None) -> float:
        """See `Backend`."""
        assert norm is not None
        if self.clip and norm > self.clip:
            torch._foreach_mul_(self._gradients(), self.clip / (norm + CLIP_EPS))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def discard(self, micro: TrainingBatch, values: Mapping[str, float]) -> None:
        """See `Backend`."""
        self.optimizer.zero_grad(set_to_none=True)

    def fragments(self) -> list[Fragment]:
        """See `Backend`."""
        return whole_parameters(self.field)


@buildable
class DDPBackend(SingleBackend):
    """Every rank holds everything; gradients are averaged over the ranks.

    Args:
        options: of `Backend`.
    """

    name = "ddp"

    def join(self) -> None:
        """Meet the other ranks. *Collective.*"""
        self.rank = int(os.environ.get("RANK", "0"))
        self.world_size = int(os.environ.get("WORLD_SIZE", "1"))
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group(
                "nccl" if self.device.type == "cuda" else "gloo",
                init_method=INIT_METHOD,
                rank=self.rank,
                world_size=self.world_size,
                timeout=COLLECTIVE_TIMEOUT,
                device_id=self.device if self.device.type == "cuda" else None,
            )

    def wrap(self, learner: Learner, optimizer: torch.optim.Optimizer) -> None:
        """See `Backend`."""
        self.optimizer = optimizer
        own = [self.device] if self.device.type == "cuda" else None
        self.module = DistributedDataParallel(learner, device_ids=own, gradient_as_bucket_view=True)

    def waiting(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """See `SingleBackend`."""
        return contextlib.nullcontext() if last else self.module.no_sync()


def join(**options: Any) -> SingleBackend:
    """The processes that a launcher started, to share work that trains nothing. *Collective.*

    Args:
        options: of `Backend`.
    """
    kind = DDPBackend if int(os.environ.get("WORLD_SIZE", "1")) > 1 else SingleBackend
    return kind(**options)
