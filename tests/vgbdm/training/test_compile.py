"""All that a step runs forward is one graph, and a few of them serve all steps of a run.

The backend of these tests generates no code; one slow test runs the real one.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch._dynamo.testing import CompileCounter

from climate.stream.batches import WeatherBatch, read_windows
from climate.training.run import build_model
from physics_systems.training import build_field
from vgbdm.dynamics.tendency import Context
from vgbdm.fields.system_field import FieldStatistics
from vgbdm.registry.build import build
from vgbdm.training.backends.learner import Learner
from vgbdm.training.backends.steps import ParameterGroup
from vgbdm.training.transfer import arrive

CONFIGS = str(Path(__file__).resolve().parents[3] / "configs")


def config(name, *options):
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        return compose(name, list(options))


def window_batch(store, field):
    anchors = np.arange(60, 62)
    window = read_windows(store, anchors, stride=6, history=field.history, ahead=1)
    times = torch.from_numpy(store.times[anchors].astype(np.int64))
    return WeatherBatch(torch.from_numpy(window), times, torch.arange(2), torch.ones(2))


def explain(field, *inputs):
    torch._dynamo.reset()
    found = torch._dynamo.explain(field)(*inputs)
    assert found.graph_count == 1 and found.graph_break_count == 0, found.break_reasons


@pytest.mark.slow
@pytest.mark.parametrize(("model", "most"), [("gbdm", 2), ("blackbox", 2), ("vgbdm", 4)])
def test_steps_of_weather_are_whole_graphs(store, model, most):
    """Schedules change from step to step: their numbers are inputs, not constants of a graph."""
    points = ["model.latents.points=12"] if model == "vgbdm" else []
    cfg = config("train_era5", "store=s", "run_dir=r", "size=tiny", f"model={model}", *points)
    field, _ = build_model(cfg, store)
    batch = window_batch(store, field)
    learner, counter = Learner(field, build(cfg.objective), "fp32"), CompileCounter()
    torch._dynamo.reset()
    compiled = torch.compile(learner, backend=counter, fullgraph=True)
    for step in range(6):
        values = {name: build(schedule)(step, 6) for name, schedule in cfg.schedules.items()}
        again = replace(batch, ids=batch.ids + 2 * step)
        ours, theirs = compiled(again, values), learner(again, values)
        assert ours.keys() == theirs.keys()
        assert all(torch.allclose(ours[name], theirs[name]) for name in theirs)
    assert counter.frame_count <= most


@pytest.mark.slow
def test_a_compiled_step_is_the_step(store):
    results = {}
    for compiled in (False, True):
        torch._dynamo.reset()
        cfg = config("train_era5", "store=s", "run_dir=r", "size=tiny", "backend=single",
                     f"backend.compile={compiled}")  # fmt: skip
        backend, (field, _) = build(cfg.backend), build_model(cfg, store)
        groups = [ParameterGroup(list(field.parameters()), 1.0, 0.0)]
        backend.start(field, build(cfg.objective), groups, 2)
        values = {name: build(schedule)(1, 2) for name, schedule in cfg.schedules.items()}
        batch = arrive(window_batch(store, field), backend.device)
        results[compiled] = [backend.step(batch, values, 1e-3).terms["loss"] for _ in range(3)]
    assert np.allclose(results[False], results[True], rtol=1e-4)


@pytest.mark.parametrize("system", ["lorenz", "reaction_diffusion"])
def test_system_fields_are_one_graph(system):
    cfg = config("train_system", f"system={system}", "data.train=a", "data.val=b")
    made = build(cfg.system)
    size, grid = len(made.components), tuple(8 for _ in made.grid)
    facts = FieldStatistics([0.0] * size * made.order, [1.0] * size * made.order, [1.0] * size, 0.1)
    model = OmegaConf.to_container(cfg.model, resolve=True)
    field = build_field(made, facts, model, build(cfg.path))
    theta = {name: torch.full((4,), float(mean)) for name, (mean, *_) in made.prior.items()}
    context = Context(theta, torch.zeros(4, field.latents), ())
    explain(field, torch.randn(4, size, *grid), torch.zeros(4), context)
