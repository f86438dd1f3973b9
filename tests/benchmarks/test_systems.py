"""The table of the systems: tuned alike, resumed at any moment, unfair where one row is given more.

Launchers are stood in for: what they would write, without any training.
"""

import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vgbdm.errors import InputError

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO / "benchmarks"), str(REPO / "launch")]

import systems  # noqa: E402
import systems_fairness  # noqa: E402
import systems_page  # noqa: E402
import systems_rows  # noqa: E402
import systems_table  # noqa: E402
import systems_training  # noqa: E402
from systems_rows import ROWS, TRAINED, Kind, Preset, Run  # noqa: E402
from systems_trials import TRIALS  # noqa: E402

LENGTH = Preset(1.0, 2, 1)
ROWS_TRIED = ("oracle", "persistence", "untrained", "blackbox", "vgbdm")
SECONDS = {"trials": 30.0, "runs": 60.0, "sanity": 0.0}


class Killed(BaseException):
    """As a signal nobody can catch: whatever is in memory is lost."""


class Launcher:
    """Writes what launchers write, and notes what it was asked.

    Args:
        dies_at: the call, from 1, in which it is killed before anything is written.
    """

    def __init__(self, dies_at=None):
        self.calls, self.dies_at = [], dies_at

    def __call__(self, name, log, *options):
        self.calls.append((name, options))
        if len(self.calls) == self.dies_at:
            raise Killed
        told = dict(option.split("=", 1) for option in options)
        getattr(self, name)(told)
        return ""

    def simulate_system(self, told):
        Path(told["out"]).mkdir(parents=True)

    def train_system(self, told):
        folder = Path(told["run_dir"])
        folder.mkdir(parents=True, exist_ok=True)
        score = 0.1 + 0.01 * int(told["seed"]) - (told.get("rate.peak") == "7.0e-4") * 0.05
        (folder / "best.json").write_text(json.dumps({"score": score}))

    def systems_scores(self, told):
        place = Path(told["run"])
        if told["sanity"] == "true":
            lines = [{"row": row, **scored(False, 1.0)} for row in systems_rows.TRIVIAL]
        else:
            seen = "state" if "/state/" in str(place) else "I"
            better = 0.5 if "vgbdm" in str(place) else 2.0
            lines = [
                {**scored(way, better * (1 + way)), "validation_mse": 2.0 - way, "given": "same",
                 "residual_inputs": "state" if "blackbox" in str(place) else seen}
                for way in (True, False)
            ]  # fmt: skip
        Path(told["out"]).write_text(json.dumps({"lines": lines}))


def scored(refined, mse):
    errors = " ".join(f"{mse * (0.9 + 0.02 * k):.3g}" for k in range(10))
    return {"refined": refined, "mse": mse, "n": 10, "n_failed": 0, "errors": errors}


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    """What runs leave behind is that of `Launcher`; the machine is not asked."""

    def record(folder):
        score = json.loads((folder / "best.json").read_text())["score"]
        seconds = next(s for name, s in SECONDS.items() if f"/{name}/" in str(folder))
        return {"score": score, "steps": 7, "train_seconds": seconds, "curve": "0:2 30:1"}

    monkeypatch.setattr(systems_training, "record_of", record)
    here = {"commit": "abc", "machine": "m", "load": 0.5}
    monkeypatch.setattr(systems_table, "here", lambda: dict(here))
    monkeypatch.setattr(systems, "one_table", lambda system: False)


def table_in(out, launch, rows=ROWS_TRIED, preset=LENGTH):
    return systems.Table(out, preset, ["rlc"], rows, launch)


def made(out):
    launch = Launcher()
    table_in(out, launch).make()
    return launch.calls


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
    assert len(runs) == 2 and all("rate.peak=7.0e-4" in options for options in runs)
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


@pytest.mark.parametrize("dies_at", [1, 3, 5, 16, 17, 18, 19, 20, 25, 37, 38])
def test_a_table_killed_at_any_call_goes_on_and_comes_out_the_same(tmp_path, dies_at):
    calls = made(tmp_path / "whole")
    launch = Launcher(dies_at)
    with pytest.raises(Killed):
        table_in(tmp_path / "cut", launch).make()
    again = made(tmp_path / "cut")
    text = (tmp_path / "whole" / "table.csv").read_text()
    assert (tmp_path / "cut" / "table.csv").read_text() == text
    assert len(launch.calls) + len(again) == len(calls) + 1  # nothing but the call cut off twice


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


# --- fairness -----------------------------------------------------------------------------------


@pytest.fixture
def fair(tmp_path):
    """A fair table and its trials."""
    made(tmp_path)
    results = systems_page.read(tmp_path / "table.csv")
    assert systems_fairness.unfair(*results) == []
    return results


def of(frame, row, inputs="state"):
    return (frame["row"] == row) & (frame["inputs"] == inputs)


def test_a_row_of_more_trials_is_unfair(fair):
    table, trials = fair
    one = trials[of(trials, "vgbdm")].iloc[:1].assign(trial=4, score=9.0)
    wrong = systems_fairness.unfair(table, pd.concat((trials, one), ignore_index=True))
    assert wrong == ["rlc/state/vgbdm: 5 trials, others 4"]


def test_a_row_of_too_few_trials_is_unfair(fair):
    table, trials = fair
    kept = trials[~(of(trials, "vgbdm") & trials["trial"].isin([2, 3]))].reset_index(drop=True)
    wrong = systems_fairness.unfair(table, kept)
    assert "rlc/state/vgbdm: 2 trials, want at least 3" in wrong


def test_a_row_that_does_not_take_its_best_trial_is_unfair(fair):
    table, trials = fair
    table.loc[of(table, "vgbdm"), "trial"] = 2
    (wrong,) = systems_fairness.unfair(table, trials)
    assert wrong == "rlc/state/vgbdm: its runs are not of trial 1, the best on validation"


@pytest.mark.parametrize(("share", "is_fair"), [(1.04, True), (1.06, False), (0.94, False)])
def test_a_run_of_more_seconds_is_unfair(fair, share, is_fair):
    table, trials = fair
    table.loc[of(table, "vgbdm"), "train_seconds"] *= share
    wrong = systems_fairness.unfair(table, trials)
    assert (wrong == []) == is_fair
    assert is_fair or all(line.startswith("rlc/state/vgbdm: a run of ") for line in wrong)


def test_a_trial_of_more_seconds_is_unfair(fair):
    table, trials = fair
    trials.loc[of(trials, "blackbox"), "train_seconds"] = 33.0
    assert all("a trial of 33 seconds" in line for line in systems_fairness.unfair(table, trials))
    assert systems_fairness.unfair(table, trials)


def test_a_row_of_which_more_seconds_were_planned_is_unfair(fair):
    table, trials = fair
    table.loc[of(table, "vgbdm"), ["budget_seconds", "train_seconds"]] = 120.0
    assert systems_fairness.unfair(table, trials) == ["runs of 60.0 and of 120.0 seconds"]


def test_a_run_that_does_not_say_its_seconds_is_unfair(fair):
    table, trials = fair
    table.loc[of(table, "vgbdm"), "train_seconds"] = np.nan
    assert len(systems_fairness.unfair(table, trials)) == 4


def test_other_inputs_are_unfair(fair):
    table, trials = fair
    other = table[of(table, "vgbdm")].assign(row="aphynity", residual_inputs="I")
    more = trials[of(trials, "vgbdm")].assign(row="aphynity")
    wrong = systems_fairness.unfair(
        pd.concat((table, other), ignore_index=True), pd.concat((trials, more), ignore_index=True)
    )
    assert wrong == ["rlc/state: residuals see I: aphynity; state: vgbdm"]
    table.loc[of(table, "blackbox"), "residual_inputs"] = "I"
    assert "a black box that sees I" in systems_fairness.unfair(table, trials)[0]


def test_other_features_are_unfair(fair):
    table, trials = fair
    table.loc[of(table, "vgbdm"), "given"] = "more"
    (wrong,) = systems_fairness.unfair(table, trials)
    assert wrong.startswith("rlc/state: given unlike things by their configs: more: vgbdm; same: b")


def test_more_seeds_or_trajectories_are_unfair(fair):
    table, trials = fair
    fewer = table[~(of(table, "blackbox") & (table["seed"] == 2))]
    assert "blackbox" in systems_fairness.unfair(fewer, trials)[0]
    table.loc[of(table, "vgbdm"), "n"] = 9
    assert systems_fairness.unfair(table, trials) == ["rlc: rows are scored on 9, 10 trajectories"]


def test_what_a_run_was_given_is_read_from_its_config():
    from systems_scores import given

    config = {
        "model": {"residual_inputs": ["X", "Z"], "features": 128, "grey": True},
        "objective": {"name": "vgbdm"}, "data": {"train": "a"}, "seed": 1,
        "rate": {"peak": 1.0}, "trainer": {"max_minutes": 1},
    }  # fmt: skip
    same = config | {"objective": {"name": "node"}, "seed": 2, "data": {"train": "b"}}
    more = config | {"model": config["model"] | {"features": 256}}
    longer = config | {"trainer": {"max_minutes": 2}}
    assert given(config)["residual_inputs"] == "X Z"
    assert given(config) == given(same)
    assert len({given(one)["given"] for one in (config, more, longer)}) == 3


# --- what is said -------------------------------------------------------------------------------


def test_the_way_that_validates_better_over_all_seeds_is_chosen(fair):
    table, _ = fair
    assert set(table[of(table, "vgbdm") & table["chosen"]]["refined"]) == {True}
    lines = [
        {"system": "s", "inputs": "state", "row": "node", "seed": seed, "refined": way,
         "validation_mse": mse, "mse": 0.0}
        for seed, way, mse in [(1, True, 1.0), (1, False, 2.0), (2, True, 9.0), (2, False, 3.0)]
    ]  # fmt: skip
    decided = systems_table.decide(lines)
    assert set(decided[decided["chosen"]]["refined"]) == {False}
    lines[3]["validation_mse"] = np.inf
    decided = systems_table.decide(lines)
    assert set(decided[decided["chosen"]]["refined"]) == {True}


def with_errors(row, errors, inputs="state"):
    return [
        {"system": "rlc", "inputs": inputs, "row": row, "seed": seed + 1, "refined": False,
         "validation_mse": 1.0, "mse": float(np.mean(own)), "n": len(own), "n_failed": 0,
         "errors": " ".join(f"{e:.3g}" for e in own)}
        for seed, own in enumerate(errors)
    ]  # fmt: skip


def test_better_needs_the_interval_and_every_seed():
    n = np.linspace(0.9, 1.1, 50)
    reference = with_errors("vgbdm", [n, n, n])
    told = {
        "node": [3 * n, 3.1 * n, 2.9 * n],
        "physvae": [3 * n, 3 * n, 0.9 * n],
        "aphynity": [n, n, np.full(50, np.inf)],
        "blackbox": [0.2 * n, 0.21 * n, 0.2 * n],
    }
    lines = [line for row, errors in told.items() for line in with_errors(row, errors)]
    table = systems_table.decide([*reference, *lines])
    said = {
        row: systems_page.compare(table[table["row"] == row], table[table["row"] == "vgbdm"])
        for row in told
    }
    assert said == {
        "node": "worse", "physvae": "undecided", "aphynity": "failed", "blackbox": "better",
    }  # fmt: skip
    sentence = next(systems_page.summary(table))
    assert "better than every baseline by the strict rule on none of the systems" in sentence
    assert "physvae: undecided" in sentence and "blackbox: better" in sentence
    assert "node" not in sentence


def test_the_claim_is_made_where_the_table_makes_it():
    n = np.linspace(0.9, 1.1, 50)
    rows = {"vgbdm": n} | dict.fromkeys(systems_rows.BASELINES, 3 * n)
    lines = [line for row, e in rows.items() for line in with_errors(row, [e, 1.01 * e, e])]
    sentence = next(systems_page.summary(systems_table.decide(lines)))
    assert sentence.endswith("by the strict rule on rlc.")
    few = [line for line in lines if line["row"] != "node"]
    assert "rows are missing" in next(systems_page.summary(systems_table.decide(few)))


def test_the_page_is_what_the_command_makes_of_the_results():
    text = systems_page.PAGE.read_text()
    first, last = f"<!-- {systems_page.MARKS} -->\n", f"\n<!-- end of {systems_page.MARKS} -->"
    assert text.split(first)[1].split(last)[0] == systems_page.page_text(systems_page.RESULTS)


def test_a_page_is_made_with_its_figures_and_not_of_an_unfair_table(tmp_path):
    made(tmp_path)
    page = tmp_path / "page.md"
    marks = f"<!-- {systems_page.MARKS} -->\n\n<!-- end of {systems_page.MARKS} -->\n"
    page.write_text(marks)
    systems_page.write(tmp_path / "table.csv", page)
    text = page.read_text()
    assert "| vgbdm (refined) | 2 | 10 | 1 ± 0 |" in text
    for name in systems_page.FIGURES:
        assert (tmp_path / "figures" / name).stat().st_size < 100_000 and f"figures/{name}" in text
    trials = pd.read_csv(tmp_path / "trials.csv")
    trials[trials["trial"] != 3].iloc[:-1].to_csv(tmp_path / "trials.csv", index=False)
    with pytest.raises(InputError, match="no page is made of an unfair table"):
        systems_page.write(tmp_path / "table.csv", page)


def test_a_theta_worse_than_a_guess_is_said():
    lines = with_errors("vgbdm", [[1.0], [1.0]])
    for line in lines:
        line["theta_error"] = 2.96
    guess = {**lines[0], "row": "prior_mean", "seed": None, "theta_error": 1.0}
    (said,) = systems_page.guesses(systems_table.decide([*lines, guess]))
    assert said == (
        "- rlc, state: θ of vgbdm is worse than guessing the prior's mean (2.96 against 1)."
    )


def test_every_row_has_as_many_trials():
    assert len({len(trials) for trials in TRIALS.values()}) == 1
    assert all(Kind("rlc", "state", row).trials() for row in TRAINED)
