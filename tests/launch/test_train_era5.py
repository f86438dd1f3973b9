"""Training end to end: ranks, resume, refusals, NaN. Each launch is a real one.

One training on two ranks is DeepSpeed's to start; the others have ranks without a launcher.
"""

import json
import shutil

import numpy as np
import pytest
import runs_era5
import torch
from processes import Run, finish, starter
from runs_era5 import losses

from vgbdm.training import checkpoint

QUICK = ["size=tiny", "trainer.total_steps=50", "rate.peak=5e-3", "rate.warmup=5"]
SPEED = ["trainer.validations=2", "validation.starts=4", "validation.lead=6h"]


def train(store, run_dir, *options, ranks: int = 1, code: int = 0):
    return runs_era5.train(store, run_dir, *QUICK, *SPEED, *options, ranks=ranks, code=code)


@pytest.fixture(scope="module")
def two_ranks(store, tmp_path_factory):
    """An undisturbed run on two ranks; what DeepSpeed compiles lies in ``compiled`` beside it."""
    run_dir = tmp_path_factory.mktemp("two") / "run"
    words = [*starter("deepspeed"), runs_era5.SCRIPT, f"store={store.path}", f"run_dir={run_dir}"]
    compiled = str(run_dir.with_name("compiled"))
    finish([*words, *QUICK, *SPEED], TORCH_EXTENSIONS_DIR=compiled)
    return run_dir


def test_one_process_and_two_ranks_give_the_same_losses(store, two_ranks, tmp_path):
    train(store, tmp_path / "run")
    one, two = losses(tmp_path / "run"), losses(two_ranks)
    assert len(one) == len(two) == 50
    assert one[-5:].mean() < 0.7 * one[0]
    relative = np.abs(one / two - 1)
    assert relative[:10].max() < 1e-6
    assert relative.max() < 5e-4


def test_a_killed_run_goes_on_bit_equal(store, tmp_path):
    undisturbed = tmp_path / "undisturbed"
    train(store, undisturbed, ranks=2)
    run_dir = tmp_path / "run"
    options = [f"store={store.path}", *QUICK, *SPEED]
    slow = "pause seconds=0.02 after=27 more=3600"  # it stands until it is killed
    with Run(run_dir, options, "train_era5", launcher=2, faults=slow) as run:
        run.wait_until(lambda: _step(run_dir) >= 25)
        run.process.kill()
    assert _step(run_dir) == 25
    train(store, run_dir, "resume=true", ranks=2)
    assert np.array_equal(losses(run_dir), losses(undisturbed))
    for name in ("model", "exp_avg", "exp_avg_sq"):
        ours, theirs = (runs_era5.tensors(place, 50, name) for place in (run_dir, undisturbed))
        assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)


def test_nothing_is_compiled_for_a_run(two_ranks):
    assert not list(two_ranks.parent.glob("compiled/**/*"))


def _step(run_dir) -> int:
    try:
        return int(json.loads((run_dir / "last.json").read_text())["step"])
    except (OSError, ValueError):
        return -1


def test_a_run_folder_holds_what_it_should(two_ranks):
    names = {path.name for path in two_ranks.iterdir()}
    assert {"best.json", "last.json", "config.json", "log.csv", "validation.csv"} <= names
    assert any((two_ranks / "tensorboard").iterdir())
    assert not list(two_ranks.rglob("*.pt"))
    state = json.loads((two_ranks / "checkpoints/step-00000050/state.json").read_text())
    assert state["samples"] == 50 * 16


def test_a_folder_in_use_other_data_and_nan_are_refused_in_one_line(store, two_ranks, tmp_path):
    result = train(store, two_ranks, code=2)
    assert "is not empty; add resume=true" in result.stderr
    result = train(store, two_ranks, "resume=true", "seed=1", code=2)
    assert "error: " in result.stderr
    assert "resume with the data and options" in result.stderr
    result = train(store, tmp_path / "step", "step=90h", code=2)
    assert "error: " in result.stderr


def test_a_loss_that_is_not_finite_stops_the_run(store, two_ranks, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(two_ranks, run_dir)
    folder = run_dir / "checkpoints" / "step-00000050"
    runs_era5.edit_state(folder, total_steps=60)
    weights = checkpoint.read_tensors(folder, "model")
    weights["trunk.last.bias"] = torch.full_like(weights["trunk.last.bias"], torch.nan)
    runs_era5.replace_tensors(folder, "model", weights)
    result = train(store, run_dir, "resume=true", code=2)
    lines = [line for line in result.stderr.splitlines() if "error: " in line]
    assert len(lines) == 1
    for words in ("step 51", "2016-01-", "step-00000050"):
        assert words in lines[0]
    assert json.loads((run_dir / "last.json").read_text())["step"] == 50


@pytest.mark.slow
def test_accumulation_changes_nothing_and_bf16_little(store, two_ranks, tmp_path):
    train(store, tmp_path / "parts", "backend.accumulation=2")
    relative = np.abs(losses(tmp_path / "parts") / losses(two_ranks) - 1)
    assert relative[:10].max() < 1e-6
    train(store, tmp_path / "bf16", "backend.precision=bf16")
    relative = np.abs(losses(tmp_path / "bf16") / losses(two_ranks) - 1)
    assert 1e-6 < relative.max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_zero_stages_agree_and_resume(store, two_ranks, tmp_path, stage):
    run_dir = tmp_path / "run"
    options = (f"backend.stage={stage}",)
    train(store, run_dir, *options, ranks=2)
    relative = np.abs(losses(run_dir) / losses(two_ranks) - 1)
    assert relative[:10].max() < 1e-6
    assert relative.max() < 5e-4
    runs_era5.edit_state(run_dir / "checkpoints" / "step-00000050", total_steps=55)
    train(store, run_dir, *options, "resume=true", ranks=2)
    assert len(losses(run_dir)) == 55
