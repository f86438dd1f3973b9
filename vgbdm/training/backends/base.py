"""What every backend has in common.

A backend knows processes, devices and where optimiser state lives; it knows no schedule, no
file and no data. Functions marked *collective* must be called by every rank.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from torch import Tensor, nn

from vgbdm.errors import InputError
from vgbdm.networks import Blocks
from vgbdm.options.kinds import Count, NotNegative, Precision
from vgbdm.precision import allow_tf32, check_precision, computing
from vgbdm.randomness import checksum
from vgbdm.training.backends.allocator import keep_freed_memory
from vgbdm.training.backends.fragments import (
    Collector,
    Copies,
    Fragment,
    scatter,
    share_out,
    whole_parameters,
)
from vgbdm.training.backends.learner import Learner, Objective, Trained, without_weights
from vgbdm.training.backends.steps import ParameterGroup, StepResult
from vgbdm.training.parts import MOMENTS, Part
from vgbdm.training.shares import share_size
from vgbdm.training.transfer import Arrived, TrainingBatch, to_numbers

GRAPHS = "graphs"
WISHES = ("stop", "save")
"""What a rank may ask of all others with a step."""
COLLECTIVE_MINUTES = 120
COLLECTIVE_TIMEOUT = timedelta(minutes=COLLECTIVE_MINUTES)
"""After which a process no longer waits for another; the watchdog of a run comes first."""


class Backend(ABC):
    """Computes steps on one process or many; float32 weights always.

    Args:
        precision: ``fp32``, or ``bf16`` for a forward pass under autocast.
        validation_precision: the same, of validation.
        tf32: whether layers may shorten fp32 products, see `vgbdm.precision`.
        clip: largest gradient norm; 0 for none.
        accumulation: micro-batches per step.
        compile: whether ``torch.compile`` takes all that a step runs forward; ``graphs``: and
            replays it from CUDA graphs.
        recompute: whether `Blocks` keep no activations but compute them again backwards.
        ema: decay of the running mean of the weights that validation sees; None for the weights.
            It starts as the mean of few steps: decay n is min(ema, (1 + n) / (10 + n)).
    """

    name = ""
    rank = 0
    world_size = 1
    sharded = False
    """Whether each rank holds only its part of the optimiser's state."""
    split_weights = False
    """Whether the weights themselves are in parts: no rank may call the field alone."""
    device: torch.device
    field: nn.Module
    validated: nn.Module
    optimizer: Any

    def __init__(
        self,
        precision: Precision,
        clip: NotNegative,
        accumulation: Count,
        compile: bool | Literal["graphs"] = False,
        recompute: bool = False,
        ema: Annotated[float, Interval(gt=0, lt=1)] | None = None,
        validation_precision: Precision = "fp32",
        tf32: bool = False,
    ) -> None:
        if accumulation < 1 or clip < 0:
            raise InputError(
                f"backend: accumulation={accumulation} clip={clip}; want at least 1 micro-batch, "
                "no negative norm"
            )
        self.precision = check_precision("backend.precision", precision)
        self.validation_precision = check_precision(
            "backend.validation_precision", validation_precision
        )
        allow_tf32(tf32)
        if compile not in (False, True, GRAPHS):
            raise InputError(f"backend.compile={compile}: want false, true or {GRAPHS}")
        if ema is not None and not 0 < ema < 1:
            raise InputError(f"backend.ema={ema}: want a decay such as 0.999, or null for none")
        self.clip, self.accumulation, self.ema = clip, accumulation, ema
        self.compile, self.recompute = compile, recompute
        self.moved, self.calls = 0, 0

    # --- what a backend must say ----------------------------------------------------------------

    @abstractmethod
    def wrap(self, learner: Learner, optimizer: torch.optim.Optimizer) -> None:
        """Make module and optimiser ready to step. *Collective.*"""

    @abstractmethod
    def gradients(
        self, micro: TrainingBatch, values: Mapping[str, float], last: bool
    ) -> dict[str, Tensor]:
        """Accumulate Σ w_i loss_i ÷ global batch; the weighted sums of the terms. *Collective.*"""

    @abstractmethod
    def norm(self) -> Tensor | None:
        """Norm () of the whole gradient on the device; None where `move` finds it."""

    @abstractmethod
    def move(self, norm: float | None) -> float:
        """Clip by the norm and let the optimiser step; the norm, not finite where it did not."""

    @abstractmethod
    def discard(self, micro: TrainingBatch, values: Mapping[str, float]) -> None:
        """Forget the gradients, as if the step had not been. *Collective.*

        Args:
            micro: the step's last samples.
            values: of the schedules.
        """

    @abstractmethod
    def fragments(self) -> list[Fragment]:
        """Where this rank keeps optimiser state of which parameter."""

    @property
    def inner(self) -> torch.optim.Optimizer:
        """The torch optimiser, whose state is keyed by the flat tensors of `fragments`."""
        optimizer: torch.optim.Optimizer = self.optimizer
        return optimizer

    # --- start ----------------------------------------------------------------------------------

    def start(
        self,
        field: Trained,
        objective: Objective[Trained, Any],
        groups: Sequence[ParameterGroup],
        global_batch: int,
    ) -> None:
        """Take the module over; its weights must be loaded by now. *Collective.*

        Raises:
            InputError: if a rank has fewer samples than micro-batches, or the field has nothing to
                recompute where that is asked for.
        """
        most = share_size(global_batch, self.world_size)
        if self.accumulation > most:
            raise InputError(
                f"backend.accumulation={self.accumulation}: a rank has {most} of a batch of "
                f"{global_batch}; want at most {most}"
            )
        if self.compile == GRAPHS and self.device.type != "cuda":
            raise InputError(
                f"backend.compile={GRAPHS}: {self.device} has no CUDA graphs; want compile=true"
            )
        if self.device.type == "cpu":
            keep_freed_memory()
        self.field, self.global_batch, self.groups = field.to(self.device), global_batch, groups
        self.share = share_size(global_batch, self.world_size, self.accumulation)
        self.shapes = {name: p.shape for name, p in field.named_parameters()}
        blocks = [module for module in field.modules() if isinstance(module, Blocks)]
        if self.recompute and not blocks:
            raise InputError(
                f"backend.recompute=true: {type(field).__name__} has no blocks to recompute"
            )
        for module in blocks:
            module.recompute = self.recompute
        own = self.ema is not None or self.split_weights
        self.validated = without_weights(field) if own else field
        optimizer = torch.optim.AdamW(
            [{"params": g.parameters, "weight_decay": g.weight_decay} for g in groups],
            lr=0.0,
            fused=True,
        )
        self.learner = Learner(field, objective, self.precision)
        if self.compile:  # an engine's hooks cannot be part of a graph, nor those inside
            mode = "reduce-overhead" if self.compile == GRAPHS else "default"
            whole = not self.split_weights
            self.learner.forward = torch.compile(  # type: ignore[method-assign]
                self.learner.forward, fullgraph=whole, mode=mode
            )
        self.wrap(self.learner, optimizer)
        self.collector = Collector(self.shapes, self.rank, self.world_size, self.device)
        self.copies = Copies(self.shapes)
        self.means = {}
        if self.ema is not None:
            self.means = {f.flat: f.flat.detach().clone() for f in self.fragments()}

    # --- a step ---------------------------------------------------------------------------------

    def step(
        self,
        batch: Arrived,
        values: Mapping[str, float],
        rate: float,
        wishes: Collection[str] = (),
        accepts: Callable[[Mapping[str, float]], bool] = lambda terms: True,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> StepResult:
        """One optimiser step on this rank's share of a global batch. *Collective.*

        Gradients are those of Σ w_i loss_i ÷ global batch, whatever ranks and micro-batches. The
        host reads the device once, when the sums and the gradient are reduced and the optimiser has
        not moved: a value that is not finite is seen by every rank in time. Where a term or the
        gradient is not finite, or the terms are not accepted, the weights are untouched and the
        norm is not finite.

        Args:
            batch: this rank's samples.
            values: of the schedules.
            rate: learning rate.
            wishes: of `WISHES`; every rank learns of each in the same step.
            accepts: whether the optimiser may move after such terms; alike on all ranks.
            meanwhile: what the host can do while the device computes.
        """
        host, there = batch
        assert len(host) == self.share, "ranks must compute equally many samples"
        self.drop_copy()
        size, before = len(host) // self.accumulation, self.calls
        sums: dict[str, Tensor] = {}
        for k in range(self.accumulation):
            micro = there.part(k * size, (k + 1) * size)
            if self.compile == GRAPHS:
                torch.compiler.cudagraph_mark_step_begin()
            for name, value in self.gradients(micro, values, k == self.accumulation - 1).items():
                sums[name] = sums[name] + value.detach() if name in sums else value.detach()
        calls = self.calls - before
        taken = checksum(host.ids, host.origins)[host.weights > 0].sum().item()
        own = [*(float(w in wishes) for w in WISHES), float(taken), float(calls)]
        vector, norm = self.sum(self.vector(sums, own)), self.norm()
        if norm is not None:
            vector = torch.cat((vector, norm.double().reshape(1)))
        meanwhile()
        numbers = to_numbers(vector)
        totals, found = numbers[: len(sums) + len(own)], numbers[len(sums) + len(own) :]
        means, votes, (samples, called) = totals[: len(sums)], totals[len(sums) : -2], totals[-2:]
        assert called == calls * self.world_size, "ranks called the field unequally often"
        heard = frozenset(wish for wish, vote in zip(WISHES, votes, strict=True) if vote)
        result = {n: v / self.global_batch for n, v in zip(sums, means, strict=True)}
        fine = all(map(math.isfinite, [*result.values(), *found])) and accepts(result)
        if not fine:
            self.discard(micro, values)
            return StepResult(result, math.nan, heard, int(samples))
        for group, place in zip(self.groups, self.optimizer.param_groups, strict=True):
            place["lr"] = group.rate(rate, values)
        moved = self.move(found[0] if found else None)
        if math.isfinite(moved):
            self.moved += 1
            self.follow()
        return StepResult(result, moved, heard, int(samples))

    def vector(self, sums: Mapping[str, Tensor], own: Sequence[float]) -> Tensor:
        """Sums () of this rank on the device, then numbers of the host: (N,) float64.

        The host's numbers go there as arguments of kernels: none is copied.
        """
        places = [torch.full((1,), x, dtype=torch.float64, device=self.device) for x in own]
        return torch.cat((torch.stack(list(sums.values())).double(), *places))

    @torch.no_grad()
    def follow(self) -> None:
        """Draw the means of the weights towards them, each rank what it holds."""
        if self.ema is not None:
            decay = min(self.ema, (1 + self.moved) / (10 + self.moved))
            weights = [flat.detach() for flat in self.means]
            torch._foreach_lerp_(list(self.means.values()), weights, 1 - decay)

    # --- state ----------------------------------------------------------------------------------

    def weight_fragments(self) -> list[Fragment]:
        """Where this rank keeps which weights, the frozen among them."""
        return whole_parameters(self.field, frozen=True)

    def weights(self) -> dict[str, Tensor]:
        """The field's weights and buffers, whole, by name, on the CPU. *Collective.*"""
        own = self.weight_fragments()
        return self.collector.collect(own, torch.detach, self.split_weights) | self.buffers()

    def buffers(self) -> dict[str, Tensor]:
        """The persistent buffers of the field that validation saw, by name, on the CPU."""
        keep = set(self.field.state_dict())
        return {n: b.cpu().clone() for n, b in self.validated.named_buffers() if n in keep}

    def averaged(self) -> dict[str, Tensor]:
        """The means of the trained weights, whole, by name, on the CPU. *Collective.*"""
        trained = {n for n, p in self.field.named_parameters() if p.requires_grad}
        means = self.collector.collect(self.fragments(), self.means.__getitem__, self.sharded)
        return {name: value for name, value in means.items() if name in trained}

    def state(self) -> Part:
        """What this rank saves: of ``model``, moments, and ``ema`` where it is on.

        On the CPU, valid until the next call. What every rank holds is shared out among them.
        Before the first step there are no moments: they are zero. ``ema`` has trained weights only.
        """
        inner = self.inner.state

        def moment(name: str) -> Callable[[Tensor], Tensor]:
            return lambda flat: inner[flat][name] if flat in inner else torch.zeros_like(flat)

        def own(fragments: list[Fragment], parts: bool) -> list[Fragment]:
            return fragments if parts else share_out(fragments, self.rank, self.world_size)

        trained = own(self.fragments(), self.sharded)
        weights = own(self.weight_fragments(), self.split_weights)
        taken = {"model": self.copies.take("model", weights, torch.detach)}
        taken |= {name: self.copies.take(name, trained, moment(name)) for name in MOMENTS}
        if self.ema is not None:
            taken["ema"] = self.copies.take("ema", trained, self.means.__getitem__)
        tensors = {kind: pieces for kind, (pieces, _) in taken.items()}
        if self.rank == 0:
            tensors["model"] = tensors["model"] | self.buffers()
        cuts = {kind: cut for kind, (_, cut) in taken.items()}
        return Part(tensors, cuts, self.rank, self.world_size)

    def load_moments(self, state: Mapping[str, Mapping[str, Tensor]], step: int) -> None:
        """Give the optimiser its moments and step count; weights went in before `start`.

        Args:
            state: whole tensors by kind and name; ``model`` is not looked at, and without ``ema``
                the means start at the weights.
            step: how many were made.
        """
        inner, fragments = self.inner.state, self.fragments()
        for flat in {f.flat for f in fragments}:
            zeros = {name: torch.zeros_like(flat.detach()) for name in MOMENTS}
            made = torch.full((), float(step), device=flat.device)  # a fused step counts there
            inner[flat] = {"step": made, **zeros}

        def held(name: str) -> Callable[[Tensor], Tensor]:
            return lambda flat: inner[flat][name]

        for name in MOMENTS:
            scatter(fragments, state[name], held(name))
        if self.ema is not None and "ema" in state:
            scatter(fragments, state["ema"], lambda flat: self.means[flat])
        self.moved = step

    def whole_field(self) -> nn.Module:
        """The field to validate with, all its weights on this rank. *Collective.*

        A copy where weights are in parts or averaged: ranks may call it unequally often.
        """
        if self.validated is not self.field:
            whole = self.weights() | (self.averaged() if self.ema is not None else {})
            for name, parameter in self.validated.named_parameters():
                parameter.data = whole[name].to(self.device)
        return self.validated

    def validating(self) -> torch.autocast:
        """A context in which networks compute as validation wants it."""
        return computing(self.validation_precision, self.device)

    def drop_copy(self) -> None:
        """Give back the memory of the weights that validation saw."""
        if self.validated is not self.field:
            for parameter in self.validated.parameters():
                parameter.data = parameter.data.new_empty(0)

    # --- ranks ----------------------------------------------------------------------------------

    def broadcast(self, value: float) -> float:
        """Rank 0's number on every rank. *Collective.*"""
        if self.world_size == 1:
            return float(value)
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(shared, 0)
        return float(shared.item())

    def totals(self, *numbers: float) -> list[float]:
        """Sums over ranks of numbers of the host. *Collective.*"""
        if self.world_size == 1:
            return [float(number) for number in numbers]
        shared = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        return to_numbers(self.sum(shared))

    def sum(self, values: Tensor) -> Tensor:
        """Sum over ranks of a tensor, in place. *Collective.*"""
        if self.world_size > 1:
            torch.distributed.all_reduce(values)
        return values

    def barrier(self) -> None:
        """Wait for every rank. *Collective.*"""
        if self.world_size > 1:
            torch.distributed.barrier()
