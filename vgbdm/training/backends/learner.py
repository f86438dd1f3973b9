"""What an engine wraps: a field and its objective as one module, and the sums it gives."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from vgbdm.precision import computing
from vgbdm.training.transfer import TrainingBatch

Trained = TypeVar("Trained", bound=nn.Module, contravariant=True)
Given = TypeVar("Given", bound=TrainingBatch, contravariant=True)


class Objective(Protocol[Trained, Given]):
    """What a field learns from batches."""

    def __call__(
        self, field: Trained, batch: Given, values: Mapping[str, float], /
    ) -> dict[str, Tensor]:
        """Terms per sample (B,), ``loss`` among them, under the values of the schedules."""


class Learner(nn.Module):
    """A field and what it learns from, as the one module an engine wraps.

    Args:
        field: what is trained.
        objective: of that field.
        precision: of the networks' forward pass, see `vgbdm.precision`.
    """

    def __init__(self, field: Trained, objective: Objective[Trained, Any], precision: str) -> None:
        super().__init__()
        self.field, self.precision = field, precision
        self.objective: Objective[Any, Any] = objective

    def forward(self, batch: TrainingBatch, values: Mapping[str, float]) -> dict[str, Tensor]:
        """Terms per sample, each (B,)."""
        with computing(self.precision, batch.weights.device):
            return self.objective(self.field, batch, values)


def without_weights(field: nn.Module) -> nn.Module:
    """A copy of a module whose parameters hold nothing yet, with the same tables.

    Tables are the buffers that its state leaves out.
    """
    own = {id(value) for value in field.state_dict(keep_vars=True).values()}
    shared = {id(b): b for b in field.buffers() if id(b) not in own}
    empty = {id(p): nn.Parameter(p.detach().new_empty(0), False) for p in field.parameters()}
    return copy.deepcopy(field, {**shared, **empty})


def weighted_sums(
    learner: nn.Module, micro: TrainingBatch, values: Mapping[str, float]
) -> dict[str, Tensor]:
    """Σ w_i term_i over this rank's samples, by name."""
    terms = learner(micro, values)
    return {name: (term * micro.weights).sum() for name, term in terms.items()}
