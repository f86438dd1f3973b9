"""Weights of channels in losses: by pressure on several levels, as told, and alike."""

import copy

import climode
import pytest
import torch
import xarray as xr
from builders import LAT, LON, waves
from hydra import compose, initialize_config_dir
from runs import CONFIGS
from runs_era5 import edit_state
from seas import TIMES, make_sea_store
from weather import GRIDS, VALUES, Batch, make_latents, make_model, matching, shake, states

from climate.stream.batches import WeatherBatch
from climate.training.likelihood import GaussianLikelihood
from climate.training.loss_weights import describe_weights, loss_weights
from climate.training.run import train
from vgbdm.errors import InputError
from vgbdm.objectives.rollouts import RolloutMatching
from vgbdm.paths.hermite import HermitePath
from vgbdm.training import checkpoint

ERA5 = ("z", "t", "t2m", "u10", "v10")
SHORT = [
    "size=tiny", "backend=single", "batch=8", "trainer.total_steps=2", "trainer.validations=1",
    "validation.starts=2", "validation.lead=6h",
]  # fmt: skip


def test_of_several_levels_the_lower_ones_count_more():
    got = loss_weights(("z500", "t2m", "z1000", "u200", "u300", "t850"), "auto")
    assert got == pytest.approx(
        {"z500": 2 / 3, "t2m": 1, "z1000": 4 / 3, "u200": 0.8, "u300": 1.2, "t850": 1}
    )


def test_channels_on_one_level_each_count_alike():
    assert loss_weights(ERA5, "auto") is None
    assert loss_weights(("z500", "z850"), None) is None
    assert loss_weights(ERA5, dict.fromkeys(ERA5, 3)) is None


def test_names_replace_what_pressure_says_and_the_mean_is_one():
    got = loss_weights(("z500", "z1000", "t2m", "tp"), {"tp": 0.5, "t2m": 0})
    assert got == pytest.approx({"z500": 1.0667, "z1000": 2.1333, "t2m": 0, "tp": 0.8}, rel=1e-4)
    assert describe_weights(got) == "z500 1.07, z1000 2.13, t2m 0, tp 0.8"
    assert describe_weights({"a": 0.5, "b": 1.5, "c": 0.5}) == "a c 0.5, b 1.5"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"z5": 1.0}, "weights.z5: no such channel; did you mean z.* there are z, t, t2m"),
        ({"t2m": -1.0}, "weights.t2m=-1: want a number ≥ 0"),
        (dict.fromkeys(ERA5, 0), "weights: all are 0"),
        (dict.fromkeys(ERA5, 1e308), "weights: they have no sum"),
    ],
)
def test_what_cannot_be_weighed_is_refused(given, told):
    with pytest.raises(InputError, match=told):
        loss_weights(ERA5, given)


# --- every objective ------------------------------------------------------------------------------


def matched(latents=None):
    model = make_model(GRIDS["coarse"], latents=latents)
    return model, Batch(states(model)), matching(HermitePath(), 0)


def tuned(latents=None):
    model = make_model(GRIDS["coarse"], latents=latents)
    return model, Batch(states(model, frames=6)), RolloutMatching(2, 0, None, 2)


def likely():
    model = climode.make_climode(climode.GRIDS["small"])
    windows = climode.smooth_states(model, 2, 5)
    with torch.no_grad():
        fitted = model.fit_wind(model.standardise(windows[:, :4]))
    batch = WeatherBatch(windows, torch.zeros(2), torch.arange(2), torch.ones(2), fitted)
    return model, batch, GaussianLikelihood(1)


OBJECTIVES = {
    "matching": (matched, ("matching",)),
    "crps of matching": (lambda: matched(make_latents()), ("matching", "crps")),
    "rollouts": (tuned, ("rollout",)),
    "crps of rollouts": (lambda: tuned(make_latents()), ("rollout",)),
    "likelihood": (likely, ("likelihood", "distance")),
}


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_an_objective_is_the_weighted_mean_of_those_of_its_channels(kind):
    make, names = OBJECTIVES[kind]
    model, batch, objective = make()
    climode.shake(model.emission.trunk.last) if kind == "likelihood" else shake(model)

    @torch.no_grad()
    def terms(weights):
        model.weigh(weights)
        return objective(model, batch, VALUES | {"horizon": 2})

    alone = [terms(row) for row in (4 * torch.eye(4)).tolist()]
    weights = [0.4, 0.0, 1.2, 2.4]
    weighted, alike, plain = terms(weights), terms([1.0] * 4), terms(None)
    for name in names:
        want = sum(w / 4 * part[name] for w, part in zip(weights, alone, strict=True))
        assert torch.allclose(weighted[name], want, rtol=1e-5)
        assert not torch.allclose(weighted[name], plain[name], rtol=1e-2)
        assert torch.allclose(alike[name], plain[name], rtol=1e-6)
    for name in plain.keys() - names - {"loss"}:
        assert torch.equal(weighted[name], plain[name])


def test_weights_are_no_part_of_what_is_saved():
    model = make_model(GRIDS["coarse"])
    before = copy.deepcopy(model.state_dict())
    model.weigh([0.4, 0.0, 1.2, 2.4])
    assert model.state_dict().keys() == before.keys()
    assert model.to(torch.float64).loss_weight.dtype == torch.float64


# --- runs -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def levels(tmp_path_factory):
    axes, metres = ("time", "lat", "lon"), {"units": "m s-1"}
    names = ("u500", "u850", "v500", "v850")
    fields = {name: (axes, waves(TIMES, k), metres) for k, name in enumerate(names)}
    dataset = xr.Dataset(fields, {"time": TIMES, "lat": LAT, "lon": LON})
    return make_sea_store(tmp_path_factory.mktemp("levels") / "store", dataset)


def run(store, run_dir, *options):
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        places = [f"store={store.path}", f"run_dir={run_dir}", "vectors=[[u500,v500],[u850,v850]]"]
        train(compose("train_era5", [*places, *SHORT, *options]))


def test_a_run_weighs_by_pressure_and_goes_on_with_the_same_weights_alone(levels, tmp_path, caplog):
    caplog.set_level("INFO")
    run(levels, tmp_path / "run")
    assert "weights of the loss: u500 v500 0.741, u850 v850 1.26" in caplog.text
    held = checkpoint.read_state(checkpoint.find(tmp_path / "run", "last"))["must_match"]
    assert held["weights"]["u850"] == pytest.approx(850 / 675)
    for other, told in (("weights=null", "weights is .* has None"), ("weights={u500: 0}", "→ 0.0")):
        with pytest.raises(InputError, match=f"{told}.*resume with the data and options"):
            run(levels, tmp_path / "run", "resume=true", other)
    alike = "weights={u500: 1.0, v500: 1.0, u850: 1.7, v850: 1.7}"
    with pytest.raises(InputError, match=r"weights\.u850 1\.259"):  # rounded otherwise
        run(levels, tmp_path / "run", "resume=true", "trainer.total_steps=3", alike)
    run(levels, tmp_path / "run", "resume=true", "trainer.total_steps=3")


def test_a_run_from_before_weights_goes_on_without(levels, tmp_path):
    run(levels, tmp_path / "run", "weights=null")
    folder = checkpoint.find(tmp_path / "run", "last")
    state = checkpoint.read_state(folder)
    del state["must_match"]["weights"], state["config"]["weights"]
    edit_state(folder, must_match=state["must_match"], config=state["config"])
    with pytest.raises(InputError, match="weights is None, this run has"):
        run(levels, tmp_path / "run", "resume=true", "trainer.total_steps=3")
    run(levels, tmp_path / "run", "resume=true", "trainer.total_steps=3", "weights=null")


def test_an_unknown_channel_is_refused_before_anything_is_made(levels, tmp_path):
    with pytest.raises(InputError, match=r"weights.u8500: no such channel; did you mean u850\?"):
        run(levels, tmp_path / "run", "weights={u8500: 2.0}")
