"""Seconds of this machine for a given work, from a few passes on a coarse grid.

The law is one of proportion: seconds on a fine grid are those on the coarse one times the ratio of
their operations, counted on both. Products and convolutions are counted, and they take most of the
time; what is done point by point and Fourier transforms are taken to grow alike. A large
device is not filled by a coarse grid, so that there the seconds are too many rather than too few.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from omegaconf import DictConfig
from torch.utils.flop_counter import FlopCounterMode

from climate.conventions.calendar import parse_duration
from climate.grids.named import parse_grid
from climate.planning.costs import learning_of, one_lead, one_pass, some_batch
from climate.store.layout import TrainingStore
from climate.store.planned import planned_store

COARSE = {True: "65x128", False: "64x128"}
"""Grids on which seconds are measured, with rows at the poles and without."""
SAMPLES = 2
ROUNDS = 3
YEARS = 2


class Pace(NamedTuple):
    """Seconds per operation.

    Attributes:
        training: of forward and backward.
        forecast: of a forecast's step.
    """

    training: float
    forecast: float


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
    learning.field.to(device)
    batch = some_batch(learning, SAMPLES).to(device)

    def learn() -> None:
        one_pass(learning, batch, lambda: None)

    def forecast() -> None:
        with torch.no_grad():
            one_lead(learning, SAMPLES, device)

    training = _seconds_each(learn, device)
    learning.field.requires_grad_(False)
    return Pace(training, _seconds_each(forecast, device))


def _seconds_each(work: Callable[[], None], device: torch.device) -> float:
    """Seconds per operation: of the processor on a CPU, by the clock on a GPU; the best of some."""
    with FlopCounterMode(display=False) as counter:
        work()  # the first allocates
    found = []
    for _ in range(ROUNDS):
        begin = _now(device)
        work()
        found.append(_now(device) - begin)
    return min(found) / counter.get_total_flops()


def _now(device: torch.device) -> float:
    if device.type == "cpu":
        return time.process_time()
    torch.accelerator.synchronize(device)
    return time.perf_counter()
