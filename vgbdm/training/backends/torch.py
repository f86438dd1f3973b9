"""Plain torch: one process, or one replica per rank (DistributedDataParallel)."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from vgbdm.errors import InputError
from vgbdm.training.backends.base import (
    COLLECTIVE_TIMEOUT,
    Backend,
    Batch,
    Learner,
    weighted_sums,
)
from vgbdm.training.backends.fragments import Fragment, whole_parameters
from vgbdm.training.backends.rendezvous import INIT_METHOD


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
        local = int(os.environ.get("LOCAL_RANK", "0"))
        self.device = torch.device(f"cuda:{local}" if torch.cuda.is_available() else "cpu")
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
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

    def gradients(self, micro: Batch, values: Mapping[str, float], last: bool) -> dict[str, Tensor]:
        """See `Backend`."""
        with self.waiting(last):
            sums = weighted_sums(self.module, micro, values)
            (sums["loss"] * (self.world_size / self.global_batch)).backward()
        return sums

    def move(self) -> float:
        """See `Backend`."""
        parameters = [p for g in self.optimizer.param_groups for p in g["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.clip or math.inf)
        value = float(norm)
        if math.isfinite(value):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return value

    def discard(self, micro: Batch, values: Mapping[str, float]) -> None:
        """See `Backend`."""
        self.optimizer.zero_grad(set_to_none=True)

    def fragments(self) -> list[Fragment]:
        """See `Backend`."""
        return whole_parameters(self.field)


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
            )

    def wrap(self, learner: Learner, optimizer: torch.optim.Optimizer) -> None:
        """See `Backend`."""
        self.optimizer = optimizer
        self.module = DistributedDataParallel(learner, gradient_as_bucket_view=True)

    def waiting(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """See `SingleBackend`."""
        return contextlib.nullcontext() if last else self.module.no_sync()
