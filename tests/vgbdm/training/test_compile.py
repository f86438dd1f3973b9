"""The forward pass of every field is one graph: torch.compile finds nothing to break it at."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from climate.stream import WindowBatch, read_windows
from climate.training import build_model
from physics_systems.training import build_field
from vgbdm.build import build
from vgbdm.latent_field import Context, Statistics

CONFIGS = str(Path(__file__).resolve().parents[3] / "configs")


def config(name, *options):
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        return compose(name, list(options))


def explain(field, *inputs):
    torch._dynamo.reset()
    found = torch._dynamo.explain(field)(*inputs)
    assert found.graph_count == 1 and found.graph_break_count == 0, found.break_reasons


@pytest.mark.parametrize("model", ["gbdm", "blackbox", "vgbdm"])
def test_weather_fields_are_one_graph(store, model):
    points = ["model.latents.points=12"] if model == "vgbdm" else []
    cfg = config("train_era5", "store=s", "run_dir=r", "size=tiny", f"model={model}", *points)
    field, _ = build_model(cfg, store)
    anchors, seen = np.arange(60, 62), []
    window = read_windows(store, anchors, stride=6, history=field.history, ahead=1)
    times = torch.from_numpy(store.times[anchors].astype(np.int64))
    batch = WindowBatch(torch.from_numpy(window), times, torch.arange(2), torch.ones(2))
    values = {name: build(schedule)(1, 2) for name, schedule in cfg.schedules.items()}
    with field.register_forward_pre_hook(lambda module, inputs: seen.append(inputs)):
        build(cfg.objective)(field, batch, values)
    explain(field, *seen[0])


@pytest.mark.parametrize("system", ["lorenz", "reaction_diffusion"])
def test_system_fields_are_one_graph(system):
    cfg = config("train_system", f"system={system}", "data.train=a", "data.val=b")
    made = build(cfg.system)
    size, grid = len(made.components), tuple(8 for _ in made.grid)
    facts = Statistics([0.0] * size * made.order, [1.0] * size * made.order, [1.0] * size, 0.1)
    field = build_field(made, facts, OmegaConf.to_container(cfg.model, resolve=True))
    theta = {name: torch.full((4,), float(mean)) for name, (mean, *_) in made.prior.items()}
    context = Context(torch.zeros(4, field.latents), theta, None)
    explain(field, torch.randn(4, size, *grid), torch.zeros(4), context)
