"""Every weather model on a fake device: the host reads it once a step, and nothing else passes."""

import shutil

import fake_weather
import pytest
from fake_device import TrafficError
from fake_weather import names
from seas import make_sea_store

from climate.models.climode.integration import GRADIENTS
from vgbdm.dynamics.rollout import ADAPTIVE
from vgbdm.dynamics.rungekutta import METHODS

MODELS, TASKS = names("model"), names("task")
VARIANTS = [
    *(f"path={name}" for name in names("path")),
    *(f"operators={name}" for name in names("operators")),
    "backend.accumulation=2",
    "backend.ema=0.9",
    "backend.clip=0",
    "backend.recompute=true",
    "history=0",
]
READING = {*(f"method={name}" for name in ADAPTIVE), "gradient=adjoint"}
"""Solvers whose host reads the device: torchdiffeq's, which choose their steps by what they see."""

REFUSALS = ("is trained by rollouts already", "its winds are fitted on the globe")
"""Why a model and a task, or a model and a fine-tuning, are refused together."""


def _is_known(refusal: str) -> bool:
    return any(why in refusal for why in REFUSALS)


@pytest.fixture
def store_of(fine_store, years):
    """Task → the store that its models are trained on."""
    return lambda task: str((years if fake_weather.is_monthly(task) else fine_store).path)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", MODELS)
def test_a_model_trains_validates_and_forecasts(fake, store_of, model, task):
    facts = fake(fake_weather.train_and_forecast, store_of(task), f"model={model}", f"task={task}")
    if "refused" in facts:
        assert _is_known(facts["refused"])
        return
    assert facts["reads"] == facts["moved"] == 1
    assert "loss" in facts["terms"]
    assert facts["validation_reads"] == 1 + facts["ensemble"]
    assert facts["forecast_reads"] == 0


@pytest.mark.parametrize("model", ["vgbdm", "climode"])
def test_a_model_of_a_masked_channel_reads_no_more(fake, tmp_path, model):
    store = make_sea_store(tmp_path / "store")
    facts = fake(fake_weather.train_and_forecast, str(store.path), f"model={model}")
    assert facts["reads"] == facts["moved"] == 1
    assert facts["validation_reads"] == 1 + facts["ensemble"]
    assert facts["forecast_reads"] == 0


FINETUNED = [("vgbdm", "draws"), *((model, "rollout") for model in MODELS)]
"""Model and stage: both stages have one objective."""


def test_every_stage_is_tried():
    assert {stage for _, stage in FINETUNED} == {*names("finetune")}


@pytest.mark.parametrize(("model", "finetune"), FINETUNED)
@pytest.mark.parametrize("task", TASKS)
def test_a_model_is_fine_tuned(fake, store_of, model, task, finetune):
    options = [f"model={model}", f"task={task}", f"finetune={finetune}", "init=unused"]
    facts = fake(fake_weather.train, store_of(task), *options)
    if "refused" in facts:
        assert _is_known(facts["refused"])
    else:
        assert facts["reads"] == facts["moved"] == 1


@pytest.mark.parametrize("option", VARIANTS)
def test_a_variant_trains(fake, store_of, option):
    facts = fake(fake_weather.train, store_of("hourly"), option)
    assert facts["reads"] == facts["moved"] == 1


@pytest.mark.parametrize(
    "option", [*(f"method={name}" for name in (*METHODS, *ADAPTIVE)),
               *(f"gradient={name}" for name in GRADIENTS)],
)  # fmt: skip
def test_no_solver_reads_the_device_but_those_that_are_known_to(fake, store_of, option):
    gradient = [] if option.startswith("gradient") else ["model.solver.gradient=direct"]
    options = ["model=climode", "objective.ahead=1", f"model.solver.{option}", *gradient]
    if option in READING:
        with pytest.raises(TrafficError):
            fake(fake_weather.train, store_of("hourly"), *options)
    else:
        assert fake(fake_weather.train, store_of("hourly"), *options)["reads"] == 1


def test_a_new_config_is_taken_up_by_itself(fake, store_of, tmp_path):
    configs = shutil.copytree(fake_weather.CONFIGS, tmp_path / "configs")
    for group, old, new in (("model", "blackbox", "mine"), ("task", "hourly", "daily")):
        shutil.copy(configs / group / f"{old}.yaml", configs / group / f"{new}.yaml")
        assert sorted([*names(group), new]) == names(group, configs)
    facts = fake(
        fake_weather.train, store_of("hourly"), "model=mine", "task=daily", configs=configs
    )
    assert facts["reads"] == 1
