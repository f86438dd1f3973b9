"""Runs in phases from beginning to end: what the log says, going on, and beginning with GB-DM."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from runs_era5 import REPO, losses, tensors
from runs_era5 import train as launch

from climate.training.run import train
from vgbdm.errors import InputError
from vgbdm.storage.files import write_json

SMALL = ["size=tiny", "batch=8", "history=1", "validation.members=2", "validation.starts=4",
         "validation.lead=6h", "backend=single"]  # fmt: skip
LATENTS = ["model.latents.points=12", "model.latents.width=8"]
PHASES = ["model=vgbdm_phased", *SMALL, *LATENTS, "trainer.total_steps=8", "trainer.keep=4",
          "trainer.validations=4"]  # fmt: skip
SHORT = ["trainer.total_steps=2", "trainer.validations=1"]
ENDS = "schedules.phase.ends=[0.25,0.5,0.75]"


def run(store, run_dir, *options):
    with initialize_config_dir(str(REPO / "configs"), version_base="1.3"):
        train(compose("train_era5", [f"store={store.path}", f"run_dir={run_dir}", *options]))


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """A run of all four phases; only to be read."""
    run_dir = tmp_path_factory.mktemp("phases") / "run"
    run(store, run_dir, *PHASES, ENDS)
    return run_dir


def test_the_log_says_of_which_phase_a_step_was(trained):
    log = pd.read_csv(trained / "log.csv")
    assert log["weight_phase"].tolist() == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
    terms = {"matching": (0, 1), "kl_zeta": (1,), "crps": (1, 2), "rollout": (3,)}
    for name, phases in terms.items():
        assert log[name].notna().tolist() == log["weight_phase"].isin(phases).tolist(), name


@pytest.mark.parametrize("step", [2, 4, 6])
def test_a_run_goes_on_bit_equal_from_between_and_within_phases(store, trained, tmp_path, step):
    run_dir = tmp_path / "run"
    shutil.copytree(trained, run_dir)
    write_json(run_dir / "last.json", {"checkpoint": f"step-{step:08d}", "step": step})
    run(store, run_dir, *PHASES, ENDS, "resume=true")
    assert np.array_equal(losses(run_dir), losses(trained))
    before, after = tensors(trained, 8), tensors(run_dir, 8)
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.fixture(scope="module")
def gbdm(store, tmp_path_factory):
    """A run of GB-DM; only to be read."""
    run_dir = tmp_path_factory.mktemp("gbdm") / "run"
    run(store, run_dir, "model=gbdm", *SMALL, *SHORT)
    return run_dir


def best_of(run_dir):
    """Weights and score of the best checkpoint."""
    step = json.loads((run_dir / "best.json").read_text())["step"]
    scores = pd.read_csv(run_dir / "validation.csv").set_index("step")["score"]
    return tensors(run_dir, step), scores[step]


def test_a_run_begins_with_weights_of_gbdm_and_its_first_forecasts_are_gbdm_s(
    store, gbdm, tmp_path
):
    more = [*PHASES, *SHORT, f"init={gbdm}", "schedules.phase.ends=[0.0,0.0,1.0]"]
    run(store, tmp_path / "vgbdm", *more)
    begun = pd.read_csv(tmp_path / "vgbdm" / "validation.csv").iloc[0]
    theirs = pd.read_csv(gbdm / "validation.csv").set_index("score").loc[best_of(gbdm)[1]]
    errors = [name for name in theirs.index if name.startswith("rmse_")]
    assert errors and begun[errors].tolist() == theirs[errors].tolist()
    with pytest.raises(InputError, match=r"its model is another one \(.*width 16 → 24"):
        run(store, tmp_path / "wider", *more, "size.width=24")


def test_an_ensemble_is_tuned_from_a_trained_field(store, gbdm, tmp_path):
    """Of all that forecasts use; with parts of it frozen, as is asked for."""
    options = ["model=vgbdm", *SMALL, *LATENTS, *SHORT, f"init={gbdm}", "finetune=draws"]
    run(store, tmp_path / "tuned", *options)
    before, after = best_of(gbdm)[0], tensors(tmp_path / "tuned", 2)
    assert before.keys() < after.keys()
    still = [name for name, value in before.items() if np.array_equal(value, after[name])]
    assert not [name for name in still if name.startswith(("trunk.", "attention."))]
    assert after["trunk.drawn.conv.weight"].any()
    run(store, tmp_path / "about", *options, "finetune.frozen=[latents.posterior,trunk.blocks]")
    about = tensors(tmp_path / "about", 2)
    blocks = [name for name in before if name.startswith("trunk.blocks.")]
    assert blocks and all(np.array_equal(before[name], about[name]) for name in blocks)
    assert about["trunk.drawn.conv.weight"].any()


@pytest.mark.slow
def test_two_ranks_go_through_the_same_phases(store, trained, tmp_path):
    options = [o for o in PHASES if o != "backend=single"]
    launch(store, tmp_path / "run", *options, ENDS, "backend=ddp", ranks=2)
    assert np.abs(losses(tmp_path / "run") / losses(trained) - 1).max() < 1e-5
