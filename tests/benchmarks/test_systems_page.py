"""What is said of the systems' table: nothing where one row was given more, else what it shows."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scripted_table import made, no_training

from vgbdm.errors import InputError

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "benchmarks"))

import systems_fairness  # noqa: E402
import systems_page  # noqa: E402
import systems_rows  # noqa: E402
import systems_table  # noqa: E402


@pytest.fixture(autouse=True)
def scripted(monkeypatch):
    """Nothing is trained."""
    no_training(monkeypatch)


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
    assert {row: verdict for row, (verdict, _) in said.items()} == {
        "node": "worse", "physvae": "undecided", "aphynity": "failed", "blackbox": "better",
    }  # fmt: skip
    assert said["node"][1].startswith(" (3: 2.") and said["aphynity"][1] == ""
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


def test_a_training_that_diverged_is_named():
    lines = with_errors("aphynity", [[1.0], [1.0]])
    lines[-1] |= {"ended": "error: step 7: loss is not finite", "train_seconds": 5.86}
    lines[0]["ended"] = None
    (said,) = systems_page.cut_short(systems_table.decide(lines))
    assert said == (
        f"- rlc, state: the training of aphynity from seed {lines[-1]['seed']} diverged after 5.86 "
        "s; scored is its best validation until then."
    )


def test_a_theta_worse_than_a_guess_is_said():
    lines = with_errors("vgbdm", [[1.0], [1.0]])
    for line in lines:
        line["theta_error"] = 2.96
    guess = {**lines[0], "row": "prior_mean", "seed": None, "theta_error": 1.0}
    (said,) = systems_page.guesses(systems_table.decide([*lines, guess]))
    assert said == (
        "- rlc, state: θ of vgbdm is worse than guessing the prior's mean (2.96 against 1)."
    )
