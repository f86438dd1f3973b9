"""Systems end to end, as a user types it. Each launch is a real one."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from processes import finish

from vgbdm.training import checkpoint
from vgbdm.training.parts import stored

REPO = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
QUICK = [
    "trainer.total_steps=20", "trainer.validations=2", "batch=16", "validation.limit=8",
    "system.presets.encoder.width=16",
]  # fmt: skip


def launch(name, *options, code=0, ranks=0):
    start = [sys.executable]
    if ranks:
        start = [BIN / "torchrun", "--standalone", f"--nproc-per-node={ranks}"]
    return finish([*start, REPO / "launch" / f"{name}.py", *options], code)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Trajectories to train and validate on, and a run of one process."""
    place = tmp_path_factory.mktemp("systems")
    for split in ("train", "val"):
        options = (f"out={place}/{split}", "n=32", "seed=1", f"split={split}")
        launch("simulate_system", "system=lorenz", *options)
    launch("train_system", *data(place), *QUICK, f"run_dir={place}/runs/one")
    return place


def data(folder):
    return (f"data.train={folder}/train", f"data.val={folder}/val")


def trained(run_dir):
    held = stored(checkpoint.folder_of(run_dir, 20))
    return {
        n: {k: v.numpy() for k, v in held[n].items()} for n in ("model", "exp_avg", "exp_avg_sq")
    }


def test_two_ranks_give_the_result_of_one(folder):
    launch("train_system", *data(folder), *QUICK, f"run_dir={folder}/runs/two", ranks=2)
    logs = [pd.read_csv(folder / "runs" / name / "log.csv") for name in ("one", "two")]
    one, two = (log["loss"].to_numpy() for log in logs)
    assert len(one) == len(two) == 20
    assert np.abs(np.diff(one)).max() > 0.01
    assert np.abs(one / two - 1).max() < 1e-4
    scores = [pd.read_csv(folder / "runs" / name / "validation.csv") for name in ("one", "two")]
    assert np.allclose(scores[0]["score"], scores[1]["score"], rtol=1e-3)
    accumulated = folder / "runs" / "accumulated"
    launch(
        "train_system", *data(folder), *QUICK, f"run_dir={accumulated}", "backend.accumulation=2"
    )
    three = pd.read_csv(accumulated / "log.csv")["loss"].to_numpy()
    assert np.abs(three / one - 1).max() < 1e-4


def test_deepspeed_trains_systems_too(folder):
    place, first = folder / "deepspeed", folder / "runs" / "one"
    launch("train_system", *data(folder), *QUICK, f"run_dir={place}", "backend=deepspeed")
    losses = [pd.read_csv(p / "log.csv")["loss"].to_numpy() for p in (place, first)]
    assert np.abs(losses[0] / losses[1] - 1).max() < 1e-4
    ours, theirs = trained(place), trained(first)
    assert all(set(ours[name]) == set(theirs[name]) for name in ours)


def test_evaluation_of_a_folder_of_runs(folder):
    many = ("--multirun", "objective=blackbox,aphynity", "seed=1,2", "trainer.total_steps=2")
    place = folder / "many"
    options = [o for o in QUICK if "total_steps" not in o]
    result = launch(
        "train_system", *data(folder), *options, *many, "system.presets.horizon=4",
        f"'run_dir={place}/${{objective.name}}-${{seed}}'".strip("'"),
    )  # fmt: skip
    assert result.stderr.count("best validation score") == 4
    result = launch(
        "evaluate_system", f"runs={place}", f"data.test={folder}/val", f"out={folder}/scores",
        "members=4",
    )  # fmt: skip
    table = pd.read_csv(folder / "scores" / "scores.csv")
    chosen = table[table["chosen"]]["objective"].value_counts()
    assert sorted(chosen[["blackbox", "aphynity"]]) == [2, 2]
    assert {"oracle", "physics_only", "persistence", "training_mean"} <= set(table["row"])
    assert table.set_index("objective").loc["blackbox", "theta_error"].isna().all()
    assert "report.html" in result.stderr + result.stdout
    assert (folder / "scores" / "report.html").stat().st_size > 50_000


def error(result):
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_bad_input_is_one_line(folder, tmp_path):
    wrong = launch("train_system", *data(folder), *QUICK, "system=rlc", f"run_dir={tmp_path}/a",
                   code=2)  # fmt: skip
    assert "trajectories of lorenz, not of rlc" in error(wrong)
    wrong = launch("train_system", *data(folder), "objective=magic", code=2)
    assert "magic" in error(wrong)
    wrong = launch("simulate_system", f"out={folder}/train", code=2)
    assert "exists" in error(wrong)
    wrong = launch("evaluate_system", f"runs={tmp_path}", f"data.test={folder}/val",
                   f"out={tmp_path}/o", code=2)  # fmt: skip
    assert "no best checkpoint" in error(wrong)
    wrong = launch("import_trajectories", f"{tmp_path}/none.pt", f"out={tmp_path}/s", code=2)
    assert "is not there" in error(wrong)
