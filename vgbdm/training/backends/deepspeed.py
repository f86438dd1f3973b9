"""DeepSpeed: ZeRO 0–3 behind the common protocol."""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from torch import Tensor, nn

from vgbdm.errors import InputError
from vgbdm.extras import need
from vgbdm.options.kinds import Text
from vgbdm.registry.marks import buildable
from vgbdm.training.backends.base import (
    COLLECTIVE_TIMEOUT,
    Backend,
)
from vgbdm.training.backends.fragments import Fragment, whole_parameters
from vgbdm.training.backends.learner import Learner, weighted_sums
from vgbdm.training.backends.rendezvous import INIT_METHOD
from vgbdm.training.transfer import TrainingBatch, device_of

BUCKET = 2**24
"""Numbers sent at a time, at most; DeepSpeed's own default would hold 2 GB ready for them."""
BUCKETS, LEAST = 8, 2**16
"""A model is sent in about so many parts, of at least so many numbers."""
WHOLE_BELOW = 10**5
"""At stage 3, parameters with fewer numbers stay whole on every rank."""


def bucket_of(count: int) -> int:
    """Numbers sent at a time, of a model with ``count``; even, as DeepSpeed wants it."""
    return min(max(count // BUCKETS, LEAST), BUCKET) // 2 * 2


def find_ninja() -> None:
    """Let DeepSpeed compile its disk access with the ninja of this environment, activated or not.

    Another version of ninja does not know what this one has built, and builds it anew.
    """
    beside = str(Path(sys.executable).parent)
    if beside not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join((beside, os.environ.get("PATH", "")))


def leave_out_inference() -> None:
    """Keep DeepSpeed from compiling collectives that only its inference calls.

    On a CPU it builds them at every start that does not find them built: a minute, and for ever
    where a run killed meanwhile has left its lock.
    """
    import deepspeed
    from deepspeed.ops.op_builder.cpu import ShareMemCommBuilder

    deepspeed.ops.__compatible_ops__[ShareMemCommBuilder.NAME] = False


Stage = Annotated[int, Interval(ge=0, le=3)]
Offload = Literal["cpu", "nvme"]


def zero_config(
    count: int, stage: int, offload: str | None, nvme_path: str | None
) -> dict[str, Any]:
    """DeepSpeed's options of ZeRO.

    Args:
        count: numbers in the model.
        stage: 0 to 3.
        offload: where optimiser state lives, and at stage 3 weights: ``cpu``, ``nvme``, or None
            for the device.
        nvme_path: folder on a fast disk, for ``nvme``.

    Raises:
        InputError: for what does not fit together.
    """
    if stage not in range(4):
        raise InputError(f"backend.stage={stage}: ZeRO has stages 0 to 3")
    if offload not in (None, "cpu", "nvme"):
        raise InputError(f"backend.offload={offload}: want cpu, nvme or null")
    if (offload == "cpu" and not stage) or (offload == "nvme" and stage != 3):
        raise InputError(
            f"backend.offload={offload}: not at ZeRO stage {stage}; cpu needs stage 1, nvme stage 3"
        )
    if (offload == "nvme") != (nvme_path is not None):
        raise InputError("backend: nvme_path=FOLDER goes with offload=nvme, and only with it")
    config: dict[str, Any] = {
        "stage": stage,
        "reduce_bucket_size": bucket_of(count),
        "allgather_bucket_size": bucket_of(count),
    }
    if stage == 3:
        config |= {
            "stage3_prefetch_bucket_size": bucket_of(count),
            "stage3_param_persistence_threshold": WHOLE_BELOW,
        }
    if offload is not None:
        place = {"device": offload} | ({"nvme_path": nvme_path} if nvme_path else {})
        config["offload_optimizer"] = place
        if stage == 3:
            config["offload_param"] = place
    return config


@buildable
class DeepSpeedBackend(Backend):
    """DeepSpeed ZeRO 0–3 on whatever accelerator it finds; float32 weights always.

    Args:
        stage: ZeRO stage, 0 to 3.
        offload: ``cpu`` or ``nvme`` for state that leaves the device; see `zero_config`.
        nvme_path: folder for ``nvme``.
        options: of `Backend`.
    """

    def __init__(
        self,
        stage: Stage = 0,
        offload: Offload | None = None,
        nvme_path: Text | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.stage, self.asked = stage, (stage, offload, nvme_path)
        zero_config(0, *self.asked)  # what cannot be is refused before ranks meet
        self.name, self.sharded, self.split_weights = f"zero{stage}", stage > 0, stage == 3
        need("deepspeed", "backend=deepspeed")
        if offload == "nvme":
            need("ninja", "backend.offload=nvme")
            find_ninja()
        # DeepSpeed calls torch's collectives by older names: a line for each call at stage 3
        warnings.filterwarnings("ignore", "`torch.distributed", FutureWarning)
        import deepspeed

        if not deepspeed.comm.is_initialized():
            leave_out_inference()
            deepspeed.init_distributed(
                auto_mpi_discovery=False,
                verbose=False,
                timeout=COLLECTIVE_TIMEOUT,
                init_method=INIT_METHOD,
            )
        self.rank = torch.distributed.get_rank()
        self.world_size = torch.distributed.get_world_size()
        self.sharded = self.sharded and self.world_size > 1
        local = int(os.environ.get("LOCAL_RANK", "0"))
        self.device = device_of(local)
        own = deepspeed.get_accelerator().device_name(local)
        if torch.device(own) != self.device:
            raise InputError(
                f"backend=deepspeed: DeepSpeed takes {own} and torch {self.device}; install a "
                "torch for that device, or set DS_ACCELERATOR=" + self.device.type
            )

    def wrap(self, learner: Learner, optimizer: torch.optim.Optimizer) -> None:
        """See `Backend`."""
        import deepspeed

        count = sum(p.numel() for p in self.field.parameters())
        config = {
            "train_micro_batch_size_per_gpu": self.share // self.accumulation,
            "gradient_accumulation_steps": self.accumulation,
            "gradient_clipping": self.clip,
            "zero_optimization": zero_config(count, *self.asked),
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            "steps_per_print": 10**9,
        }
        self.names = {id(p): name for name, p in self.field.named_parameters()}
        if self.split_weights:
            self.field.register_forward_pre_hook(self._count)
        self.engine, self.optimizer, _, _ = deepspeed.initialize(
            model=learner, optimizer=optimizer, config=config
        )
        if self.split_weights:
            self._join_masters()

    def _join_masters(self) -> None:
        """Let a rank's float32 weights be those it serves, where they lie on one device.

        DeepSpeed copies the former over the latter after each step; in float32 one will do, and
        half a weight on two ranks is saved.
        """
        outer = self.optimizer
        held = zip(outer.fp16_partitioned_groups_flat, outer.fp32_partitioned_groups_flat,
                   strict=True)  # fmt: skip
        for served, master in held:
            if served is not None and (served.dtype, served.device, served.shape) == (
                master.dtype, master.device, master.shape,
            ):  # fmt: skip
                master.data = served.data

    @torch.compiler.disable
    def _count(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Each call of the field fetches weights from every rank: all must call it as often."""
        self.calls += 1

    def gradients(
        self, micro: TrainingBatch, values: Mapping[str, float], last: bool
    ) -> dict[str, Tensor]:
        """See `Backend`."""
        self.engine.set_gradient_accumulation_boundary(last)
        sums = weighted_sums(self.engine, micro, values)
        # the engine divides by the micro-batches and averages over ranks
        scale = self.world_size * self.accumulation / self.global_batch
        self.engine.backward(sums["loss"] * scale)
        return sums

    def norm(self) -> Tensor | None:
        """See `Backend`; at stage 0 every rank holds all gradients, already reduced."""
        if self.stage:
            return None
        gradients = [p.grad for g in self.optimizer.param_groups for p in g["params"]]
        return torch.nn.utils.get_total_norm([g for g in gradients if g is not None])

    def move(self, norm: float | None) -> float:
        """See `Backend`; ZeRO takes no step where the norm that it finds is infinite."""
        self.engine.step()
        if norm is None:
            norm = self.engine.get_global_grad_norm()
        return math.nan if norm is None or norm < 0 else float(norm)

    def discard(self, micro: TrainingBatch, values: Mapping[str, float]) -> None:
        """See `Backend`; ZeRO forgets gradients by itself where they are not finite."""
        if self.stage:
            self.engine.backward(weighted_sums(self.engine, micro, values)["loss"] * math.nan)
            self.engine.step()
        else:
            self.optimizer.zero_grad(set_to_none=True)

    # --- state ---------------------------------------------------------------------------------

    @property
    def inner(self) -> torch.optim.Optimizer:
        """The torch optimiser under ZeRO's."""
        outer = self.optimizer
        inner: torch.optim.Optimizer = outer.optimizer if self.stage else outer
        return inner

    def weight_fragments(self) -> list[Fragment]:
        """See `Backend`; at stage 3 frozen parameters are in parts too, and no optimiser's."""
        if not self.split_weights:
            return super().weight_fragments()
        found = self.fragments()
        for name, parameter in self.field.named_parameters():
            if not parameter.requires_grad:
                part: Any = parameter
                flat, start = part.ds_tensor, self.rank * int(part.ds_tensor.ds_numel)
                size = min(int(flat.ds_numel), self.shapes[name].numel() - start)
                found.append(Fragment(name, flat, slice(0, max(size, 0)), start))
        return found

    def fragments(self) -> list[Fragment]:
        """See `Backend`."""
        found = []
        if self.stage == 3:
            for group in self.optimizer.fp16_groups:
                for parameter in group:
                    index, offset, count = self.optimizer.grad_position[
                        self.optimizer.get_param_id(parameter)
                    ]
                    flat = self.optimizer.fp32_partitioned_groups_flat[index]
                    start = self.rank * int(parameter.ds_tensor.ds_numel)
                    size = min(int(count), self.shapes[self.names[id(parameter)]].numel() - start)
                    place = slice(int(offset), int(offset) + max(size, 0))
                    found.append(Fragment(self.names[id(parameter)], flat, place, start))
        elif self.stage:
            for group, flat in zip(
                self.optimizer.bit16_groups,
                self.optimizer.single_partition_of_fp32_groups,
                strict=True,
            ):
                for parameter in (p for p in group if p._hp_mapping is not None):
                    inside = parameter._hp_mapping.get_hp_fragment_address()
                    start = int(parameter._hp_mapping.lp_fragment_address.start)
                    place = slice(int(inside.start), int(inside.start + inside.numel))
                    found.append(Fragment(self.names[id(parameter)], flat, place, start))
        else:
            found = whole_parameters(self.field)
        return found
