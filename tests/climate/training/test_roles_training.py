"""Training with channels that are known ahead and channels that are not fed back."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from refusals import refused
from runs import CONFIGS
from runs_era5 import edit_state
from seas import LAND, make_driven_store
from weather import VALUES, silent_parameters

from climate.forecasts.reading import open_forecast
from climate.forecasts.writing import write_forecast
from climate.models.domain import Domain
from climate.models.weather_model import WeatherModel
from climate.stream.batches import WeatherBatch, read_windows
from climate.training.preflight import preflight
from climate.training.run import build_model, train
from climate.training.validation import RolloutValidation
from climate.verification.scorecard import score
from vgbdm.loading import load
from vgbdm.objectives.rollouts import RolloutMatching
from vgbdm.registry.build import build, rebuild
from vgbdm.training import checkpoint
from vgbdm.training.backends.torch import SingleBackend

SIX = np.timedelta64(6, "h")
ROLES = ["roles.forcing=[sst]", "roles.diagnostic=[tp]"]
MODELS = {
    "gbdm": [],
    "bridge": ["path=bridge"],
    "blackbox": ["model=blackbox"],
    "vgbdm": ["model=vgbdm", "model.latents.points=24"],
}
SHORT = [
    "size=tiny", "backend=single", "batch=8", "trainer.total_steps=3", "trainer.validations=3",
    "validation.starts=2", "validation.lead=6h",
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_driven_store(tmp_path_factory.mktemp("driven") / "store")


def config(kind="gbdm", run_dir="r", store="s", more=ROLES):
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        told = [f"store={store}", f"run_dir={run_dir}", *SHORT, *MODELS[kind], *more]
        return compose("train_era5", told)


def shaken(store, kind, more=ROLES):
    """A model whose weights all matter."""
    field, described = build_model(config(kind, more=more), store)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return field.eval(), described


def windows(store, ahead=1):
    """A batch of 4 windows of training."""
    anchors = store.anchors("train", SIX, 3, ahead)[5:9]
    states = torch.from_numpy(read_windows(store, anchors, stride=1, history=3, ahead=ahead))
    times = torch.from_numpy(store.times[anchors].astype(np.int64))
    return WeatherBatch(states, times, torch.arange(4), torch.ones(4))


def test_the_domain_holds_roles_and_their_units(store):
    domain = Domain.from_store(
        store, SIX, [["u10", "v10"]], 3, roles={"forcing": ["sst"], "diagnostic": ["tp"]}
    )
    assert store.channels == ("u10", "v10", "sst", "t2m", "tp")
    assert domain.variables == ((0, 1), (3,)) and domain.shown == (0, 1, 2, 3)
    assert domain.arrays["change"][4] == 1.0 and (domain.arrays["change"][:4] < 1).all()
    again = rebuild(domain.describe())
    assert again == domain and again.forcing == ("sst",) and again.diagnostic == ("tp",)


def test_a_forcing_that_stands_still_is_no_unit_of_nothing(store):
    still = replace(store.statistics, change=np.array([1.0, 1.0, 0.0, 1.0, 1.0]))
    still = replace(store, statistics=still)
    domain = Domain.from_store(still, SIX, [], 3, roles={"forcing": ["sst"]})
    assert domain.arrays["change"][2] == 1.0


@pytest.mark.parametrize("kind", MODELS)
def test_losses_are_finite_ignore_masked_points_and_reach_every_parameter(store, kind):
    field, _ = shaken(store, kind)
    batch = windows(store, ahead=2)
    matched = replace(batch, states=batch.states[:, :-1])
    for objective in (build(config(kind).objective), RolloutMatching(2, 0, None, 2)):
        part = matched if objective.ahead == 1 else batch
        field.zero_grad()
        loss = objective(field, part, VALUES | {"horizon": 2})["loss"]
        loss.mean().backward()
        assert torch.isfinite(loss).all()
        silent = silent_parameters(field)
        assert all(name.startswith("latents.posterior") for name in silent)
        assert objective.ahead == 2 or not silent
        filled = replace(part, states=torch.where(torch.isnan(part.states), 1e4, part.states))
        assert torch.equal(objective(field, filled, VALUES | {"horizon": 2})["loss"], loss)


@pytest.mark.parametrize("kind", ["gbdm", "vgbdm"])
def test_a_masked_forcing_is_nothing_on_land_and_moves_at_sea(store, kind):
    field, _ = shaken(store, kind)
    batch, seen = windows(store, ahead=2), []
    field.trunk.register_forward_pre_hook(lambda part, inputs: seen.append(inputs[0][:, 2]))
    ahead = iter(batch.states[:, 4:, None, 2:3].unbind(1))
    made = field.forecast(batch.states[:, :4], batch.times, 2, ahead)
    land = torch.from_numpy(LAND)
    assert len(seen) == 4 and all((x[:, land] == 0).all() for x in seen)
    assert all(((a - b)[:, ~land] != 0).any() for a, b in itertools.pairwise(seen))
    assert torch.equal(torch.isnan(made), torch.isnan(batch.states[:, 4:]))
    assert torch.allclose(made[:, :, 2][..., ~land], batch.states[:, 4:, 2][..., ~land])


class Alone:
    """A backend of one rank."""

    device, rank, world_size = torch.device("cpu"), 0, 1

    def sum(self, values):
        return values


@pytest.mark.parametrize("kind", ["gbdm", "vgbdm"])
def test_validation_gives_what_is_known_and_does_not_score_it(store, kind):
    field, _ = shaken(store, kind)
    validation = RolloutValidation(
        store, Alone(), step=SIX, history=3, lead=2 * SIX, starts=4, batch=2, members=2, seed=0
    )
    scores = validation(field)
    assert not any("sst" in name for name in scores)
    judging = "crps" if kind == "vgbdm" else "rmse"
    own = [
        scores[f"{judging}_{name}_{h}h"] for h in (6, 12) for name in ("u10", "v10", "t2m", "tp")
    ]
    unit = (field.change * field.scale).flatten()[[0, 1, 3, 4]].tolist() * 2
    assert scores["score"] == pytest.approx(np.mean(np.divide(own, unit)), rel=1e-5)
    assert ("crps_tp_6h" in scores) == (kind == "vgbdm")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["roles.forcing=[sts]"], ("roles.forcing: sts is no channel", "did you mean sst?")),
        (["roles.forcing=[u10]"], ("u10 is a part of the vector [u10, v10]",)),
        (["model=climode", *ROLES], ("roles.forcing: model=climode", "sst")),
    ],
)
def test_preflight_and_training_refuse_alike(store, tmp_path, more, words):
    for start in (preflight, train):
        refused(
            lambda s=start: s(config(run_dir=tmp_path / "r", store=store.path, more=more)), *words
        )


# --- whole runs -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    run = tmp_path_factory.mktemp("run") / "run"
    train(config(run_dir=run, store=store.path))
    return run


def test_it_forecasts_with_what_is_known_and_is_scored(store, run, tmp_path):
    model = load(run, "last", "cpu", WeatherModel)
    assert model.forcing == ("sst",) and model.domain.diagnostic == ("tp",)
    write_forecast(model, store, tmp_path / "out", lead=2 * SIX, forcing=store.path)
    card = score(open_forecast(tmp_path / "out", store), store).scorecard
    own = card[card["row"] == "model"].set_index("variable")["rmse_root_of_mean"]
    assert set(own.index) == {"u10", "v10", "t2m", "tp"} and np.isfinite(own).all()


def test_a_stopped_run_goes_on_bit_equal(store, run, tmp_path, monkeypatch):
    step, calls = SingleBackend.step, []

    def stop(self, *args, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return step(self, *args, **options)

    monkeypatch.setattr(SingleBackend, "step", stop)
    part = tmp_path / "part"
    with pytest.raises(KeyboardInterrupt):
        train(config(run_dir=part, store=store.path))
    train(config(run_dir=part, store=store.path, more=[*ROLES, "resume=true"]))
    one, two = (load(path, "last", "cpu", WeatherModel).state_dict() for path in (run, part))
    assert len(calls) == 4 and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    "more", [[], ["roles.forcing=[sst]"], ["roles.forcing=[tp]", "roles.diagnostic=[sst]"]]
)
def test_a_run_goes_on_with_its_own_roles_alone(store, run, tmp_path, more):
    resumed = config(run_dir=run, store=store.path, more=[*more, "resume=true"])
    refused(lambda: train(resumed), "resume with the data and options")
    begun = config(run_dir=tmp_path / "new", store=store.path, more=[*more, f"init={run}"])
    refused(lambda: train(begun), "start from a run with the same")


def test_a_run_from_before_roles_goes_on(store, tmp_path):
    train(config(run_dir=tmp_path / "run", store=store.path, more=[]))
    folder = checkpoint.find(tmp_path / "run", "last")
    state = checkpoint.read_state(folder)
    del state["config"]["roles"]
    for name in ("forcing", "diagnostic"):
        del state["rebuild"]["domain"][name]
    edit_state(folder, config=state["config"], rebuild=state["rebuild"])
    longer = ["resume=true", "trainer.total_steps=4"]
    refused(
        lambda: train(config(run_dir=tmp_path / "run", store=store.path, more=[*longer, ROLES[1]])),
        "roles.diagnostic None → ['tp']",
    )
    train(config(run_dir=tmp_path / "run", store=store.path, more=longer))
    assert checkpoint.find(tmp_path / "run", "last").name == "step-00000004"
