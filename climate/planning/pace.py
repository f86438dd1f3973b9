"""Seconds of this machine for a given work, from a few passes on a coarse grid.

Each kind of work (see `climate.planning.work`) has a rate of its own, measured on the coarse grid
and taken to hold on fine ones. A large device is not filled by a coarse grid, so that there the
seconds are too many rather than too few.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig

from climate.conventions.calendar import parse_duration
from climate.grids.named import parse_grid
from climate.planning.costs import learning_of, one_lead, one_pass, some_batch
from climate.planning.work import Work, measured_rates
from climate.store.layout import TrainingStore
from climate.store.planned import planned_store
from vgbdm.dynamics.splitting import SplitSolver

COARSE = {True: "91x180", False: "90x180"}
"""Grids on which seconds are measured, with rows at the poles and without."""
SAMPLES = 2
ROUNDS = 3
YEARS = 2


class Pace(NamedTuple):
    """Seconds of a unit of each kind of work.

    Attributes:
        training: of forward and backward.
        forecast: of a forecast's step.
    """

    training: Work
    forecast: Work


def measure_pace(cfg: DictConfig, store: TrainingStore, device: torch.device) -> Pace:
    """A model of the config on a coarse grid, at work on this device.

    Args:
        cfg: see configs/check.yaml.
        store: the planned one, whose channels are taken.
        device: to measure.
    """
    grid = parse_grid(COARSE[bool(store.grid.includes_poles)])
    coarse = planned_store(grid, store.channels, parse_duration("step", cfg.step), YEARS)
    learning = learning_of(cfg, coarse)
    field: Any = learning.field.to(device)
    batch = some_batch(learning, SAMPLES).to(device)
    training = measured_rates(lambda: one_pass(learning, batch), device, ROUNDS)
    field.zero_grad()
    if isinstance(field.solver, SplitSolver):  # one substep shows what all of them do
        field.solver = replace(field.solver, substeps=1)
    with torch.no_grad():
        return Pace(training, measured_rates(lambda: one_lead(learning, 1, device), device, ROUNDS))
