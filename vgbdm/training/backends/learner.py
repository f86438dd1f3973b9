"""What an engine wraps: a field and its objective as one module, and the sums it gives."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from vgbdm.precision import computing
from vgbdm.training.transfer import TrainingBatch

Objective = Callable[[Any, Any, Mapping[str, float]], dict[str, Tensor]]


class Learner(nn.Module):
    """A field and what it learns from, as the one module an engine wraps.

    Args:
        field: what is trained.
        objective: (field, batch, values) → terms per sample, ``loss`` among them.
        precision: of the networks' forward pass, see `vgbdm.precision`.
    """

    def __init__(self, field: nn.Module, objective: Objective, precision: str) -> None:
        super().__init__()
        self.field, self.objective, self.precision = field, objective, precision

    def forward(self, batch: Any, values: Mapping[str, float]) -> dict[str, Tensor]:
        """Terms per sample, each (B,)."""
        with computing(self.precision, batch.weights.device):
            return self.objective(self.field, batch, values)


def without_weights(field: nn.Module) -> nn.Module:
    """A copy of a module whose parameters hold nothing yet."""
    empty = {id(p): nn.Parameter(p.detach().new_empty(0), False) for p in field.parameters()}
    return copy.deepcopy(field, empty)


def weighted_sums(
    learner: nn.Module, micro: TrainingBatch, values: Mapping[str, float]
) -> dict[str, Tensor]:
    """Σ w_i term_i over this rank's samples, by name."""
    terms = learner(micro, values)
    return {name: (term * micro.weights).sum() for name, term in terms.items()}
