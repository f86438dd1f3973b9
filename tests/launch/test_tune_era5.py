"""VGB-DM from training to fine-tuning, as a user types it; ranks without a launcher."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from runs_era5 import losses, tensors, train

from vgbdm.storage.files import write_json

SMALL = [
    "model=vgbdm", "size=tiny", "model.latents.points=12", "model.latents.width=8", "batch=8",
    "history=1", "trainer.total_steps=8", "trainer.validations=2", "validation.members=2",
    "validation.starts=4", "validation.lead=6h",
]  # fmt: skip
TUNE = ["finetune=rollout", "finetune.objective.ahead=2", "finetune.rate.warmup=1"]


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """A run folder, which `tuned` starts from."""
    run_dir = tmp_path_factory.mktemp("vgbdm") / "run"
    train(store, run_dir, *SMALL)
    return run_dir


@pytest.fixture(scope="module")
def tuned(store, trained):
    """Options of fine-tuning, and the folder of such a run of one process; only to be read."""
    options, run_dir = [*SMALL, *TUNE, f"init={trained}"], trained.with_name("tuned")
    train(store, run_dir, *options, "trainer.keep=3")
    return options, run_dir


def test_two_ranks_train_the_same_ensemble_model(store, trained, tmp_path):
    train(store, tmp_path / "run", *SMALL, ranks=2)
    assert np.abs(losses(tmp_path / "run") / losses(trained) - 1).max() < 1e-5
    ours, theirs = (pd.read_csv(run / "validation.csv") for run in (tmp_path / "run", trained))
    assert any(name.startswith("crps_z") for name in ours)
    assert np.allclose(*(x.drop(columns="train_seconds") for x in (ours, theirs)), rtol=1e-3)


def test_fine_tuning_starts_there_goes_on_and_leaves_the_posterior(store, trained, tuned, tmp_path):
    options, run_dir = tuned
    shutil.copytree(run_dir, tmp_path / "run")
    log = pd.read_csv(tmp_path / "run" / "log.csv")
    assert log["weight_horizon"].tolist() == [1.0] * 4 + [2.0] * 4
    best = json.loads((trained / "best.json").read_text())
    before, after = tensors(trained, best["step"]), tensors(tmp_path / "run", 8)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert {"trunk.last.weight", "latents.prior.zeta.linear.weight"} <= changed
    assert not any(name.startswith("latents.posterior") for name in changed)

    # from the checkpoint half-way on, bit-equal
    write_json(tmp_path / "run" / "last.json", {"checkpoint": "step-00000004", "step": 4})
    train(store, tmp_path / "run", *options, "trainer.keep=3", "resume=true")
    assert np.array_equal(losses(tmp_path / "run"), log["loss"].to_numpy())
    again = tensors(tmp_path / "run", 8)
    assert all(np.array_equal(again[name], after[name]) for name in after)


def test_fine_tuning_on_two_ranks_is_that_of_one(store, tuned, tmp_path):
    options, run_dir = tuned
    train(store, tmp_path / "two", *options, ranks=2)
    assert np.abs(losses(run_dir) / losses(tmp_path / "two") - 1).max() < 1e-5


def test_what_cannot_be_tuned_is_refused_in_one_line(store, trained, tmp_path):
    result = train(store, tmp_path / "a", *SMALL, *TUNE, code=2)
    assert "give init=<its run folder>" in result.stderr
    more = ["model.latents.points=16" if "points" in told else told for told in SMALL]
    result = train(store, tmp_path / "b", *more, *TUNE, f"init={trained}", code=2)
    assert "its model is another one" in result.stderr
    result = train(store, tmp_path / "c", *SMALL, *TUNE, f"init={tmp_path}/none", code=2)
    assert "no best checkpoint" in result.stderr


def test_the_ensemble_is_scored_at_every_fourth_step(trained):
    scored = pd.read_csv(trained / "log.csv")["crps"].notna()
    assert scored.tolist() == [True, False, False, False] * 2


@pytest.mark.slow
def test_zero_stage_3_trains_by_turns_alike(store, trained, tmp_path):
    train(store, tmp_path / "run", *SMALL, "backend.stage=3", ranks=2)
    assert np.abs(losses(tmp_path / "run") / losses(trained) - 1).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_zero_stages_tune_alike(store, tuned, tmp_path, stage):
    options, run_dir = tuned
    train(store, tmp_path / "run", *options, f"backend.stage={stage}", ranks=2)
    assert np.abs(losses(tmp_path / "run") / losses(run_dir) - 1).max() < 1e-4
