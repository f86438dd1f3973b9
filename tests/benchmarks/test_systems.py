"""The table of the systems: its rows, tuned without a look at the test, resumed at any moment.

Launchers are stood in for: what they would write, without any training.
"""

import csv
import json
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scripted_table import BEST, LENGTH, SECONDS, Killed, Launcher, made, no_training, table_in

from vgbdm.errors import InputError

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "benchmarks"))

import systems  # noqa: E402
import systems_page  # noqa: E402
import systems_rows  # noqa: E402
import systems_table  # noqa: E402
import systems_training  # noqa: E402
from systems_rows import ROWS, TRAINED, Kind, Run  # noqa: E402
from systems_trials import TRIALS  # noqa: E402


@pytest.fixture(autouse=True)
def scripted(monkeypatch):
    """Nothing is trained."""
    no_training(monkeypatch)


# --- rows ---------------------------------------------------------------------------------------


def test_the_rows_are_those_of_the_issue():
    assert set(ROWS) >= {
        "oracle", "physics_only", "persistence", "training_mean", "untrained", "prior_mean",
        "blackbox", "node", "physvae", "aphynity", "vgbdm", "vgbdm_published",
    }  # fmt: skip
    kinds = list(systems_rows.kinds_of(LENGTH, list(systems.systems()), None))
    grey = {"physvae", "aphynity", "vgbdm", "untrained"}
    assert {kind.row for kind in kinds if kind.inputs == "preset"} == grey
    assert {kind.row for kind in kinds if kind.inputs == "state"} == set(TRAINED)
    ablated = {kind.system for kind in kinds if kind.row == "vgbdm_no_features"}
    assert ablated == {"rlc", "lorenz"}


def test_a_system_whose_preset_is_the_state_has_one_table():
    kinds = systems_rows.kinds_of(LENGTH, ["rlc", "lorenz"], None, same=["lorenz"])
    assert {kind.system for kind in kinds if kind.inputs == "preset"} == {"rlc"}


def test_smoke_has_every_kind_of_row_and_every_kind_of_system():
    preset = systems_rows.PRESETS["smoke"]
    kinds = list(systems_rows.kinds_of(preset, preset.systems, None))
    assert {kind.row for kind in kinds} == set(TRAINED)
    chosen = [systems.systems()[name] for name in preset.systems]
    assert {kind.order for kind in chosen} == {1, 2} and {bool(k.grid) for k in chosen} == {
        True,
        False,
    }


def test_options_of_every_row_are_accepted():
    from entry import compose_config

    kinds = [Kind("rlc", "state", row) for row in TRAINED]
    for kind in [*kinds, Kind("pendulum", "state", "vgbdm_published")]:
        own, trial = kind.options(systems.systems()[kind.system]), kind.trials()[-1]
        told = systems_training.run_options(LENGTH, own, Run(*kind, 1), trial)
        more = ["data.train=a", "data.val=b", "run_dir=r"]
        cfg = compose_config("train_system", [*systems_training.latest(told), *more])
        if "gauge" in kind.row or "published" in kind.row:
            assert cfg.objective.schedules.gauge.start == 0
        if "inputs" not in kind.row and "published" not in kind.row:
            assert cfg.model.residual_inputs == "state"


# --- tuning -------------------------------------------------------------------------------------


def test_nothing_but_training_and_validation_exists_while_rows_are_tuned(tmp_path):
    calls = made(tmp_path)
    trials = [k for k, (_, o) in enumerate(calls) if any(f"{tmp_path}/trials" in x for x in o)]
    tests = [k for k, (_, o) in enumerate(calls) if any("rlc-test" in x for x in o)]
    assert len(trials) == 12 and max(trials) < min(tests)
    for k in trials:
        name, options = calls[k]
        assert name == "train_system"
        assert not any(store in told for told in options for store in ("rlc-test", "rlc-prior"))
        assert "trainer.max_minutes=0.5" in options and "seed=1" in options


def test_the_trial_of_the_lowest_validation_score_is_run_from_every_seed(tmp_path):
    calls = made(tmp_path)
    runs = [o for _, o in calls if any(f"run_dir={tmp_path}/runs/rlc/state/vgbdm/" in x for x in o)]
    assert len(runs) == 2 and all(set(BEST) <= set(options) for options in runs)
    assert all("trainer.max_minutes=1" in options for options in runs)
    table = pd.read_csv(tmp_path / "table.csv")
    vgbdm = table[table["row"] == "vgbdm"]
    assert set(vgbdm["trial"]) == {1} and set(vgbdm["n_trials"]) == {4}
    assert set(table[table["row"] == "untrained"]["steps"]) == {0}


def test_a_trial_without_a_finite_score_is_not_chosen():
    trials = [systems_training.Trial(k, [], score, {}) for k, score in enumerate((np.inf, 2, 2, 3))]
    assert systems_training.choose(trials).number == 1


# --- resuming -----------------------------------------------------------------------------------


def test_a_table_has_two_lines_a_run_and_one_of_rows_without_training(tmp_path):
    made(tmp_path)
    with (tmp_path / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == systems_table.COLUMNS
    counts = pd.DataFrame(lines).groupby("row").size().to_dict()
    assert counts == {"blackbox": 4, "vgbdm": 8, "untrained": 8, "oracle": 1, "persistence": 1}
    assert {line["seed"] for line in lines if line["row"] == "oracle"} == {""}


@pytest.mark.parametrize("dies_at", [1, 4, 5, 17, 18, 20, 37])
def test_a_table_killed_at_any_call_goes_on_and_comes_out_the_same(tmp_path, dies_at):
    calls = made(tmp_path / "whole")
    launch = Launcher(dies_at)
    with pytest.raises(Killed):
        table_in(tmp_path / "cut", launch).make()
    again = made(tmp_path / "cut")
    text = (tmp_path / "whole" / "table.csv").read_text()
    assert (tmp_path / "cut" / "table.csv").read_text() == text
    assert len(launch.calls) + len(again) == len(calls) + 1  # nothing but the call cut off twice


def test_what_was_done_before_a_kill_is_written_however_late_the_table_looks(tmp_path):
    written, over = [], threading.Event()

    def work(number):
        if number == 9:
            over.set()
            raise Killed
        return lambda: written.append(number)

    class Slow(list):
        def __iter__(self):
            yield from super().__iter__()
            assert over.wait(300)

    with pytest.raises(Killed):
        table_in(tmp_path, Launcher()).each(Slow((work, number) for number in range(10)))
    assert written == list(range(9))


def test_a_copy_of_an_earlier_table_is_what_was_done(tmp_path):
    first = tmp_path / "first"
    with pytest.raises(Killed):
        table_in(first, Launcher(26)).make()
    done = len(pd.read_csv(first / "table.csv"))
    second = tmp_path / "second"
    second.mkdir()
    for name in ("table.csv", "trials.csv"):
        shutil.copy(first / name, second / name)
    calls = made(second)
    made(first)
    assert (second / "table.csv").read_text() == (first / "table.csv").read_text()
    assert not any("/trials/" in option for _, options in calls for option in options)
    third = tmp_path / "third"
    third.mkdir()
    shutil.copy(second / "table.csv", third / "table.csv")
    assert done and made(third) == []


def test_kept_runs_are_scored_again_with_widths_of_this_commit(tmp_path, monkeypatch):
    class Scoring(Launcher):
        def systems_scores(self, told):
            super().systems_scores(told)
            place = Path(told["out"])
            held = json.loads(place.read_text())
            for line in held["lines"]:
                line["coverage_90"] = 0.9 if told["anew"] == "true" else 0.5
            place.write_text(json.dumps(held))

    launch = Scoring()
    table_in(tmp_path, launch).make()
    before = pd.read_csv(tmp_path / "table.csv")
    shutil.rmtree(tmp_path / "runs/rlc/state/blackbox/2")  # its lines stay as they are
    monkeypatch.setattr(
        systems_table, "here", lambda: {"commit": "def", "machine": "other", "load": 3.0}
    )
    trained = sum(name == "train_system" for name, _ in launch.calls)
    table = table_in(tmp_path, launch)
    table.make()
    table.score_again()
    after = pd.read_csv(tmp_path / "table.csv")
    assert sum(name == "train_system" for name, _ in launch.calls) == trained
    runs = before["seed"].notna() & ~((before["row"] == "blackbox") & (before["seed"] == 2))
    assert set(before.loc[runs, "coverage_90"]) == {0.5} and runs.sum() == 18
    assert set(after.loc[runs, "coverage_90"]) == {0.9}
    assert set(after.loc[runs, "commit"]) == {"abc (scored by def)"}
    changed = ["coverage_90", "commit"]
    pd.testing.assert_frame_equal(after.drop(columns=changed), before.drop(columns=changed))
    pd.testing.assert_frame_equal(after[~runs], before[~runs])
    table.score_again()
    assert set(pd.read_csv(tmp_path / "table.csv").loc[runs, "commit"]) == {"abc (scored by def)"}


def test_a_folder_in_which_something_is_is_refused(tmp_path):
    systems.open_folder(tmp_path / "new", resume=False)
    (tmp_path / "new" / "table.csv").touch()
    with pytest.raises(InputError, match=r"^out=.*new: is not empty; give resume=true"):
        systems.open_folder(tmp_path / "new", resume=False)
    systems.open_folder(tmp_path / "new", resume=True)


def test_what_is_no_table_is_refused(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has no column system"):
        table_in(tmp_path, Launcher())


def test_a_job_that_fails_is_named_and_the_others_go_on(tmp_path):
    class Failing(Launcher):
        def train_system(self, told):
            if "trials/rlc/state/blackbox/2" in told["run_dir"]:
                raise systems.JobError("no room on the disk")
            super().train_system(told)

    table = table_in(tmp_path, Failing())
    table.make()
    assert table.failed == ["no room on the disk"]
    assert len(pd.read_csv(tmp_path / "trials.csv")) == 11
    assert not (tmp_path / "table.csv").exists()  # a row is not chosen from fewer trials
    with pytest.raises(SystemExit, match=r"go on with resume=true:\nno room"):
        systems.finish(table, None)


def test_a_run_without_a_checkpoint_is_a_failure_of_the_row(tmp_path, monkeypatch):
    class Diverging(Launcher):
        def train_system(self, told):
            super().train_system(told)
            if "/runs/rlc/state/blackbox/2" in told["run_dir"]:
                (Path(told["run_dir"]) / "best.json").unlink()

    told = systems_training.record_of
    lost = dict.fromkeys(("score", "steps", "train_seconds")) | {"curve": ""}
    monkeypatch.setattr(
        systems_training,
        "record_of",
        lambda folder: told(folder) if (folder / "best.json").exists() else lost,
    )
    table_in(tmp_path, Diverging()).make()
    table = systems_page.read(tmp_path / "table.csv").table
    row = table[(table["row"] == "blackbox") & (table["seed"] == 2)]
    assert np.isinf(row["mse"]).all() and set(row["n_failed"]) == {row["n"].iloc[0]}


def test_a_run_whose_seconds_missed_the_plan_is_made_again(tmp_path, monkeypatch):
    told = systems_training.record_of
    taken = iter([70.0, 61.0])
    monkeypatch.setattr(
        systems_training,
        "record_of",
        lambda folder: told(folder) | {"train_seconds": next(taken)},
    )
    launch, folder = Launcher(), tmp_path / "run"
    stores = systems_training.Stores(tmp_path / "train", tmp_path / "val")
    monkeypatch.setitem(SECONDS, tmp_path.name, 0.0)
    said = systems_training.train(launch, stores, folder, ["seed=1"], {}, 60.0)
    assert said["train_seconds"] == 61.0 and len(launch.calls) == 2
    assert systems_training.train(launch, stores, folder, ["seed=1"], {}, 60.0) == said


def test_every_row_has_as_many_trials():
    assert len({len(trials) for trials in TRIALS.values()}) == 1
    assert all(Kind("rlc", "state", row).trials() for row in TRAINED)
