"""ClimODE through training: cached winds, resume, gradients' options, forecasts."""

import csv
import logging

import numpy as np
import pytest
import torch
import xarray as xr
from builders import make_store
from climode import GRIDS, make_climode
from hydra import compose, initialize_config_dir
from runs import CONFIGS

from climate.forecasts.writing import write_forecast
from climate.training.run import check_tunable, train
from vgbdm.errors import InputError
from vgbdm.loading import load
from vgbdm.training import checkpoint
from vgbdm.training.backends.torch import SingleBackend

SHORT = [
    "model=climode", "size=tiny", "backend=single", "batch=8", "objective.ahead=1",
    "model.fit.degree=3", "model.solver.substeps=2", "model.truncation=3", "trainer.total_steps=6",
    "trainer.validations=2", "validation.starts=2", "validation.lead=6h", "rate.peak=1e-2",
    "rate.warmup=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def own_store(tmp_path_factory):
    """A store to cache in."""
    return make_store(tmp_path_factory.mktemp("own"))


def config(store, run_dir, *options):
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        places = [f"store={store.path}", f"run_dir={run_dir}"]
        return compose("train_era5", [*places, *SHORT, *options])


@pytest.fixture(scope="module")
def whole(own_store, tmp_path_factory):
    """An undisturbed run."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    train(config(own_store, run_dir))
    return run_dir


def tensors(run_dir, name):
    return checkpoint.read_tensors(checkpoint.find(run_dir, "last"), name)


def column(run_dir, name):
    with (run_dir / "log.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def test_training_lowers_the_loss_and_logs_the_courant_number(own_store, whole):
    losses = column(whole, "loss")
    assert len(losses) == 6
    assert np.mean(losses[-2:]) < losses[0]
    assert max(column(whole, "courant")) < 1
    assert len(list(own_store.path.glob("initial_wind-*"))) == 1


def test_a_stopped_run_goes_on_bit_equal(own_store, whole, tmp_path, monkeypatch, caplog):
    """Also by another way to the same gradient, for want of memory say."""
    caplog.set_level(logging.INFO)
    step, calls = SingleBackend.step, []

    def stop(self, *args, **options):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return step(self, *args, **options)

    monkeypatch.setattr(SingleBackend, "step", stop)
    with pytest.raises(KeyboardInterrupt):
        train(config(own_store, tmp_path / "part"))
    assert checkpoint.read_state(checkpoint.find(tmp_path / "part", "last"))["step"] == 3
    assert "climode: gradient=direct, " in caplog.text
    train(config(own_store, tmp_path / "part", "resume=true", "model.solver.gradient=checkpoint"))
    for name in ("model", "exp_avg", "exp_avg_sq"):
        ours, theirs = tensors(tmp_path / "part", name), tensors(whole, name)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert column(tmp_path / "part", "loss") == column(whole, "loss")


def test_another_fit_is_not_gone_on_with(own_store, whole):
    with pytest.raises(InputError, match="resume with the data and options"):
        train(config(own_store, whole, "resume=true", "model.fit.smoothness=0.1"))


def test_another_gradient_is_not_gone_on_with(own_store, whole):
    with pytest.raises(InputError, match="resume with the data and options"):
        train(config(own_store, whole, "resume=true", "model.solver.gradient=adjoint"))


@pytest.mark.parametrize("gradient", ["checkpoint", "adjoint"])
def test_micro_batches_and_ways_to_the_gradient_train_alike(own_store, whole, tmp_path, gradient):
    """Checkpointing is direct, which fits here; the adjoint of two Euler steps is only near it."""
    options = [f"model.solver.gradient={gradient}", "backend.accumulation=2"]
    train(config(own_store, tmp_path / "run", "trainer.total_steps=2", *options))
    relative = np.abs(np.array(column(tmp_path / "run", "loss")) / column(whole, "loss")[:2] - 1)
    assert relative.max() < (1e-4 if gradient == "checkpoint" else 0.05)


def test_a_trained_model_forecasts(own_store, whole, tmp_path):
    model = load(whole)
    lead = np.timedelta64(12 * 3600, "s")
    write_forecast(model, own_store, tmp_path / "forecast", lead=lead, batch=64)
    made = xr.open_zarr(tmp_path / "forecast", consolidated=False)
    starts = own_store.anchors("test", lead // 2, 3, 2)
    assert made["u10"].shape == (len(starts), 2, 8, 16)
    truth = own_store.read(0, len(own_store.times))
    error = made["z"].values[:, 0] - truth[starts + 6, 0]
    change = truth[starts, 0] - truth[starts + 6, 0]
    assert np.sqrt((error**2).mean()) < 2 * np.sqrt((change**2).mean())


def test_it_is_not_tuned_by_rollouts_which_it_is_trained_by():
    model = make_climode(GRIDS["small"])
    with pytest.raises(InputError, match="ClimODE is trained by rollouts already"):
        check_tunable(model, "somewhere")
    with pytest.raises(InputError, match="give init="):
        check_tunable(model, None)
