"""Every config composes, and everything it names can be built."""

from pathlib import Path

import forecast_era5
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from climate.conventions.calendar import parse_duration
from climate.operators import harmonics
from climate.stream.batches import WeatherBatch, read_windows
from climate.training.run import build_model, parameter_groups
from physics_systems.training import build_field
from vgbdm import loading
from vgbdm.errors import InputError
from vgbdm.fields.system_field import FieldStatistics
from vgbdm.registry.build import build, rebuild
from vgbdm.training.plan import Plan
from vgbdm.training.run_folder import prepare_run_dir

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
GROUPS = {
    path.relative_to(CONFIGS).parent.name: sorted(p.stem for p in path.parent.glob("*.yaml"))
    for path in CONFIGS.glob("*/*.yaml")
}
TRAINING = [
    (group, name) for group in ("model", "size", "path", "operators") for name in GROUPS[group]
]


def compose_training(*overrides: str):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("train_era5", ["store=s", "run_dir=r", *overrides])


@pytest.mark.parametrize("name", sorted(p.stem for p in CONFIGS.glob("*.yaml")))
def test_entry_configs_compose(name):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        assert compose(name)


@pytest.mark.parametrize(("group", "name"), TRAINING)
def test_every_choice_of_training_builds(store, group, name):
    cfg = compose_training(f"{group}={name}")
    model, facts = build_model(cfg, store)
    assert tuple(model.channels) == store.channels
    assert callable(build(cfg.path))
    assert callable(build(cfg.rate))
    assert all(callable(build(schedule)) for schedule in cfg.schedules.values())
    assert Plan(**cfg.trainer).total_steps > 0
    again = rebuild({**facts["model"], "domain": facts["domain"]})
    assert (again.statistics_hash, again.region) == (store.statistics.hash, None)
    again.load_state_dict(model.state_dict())


def test_training_and_forecasts_keep_tables_of_fine_grids_where_they_are_told(
    store, tmp_path, monkeypatch
):
    monkeypatch.setattr(harmonics, "FINE", 1)
    cfg = compose_training("size=tiny", f"cache={tmp_path}/training")
    model, facts = build_model(cfg, store)
    assert len([*(tmp_path / "training").glob("*.safetensors")]) == 1
    config = {**facts["model"], "domain": facts["domain"]}

    class Enough(Exception):
        pass

    def load(*_):
        again = rebuild(config)
        again.load_state_dict(model.state_dict())
        raise Enough

    monkeypatch.setattr(loading, "load", load)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        told = ["run_dir=r", "store=s", "out=o", f"cache={tmp_path}/forecast"]
        forecast = compose("forecast_era5", told)
    with pytest.raises(Enough):
        forecast_era5.main(forecast)
    assert len([*(tmp_path / "forecast").glob("*.safetensors")]) == 1
    assert not any("harmonics" in name for name in model.state_dict())


def test_the_finite_difference_operators_are_a_config(store):
    model, _ = build_model(compose_training("operators=finite_difference"), store)
    assert type(model.transport.operators).__name__ == "FiniteDifferenceOperators"


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_the_black_box_has_as_many_parameters_as_gbdm(store, size):
    counts = []
    for name in ("gbdm", "blackbox"):
        model, _ = build_model(compose_training(f"model={name}", f"size={size}"), store)
        counts.append(sum(p.numel() for p in model.parameters()))
    assert counts[1] == pytest.approx(counts[0], rel=0.05)


ABLATIONS = [
    ["model=gbdm", "model.source=false"],
    ["model=gbdm", "operators=finite_difference"],
    ["model=vgbdm", "history=0"],
    *(["model=gbdm", f"path={name}"] for name in GROUPS["path"]),
    *([f"model={name}"] for name in ("gbdm", "vgbdm", "blackbox")),
]


@pytest.mark.parametrize("options", ABLATIONS, ids=" ".join)
def test_every_ablation_learns_from_a_step(store, options):
    cfg = compose_training("size=tiny", *options)
    model, _ = build_model(cfg, store)
    objective = build(cfg.objective)
    anchors = np.arange(60, 64)
    window = read_windows(store, anchors, stride=6, history=model.history, ahead=objective.ahead)
    times = torch.from_numpy(store.times[anchors].astype(np.int64))
    batch = WeatherBatch(torch.from_numpy(window), times, torch.arange(4), torch.ones(4))
    values = {name: build(schedule)(50, 100) for name, schedule in cfg.schedules.items()}
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(3):
        optimiser.zero_grad()
        loss = objective(model, batch, values)["loss"].mean()
        loss.backward()
        optimiser.step()
    assert bool(loss.isfinite())
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("model", ["gbdm", "vgbdm", "blackbox"])
def test_fine_tuning_is_a_config(model):
    cfg = compose_training(f"model={model}", "finetune=rollout", "init=RUN")
    objective = build(cfg.finetune.objective)
    values = {name: build(schedule) for name, schedule in cfg.finetune.schedules.items()}
    assert [round(values["horizon"](step, 4)) for step in range(4)] == [1, 2, 3, 4]
    assert objective.ahead == 4 and build(cfg.finetune.rate)(100, 1000) < 1e-3


def test_backends_are_known():
    assert GROUPS["backend"] == ["auto", "ddp", "deepspeed", "single"]


def test_a_stage_is_taken_where_it_means_something():
    for name in ("auto", "deepspeed"):
        assert compose_training(f"backend={name}", "backend.stage=2").backend.stage == 2
    for name in ("single", "ddp"):
        with pytest.raises(ConfigCompositionException, match=r"backend\.stage"):
            compose_training(f"backend={name}", "backend.stage=2")


@pytest.mark.parametrize("name", GROUPS["source"])
def test_every_source_builds(name):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        cfg = compose("convert_era5", ["store=s", f"source={name}", "source.root=r"])
    source = build(cfg.source)
    assert source.variables == ["z", "t", "t2m", "u10", "v10"]
    with pytest.raises(InputError, match=r"^r: "):
        source.open()


def test_two_builds_start_alike(store):
    first, second = (build_model(compose_training("size=tiny"), store)[0] for _ in range(2))
    states = second.state_dict()
    assert all((value == states[name]).all() for name, value in first.state_dict().items())


def test_every_parameter_is_in_one_group(store):
    model, _ = build_model(compose_training("size=tiny"), store)
    groups = parameter_groups(model, weight_decay=0.1, physics_rate=5.0)
    members = [id(p) for group in groups for p in group.parameters]
    assert sorted(members) == sorted(id(p) for p in model.parameters())
    assert [group.weight_decay for group in groups] == [0.1, 0.0, 0.0]


@pytest.mark.parametrize("text", ["6", "h", "0h", "6m", "-6h", "six hours", "0mo", "mo"])
def test_durations_that_cannot_be_read_are_refused(text):
    with pytest.raises(InputError, match="duration"):
        parse_duration("step", text)


def test_durations():
    assert parse_duration("step", "6h") * 4 == parse_duration("leads", "1d")
    assert (
        parse_duration("step", "1mo") * 6
        == parse_duration("leads", "6mo")
        == np.timedelta64(6, "M")
    )


@pytest.mark.parametrize(
    "options",
    [{"total_steps": 0}, {"max_minutes": 0}, {"validations": 0}, {"keep": 0}, {"save_minutes": 0}],
)
def test_plans_that_cannot_be_are_refused(options):
    with pytest.raises(InputError):
        Plan(**options)


def test_a_run_folder_in_use_is_only_taken_to_resume(tmp_path):
    prepare_run_dir(tmp_path / "new", resume=False)
    (tmp_path / "new/log.csv").write_text("step\n1\n")
    with pytest.raises(InputError, match="resume=true"):
        prepare_run_dir(tmp_path / "new", resume=False)
    prepare_run_dir(tmp_path / "new", resume=True)


SYSTEM_CHOICES = [
    (system, objective) for system in GROUPS["system"] for objective in GROUPS["objective"]
]


@pytest.mark.parametrize(("system", "objective"), SYSTEM_CHOICES)
def test_every_system_and_objective_builds(system, objective):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        options = [f"system={system}", f"objective={objective}", "data.train=a", "data.val=b"]
        cfg = compose("train_system", options)
    made, path = build(cfg.system), build(cfg.path)
    size = len(made.components)
    facts = FieldStatistics([0.0] * size * made.order, [1.0] * size * made.order, [1.0] * size, 0.1)
    field = build_field(made, facts, OmegaConf.to_container(cfg.model, resolve=True), path)
    plain = OmegaConf.to_container(cfg.objective, resolve=True)
    schedules = plain.pop("schedules")
    plain.pop("name")
    assert callable(build(plain, path=path, seed=0))
    assert all(callable(build(schedule)) for schedule in schedules.values())
    assert callable(build(cfg.rate))
    assert field.grey == (objective not in ("blackbox", "node"))
    assert made.frames > field.window


@pytest.mark.parametrize("system", GROUPS["system"])
def test_networks_of_a_system_are_of_one_size(system):
    counts = []
    for objective in ("vgbdm", "blackbox", "node", "physvae", "aphynity"):
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            options = [f"system={system}", f"objective={objective}", "data.train=a", "data.val=b"]
            cfg = compose("train_system", options)
        made = build(cfg.system)
        size = len(made.components)
        facts = FieldStatistics(
            [0.0] * size * made.order, [1.0] * size * made.order, [1.0] * size, 0.1
        )
        model = OmegaConf.to_container(cfg.model, resolve=True)
        field = build_field(made, facts, model, build(cfg.path))
        counts.append(sum(p.numel() for p in field.network.parameters()))
    assert max(counts) / min(counts) < 1.05
