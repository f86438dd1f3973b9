"""Systems on the fake device, built from the configs as the launchers build them.

Every function here runs in a `fake_process.FakeProcess`. Trajectories are numbers of no meaning:
the device computes nothing.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from fake_guard import Guard, run_step, run_validation
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from physics_systems import training
from physics_systems.data.trajectories import Trajectories
from physics_systems.evaluation import protocol
from physics_systems.systems.system import System
from vgbdm.registry.build import build

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
COUNT, BEYOND, MEMBERS = 4, 3, 2
PRESETS = {
    "batch": COUNT, "simulating_batch": COUNT, "matches": 2, "latents": 2, "refinement": 1,
    "horizon": BEYOND, "validation": COUNT, "window": 8, "substeps": 1,
}  # fmt: skip
"""Of the smallest training; a system may name fewer."""


def compose_training(*options: str, configs: Path = CONFIGS) -> DictConfig:
    """The config of a tiny training."""
    with initialize_config_dir(str(configs), version_base="1.3"):
        needed = ["data.train=unused", "data.val=unused", "backend=single"]
        cfg = compose("train_system", [*needed, *options])
    presets = cfg.system.presets
    for name in PRESETS.keys() & presets.keys():
        presets[name] = min(PRESETS[name], presets[name])
    for part in presets.values():
        if OmegaConf.is_dict(part) and "width" in part:
            part.width = 8
    cfg.model.features = 16
    return cfg


def trajectories(system: System, frames: int) -> Trajectories:
    """Smooth random walks of a system's shape."""
    generator = torch.Generator().manual_seed(0)
    shape = (COUNT, frames, *system.shape)
    x = 0.1 * torch.randn(shape, generator=generator).cumsum(1).cumsum(1)
    times = torch.linspace(0.0, system.horizon, frames, dtype=torch.float64)
    return Trajectories(x, times.expand(COUNT, -1).contiguous())


@contextlib.contextmanager
def started(guard: Guard, *options: str) -> Iterator[tuple[Any, Trajectories]]:
    """A trainer on the fake device, at its first step, and its data there."""
    cfg = compose_training(*options)
    system: System = build(cfg.system)
    data = trajectories(system, cfg.model.window + BEYOND + 1)
    with tempfile.TemporaryDirectory() as folder, guard.on():
        with guard.traffic.door():  # nothing is hot before the first step
            backend = build(cfg.backend)
            trainer = training.build_trainer(cfg, system, data, data, backend, Path(folder))
            trainer.start()
            far = Trajectories(*(values.to(backend.device) for values in (data.x, data.t)))
        yield trainer, far


def train(guard: Guard, *options: str) -> dict[str, Any]:
    """One optimiser step."""
    with started(guard, *options) as (trainer, _):
        return run_step(guard, trainer)


def train_and_infer(guard: Guard, *options: str) -> dict[str, Any]:
    """A step, a validation, and the whole of inference: means, widths, an ensemble."""
    with started(guard, *options) as (trainer, far):
        facts = run_step(guard, trainer)
        facts["validation_reads"] = run_validation(guard, trainer)
        field = trainer.backend.whole_field().eval()
        guard.reads.clear()
        made = protocol.forecast_ensemble(field, far, MEMBERS, seed=0)
        assert made.members is not None
        assert made.members.shape == (MEMBERS, *far.x[:, field.window :].shape)
        facts["forecast_reads"] = len(guard.reads)
        facts["theta"] = made.theta is not None
        return facts
