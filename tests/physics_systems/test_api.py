"""Systems from Python: arrays in, datasets out, and the numbers are those of the launchers."""

import copy

import numpy as np
import pytest
import torch
import xarray as xr
from hydra.core.global_hydra import GlobalHydra
from system_fields import dataset, trajectories

import vgbdm
from physics_systems.api import evaluate
from physics_systems.data.arrays import as_dataset
from physics_systems.data.trajectories import load_trajectories
from physics_systems.evaluation import scoring
from physics_systems.evaluation.protocol import forecast_ensemble
from physics_systems.fitting import check_known, system_config
from physics_systems.systems.lorenz import Lorenz
from vgbdm.errors import InputError
from vgbdm.inference.refinement import means_of

STEPS = [
    "model.window=10", "model.features=16", "batch=8", "objective.schedules.gauge.start=0.01",
    "trainer.total_steps=6", "trainer.validations=2", "system.presets.encoder.width=16",
]  # fmt: skip


def lorenz():
    """Known in part; its presets are those of its config."""
    ranges = {"sigma": [9.5, 10.5], "rho": [27, 29], "beta": [2.6, 2.8]}
    return Lorenz(
        prior={"sigma": [10, 1.2], "beta": (2.7, np.float64(0.3))}, frames=60, horizon=2,
        ranges=ranges,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    data = trajectories("lorenz", 24)
    folder = tmp_path_factory.mktemp("fit") / "run"
    before = torch.get_num_threads(), torch.random.get_rng_state()
    made = vgbdm.fit(
        lorenz(), data.x.numpy(), data.t.numpy(), minutes=None, run_dir=folder, options=STEPS
    )
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.random.get_rng_state(), before[1])
    assert not GlobalHydra.instance().is_initialized()
    assert made == folder
    return made


@pytest.fixture(scope="module")
def field(run):
    return vgbdm.load(run)


def test_fit_keeps_its_data_apart_and_whole(run):
    train, held_out = (xr.open_zarr(run / "data" / n, consolidated=False) for n in ("train", "val"))
    assert (train.sizes["trajectory"], held_out.sizes["trajectory"]) == (22, 2)
    assert "params" not in train
    both = np.concatenate([train["x"].values, held_out["x"].values])
    given = trajectories("lorenz", 24).x.numpy()
    assert np.array_equal(np.sort(both, 0), np.sort(given, 0))


def test_a_forecast_is_the_one_that_is_scored(run, field):
    data = trajectories("lorenz", 12)
    context = data.x[:, :10].double().numpy(), data.t[:, :10].numpy()
    wanted = forecast_ensemble(field, data, 3, seed=5)
    after = (data.t[0, 10:] - data.t[0, 9]).numpy()
    made = vgbdm.forecast(run, context[0], leads=after, members=3, seed=5, t=context[1], batch=999)
    np.testing.assert_allclose(made["x"], wanted.mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(made["ensemble"], wanted.members, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(made["t"], data.t[:, 10:])
    assert made["ensemble"].dims == ("realization", "trajectory", "time", "component")
    assert made["component"].values.tolist() == ["X", "Y", "Z"]
    one = vgbdm.forecast(field, *context[:1], leads=2, members=1, t=context[1])
    assert "ensemble" not in one
    assert one.sizes["time"] == 2
    np.testing.assert_allclose(one["t"][:, 0], context[1][:, -1] + field.interval)


def test_a_forecast_starts_where_it_is_told(field):
    data = trajectories("lorenz", 4)
    times = data.t[0].numpy()
    whole = vgbdm.forecast(
        field, data.x.numpy(), start=times[12] + 1e-6, leads=3, members=1, t=times
    )
    cut = vgbdm.forecast(field, data.x[:, :13].numpy(), leads=3, members=1, t=times[:13])
    xr.testing.assert_allclose(whole, cut)
    with pytest.raises(InputError, match="has 9 frames up to then; the model's window needs 10"):
        vgbdm.forecast(field, data.x.numpy(), start=times[8], leads=3, t=times)


def test_latents_are_those_that_scores_use(field):
    data = trajectories("lorenz", 6)
    x, t = data.x[:, :10], data.t[:, :10]
    made = vgbdm.infer(field, x.numpy(), t.numpy())
    wanted = means_of(field, x, t)
    np.testing.assert_allclose(made["theta"], field.physical(wanted), rtol=1e-5)
    np.testing.assert_allclose(made["zeta"], wanted.zeta, rtol=1e-5, atol=1e-6)
    assert made["parameter"].values.tolist() == ["sigma", "beta"]
    assert (made["theta_low"] < made["theta"]).all()
    assert (made["theta"] < made["theta_high"]).all()
    assert made.attrs["level"] == 0.9


@pytest.mark.parametrize("change", [
    lambda d: d["x"].transpose("component", "time", "trajectory"),
    lambda d: d["x"].isel(component=[2, 0, 1]),
    lambda d: d["x"].astype(np.float64),
    lambda d: d["x"].values,
])  # fmt: skip
def test_however_trajectories_lie(field, change):
    held = dataset("lorenz", 4)
    made = vgbdm.infer(field, change(held), held["t"].values)
    xr.testing.assert_allclose(made, vgbdm.infer(field, held[["x", "t"]]))


@pytest.mark.parametrize(("x", "t", "words"), [
    (np.zeros((2, 12, 3)), None, "t: is missing"),
    (np.zeros((2, 12, 3)), np.arange(9.0), "x is .2, 12, 3. and t is .9,.; want x of"),
    (np.zeros((2, 12, 4)), np.arange(12.0), "x and t: x is .2, 12, 4."),
    (np.zeros((2, 9, 3)), np.arange(9.0), "9 frames per trajectory; the window needs 10"),
    (np.full((2, 12, 3), np.nan), np.arange(12.0), "not finite"),
    (np.zeros((2, 12, 3)), -np.arange(12.0), "do not increase"),
    (np.zeros(12), np.arange(12.0), "want x of"),
    (np.zeros((12, 3)), np.arange(12.0), r"a single trajectory is x\[None\]"),
    (xr.DataArray(np.zeros((12, 3)), {"time": np.arange(12.0)}, ("time", "component")), None,
     r"x is \(12, 3\) and t is \(12,\), as of one trajectory \(which is x\[None\]\)"),
    (np.zeros((2, 12, 3)), np.arange(12).astype("M8[s]"), r"t: want numbers of \(time\) or "),
    (np.ma.masked_less(np.zeros((2, 12, 3)), 1.0), np.arange(12.0), "not finite"),
    (dataset("lorenz", 2)[["x"]].assign_coords(time=np.arange(30).astype("M8[ns]")), None,
     r"time holds datetime64\[ns\], not numbers; give seconds: \(time - time\[0\]\) / "),
    (dataset("lorenz", 2).drop_vars("x"), None, "has no variable x"),
    (dataset("lorenz", 2)[["x", "t"]], np.arange(30.0), "x has its own times; leave t out"),
    (None, np.arange(12.0), "x: want numbers"),
    ("nowhere", None, "nowhere: is not there"),
    (np.full((2, 12, 3), "a"), np.arange(12.0), "x: want numbers"),
])  # fmt: skip
def test_what_is_no_trajectory_is_one_line(field, x, t, words):
    with pytest.raises(InputError, match=words) as error:
        vgbdm.infer(field, x, t)
    assert "\n" not in str(error.value)


def test_clocks_of_a_dataarray_and_their_units_are_read():
    x = xr.DataArray(np.zeros((2, 3, 3)), dims=("trajectory", "time", "component"))
    minutes = x.assign_coords(time=("time", [0.0, 1.0, 2.0], {"units": "minutes"}))
    read = load_trajectories(as_dataset(minutes, None), lorenz(), 2)
    assert read.t.tolist() == [[0.0, 60.0, 120.0]] * 2


def test_a_dataset_may_have_its_times_as_a_coordinate(field):
    made = dataset("lorenz", 4)
    one_clock = made[["x"]].assign_coords(time=made["t"].values[0])
    wanted = vgbdm.infer(field, made[["x", "t"]])
    xr.testing.assert_allclose(vgbdm.infer(field, one_clock), wanted)
    xr.testing.assert_allclose(vgbdm.infer(field, made[["x"]], made["t"].values), wanted)
    in_minutes = one_clock.assign_coords(time=one_clock["time"] / 60)
    in_minutes["time"].attrs["units"] = "minutes"
    xr.testing.assert_allclose(vgbdm.infer(field, in_minutes), wanted, rtol=1e-4)
    with pytest.raises(InputError, match="trajectories of pendulum, not of lorenz"):
        vgbdm.infer(field, one_clock.assign_attrs(system="pendulum"), made["t"].values)


@pytest.mark.parametrize("change", [
    lambda values: values.tolist(), lambda values: values.astype(np.float64),
    lambda values: torch.from_numpy(values), lambda values: values.astype(np.longdouble),
])  # fmt: skip
def test_numbers_may_be_lists_or_of_any_width(field, change):
    data = trajectories("lorenz", 3)
    x, t = data.x.numpy(), data.t.numpy()
    xr.testing.assert_allclose(vgbdm.infer(field, change(x), t), vgbdm.infer(field, x, t))


@pytest.mark.parametrize(("physics", "line"), [
    (Lorenz, r"physics: Lorenz is a class; give an object of it: Lorenz\(prior=…\)$"),
    ("lorenz", r"physics: str is none that a domain here takes"),
])  # fmt: skip
def test_what_is_no_physics_is_one_line(physics, line):
    data = trajectories("lorenz", 3)
    with pytest.raises(InputError, match=line):
        vgbdm.fit(physics, data.x.numpy(), data.t.numpy())


def test_a_model_is_no_physics(field):
    data = trajectories("lorenz", 3)
    with pytest.raises(InputError, match="physics: want a System, not LatentField"):
        vgbdm.fit(field, data.x.numpy(), data.t.numpy())


def test_a_callers_model_stays_as_it_is(field):
    held = copy.deepcopy(field).train()
    data = trajectories("lorenz", 3)
    x, t = data.x.numpy(), data.t.numpy()
    xr.testing.assert_allclose(vgbdm.infer(held, x, t), vgbdm.infer(field, x, t))
    vgbdm.evaluate(held, dataset("lorenz", 3), members=2)
    vgbdm.forecast(held, x, t=t, leads=2, members=2)
    assert all(module.training for module in held.modules()) and not held._forward_hooks
    away = copy.deepcopy(field).to("meta")
    with pytest.raises(NotImplementedError):  # nothing is there to be copied
        evaluate(away, dataset("lorenz", 3), members=2)
    assert {p.device.type for p in away.parameters()} == {"meta"}


def test_one_draw_has_no_spread_to_be_scored(run, field):
    told = ["crps", "spread_skill", "forecast_coverage_90", "theta_coverage_90"]
    scores = vgbdm.evaluate(run, dataset("lorenz", 12), members=1).set_index("row").loc["model"]
    assert scores[told].isna().all()
    more = vgbdm.evaluate(field, dataset("lorenz", 12), members=2).set_index("row").loc["model"]
    assert more[told[:2]].notna().all() and more[told[2:]].isna().all()  # 90 % take 19 draws
    assert more["forecast_mse"] == scores["forecast_mse"]


def test_the_columns_are_those_of_the_file_of_scores(run, field):
    truth = dataset("lorenz", 3)
    table = vgbdm.evaluate(run, truth.drop_vars(["params", "param"]), members=2)
    assert list(table) == list(scoring.RUN_COLUMNS)
    model = table.set_index("row").loc["model"]
    assert (model["objective"], model["seed"]) == ("vgbdm", 0) and model["steps"] == 6
    assert model["best_step"] in (0, 3, 6) and model["train_seconds"] > 0
    alone = vgbdm.evaluate(field, truth.drop_vars(["params", "param"]), members=2)
    assert set(table) - set(alone) == {"objective", "variant", "seed", "steps"} | {
        "train_seconds",
        "best_step",
    }


def test_scores_are_beside_their_baselines(run, field):
    made = vgbdm.evaluate(run, dataset("lorenz", 12), members=4)
    rows = ["model", "oracle", "physics_only", "prior_mean", "persistence", "training_mean"]
    assert made["row"].tolist() == rows
    assert made.set_index("row")["forecast_mse"]["oracle"] < 1e-6
    model = made.set_index("row").loc["model"]
    assert model["refined"] and model["chosen"] and model["points"] > 20 * 2 * 4
    assert np.isnan(model["validation_mse"])
    few = vgbdm.evaluate(field, dataset("lorenz", 12), baselines=["persistence"], members=4)
    assert few["row"].tolist() == ["model", "persistence"]
    assert few["forecast_mse"][0] == made["forecast_mse"][0]
    with pytest.raises(InputError, match="no magic; there are oracle, "):
        vgbdm.evaluate(field, dataset("lorenz", 12), baselines=["magic"], members=1)


def test_what_cannot_be_fitted_is_refused_before_anything_is_made(tmp_path):
    data = trajectories("lorenz", 3)
    x, t = data.x.numpy(), data.t.numpy()
    for words, arguments in (
        ("holds 1 trajectory", {"x": x[:1], "t": t[:1]}),
        ("minutes=0", {"minutes": 0}),
        ("minutes=nan", {"minutes": float("nan")}),
        ("options .*Could not", {"objective": "magic"}),
    ):
        given = {"x": x, "t": t, "run_dir": tmp_path / "run"} | arguments
        with pytest.raises(InputError, match=words):
            vgbdm.fit(lorenz(), **given)
        assert not (tmp_path / "run").exists()


def test_a_class_that_nobody_can_import_is_refused(tmp_path):
    class Here(Lorenz):
        pass

    system = lorenz()
    here = Here(prior=system.prior, frames=60, horizon=2.0, ranges=system.ranges)
    with pytest.raises(InputError, match="Here is defined in a function, and nobody could load"):
        system_config(here)
    Here.__qualname__, Here.__module__ = "Here", "__main__"
    with pytest.raises(InputError, match=r"the script itself.*put it into a module"):
        system_config(here)


def test_a_second_fit_in_the_same_folder_is_refused(run):
    data = trajectories("lorenz", 4)
    with pytest.raises(InputError, match="is not empty"):
        vgbdm.fit(lorenz(), data.x.numpy(), data.t.numpy(), run_dir=run)


@pytest.mark.parametrize(("given", "line"), [
    ({"options": ["wurst=3"]}, r"wurst: no such option"),
    ({"options": ["trainer.total_stps=2"]}, r"total_stps: no such option; did you mean trainer.t"),
    ({"options": ["batch=abc"]}, r"batch=abc: want a whole number"),
    ({"options": ["batch=0"]}, r"batch=0: want a whole number ≥ 1"),
    ({"options": ["model.window=5.5"]}, r"model.window=5.5: want a whole number"),
    ({"options": ["trainer.threads=0"]}, r"trainer.threads=0: want"),
    ({"options": ["system.presets.windwo=20"]}, r"windwo: no such option; did you mean .*window"),
    ({"options": ["system.prior.sigma=[1]"]}, r"system.prior.sigma.*want"),
    ({"options": ["objective=node"]}, r"options: objective=node: is not for options"),
    ({"options": ["resume=maybe"]}, r"options: resume=maybe: is not for options"),
    ({"options": "batch=8"}, r"options=batch=8: want a list"),
    ({"options": None}, r"options=null: want a list"),
    ({"minutes": "2"}, r"minutes=2: want a number > 0"),
    ({"minutes": True}, r"minutes=true: want a number > 0"),
    ({"seed": -1}, r"seed=-1: want a whole number"),
    ({"seed": 1.5}, r"seed=1.5: want a whole number"),
    ({"run_dir": 3}, r"run_dir=3: want the path of a folder"),
    ({"run_dir": "a${b}"}, r"run_dir=a\$\{b\}: want a folder"),
])  # fmt: skip
def test_arguments_and_options_of_a_fit_are_held_to_their_types(tmp_path, given, line):
    data = trajectories("lorenz", 8)
    folder = tmp_path / "run"
    with pytest.raises(InputError, match=line) as caught:
        vgbdm.fit(lorenz(), data.x.numpy(), data.t.numpy(), **{"run_dir": folder} | given)
    assert "\n" not in str(caught.value) and not folder.exists()


class Broken(Lorenz):
    """Known dynamics of which `answer` says what they give."""

    def known(self, x, t, theta):
        return self.answer(x)


@pytest.mark.parametrize(("answer", "line"), [
    (lambda x: {}["oops"], r"Broken.known raised KeyError: 'oops'"),
    (lambda x: x[:, :1], r"Broken.known gave \(2, 1\); want rates \(2, 3\)"),
    (lambda x: x / 0, r"Broken.known is not finite"),
    (lambda x: None, r"Broken.known gave NoneType"),
])  # fmt: skip
def test_known_dynamics_are_asked_once_before_training(answer, line):
    physics = Broken(**vars(lorenz()))
    physics.answer = answer
    with pytest.raises(InputError, match=line):
        check_known(physics, trajectories("lorenz", 4))


@pytest.mark.parametrize(("given", "line"), [
    ({"members": 2.5}, r"members=2.5: want a whole number"),
    ({"members": True}, r"members=true: want a whole number"),
    ({"members": 0}, r"members=0: want a whole number ≥ 1"),
    ({"batch": 0}, r"batch=0: want"),
    ({"seed": None}, r"seed=null: want"),
    ({"leads": None}, r"leads=None: of a system want how many frames"),
    ({"leads": 10**12}, r"leads=1000000000000: at most \d+ frames at once"),
    ({"leads": -3}, r"leads=-3: of a system want"),
    ({"leads": [0.1, np.inf]}, r"leads=.*: of a system want"),
    ({"device": "gpu"}, r"device=gpu: "),
    ({"precision": "fp16"}, r"precision=fp16: want one of fp32, bf16"),
    ({"boundary": "runs/forecast"}, r"boundary: models of systems have none; leave it out"),
])  # fmt: skip
def test_arguments_of_a_forecast_are_held_to_their_types(field, given, line):
    data = trajectories("lorenz", 4)
    with pytest.raises(InputError, match=line):
        vgbdm.forecast(field, data.x.numpy(), t=data.t.numpy(), **{"leads": 2} | given)


def test_values_that_nothing_can_be_inferred_from_are_refused(field):
    data = trajectories("lorenz", 4)
    x, t = data.x.numpy().astype(float), data.t.numpy()
    with pytest.raises(InputError, match="not finite"):
        vgbdm.infer(field, x * 1e39, t)
    with pytest.raises(InputError, match="nothing finite can be inferred"):
        vgbdm.infer(field, x * 1e30, t)


def test_a_single_baseline_may_be_a_name(field):
    scores = vgbdm.evaluate(field, dataset("lorenz", 6), baselines="persistence")
    assert scores["row"].tolist() == ["model", "persistence"]
    with pytest.raises(InputError, match="members=0"):
        vgbdm.evaluate(field, dataset("lorenz", 6), members=0)


def test_a_run_that_is_not_there_is_said_to_be_so(tmp_path):
    with pytest.raises(InputError, match="nowhere: is not there; give the folder of a run"):
        vgbdm.infer(tmp_path / "nowhere", np.zeros((1, 10, 3)), np.arange(10.0))
