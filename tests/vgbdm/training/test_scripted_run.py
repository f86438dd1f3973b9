"""A run whose clock and scores are scripted: what is best, when it ends, when it saves."""

import json
import math
import re

import pytest
import torch
from scripted import (
    CLIP,
    EMA,
    RATE,
    SCHEDULES,
    Clock,
    Padded,
    Script,
    by_hand,
    rows,
    scaled_misfit,
    two_groups,
    watch_commits,
)
from tiny import alike, make_trainer, misfit, record

from vgbdm.errors import InputError, RunError, StoppedError
from vgbdm.training import checkpoint, interrupts
from vgbdm.training.backends.torch import SingleBackend
from vgbdm.training.course import Course
from vgbdm.training.plan import Plan


def step_named(run_dir, pointer):
    return json.loads((run_dir / f"{pointer}.json").read_text())


def test_best_is_the_lowest_score_so_far_and_last_the_latest(tmp_path, monkeypatch):
    saved = watch_commits(monkeypatch)
    scores = (5.0, 4.0, 4.5, 3.0, 3.0, 3.5)
    trainer = make_trainer(tmp_path, score=Script(*scores), total_steps=10, validations=5)
    trainer.fit()
    assert saved == [
        (0, 5.0, 0, 0, 5.0),
        (2, 4.0, 0, 2, 4.0),
        (4, 4.0, 1, 4, None),
        (6, 3.0, 0, 6, 3.0),
        (8, 3.0, 1, 8, None),
        (10, 3.0, 2, 10, None),
    ]
    best, last = (step_named(tmp_path, pointer) for pointer in ("best", "last"))
    assert best == {"checkpoint": "step-00000006", "step": 6, "score": 3.0}
    assert last == {"checkpoint": "step-00000010", "step": 10}
    kept = sorted(folder.name for folder in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-00000006", "step-00000008", "step-00000010"]
    looked = [(row["step"], row["score"]) for row in rows(tmp_path / "validation.csv")]
    assert looked == [*zip(range(0, 11, 2), scores, strict=True)]
    state = checkpoint.read_state(checkpoint.find_whole(tmp_path, "last"))
    assert (state["samples"], state["total_steps"]) == (40, 10)
    line = r"best validation score 3; 10 steps in [0-9.e-]+ s; run in "
    assert re.fullmatch(line + re.escape(str(tmp_path)), trainer.ending())


def test_only_what_beats_the_best_is_marked_so(tmp_path, capfd):
    make_trainer(tmp_path, score=Script(2.0, 2.5, 1.0), total_steps=4).fit()
    said = [line for line in capfd.readouterr().out.splitlines() if "validation score" in line]
    assert [("best so far" in line) for line in said] == [True, False, True]


def test_validations_are_spread_evenly_and_the_last_is_at_the_end(tmp_path):
    trainer = make_trainer(tmp_path, total_steps=10, validations=3)
    due = []
    for trainer.step in range(11):
        due += [trainer.step] if trainer.is_due() else []
    assert due == [0, 3, 7, 10]
    trainer.course, due = Course(None), []
    for trainer.step in range(11):
        due += [trainer.step] if trainer.is_due() else []
    assert due == [0]


def test_patience_counts_validations_since_the_best(tmp_path):
    script = Script(5.0, 6.0, 4.0, 4.5, 4.0, 1.0)
    options = {"total_steps": 20, "validations": 10}
    trainer = make_trainer(tmp_path, score=script, patience=2, **options)
    trainer.fit()
    assert (trainer.step, trainer.waited, script.scores) == (8, 2, [1.0])
    again = make_trainer(tmp_path, score=script, patience=2, **options)
    again.fit()
    assert again.step == 8 and "finished already, at step 8" in again.ending()
    assert "to go on give a larger trainer.patience" in again.ending()
    longer = make_trainer(tmp_path, score=Script(*[1.0] * 6), patience=3, **options)
    longer.fit()
    assert longer.step == 16 and longer.best == 1.0


def test_a_finished_run_names_its_steps(tmp_path):
    make_trainer(tmp_path, total_steps=2).fit()
    again = make_trainer(tmp_path, total_steps=2)
    again.fit()
    assert "to go on give trainer.total_steps=… above 2" in again.ending()


def test_validation_sees_the_field_at_rest_and_training_does_not(tmp_path):
    modes = []

    def objective(field, batch, values):
        modes.append((field.training, torch.is_autocast_enabled("cpu")))
        return misfit(field, batch, values)

    script = Script(*[1.0] * 3)
    backend = SingleBackend(precision="fp32", validation_precision="bf16", clip=1.0, accumulation=1)
    make_trainer(tmp_path, backend, score=script, objective=objective).fit()
    assert modes == [(True, False)] * 6
    assert script.modes == [False] * 3 and script.autocast == [True] * 3


def test_precision_is_that_of_steps_and_not_of_validation(tmp_path):
    kinds = []

    def objective(field, batch, values):
        terms = misfit(field, batch, values)
        kinds.append(field(torch.ones(1, 3)).dtype)
        return terms

    script = Script(1.0, 1.0, 1.0)
    backend = SingleBackend(precision="bf16", clip=1.0, accumulation=1)
    trainer = make_trainer(tmp_path, backend, score=script, objective=objective)
    monitored = trainer.field.layer
    monitored.register_forward_hook(lambda module, given, made: kinds.append(made.dtype))
    trainer.fit()
    assert set(kinds[::3]) == {torch.bfloat16} and script.autocast == [False] * 3
    assert all(p.dtype == torch.float32 for p in trainer.field.parameters())


# --- time ----------------------------------------------------------------------------------------


def test_the_log_tells_rates_and_speed_of_each_step(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    seconds = [0.5, 0.25, 2.0, 1.0]
    trainer = make_trainer(
        tmp_path, score=Script(1.0, 1.0, 1.0), objective=clock.steps(seconds.__getitem__),
        rate=lambda step, total: 0.1 / (1 + step),
        schedules={"noise": lambda step, total: step / total}, total_steps=4,
    )  # fmt: skip
    trainer.fit()
    log = rows(tmp_path / "log.csv")
    assert [row["step"] for row in log] == [1, 2, 3, 4]
    assert [row["samples_per_second"] for row in log] == [8, 16, 2, 4]
    assert [row["learning_rate"] for row in log] == pytest.approx([0.1, 0.05, 0.1 / 3, 0.025])
    assert [row["weight_noise"] for row in log] == [0.0, 0.25, 0.5, 0.75]


def test_saves_come_by_the_minute_since_the_last_one(tmp_path, monkeypatch):
    clock, saved = Clock(monkeypatch), watch_commits(monkeypatch)
    trainer = make_trainer(
        tmp_path, score=Script(3.0, 2.0, 1.0), objective=clock.steps(lambda call: 30.0),
        total_steps=14, save_minutes=2.0,
    )  # fmt: skip
    monkeypatch.setattr(type(trainer.saver.writer), "is_busy", False)
    trainer.fit()
    # a step is asked for a save when it begins: after 4 of 30 s, and each look is a save as well
    assert [(step, score) for step, *_, score in saved] == [
        (0, 3.0), (5, None), (7, 2.0), (12, None), (14, 1.0),
    ]  # fmt: skip
    assert [waited for _, _, waited, _, _ in saved] == [0] * 5


# --- what ends a run -----------------------------------------------------------------------------


def test_a_score_that_is_not_finite_saves_nothing(tmp_path, monkeypatch):
    saved = watch_commits(monkeypatch)
    trainer = make_trainer(tmp_path, score=Script(2.0, float("nan")))
    with pytest.raises(RunError, match=r"step 3: the validation score is nan.*step-00000000"):
        trainer.fit()
    assert [step for step, *_ in saved] == [0] and trainer.best == 2.0


def test_skipped_steps_are_counted_in_the_line_that_ends_the_run(tmp_path):
    def objective(field, batch, values):
        terms = misfit(field, batch, values)
        return {"loss": terms["loss"] * values["scale"]}

    scale = {"scale": lambda step, total: 1.0 if step < 2 else float("nan")}
    trainer = make_trainer(
        tmp_path, objective=objective, schedules=scale, nonfinite="skip", max_skips=2
    )
    with pytest.raises(RunError, match=r"step 5: loss is not finite after 2 skipped.*\[16, 17"):
        trainer.fit()
    assert len(rows(tmp_path / "log.csv")) == 4


def test_a_stop_puts_the_look_off_and_the_resumed_run_makes_up_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr(interrupts, "_heard", [])
    trainer = make_trainer(tmp_path, score=Script(3.0, 2.0), total_steps=4)
    step = trainer.backend.step

    def asked(*given):
        interrupts._heard[:] = ["SIGTERM"]
        return step(*given)

    trainer.backend.step = asked
    with pytest.raises(StoppedError, match="step 2"):
        trainer.fit()
    interrupts._heard.clear()
    script = Script(1.5, 1.0)
    make_trainer(tmp_path, score=script, total_steps=4).fit()
    looked = [(row["step"], row["score"]) for row in rows(tmp_path / "validation.csv")]
    assert looked == [(0, 3.0), (2, 1.5), (4, 1.0)]


def test_a_run_resumed_after_a_look_does_not_look_again(tmp_path):
    options = {"total_steps": 4, "validations": 2}
    first = make_trainer(tmp_path, score=Script(3.0, 2.0, 1.0), **options)
    first.fit()
    again = make_trainer(tmp_path, score=Script(0.5), **options)
    again.fit()
    assert again.step == 4 and again.best == 1.0 and again.was_over


# --- a step by hand ------------------------------------------------------------------------------


def hand_trainer(run_dir, accumulation=1, **options):
    backend = SingleBackend(precision="fp32", clip=CLIP, accumulation=accumulation, ema=EMA)
    return make_trainer(
        run_dir, backend, objective=scaled_misfit, groups=two_groups, rate=RATE,
        schedules=SCHEDULES, batch=Padded, nonfinite="skip", total_steps=8, **options,
    )  # fmt: skip


@pytest.mark.parametrize("accumulation", [1, 2])
def test_steps_are_those_of_adamw_by_hand(tmp_path, accumulation):
    """Rates, decay and clipping of each group, a skipped step, padding, and the mean of weights."""
    trainer = hand_trainer(tmp_path, accumulation)
    weight, bias = (p.detach().clone() for p in trainer.field.layer.parameters())
    seen = []
    trainer.validate = lambda field: (
        seen.append(field.layer.weight.detach().clone()) or {"score": 1.0}
    )
    trainer.fit()
    exact, told = by_hand(weight, bias, 8, 8)
    norms = [row["norm"] for row in told if row["norm"] == row["norm"]]
    assert min(norms) < 0.9 * CLIP and max(norms) > 1.5 * CLIP  # some are clipped, some are not
    for name, values in exact.items():
        for key, value in values.items():
            found = trainer.backend.state().tensors[name][key].double()
            assert torch.allclose(found, value, rtol=2e-5, atol=2e-6), (name, key)
    assert torch.allclose(seen[-1].double(), exact["ema"]["layer.weight"], atol=2e-6)
    log = rows(tmp_path / "log.csv")
    for row, hand in zip(log, told, strict=True):
        assert row["error"] == pytest.approx(hand["error"], rel=1e-5)
        assert row["gradient_norm"] == pytest.approx(hand["norm"], rel=1e-5, nan_ok=True)
        assert row["learning_rate"] == pytest.approx(hand["rate"])
    assert trainer.guard.skipped == 1 and trainer.backend.moved == 7


def test_a_resumed_run_counts_the_skipped_steps_out(tmp_path):
    """The optimiser's own count, and that of the mean, go on where they were."""
    whole = hand_trainer(tmp_path / "whole", validations=2)
    whole.fit()
    part = hand_trainer(tmp_path / "part", validations=2)
    fitted = part.backend.step

    def until_half(*given):
        if part.step == 4:
            raise RuntimeError("gone")
        return fitted(*given)

    part.backend.step = until_half
    with pytest.raises(RunError, match="gone"):
        part.fit()
    again = hand_trainer(tmp_path / "part", validations=2)
    again.fit()
    assert alike(record(whole), record(again))
    assert again.backend.moved == 7


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"total_steps": 0}, "total_steps"),
        ({"validations": 0}, "validations"),
        ({"keep": 0}, "keep"),
        ({"patience": 0}, "patience=0"),
        ({"max_minutes": 0.0}, "max_minutes=0"),
        ({"max_minutes": math.nan}, "max_minutes=nan"),
        ({"save_minutes": 0.0}, "save_minutes=0"),
        ({"hang_minutes": 0.0}, "hang_minutes=0"),
        ({"hang_minutes": 120.0}, "less than 120"),
    ],
)
def test_plans_that_cannot_be_are_refused(options, said):
    with pytest.raises(InputError, match=f"trainer.*{said}"):
        Plan(**options)


def test_the_smallest_plan_is_one():
    plan = Plan(total_steps=1, validations=1, keep=1, patience=1, hang_minutes=119.9)
    assert plan.nonfinite == "stop" and plan.explosion is None and plan.max_minutes is None
