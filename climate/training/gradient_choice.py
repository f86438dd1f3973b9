"""ClimODE's way to the gradient, chosen before training by what the memory holds.

Keeping what every evaluation of a window computed is faster than computing it twice. The gradient
is the same, so a run may go on with the other way.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from climate.models.climode.integration import ALIKE_GRADIENTS, Gradient
from climate.models.climode.model import ClimODE
from vgbdm.dynamics.rungekutta import METHODS
from vgbdm.precision import computing
from vgbdm.training.backends.base import Backend
from vgbdm.training.memory import HEADROOM, free_bytes, in_words, saved_bytes, state_bytes
from vgbdm.training.shares import share_size
from vgbdm.training.transfer import to_numbers

log = logging.getLogger(__name__)


UNSAID = (("network_calls", None), ("local_bound", False), ("divergence_bound", "wind"))
"""Options of models, with the values that stand for their absence."""


def choose_gradient(field: nn.Module, ahead: int, batch: int, backend: Backend) -> None:
    """Decide ``model.solver.gradient=auto``: ``direct`` or ``checkpoint``. *Collective.*

    The two give the same gradient; ranks agree on one nevertheless, for stage 3 of ZeRO fetches
    weights for each call. Moves the field to its device; a field that has nothing to choose is left
    alone.

    Args:
        field: the model, its weights whole on every rank.
        ahead: states scored per sample.
        batch: samples per step over all ranks.
        backend: not started: what it will hold is counted by `state_bytes`.
    """
    if not isinstance(field, ClimODE) or field.solver.gradient != "auto":
        return
    chosen: Gradient
    if field.solver.method in METHODS:
        free = free_bytes(backend)  # before anything of this is on the device
        own = share_size(batch, backend.world_size, backend.accumulation) // backend.accumulation
        sizes = {name: p.numel() for name, p in field.named_parameters() if p.requires_grad}
        held = state_bytes(sizes, backend.name, backend.world_size, backend.ema is not None)
        needed = held + own * ahead * step_bytes(field.to(backend.device), backend)
        vote = torch.full((1,), float(needed > HEADROOM * free), device=backend.device)
        (full,) = to_numbers(backend.sum(vote))
        chosen = "checkpoint" if full else "direct"
        why = f"direct takes {in_words(needed)} of {in_words(free)} free"
    else:
        chosen, why = "checkpoint", f"how often {field.solver.method} evaluates is not known before"
    field.solver = replace(field.solver, gradient=chosen)
    if backend.rank == 0:
        log.info("climode: gradient=%s, %s", chosen, why)


def step_bytes(field: ClimODE, backend: Backend) -> int:
    """Bytes that ``direct`` keeps per sample and model step, the emission's among them.

    Counted of one step from the mean state. Where `Blocks` recompute, it is less in truth.
    """
    x = torch.zeros_like(field.climate)[None]
    times = torch.zeros(1, dtype=torch.long, device=x.device)
    auto, field.solver = field.solver, replace(field.solver, gradient="direct")
    try:
        with torch.no_grad():
            fitted = field.fit_wind(x[:, None].expand(-1, field.history + 1, -1, -1, -1))
        with computing(backend.precision, backend.device):
            return saved_bytes(field, lambda: field.predict(x, fitted, times, 1))
    finally:
        field.solver = auto


def comparable(model: dict[str, Any]) -> dict[str, Any]:
    """A model's config as runs that go on from each other must share it.

    Ways to the same gradient are one: a run that has met the end of the memory can go on by
    ``checkpoint``. What a model from before did not say, and does, may be said.
    """
    model = {name: value for name, value in model.items() if (name, value) not in UNSAID}
    if "local_bound" not in model:  # without, it does nothing
        model.pop("divergence_bound", None)
    solver = model.get("solver")
    if not isinstance(solver, dict) or solver.get("gradient") not in ALIKE_GRADIENTS:
        return model
    return {**model, "solver": {**solver, "gradient": "checkpoint"}}
