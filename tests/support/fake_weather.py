"""Weather on the fake device, built from the configs as the launchers build it.

Every function here runs in a `fake_process.FakeProcess`.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from fake_guard import Guard, run_step, run_validation
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from climate.training import run
from vgbdm.errors import InputError
from vgbdm.registry.build import build
from vgbdm.training import transfer

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SMALL = [
    "size=tiny", "batch=2", "stream.lanes=2", "validation.starts=2", "validation.batch=2",
    "validation.members=2", "backend=single",
]  # fmt: skip
BOX = [-30, 60, 20, 150]
STEPS, MEMBERS = 2, 3


def compose_training(store: str, *options: str, configs: Path = CONFIGS) -> DictConfig:
    """The config of a tiny training; a region that a task asks for is a box."""
    with initialize_config_dir(str(configs), version_base="1.3"):
        cfg = compose("train_era5", [f"store={store}", "run_dir=unused", *SMALL, *options])
    OmegaConf.set_struct(cfg, False)
    if "region" in OmegaConf.missing_keys(cfg):
        cfg.region, cfg.halo = BOX, 2
    cfg.validation.lead = "1mo" if str(cfg.step).endswith("mo") else "6h"
    if "ahead" in cfg.objective:
        cfg.objective.ahead = STEPS
    if "solver" in cfg.model:
        cfg.model.solver.substeps = 1
    return cfg


def names(group: str, configs: Path = CONFIGS) -> list[str]:
    """The choices of a group of configs."""
    return sorted(path.stem for path in (configs / group).glob("*.yaml"))


def is_monthly(task: str) -> bool:
    """Whether the models of a task make steps of months."""
    return str(compose_training("unused", f"task={task}").step).endswith("mo")


@contextlib.contextmanager
def started(guard: Guard, cfg: DictConfig, moves: bool = True) -> Iterator[Any]:
    """A trainer on the fake device, at its first step; weights to go on from are not looked for."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(run, "start_from"),
        guard.on(moves),
    ):
        with guard.traffic.door():  # nothing is hot before the first step
            trainer = run.build_trainer(cfg, build(cfg.backend), Path(folder))
            trainer.start()
        yield trainer


def _or_refused(work: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """`work`, which says under "refused" why what was asked for does not go together."""

    @functools.wraps(work)
    def ask(*args: Any, **options: Any) -> dict[str, Any]:
        try:
            return work(*args, **options)
        except InputError as error:
            return {"refused": str(error)}

    return ask


@_or_refused
def train(
    guard: Guard, store: str, *options: str, moves: bool = True, configs: Path = CONFIGS
) -> dict[str, Any]:
    """One optimiser step."""
    with started(guard, compose_training(store, *options, configs=configs), moves) as trainer:
        return run_step(guard, trainer)


@_or_refused
def train_and_forecast(guard: Guard, store: str, *options: str) -> dict[str, Any]:
    """A step, a validation, one forecast, and an ensemble where the model has members."""
    with started(guard, compose_training(store, *options)) as trainer:
        facts = run_step(guard, trainer)
        facts["validation_reads"] = run_validation(guard, trainer)
        field = trainer.backend.whole_field().eval()
        with trainer.open_stream(0) as stream:
            batch = transfer.arrive(next(stream), trainer.backend.device).device
        past = batch.states[:, : field.history + 1]
        guard.reads.clear()
        shape = (2, STEPS, *past.shape[2:])
        assert field.forecast(past, batch.times, STEPS).shape == shape
        facts["ensemble"] = bool(field.stochastic)
        if field.stochastic:
            drawn = field.forecast_ensemble(past, batch.times, STEPS, MEMBERS, 0)
            assert drawn.shape == (2, MEMBERS, *shape[1:])
        facts["forecast_reads"] = len(guard.reads)
        return facts
