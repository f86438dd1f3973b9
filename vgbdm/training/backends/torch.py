"""Plain torch: one process, or one replica per rank (DistributedDataParallel)."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vgbdm.training.backends.base import (
    COLLECTIVE_TIMEOUT,
    MOMENTS,
    Backend,
    Batch,
    Learner,
    weighted_sums,
)


class TorchBackend(Backend):
    """Every rank holds everything; gradients are averaged where there are ranks.

    Args:
        precision: ``fp32``, or ``bf16`` for a forward pass under autocast.
        clip: largest gradient norm; 0 for none.
        accumulation: micro-batches per step.
    """

    def __init__(self, precision: str, clip: float, accumulation: int) -> None:
        super().__init__(precision, clip, accumulation)
        self.rank, self.world_size = (int(os.environ.get(k, d)) for k, d in RANK_VARIABLES)
        local = int(os.environ.get("LOCAL_RANK", "0"))
        self.device = torch.device(f"cuda:{local}" if torch.cuda.is_available() else "cpu")
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        if self.world_size > 1 and not torch.distributed.is_initialized():
            torch.distributed.init_process_group(
                "nccl" if self.device.type == "cuda" else "gloo",
                rank=self.rank,
                world_size=self.world_size,
                timeout=COLLECTIVE_TIMEOUT,
            )

    def wrap(self, learner: Learner, optimizer: torch.optim.Optimizer) -> None:
        """See `Backend`."""
        self.optimizer = optimizer
        self.module: Any = DistributedDataParallel(learner) if self.world_size > 1 else learner

    def gradients(self, micro: Batch, values: Mapping[str, float], last: bool) -> dict[str, Tensor]:
        """See `Backend`."""
        wait = self.world_size > 1 and not last
        with self.module.no_sync() if wait else contextlib.nullcontext():
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

    def weights(self) -> dict[str, Tensor]:
        """See `Backend`."""
        own = {n: p.detach().cpu().clone() for n, p in self.field.named_parameters()}
        return own | self.buffers()

    def state(self) -> dict[str, dict[str, Tensor]]:
        """See `Backend`."""
        inner = self.optimizer.state
        moments = {
            moment: {
                name: inner.get(p, {}).get(moment, torch.zeros_like(p)).cpu().clone()
                for name, p in self.field.named_parameters()
            }
            for moment in MOMENTS
        }
        return {"model": self.weights(), **moments}

    def whole_field(self) -> nn.Module:
        """See `Backend`."""
        return self.validated

    def load_moments(self, moments: Mapping[str, Mapping[str, Tensor]], step: int) -> None:
        """See `Backend`."""
        for name, p in self.field.named_parameters():
            held = {moment: moments[moment][name].to(p).clone() for moment in MOMENTS}
            self.optimizer.state[p] = {"step": torch.tensor(float(step)), **held}


RANK_VARIABLES = (("RANK", "0"), ("WORLD_SIZE", "1"))
