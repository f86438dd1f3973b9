"""Memory and work of a model, counted on tensors without numbers at their true shapes.

What is counted holds for the shapes as they are: no law and no smaller grid stands between. Not
seen is what libraries take inside of an operation, see `vgbdm.training.footprint`.

Shapes: ``B`` samples, ``F`` frames of a window, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig
from torch import nn

from climate.models.weather_model import WeatherModel
from climate.planning.work import NOTHING, Work, WorkCounter
from climate.store.layout import TrainingStore
from climate.stream.batches import WeatherBatch
from climate.training.likelihood import Prepared
from climate.training.run import build_model, freeze
from vgbdm.dynamics.splitting import SplitSolver
from vgbdm.errors import InputError
from vgbdm.networks import Blocks
from vgbdm.registry.build import build
from vgbdm.training.backends.learner import Learner
from vgbdm.training.footprint import Footprint

DAY = 86400
CPU = torch.device("cpu")
MANY_SUBSTEPS = 4
"""From which on they are not all counted."""
COUNTED, SWITCHED = ("phase", "horizon"), ("crps",)
"""Schedules that make a step cost more: by their whole numbers, and by being more than 0."""
LOOKED_AT = 4096
"""Steps of a run at most whose schedules are asked."""


class Costs(NamedTuple):
    """Of a forward and backward pass, or of a forecast's step.

    Attributes:
        kept: bytes that the forward pass keeps for the backward one.
        peak: most bytes that either takes, gradients of the weights and the batch aside.
        work: to be done.
    """

    kept: int
    peak: int
    work: Work


class Learning(NamedTuple):
    """What learns, how, and on which windows.

    Attributes:
        field: the model.
        learner: it and its objective.
        kinds: of steps, each by the values of its schedules, the last step's last; and what share
            of the steps is so.
        frames: F of a window.
    """

    field: WeatherModel
    learner: Learner
    kinds: tuple[tuple[Mapping[str, float], float], ...]
    frames: int

    @property
    def values(self) -> Mapping[str, float]:
        """Of the schedules at the last step."""
        return self.kinds[-1][0]


def learning_of(cfg: DictConfig, store: TrainingStore) -> Learning:
    """The untrained model of a config and its objective, as training makes them.

    Args:
        cfg: see configs/check.yaml.
        store: of which shapes and times alone are asked.

    Raises:
        InputError: for an objective that reads more than states.
    """
    stage = cfg.get("finetune") or cfg
    objective: Any = build(stage.objective)
    if isinstance(objective, Prepared):
        raise InputError(
            f"model: {cfg.model._target_.rpartition('.')[2]} is fitted to the data before it "
            "trains; leave check.grid out and check it on a store, or choose gbdm, vgbdm or "
            "blackbox"
        )
    field, _ = build_model(cfg, store)
    freeze(field, stage.get("frozen", []))
    for module in field.modules():
        if isinstance(module, Blocks):
            module.recompute = cfg.backend.recompute
    schedules = {name: build(schedule) for name, schedule in stage.schedules.items()}
    kinds = kinds_of_steps(schedules, max(1, int(cfg.trainer.total_steps)))
    learner = Learner(field, objective, cfg.backend.precision)
    return Learning(field, learner, kinds, cfg.history + 1 + objective.ahead)


def kinds_of_steps(
    schedules: Mapping[str, Callable[[int, float | None], float]], total: int
) -> tuple[tuple[Mapping[str, float], float], ...]:
    """Steps that cost alike, the last one's kind last: the values of one of them, and their share.

    Of long runs some are looked at, one in each of many stretches, at a place in it that no period
    of a schedule goes along with.
    """
    count = min(total, LOOKED_AT)
    drawn = np.random.default_rng(0).random(count)
    steps = ((np.arange(count) + drawn) * total / count).astype(int)
    steps[-1] = total - 1
    found: dict[tuple[int, ...], Mapping[str, float]] = {}
    seen = []
    for step in map(int, steps):
        values = {name: schedule(step, total) for name, schedule in schedules.items()}
        counted = [round(values[name]) for name in COUNTED if name in values]
        seen.append((*counted, *(values[name] > 0 for name in SWITCHED if name in values)))
        found.pop(seen[-1], None)
        found[seen[-1]] = values
    return tuple((values, seen.count(kind) / len(seen)) for kind, values in found.items())


def some_batch(learning: Learning, samples: int) -> WeatherBatch:
    """Windows (B, F, C, H, W) of noise, where tensors have numbers."""
    _, channels, height, width = (1, *learning.field.climate.shape)
    states = torch.randn(samples, learning.frames, channels, height, width)
    times = DAY * torch.arange(samples)
    return WeatherBatch(states, times, torch.arange(samples), torch.ones(samples))


def one_pass(
    learning: Learning,
    batch: WeatherBatch,
    kept: Callable[[], None] = lambda: None,
    values: Mapping[str, float] | None = None,
) -> None:
    """Forward and backward.

    Args:
        learning: what learns.
        batch: its samples.
        kept: called between the two.
        values: of the schedules; None: at the last step.
    """
    loss = learning.learner(batch, learning.values if values is None else values)["loss"]
    kept()
    (loss * batch.weights).sum().backward()


def one_lead(learning: Learning, samples: int, device: torch.device) -> torch.Tensor:
    """The first lead of forecasts from noise, and given noise: (B, 1, C, H, W)."""
    field, batch = learning.field, some_batch(learning, samples).to(device)
    states = batch.states[:, : field.history + 1]
    members = range(1) if field.stochastic else None
    ahead = [states[:, -1:].index_select(2, field.parts.forced)] if field.forcing else None
    return next(iter(field.forecast_steps(states, batch.times, 1, members, forcing=ahead)))


def training_costs(learning: Learning, samples: int) -> Costs:
    """Of a pass over so many samples: memory of the dearest kind, work of the usual mixture."""
    for parameter in trained(learning.field).values():
        parameter.grad = torch.zeros_like(parameter)
    batch = some_batch(learning, samples)
    each = [(pass_costs(learning, batch, values), share) for values, share in learning.kinds]
    work = sum((cost.work.scaled(share) for cost, share in each), NOTHING)
    return Costs(max(cost.kept for cost, _ in each), max(cost.peak for cost, _ in each), work)


def pass_costs(learning: Learning, batch: WeatherBatch, values: Mapping[str, float]) -> Costs:
    """Of one pass, by these values of the schedules."""
    held: list[int] = []
    with WorkCounter() as counter, Footprint() as footprint:
        one_pass(learning, batch, lambda: held.append(footprint.held), values)
    return Costs(held[0], footprint.peak, counter.work)


@torch.no_grad()
def forecast_costs(learning: Learning, samples: int) -> Costs:
    """Of a model step of so many forecasts, the states that they begin from among it.

    Substeps all take the same, so that two of them tell the rest.
    """
    field: Any = learning.field
    solver = field.solver
    if not isinstance(solver, SplitSolver) or solver.substeps < MANY_SUBSTEPS:
        return _one_step_costs(learning, samples)
    one, two = (_with_substeps(learning, samples, count) for count in (1, 2))
    field.solver, each = solver, two.work + one.work.scaled(-1)
    return two._replace(work=one.work + each.scaled(solver.substeps - 1))


def _with_substeps(learning: Learning, samples: int, count: int) -> Costs:
    field: Any = learning.field
    field.solver = replace(field.solver, substeps=count)
    return _one_step_costs(learning, samples)


def _one_step_costs(learning: Learning, samples: int) -> Costs:
    with WorkCounter() as counter, Footprint() as footprint:
        one_lead(learning, samples, CPU)
    return Costs(0, footprint.peak, counter.work)


def trained(field: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name."""
    return {n: p for n, p in field.named_parameters() if p.requires_grad}


def table_bytes(field: nn.Module) -> int:
    """Bytes of all buffers: tables of operators, the mean state, static fields."""
    own = {b.untyped_storage()._cdata: b.untyped_storage().nbytes() for b in field.buffers()}
    return sum(own.values())
