"""A run that goes on listens: what may change does and is recorded, the rest is refused by name."""

import json
import logging
import math
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from refusals import refused
from runs_era5 import edit_state, replace_tensors, sign
from tiny import make_trainer

from vgbdm.errors import InputError, RunError
from vgbdm.training import checkpoint
from vgbdm.training.beginning import start_from
from vgbdm.training.course import Course
from vgbdm.training.plan import Plan
from vgbdm.training.schedules import Constant, Geometric, WarmupCosine, check_rates
from vgbdm.training.state import (
    allowed_changes,
    check_kinds,
    config_differences,
    course_of,
    describe_changes,
    describe_difference,
)

RATE = {"rate": {"peak": 0.05}, "seed": 0}


def told(total=6, **more):
    trainer = {"total_steps": total, **more.pop("trainer", {})}
    return {**RATE, "trainer": trainer, "backend": {"stage": 0}, **more}


def go_on(run_dir, config, **options):
    options = {"total_steps": config["trainer"]["total_steps"]} | options
    trainer = make_trainer(run_dir, told=config, **options)
    trainer.fit()
    return trainer


@pytest.fixture
def finished(tmp_path):
    go_on(tmp_path / "run", told())
    return tmp_path / "run"


def contents(run_dir):
    kept = [p for p in sorted(run_dir.rglob("*")) if p.is_file() and "tensorboard" not in p.parts]
    return {str(path): path.read_bytes() for path in kept}


def state_of(run_dir):
    return checkpoint.read_state(checkpoint.find(run_dir, "last"))


# --- what may change -----------------------------------------------------------------------------


def test_a_finished_run_says_so_and_is_left_as_it_is(finished):
    before = contents(finished)
    trainer = go_on(finished, told())
    line = trainer.ending()
    assert (
        line.startswith("finished already, at step 6: best validation score") and "\n" not in line
    )
    assert "trainer.total_steps=… above 6" in line
    assert contents(finished) == before


def test_more_steps_are_made_with_the_schedule_of_all(finished, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    rates = []
    trainer = make_trainer(finished, told=told(12), total_steps=12)
    trainer.rate = WarmupCosine(0.05, warmup=0)
    step = trainer.backend.step
    trainer.backend.step = lambda batch, values, rate, *rest: (
        rates.append(rate) or step(batch, values, rate, *rest)
    )
    trainer.fit()
    assert rates == [WarmupCosine(0.05, warmup=0)(k, 12) for k in range(6, 12)]
    assert pd.read_csv(finished / "log.csv")["step"].tolist() == list(range(1, 13))
    assert "changed: trainer.total_steps 6 → 12" in caplog.text
    assert "rates and weights are those of 12 steps from step 6 on" in caplog.text
    state = state_of(finished)
    assert state["changes"] == [{"step": 6, "changed": {"trainer.total_steps": [6, 12]}}]
    assert json.loads((finished / "config.json").read_text())["trainer"]["total_steps"] == 12
    assert not trainer.ending().startswith("finished")
    go_on(finished, told(14))
    assert [change["step"] for change in state_of(finished)["changes"]] == [6, 12]


def test_how_it_computes_may_change(finished):
    config = told(8, trainer={"keep": 3}) | {"backend": {"stage": 2}, "store": "elsewhere"}
    go_on(finished, config)
    (change,) = state_of(finished)["changes"]
    assert set(change["changed"]) == {"trainer.total_steps", "trainer.keep", "backend.stage"}


# --- what may not --------------------------------------------------------------------------------


def test_all_else_is_refused_by_name_and_nothing_is_lost(finished):
    before = contents(finished)
    config = told(12) | {"rate": {"peak": 0.01}, "seed": 1, "init": "other"}
    refused(
        lambda: go_on(finished, config), "rate.peak 0.05 → 0.01", "seed 0 → 1",
        "init None → 'other'", "resume with the data and options", f"init={finished}",
    )  # fmt: skip
    refused(lambda: go_on(finished, told(4)), "trainer.total_steps=4 is below the 6")
    config = told(trainer={"max_minutes": 1e-9})
    refused(lambda: go_on(finished, config, max_minutes=1e-9), "is not above the", "only more")
    assert contents(finished) == before


def test_pointers_without_folders_are_refused(finished):
    shutil.rmtree(finished / "checkpoints")
    before = contents(finished)
    refused(lambda: go_on(finished, told()), f"{finished}/checkpoints", "bring the folder back")
    assert contents(finished) == before


def test_differences_are_those_of_plain_values():
    before = {"a": {"b": 1, "c": [1, 2]}, "finetune": None, "init": "x", "e": {}}
    now = {"a": {"b": 2, "c": [1, 2]}, "finetune": {"rate": 1}, "e": {}}
    assert config_differences(before, now) == {
        "a.b": (1, 2), "finetune.rate": (None, 1), "init": ("x", None)
    }  # fmt: skip
    assert config_differences({}, {"roles": {"a": [], "b": ["c"]}}) == {"roles.b": (None, ["c"])}
    assert "init" not in allowed_changes({"init": "x"}, {}, (), None)
    many = {f"n{k}": (0, "v" * 100) for k in range(20)}
    assert describe_changes(many).endswith("and 14 more") and len(describe_changes(many)) < 400
    told = describe_difference("model", {"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
    assert told == "model.b.c 2 → 3"
    assert describe_difference("model", {"a": 1}, {"a": 1, "b": []}).startswith("model is {'a'")
    long = [0.0] * 50
    assert describe_difference("s", {"m": [*long, 1.5]}, {"m": [*long, 2.5]}).endswith("2.5]")
    assert describe_difference("mask", "none", "sst") == "mask is none, this run has sst"


TIMING = {"step": 7, "total_steps": None, "train_seconds": 30.0}
PLANNED = {
    "step": 1000, "total_steps": 3000, "train_seconds": 60.0,
    "course": {"step": 600, "share": 0.1, "looked": 0.0},
}  # fmt: skip


def test_a_run_whose_first_steps_are_timed_takes_any_length():
    changes = {"trainer.max_minutes": (3.0, 5.0)}
    assert course_of(TIMING, changes, Plan(max_minutes=5.0), None) == Course(None)
    assert course_of(TIMING, changes, Plan(), None) == Course(1000)


def test_a_plan_that_is_made_stays_but_for_more():
    same = {"trainer.total_steps": (1000, 3000)}
    held = Course(3000, 600, 0.1, 0.0)
    assert course_of(PLANNED, {}, Plan(total_steps=10), None) == held
    assert course_of(PLANNED, {}, Plan(max_minutes=3.0), None) == held
    assert course_of(PLANNED, same, Plan(total_steps=3000), None) == Course(3000)
    more = {"trainer.total_steps": (1000, 4000), "trainer.max_minutes": (3.0, None)}
    assert course_of(PLANNED, more, Plan(total_steps=4000), None) == Course(4000)
    with pytest.raises(InputError, match="below the 3000"):
        course_of(PLANNED, more, Plan(total_steps=2000), None)
    back = {"trainer.max_minutes": (3.0, None)}
    assert course_of(PLANNED, back, Plan(total_steps=7), None) == held  # taken back: fixed


def test_more_minutes_count_those_that_are_trained():
    for before in (3.0, None):
        longer = {"trainer.max_minutes": (before, 4.0)}
        # 60 s of 240 were 1000 steps
        course = course_of(PLANNED, longer, Plan(max_minutes=4.0), None)
        assert course == Course(4000, 1000, 0.25, 0.25)
        assert course.share_at(1000) == 0.25 and course.looks(4) == {2000, 3000, 4000}
    fewer = {"trainer.max_minutes": (3.0, 2.0)}
    with pytest.raises(InputError, match="max_minutes=2 is not above the 3 of the run"):
        course_of(PLANNED, fewer, Plan(max_minutes=2.0), None)
    fewer = {"trainer.max_minutes": (None, 0.9)}
    with pytest.raises(InputError, match=r"max_minutes=0\.9 is not above the 1 of the run"):
        course_of(PLANNED, fewer, Plan(max_minutes=0.9), None)


def test_a_run_of_before_seconds_were_counted_goes_on_and_takes_no_budget():
    old = {"step": 1000, "total_steps": 3000}
    assert course_of(old, {}, Plan(max_minutes=3.0), None) == Course(3000)
    late = {"trainer.max_minutes": (3.0, 5.0)}
    with pytest.raises(InputError, match=r"max_minutes=5 comes too late.*1000 steps took; give"):
        course_of(old, late, Plan(max_minutes=5.0), None)


def test_what_may_change_is_told_by_its_name(tmp_path):
    before = {
        "trainer": {"keep": 1}, "backend": {"clip": 1}, "data": {"train": "a"}, "resume": False,
        "run_dir": "x", "loader": {"workers": 1}, "init": "other",
    }  # fmt: skip
    now = {
        "trainer": {"keep": 2}, "backend": {"clip": 2}, "data": {"train": "b"}, "resume": True,
        "run_dir": "y", "loader": {"workers": 2},
    }  # fmt: skip
    allowed = {"trainer.keep": (1, 2), "backend.clip": (1, 2)}
    assert allowed_changes(before, now, ("data.train", "loader."), tmp_path) == allowed
    with pytest.raises(InputError, match=r"loader\.workers 1 → 2; resume"):
        allowed_changes(before, now, ("data.train", "loader"), tmp_path)
    with pytest.raises(InputError, match="init None → 'new'"):
        allowed_changes({}, {"init": "new"}, (), tmp_path / "checkpoints" / "step-1")


def test_what_a_state_may_hold_ends_where_it_says():
    path = Path("state.json")
    guard = {"skipped": 0, "in_a_row": 2, "recent_losses": {"loss": [1, 0.5]}}
    course = {"step": 3, "share": 0.25, "looked": 0.2}
    for name, fine, wrong in (
        ("step", [0, 2**52], [2**52 + 1, -1, 1.0, True, None]),
        ("total_steps", [None, 0, 7], [-1, "7"]),
        ("samples", [0, 5], [None, 0.5]),
        ("train_seconds", [None, 0, 0.5], [-1, math.inf, math.nan, True, "1"]),
        ("recent_seconds", [[], [1, 0.5]], [None, [True], [-1.0], ["x"]]),
        ("course", [course, course | {"share": 0, "looked": 0.99}],
         [None, {}, course | {"step": -1}, course | {"share": 1.0}, course | {"looked": True},
          course | {"more": 1}]),
        ("best", [None, -1, 0.5], [math.inf, True, "1"]),
        ("looked", [-1, 0, 9], [-2, None, 0.5]),
        ("guard", [guard, {"skipped": 0, "in_a_row": 0}],
         [guard | {"skipped": -1}, guard | {"in_a_row": None}, guard | {"recent_losses": []},
          guard | {"recent_losses": {"loss": [True]}}]),
        ("rebuild", [None, {}], [[], "x"]),
        ("changes", [[], [{}]], [{}, [1]]),
    ):  # fmt: skip
        for value in fine:
            check_kinds({name: value}, path, (name,))
        for value in wrong:
            with pytest.raises(InputError, match=rf"state\.json: {name} is .*, want "):
                check_kinds({name: value}, path)
    with pytest.raises(InputError, match="says nothing of step"):
        check_kinds({}, path, ("step",))


# --- what is damaged -----------------------------------------------------------------------------

WRONG = [
    ("step", "six"), ("step", -1), ("step", 10**17), ("step", True), ("total_steps", 6.5),
    ("best", "low"), ("best", float("nan")), ("waited", None), ("looked", [1]), ("guard", {}),
    ("guard", {"skipped": 0, "in_a_row": 0, "recent_losses": {"loss": "x"}}), ("must_match", []),
    ("config", "x"), ("changes", {"a": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_another_kind_of_value_in_a_state_is_named(finished, name, value):
    folder = checkpoint.find(finished, "last")
    edit_state(folder, **{name: value})
    refused(lambda: go_on(finished, told(12)), f"{folder}/state.json: {name} is", "want")


def test_a_state_that_lacks_something_is_named(finished):
    folder = checkpoint.find(finished, "last")
    state = json.loads((folder / "state.json").read_text())
    del state["guard"]
    (folder / "state.json").write_text(json.dumps(state))
    sign(folder)
    refused(lambda: go_on(finished, told(12)), f"{folder}/state.json", "nothing of guard")


@pytest.mark.parametrize("name", ["model", "exp_avg", "exp_avg_sq"])
def test_a_tensor_that_is_missing_or_another_is_named(finished, name):
    folder = checkpoint.find(finished, "last")
    path = folder / name
    tensors = checkpoint.read_tensors(folder, name)
    weight = tensors.pop("layer.weight")
    for held, words in (
        (tensors, "layer.weight not at all"),
        (tensors | {"layer.weight": torch.zeros(5)}, "layer.weight of shape (5,)"),
    ):
        replace_tensors(folder, name, held)
        refused(lambda: go_on(finished, told(12)), str(path), words, str(tuple(weight.shape)))
    if name == "model":
        sign(checkpoint.find(finished, "best"))
        if checkpoint.find(finished, "best") == folder:
            line = refused(lambda: start_from(make_trainer(finished).field, finished, {}))
            assert "layer.weight" in line


# --- scores and rates ----------------------------------------------------------------------------


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_not_finite_ends_a_run_as_failed(tmp_path, score):
    trainer = make_trainer(tmp_path, score=lambda _: {"score": score if trainer.step else 1.0})
    with pytest.raises(RunError) as caught:
        trainer.fit()
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["state"] == "failed" and status["cause"] == str(caught.value)
    assert "step 3: the validation score is" in status["cause"]
    assert status["checkpoint"] == "step-00000000" and f"init={tmp_path}" in status["cause"]
    assert isinstance(caught.value.__cause__, InputError)


@pytest.mark.parametrize(
    "options", [(-1.0,), (0.0,), (float("nan"),), ("fast",), (1.0, -1), (1.0, 0, 2.0)]
)
def test_rates_that_cannot_be_are_refused_before_a_run(options):
    with pytest.raises(InputError, match=r"rate\.(peak|floor)"):
        WarmupCosine(*options)


def test_no_rate_and_no_decay_is_below_zero(tmp_path):
    good = make_trainer(tmp_path).groups
    check_rates(Constant(0.0), good, 6)
    refused(lambda: check_rates(Constant(-1.0), good, 6), "rate is -1.0", "none below 0")
    for change in ({"rate_factor": -1.0}, {"weight_decay": float("nan")}):
        groups = [group._replace(**change) for group in good]
        refused(lambda groups=groups: check_rates(Constant(1.0), groups, 6), "want a finite number")
    with pytest.raises(InputError, match="Geometric"):
        Geometric(-1.0, 1.0)
