"""Training in one process: groups, validation, resume, and that parameters are never read."""

import sys

import numpy as np
import pytest
import torch
import xarray as xr
from hydra import compose, initialize_config_dir
from refusals import refused
from runs import CONFIGS, SMALL, config
from system_fields import SYSTEMS, make_field, smooth, trajectories, write_stores

from physics_systems import training
from physics_systems.data.trajectories import write
from vgbdm.errors import InputError
from vgbdm.fields.latent_field import LatentField
from vgbdm.loading import load
from vgbdm.training import checkpoint
from vgbdm.training.backends.torch import SingleBackend
from vgbdm.training.run_folder import check_run_dir
from vgbdm.training.state import allowed_changes


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lorenz")
    write_stores(folder)
    return folder


def weights(run_dir):
    return checkpoint.read_tensors(checkpoint.find(run_dir, "last"), "model")


def test_without_the_extra_nothing_is_begun(stores, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    refused(lambda: training.train(config(stores, tmp_path / "run")), "vgbdm[train]")
    assert not (tmp_path / "run").exists()


def test_a_path_without_accelerations_is_refused_by_a_system_of_second_order(tmp_path):
    """It trained on an acceleration of 0."""
    write_stores(tmp_path, "pendulum")
    cfg = config(tmp_path, tmp_path / "run", "system=pendulum", "path=linear")
    refused(lambda: training.train(cfg), "LinearPath gives no accelerations")


def test_training_never_reads_the_parameters(stores, tmp_path, monkeypatch):
    opened = []
    original = xr.DataArray.to_numpy

    def watched(self):
        opened.append(self.name)
        return original(self)

    monkeypatch.setattr(xr.DataArray, "to_numpy", watched)
    training.train(config(stores, tmp_path / "with"))
    assert set(opened) == {"x", "t", "component"}
    for name in ("train", "val"):
        write(xr.open_zarr(stores / name).drop_vars("params").load(), tmp_path / "bare" / name)
    training.train(config(tmp_path / "bare", tmp_path / "without"))
    first, second = weights(tmp_path / "with"), weights(tmp_path / "without")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_resumed_run_is_that_which_never_stopped(stores, tmp_path, monkeypatch):
    training.train(config(stores, tmp_path / "whole"))
    backend = SingleBackend.step
    calls = 0

    def stop(self, *args, **options):
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return backend(self, *args, **options)

    monkeypatch.setattr(SingleBackend, "step", stop)
    with pytest.raises(KeyboardInterrupt):
        training.train(config(stores, tmp_path / "part"))
    assert checkpoint.read_state(checkpoint.find(tmp_path / "part", "last"))["step"] == 3
    training.train(config(stores, tmp_path / "part", "resume=true"))
    for name, values in weights(tmp_path / "whole").items():
        assert torch.equal(weights(tmp_path / "part")[name], values), name
    logs = [(tmp_path / n / "log.csv").read_text().splitlines() for n in ("whole", "part")]
    losses = [[line.split(",")[:4] for line in lines] for lines in logs]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("wrong", ["rate.peak=-1", "rate.peak=fast", "weight_decay=-1"])
def test_a_start_that_failed_is_in_nobodys_way(stores, tmp_path, wrong):
    with pytest.raises(InputError, match=r"rate\.peak|weight_decay"):
        training.train(config(stores, tmp_path / "run", wrong))
    check_run_dir(tmp_path / "run", False)


def test_a_run_without_a_place_is_named_by_what_it_is(stores):
    first = training.run_dir_of(config(stores, "null"))
    assert first.parent.name == "outputs"
    assert first.name.startswith("lorenz-vgbdm-")
    assert training.run_dir_of(config(stores, "null", "resume=true")) == first
    assert training.run_dir_of(config(stores, "null", "seed=1")) != first


def test_patience_ends_a_run_that_no_longer_improves(stores, tmp_path):
    options = ("trainer.total_steps=40", "trainer.validations=20", "trainer.patience=2")
    training.train(config(stores, tmp_path / "run", *options, "rate.peak=1e-12"))
    state = checkpoint.read_state(checkpoint.find(tmp_path / "run", "last"))
    assert state["step"] < 40 and state["waited"] == 2


def test_fine_tuning_starts_from_the_best_weights(stores, tmp_path):
    training.train(config(stores, tmp_path / "first"))
    SMALLER = [o for o in SMALL if "gauge" not in o]
    data = [f"data.train={stores}/train", f"data.val={stores}/val"]
    extra = ["objective=rollout", "objective.ahead=4", f"init={tmp_path}/first"]
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        cfg = compose("train_system", [*data, f"run_dir={tmp_path}/second", *SMALLER, *extra])
    training.train(cfg)
    best = checkpoint.read_tensors(checkpoint.find(tmp_path / "first", "best"), "model")
    field = load(tmp_path / "second", "last", kind=LatentField)
    state = checkpoint.read_state(checkpoint.find_whole(tmp_path / "second", "last"))
    assert state["config"]["objective"]["name"] == "rollout"
    tuned = field.state_dict()
    assert torch.allclose(tuned["encoder.layers.0.weight"], best["encoder.layers.0.weight"])
    cfg.model.latents = 2
    cfg.run_dir = str(tmp_path / "third")
    with pytest.raises(InputError, match="same data and model"):
        training.train(cfg)


def test_the_encoder_stands_still_while_the_gauge_is_let_go():
    field = make_field("lorenz")
    groups = training.parameter_groups(field, 1e-4)
    members = [id(p) for group in groups for p in group.parameters]
    assert sorted(members) == sorted(id(p) for p in field.parameters())
    network = {id(p) for p in field.network.parameters()}
    for group in groups:
        inside = {id(p) in network for p in group.parameters}
        assert inside == {group.schedule == ""}
        assert group.rate(1e-3, {"encoder": 0.0}) == (0.0 if group.schedule else 1e-3)


@pytest.mark.parametrize("name", SYSTEMS)
def test_validation_counts_what_failed(name, monkeypatch, tmp_path):
    field, data = make_field(name), trajectories(name)
    backend = SingleBackend(precision="fp32", clip=1.0, accumulation=1)
    validate = training.ForecastValidation(data, backend, 10)
    fine = validate(field)
    assert 0 < fine["score"] < 1e5 and fine["n_failed"] == 0

    def astray(self, frames, times, latents):
        forecast = original(self, frames, times, latents)
        forecast[2, -1] = np.nan
        return forecast

    original = type(field).forecast
    monkeypatch.setattr(type(field), "forecast", astray)
    broken = validate(field)
    assert broken["n_failed"] == 1 and broken["score"] == training.FAILED


@pytest.mark.parametrize("name", ["rlc", "reaction_diffusion"])
def test_the_score_is_the_mean_of_relative_errors_of_components(name, monkeypatch):
    """On a forecast that errs by as much as is written down, and fails for one trajectory."""
    data, field = smooth(name), make_field(name, data=smooth(name))
    backend = SingleBackend(precision="fp32", clip=1.0, accumulation=1)
    window, truth = field.window, data.x[:9, field.window :]
    off = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    off = off * torch.tensor([0.5, 3.0]).reshape(2, *[1] * len(truth.shape[3:]))
    monkeypatch.setattr(training, "calibrate", lambda *given, **options: None)
    monkeypatch.setattr(training, "forecast_means", lambda f, d: (d.x[:, window:] + off, None))
    found = training.ForecastValidation(data, backend, 9)(field)
    y = truth.double().numpy()
    variances = y.transpose(2, 0, 1, *range(3, y.ndim)).reshape(2, -1).var(1)
    each = (off.double().numpy() ** 2).mean((0, 1, *range(3, y.ndim)))
    exact = {"score": (each / variances).mean(), "forecast_mse": each.mean(), "n_failed": 0}
    assert found == pytest.approx(exact, rel=1e-5)
    off[4, 0] = torch.inf
    broken = training.ForecastValidation(data, backend, 9)(field)
    assert broken == {"score": 1e6, "forecast_mse": 1e6, "n_failed": 1}


def test_ranks_share_the_validation_trajectories(monkeypatch):
    data, field = smooth("rlc"), make_field("rlc", data=smooth("rlc"))
    backend = SingleBackend(precision="fp32", clip=1.0, accumulation=1)
    off = torch.linspace(0.5, 3, 12)[:, None, None] * torch.tensor([1.0, 2.0])
    taken, sums = [], []

    def forecast(field, data):
        taken.append(data.x)
        rows = [
            int((data.x[k] - whole.x).flatten(1).abs().sum(1).argmin()) for k in range(len(data.x))
        ]
        return data.x[:, field.window :] + off[rows], None

    whole = data
    monkeypatch.setattr(training, "calibrate", lambda *given, **options: None)
    monkeypatch.setattr(training, "forecast_means", forecast)
    alone = training.ForecastValidation(data, backend, 12)(field)
    backend.world_size = 2
    for backend.rank in (0, 1):
        monkeypatch.setattr(backend, "sum", lambda values: sums.append(values.clone()) or values)
        training.ForecastValidation(data, backend, 12)(field)
    assert torch.equal(taken[1], data.x[::2]) and torch.equal(taken[2], data.x[1::2])
    monkeypatch.setattr(backend, "sum", lambda values: sums[0] + sums[1])
    assert training.ForecastValidation(data, backend, 12)(field) == pytest.approx(alone)


def test_weights_decay_and_biases_do_not():
    field = make_field("lorenz", data=smooth("lorenz"))
    groups = training.parameter_groups(field, 0.3)
    for group in groups:
        assert group.rate_factor == 1.0
        for parameter in group.parameters:
            assert group.weight_decay == (0.3 if parameter.dim() > 1 else 0.0)
    assert sorted(group.schedule for group in groups) == ["", "", "encoder", "encoder"]
    assert all(group.parameters for group in groups)


def test_a_field_is_calibrated_on_first_middle_and_last_windows():
    data, field = smooth("rlc", 250), make_field("rlc", data=smooth("rlc"))
    seen = []
    field.scale_regression = lambda frames, times: seen.append((frames, times))
    training.scale_regression(field, data)
    frames, times = seen[0]
    cuts = [slice(k, k + 10) for k in (0, 10, 20)]
    assert torch.equal(frames, torch.cat([data.x[:200, cut] for cut in cuts]))
    assert torch.equal(times, torch.cat([data.t[:200, cut] for cut in cuts]))


def test_a_small_store_shrinks_the_batch_and_other_runs_are_refused(stores, tmp_path):
    training.train(config(stores, tmp_path / "run", "batch=1000"))
    state = checkpoint.read_state(checkpoint.find(tmp_path / "run", "last"))
    assert state["must_match"]["batch"] == 24
    with pytest.raises(InputError, match="resume with the data and options"):
        training.train(config(stores, tmp_path / "run", "resume=true"))
    with pytest.raises(InputError, match="the window needs"):
        training.train(config(stores, tmp_path / "x", "model.window=40"))
    with pytest.raises(InputError, match="no best checkpoint"):
        load(tmp_path, kind=LatentField)


def test_presets_may_be_told_in_other_words_and_what_they_set_may_not(tmp_path):
    before = {"system": {"prior": 1, "presets": {"window": 30}}, "model": {"window": 30}}
    now = {"system": {"prior": 1, "presets": {"window": 30, "_target_": "P"}}} | {
        "model": {"window": 30}
    }
    assert allowed_changes(before, now, training.FREE, tmp_path) == {}
    for wrong in (now | {"model": {"window": 20}}, now | {"system": {"prior": 2}}):
        with pytest.raises(InputError, match=r"window 30 → 20|prior 1 → 2"):
            allowed_changes(before, wrong, training.FREE, tmp_path)
