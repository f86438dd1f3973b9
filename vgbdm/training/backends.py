"""Who computes a step: one protocol, DeepSpeed behind it.

A backend knows processes, devices and where optimiser state lives; it knows no schedule, no
file and no data. Functions marked *collective* must be called by every rank.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from vgbdm.errors import InputError

MOMENTS = ("exp_avg", "exp_avg_sq")


class Batch(Protocol):
    """What training needs to know of a batch."""

    ids: Tensor
    times: Tensor
    weights: Tensor

    def __len__(self) -> int:
        """Samples on this rank."""
        ...

    def part(self, start: int, stop: int) -> Batch:
        """Some of its samples."""
        ...


Objective = Callable[[Any, Any, Mapping[str, float]], dict[str, Tensor]]


class Learner(nn.Module):
    """A field and what it learns from, as the one module an engine wraps.

    Args:
        field: what is trained.
        objective: (field, batch, values) → terms per sample, ``loss`` among them.
        autocast: dtype of the forward pass, or None for float32 throughout.
    """

    def __init__(
        self, field: nn.Module, objective: Objective, autocast: torch.dtype | None
    ) -> None:
        super().__init__()
        self.field, self.objective, self.autocast = field, objective, autocast

    def forward(self, batch: Any, values: Mapping[str, float]) -> dict[str, Tensor]:
        """Terms per sample, each (B,)."""
        device = next(self.field.buffers()).device.type
        enabled = self.autocast is not None
        with torch.autocast(device, self.autocast or torch.bfloat16, enabled=enabled):
            return self.objective(self.field, batch, values)


class ParameterGroup(NamedTuple):
    """Parameters that share a weight decay and a multiple of the learning rate."""

    parameters: list[nn.Parameter]
    rate_factor: float
    weight_decay: float


class StepResult(NamedTuple):
    """What one optimiser step gave: means over the global batch, and the gradient's norm."""

    terms: dict[str, float]
    gradient_norm: float
    flags: float


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


class DeepSpeedBackend:
    """DeepSpeed ZeRO 0–3 on whatever accelerator it finds; float32 weights always.

    Args:
        stage: ZeRO stage, 0 to 3.
        precision: ``fp32``, or ``bf16`` for a forward pass under autocast.
        clip: largest gradient norm; 0 for none.
        accumulation: micro-batches per step.
    """

    def __init__(self, stage: int, precision: str, clip: float, accumulation: int) -> None:
        if stage not in range(4) or precision not in ("fp32", "bf16") or accumulation < 1:
            raise InputError(
                f"backend: stage={stage} precision={precision} accumulation={accumulation}; want "
                "a stage of 0 to 3, fp32 or bf16, at least 1 micro-batch"
            )
        import deepspeed

        if not deepspeed.comm.is_initialized():
            deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False)
        self.stage, self.clip, self.accumulation = stage, clip, accumulation
        self.autocast = torch.bfloat16 if precision == "bf16" else None
        self.rank, self.world_size = (
            torch.distributed.get_rank(),
            torch.distributed.get_world_size(),
        )
        accelerator = deepspeed.get_accelerator()
        local = int(os.environ.get("LOCAL_RANK", "0"))
        self.device = torch.device(accelerator.device_name(local))
        if self.device.type != "cpu":
            accelerator.set_device(local)

    def start(
        self,
        field: nn.Module,
        objective: Objective,
        groups: Sequence[ParameterGroup],
        global_batch: int,
    ) -> None:
        """Hand the module to DeepSpeed; its weights must be loaded by now. *Collective.*

        Raises:
            InputError: if the batch does not divide among ranks and micro-batches.
        """
        import deepspeed

        share = self.world_size * self.accumulation
        if global_batch % share:
            raise InputError(
                f"batch of {global_batch} does not divide by {self.world_size} ranks × "
                f"{self.accumulation} micro-batches; choose a multiple of {share}"
            )
        self.field, self.global_batch = field, global_batch
        self.whole = copy.deepcopy(field).to(self.device) if self.stage == 3 else field
        learner = Learner(field.to(self.device), objective, self.autocast)
        self.factors = [group.rate_factor for group in groups]
        optimizer = torch.optim.AdamW(
            [{"params": g.parameters, "weight_decay": g.weight_decay} for g in groups], lr=0.0
        )
        config = {
            "train_micro_batch_size_per_gpu": global_batch // share,
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

    def step(
        self, batch: Batch, values: Mapping[str, float], rate: float, flags: float = 0.0
    ) -> StepResult:
        """One optimiser step on this rank's share of a global batch. *Collective.*

        Gradients are those of Σ w_i loss_i ÷ global batch, whatever ranks and micro-batches. The
        sums are reduced before the optimiser moves, so that a value that is not finite is seen by
        every rank in time; the caller must look at ``terms`` — the weights are then untouched.

        Args:
            batch: this rank's samples.
            values: of the schedules.
            rate: learning rate.
            flags: a number summed over ranks, for wishes such as "save now".
        """
        size = len(batch) // self.accumulation
        sums: dict[str, Tensor] = {}
        for k in range(self.accumulation):
            micro = batch.part(k * size, (k + 1) * size)
            self.engine.set_gradient_accumulation_boundary(k == self.accumulation - 1)
            terms = self.engine(micro, values)
            weighted = {name: (term * micro.weights).sum() for name, term in terms.items()}
            # the engine divides by the micro-batches and averages over ranks
            scale = self.world_size * self.accumulation / self.global_batch
            self.engine.backward(weighted["loss"] * scale)
            for name, value in weighted.items():
                sums[name] = sums.get(name, 0.0) + value.detach()
        totals = torch.stack([*sums.values(), torch.full_like(sums["loss"], flags)]).double()
        torch.distributed.all_reduce(totals)
        *means, flags = totals.tolist()
        result = {n: v / self.global_batch for n, v in zip(sums, means, strict=True)}
        if not all(map(math.isfinite, result.values())):
            return StepResult(result, math.nan, flags)
        for group, factor in zip(self.optimizer.param_groups, self.factors, strict=True):
            group["lr"] = rate * factor
        norm = self._whole_norm() if self.stage == 0 else 0.0
        if math.isfinite(norm):
            self.engine.step()
        return StepResult(result, norm if self.stage == 0 else self._sharded_norm(), flags)

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
        """The field's weights and buffers, whole, by name, on the CPU. *Collective.*"""
        if self.stage == 3:
            weights = self._gather(lambda flat: flat)
        else:
            weights = {n: p.detach().cpu().clone() for n, p in self.field.named_parameters()}
        keep = set(self.field.state_dict())
        return weights | {n: b.cpu().clone() for n, b in self.field.named_buffers() if n in keep}

    def state(self) -> dict[str, dict[str, Tensor]]:
        """``model`` (see `weights`) and both moments, by name, on the CPU. *Collective.*

        Before the first step there are no moments: they are zero.
        """
        inner = self._inner.state

        def moment(name: str) -> Callable[[Tensor], Tensor]:
            return lambda flat: inner.get(flat, {}).get(name, torch.zeros_like(flat))

        return {"model": self.weights()} | {n: self._gather(moment(n)) for n in MOMENTS}

    def whole_field(self) -> nn.Module:
        """The field with all its weights on this rank, to validate with. *Collective.*

        Where ZeRO shards the weights it is a copy, so that ranks may call it any number of times.
        """
        if self.stage == 3:
            self.whole.load_state_dict(self.weights())
        return self.whole

    def load_moments(self, moments: Mapping[str, Mapping[str, Tensor]], step: int) -> None:
        """Give the optimiser its moments and step count; weights went in before `start`."""
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

    # --- agreement -----------------------------------------------------------------------------

    def broadcast(self, value: float) -> float:
        """Rank 0's number on every rank. *Collective.*"""
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(shared, 0)
        return float(shared.item())

    def sum(self, values: Tensor) -> Tensor:
        """Sum over ranks of a tensor, in place. *Collective.*"""
        torch.distributed.all_reduce(values)
        return values

    def barrier(self) -> None:
        """Wait for every rank. *Collective.*"""
        torch.distributed.barrier()
