"""DeepSpeed: ZeRO 0–3 behind the common protocol."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vgbdm.errors import InputError
from vgbdm.training.backends.base import (
    COLLECTIVE_TIMEOUT,
    MOMENTS,
    Backend,
    Batch,
    Learner,
    weighted_sums,
)


class Fragment(NamedTuple):
    """The part of a parameter whose optimiser state this rank holds.

    Attributes:
        name: of the parameter.
        flat: the flat tensor it lies in, key of the optimiser's state.
        place: where in ``flat``.
        start: where in the flattened parameter.
    """

    name: str
    flat: Tensor
    place: slice
    start: int


class DeepSpeedBackend(Backend):
    """DeepSpeed ZeRO 0–3 on whatever accelerator it finds; float32 weights always.

    Args:
        stage: ZeRO stage, 0 to 3.
        precision: ``fp32``, or ``bf16`` for a forward pass under autocast.
        clip: largest gradient norm; 0 for none.
        accumulation: micro-batches per step.
    """

    def __init__(self, stage: int, precision: str, clip: float, accumulation: int) -> None:
        super().__init__(precision, clip, accumulation)
        if stage not in range(4):
            raise InputError(f"backend.stage={stage}: ZeRO has stages 0 to 3")
        import deepspeed

        if not deepspeed.comm.is_initialized():
            deepspeed.init_distributed(
                auto_mpi_discovery=False, verbose=False, timeout=COLLECTIVE_TIMEOUT
            )
        self.stage = stage
        self.rank = torch.distributed.get_rank()
        self.world_size = torch.distributed.get_world_size()
        accelerator = deepspeed.get_accelerator()
        local = int(os.environ.get("LOCAL_RANK", "0"))
        self.device = torch.device(accelerator.device_name(local))
        if self.device.type != "cpu":
            accelerator.set_device(local)

    def wrap(self, learner: Learner, optimizer: torch.optim.Optimizer) -> None:
        """See `Backend`."""
        import deepspeed

        field = self.field
        if self.stage == 3:
            self.validated = copy.deepcopy(field)
        config = {
            "train_micro_batch_size_per_gpu": self.global_batch
            // (self.world_size * self.accumulation),
            "gradient_accumulation_steps": self.accumulation,
            "gradient_clipping": self.clip,
            "zero_optimization": {"stage": self.stage},
            "zero_allow_untested_optimizer": True,
            "steps_per_print": 10**9,
        }
        self.names = {id(p): name for name, p in field.named_parameters()}
        self.shapes = {name: p.shape for name, p in field.named_parameters()}
        self.engine, self.optimizer, _, _ = deepspeed.initialize(
            model=learner, optimizer=optimizer, config=config
        )

    def gradients(self, micro: Batch, values: Mapping[str, float], last: bool) -> dict[str, Tensor]:
        """See `Backend`."""
        self.engine.set_gradient_accumulation_boundary(last)
        sums = weighted_sums(self.engine, micro, values)
        # the engine divides by the micro-batches and averages over ranks
        scale = self.world_size * self.accumulation / self.global_batch
        self.engine.backward(sums["loss"] * scale)
        return sums

    def move(self) -> float:
        """See `Backend`."""
        norm = self._whole_norm() if self.stage == 0 else 0.0
        if math.isfinite(norm):
            self.engine.step()
        else:
            self.optimizer.zero_grad(set_to_none=True)
        return norm if self.stage == 0 else self._sharded_norm()

    def discard(self, micro: Batch, values: Mapping[str, float]) -> None:
        """See `Backend`; ZeRO forgets gradients by itself where they are not finite."""
        if self.stage:
            self.engine.backward(weighted_sums(self.engine, micro, values)["loss"] * math.nan)
            self.engine.step()
        else:
            self.optimizer.zero_grad(set_to_none=True)

    def _whole_norm(self) -> float:
        """Norm of the gradients, which every rank holds whole and already reduced."""
        gradients = [p.grad for g in self.optimizer.param_groups for p in g["params"]]
        return float(torch.nn.utils.get_total_norm([g for g in gradients if g is not None]))

    def _sharded_norm(self) -> float:
        """Norm of sharded gradients, as ZeRO found it; it takes no step where that is infinite."""
        norm = self.engine.get_global_grad_norm()
        return math.nan if norm is None or norm < 0 else float(norm)

    # --- state ---------------------------------------------------------------------------------

    def _fragments(self) -> list[Fragment]:
        """Where this rank keeps optimiser state of which parameter."""
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
            for group in self.optimizer.param_groups:
                for parameter in group["params"]:
                    whole = slice(0, parameter.numel())
                    found.append(Fragment(self.names[id(parameter)], parameter, whole, 0))
        return found

    @property
    def _inner(self) -> torch.optim.Optimizer:
        """The torch optimiser under ZeRO's."""
        return self.optimizer.optimizer if self.stage else self.optimizer

    def _gather(self, value_of: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """Whole tensors by parameter name from what the ranks hold. *Collective.*"""
        whole = {name: torch.zeros(shape.numel()) for name, shape in self.shapes.items()}
        for fragment in self._fragments():
            part = value_of(fragment.flat).detach().flatten()[fragment.place].float().cpu()
            whole[fragment.name][fragment.start : fragment.start + len(part)] = part
        if self.stage and self.world_size > 1:
            joined = torch.cat(list(whole.values())).to(self.device)
            torch.distributed.all_reduce(joined)
            sizes = [len(value) for value in whole.values()]
            whole = dict(zip(whole, joined.cpu().split(sizes), strict=True))
        return {name: value.reshape(self.shapes[name]) for name, value in whole.items()}

    def weights(self) -> dict[str, Tensor]:
        """See `Backend`."""
        if self.stage == 3:
            weights = self._gather(lambda flat: flat)
        else:
            weights = {n: p.detach().cpu().clone() for n, p in self.field.named_parameters()}
        return weights | self.buffers()

    def state(self) -> dict[str, dict[str, Tensor]]:
        """See `Backend`."""
        inner = self._inner.state

        def moment(name: str) -> Callable[[Tensor], Tensor]:
            return lambda flat: inner.get(flat, {}).get(name, torch.zeros_like(flat))

        return {"model": self.weights()} | {n: self._gather(moment(n)) for n in MOMENTS}

    def whole_field(self) -> nn.Module:
        """See `Backend`; a copy where ZeRO shards: ranks may call it unequally often."""
        if self.stage == 3:
            self.validated.load_state_dict(self.weights())
        return self.validated

    def load_moments(self, moments: Mapping[str, Mapping[str, Tensor]], step: int) -> None:
        """See `Backend`."""
        inner = self._inner.state
        for fragment in self._fragments():
            flat, size = fragment.flat, fragment.place.stop - fragment.place.start
            if flat not in inner or "exp_avg" not in inner[flat]:
                inner[flat] = {name: torch.zeros_like(flat.detach()) for name in MOMENTS}
                inner[flat]["step"] = torch.tensor(float(step))
            for name in MOMENTS:
                part = moments[name][fragment.name].flatten()
                target = inner[flat][name].flatten()[fragment.place]
                target.copy_(part[fragment.start : fragment.start + size])
