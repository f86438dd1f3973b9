"""The budget of a run is seconds of optimiser steps: nothing else is paid from it.

On a clock that a script moves. The plan follows what steps take; schedules never jump, nor go back.
"""

import contextlib
import itertools
import json
import math

import pytest
import torch
from runs_era5 import sign
from scripted import Clock, Script, rows
from tiny import alike, make_trainer, misfit, record

from vgbdm.errors import InputError, RunError
from vgbdm.training import checkpoint, stopwatch
from vgbdm.training.records import training_of
from vgbdm.training.schedules import Growing, WarmupCosine

MINUTES, SECONDS, LOOKS = 0.6, 36.0, 6


def budgeted(run_dir, clock, seconds, looks=None, /, **options):
    """A trainer with `MINUTES` whose step k takes ``seconds(k)``, and what its steps took."""
    spent, waits = [], looks or itertools.repeat(0.0)

    def told(call):
        spent.append(seconds(call))
        return spent[-1]

    def look(field):
        clock.wait(next(waits))
        return {"score": 1.0}

    plan = {"max_minutes": MINUTES, "validations": LOOKS, "told": {"trainer": {}}} | options
    score = plan.pop("score", look)
    return make_trainer(run_dir, score=score, objective=clock.steps(told), **plan), spent


@pytest.mark.parametrize(("first", "later"), [(0.0, 0.0), (20.0, 1.0), (1.0, 20.0), (0.0, 50.0)])
def test_looks_are_not_paid_from_the_budget(tmp_path, monkeypatch, first, later):
    clock = Clock(monkeypatch)
    waits = itertools.chain([first], itertools.repeat(later))
    trainer, spent = budgeted(tmp_path, clock, lambda call: 0.25, waits)
    trainer.fit()
    assert sum(spent) == pytest.approx(SECONDS, rel=0.02)
    assert trainer.stopwatch.seconds == sum(spent)


def test_neither_saves_nor_waits_for_data_nor_start_up_are_paid_from_it(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    trainer, spent = budgeted(
        tmp_path, clock, lambda call: 30.0 if call < 2 else 0.25, save_minutes=0.2
    )
    save, opened = trainer.saver.save, trainer.open_stream

    def slow_save(*given):
        clock.now += 7.0
        save(*given)

    @contextlib.contextmanager
    def slow_data(consumed):
        with opened(consumed) as batches:
            yield (clock.wait(0.5) or batch for batch in batches)

    monkeypatch.setattr(trainer.saver, "save", slow_save)
    trainer.open_stream = slow_data
    trainer.fit()
    assert 2 * 0.25 + sum(spent[2:]) == pytest.approx(SECONDS, rel=0.02)
    assert trainer.stopwatch.seconds == pytest.approx(SECONDS, rel=0.02)


def test_the_clock_of_a_comparison_is_what_the_thread_has_computed(tmp_path, monkeypatch):
    clock, computed = Clock(monkeypatch), [0.0]
    monkeypatch.setattr(stopwatch.time, "thread_time", lambda: computed[0], raising=False)

    def seconds(call):
        computed[0] += 0.5
        return 3.0  # other programs have the machine meanwhile

    trainer, spent = budgeted(tmp_path, clock, seconds, clock="cpu")
    trainer.fit()
    assert trainer.stopwatch.seconds == 0.5 * len(spent) == SECONDS
    assert rows(tmp_path / "log.csv")[-1]["train_seconds"] == SECONDS
    trainer.backend.device = torch.device("meta")
    with pytest.raises(InputError, match=r"trainer\.clock=cpu: steps run on meta; give wall"):
        make_trainer(tmp_path / "other", backend=trainer.backend, clock="cpu")


COSTS = {
    "even": lambda call: 0.1,
    "long": lambda call: 2.0,
    "growing": lambda call: 0.05 * (1 + call / 200),
    "falling": lambda call: 0.05 + 0.4 * 0.98**call,
    "by turns": lambda call: 0.4 if call % 4 == 0 else 0.05,
    "faster when timed": lambda call: 0.02 if call < 20 else 0.1,
    "slower when timed": lambda call: 0.5 if call < 20 else 0.05,
    "held up": lambda call: 3.0 if call in (9, 100) else 0.1,
    "suddenly twice": lambda call: 0.1 if call < 240 else 0.2,
}


@pytest.mark.parametrize("name", COSTS)
def test_a_run_ends_with_its_budget_and_its_schedules_never_jump(tmp_path, monkeypatch, name):
    clock = Clock(monkeypatch)
    trainer, spent = budgeted(tmp_path, clock, COSTS[name])
    rate, rates, shares = WarmupCosine(1.0, warmup=0, floor=0.0), [], []

    def told(step, total):
        rates.append(rate(step, total))
        shares.append(trainer.course.share_at(step))
        return 1e-3

    trainer.rate = told
    trainer.fit()
    rates, shares = rates[1:], shares[1:]  # the first is asked for before the run
    steps = len(spent)
    assert steps == trainer.step == trainer.total
    tolerance = max(0.02 * SECONDS, 0.5 * max(spent[-5:]))
    assert sum(spent) == pytest.approx(SECONDS, abs=tolerance)
    assert all(first >= second for first, second in itertools.pairwise(rates))
    moved = [second - first for first, second in itertools.pairwise([*shares, 1.0])]
    assert min(moved) >= 0 and max(moved) < max(0.02, 8 / steps)
    looked = [int(row["step"]) for row in rows(tmp_path / "validation.csv")]
    assert len(looked) == len(set(looked)) == LOOKS + 1 or steps < 20
    assert looked[0] == 0 and looked[-1] == steps and looked == sorted(looked)


def test_rollouts_that_grow_cost_what_they_cost(tmp_path, monkeypatch):
    """Steps of the end take ten times those of the beginning, when the plan is made."""
    clock = Clock(monkeypatch)
    horizons = []

    def objective(field, batch, values):
        clock.now += 0.02 * values["horizon"]
        horizons.append(values["horizon"])
        return misfit(field, batch, values)

    trainer = make_trainer(
        tmp_path, objective=objective, schedules={"horizon": Growing(1, 10)},
        score=lambda field: {"score": 1.0}, max_minutes=MINUTES, validations=2,
    )  # fmt: skip
    trainer.fit()
    assert sum(horizons) * 0.02 == pytest.approx(SECONDS, rel=0.02)
    assert horizons == sorted(horizons) and set(horizons) == set(range(1, 11))
    assert horizons.count(10) * 0.2 > 0.07 * SECONDS  # of a tenth each


def test_every_rank_follows_the_first(tmp_path, monkeypatch):
    """Another rank's clock says something else: its plan is that of rank 0 all the same."""
    said, runs = [], []
    for rank, seconds in enumerate((0.25, 0.1)):
        clock = Clock(monkeypatch)
        trainer, _ = budgeted(tmp_path / str(rank), clock, lambda call, s=seconds: s)
        correct, plain, heard = trainer.correct, trainer.backend.broadcast, iter(list(said))

        def broadcast(value, rank=rank, heard=heard):
            if rank:
                return next(heard)
            said.append(value)
            return value

        def corrected(correct=correct, plain=plain, broadcast=broadcast, trainer=trainer):
            trainer.backend.broadcast = broadcast
            correct()
            trainer.backend.broadcast = plain

        trainer.correct = corrected
        trainer.fit()
        runs.append((trainer.course, trainer.stopwatch.seconds))
        assert not rank or next(heard, None) is None
    assert runs[0][0] == runs[1][0] and runs[1][1] < 0.5 * runs[0][1]


# --- going on -------------------------------------------------------------------------------------


def gone_at(trainer, step):
    """Let a run end as if it were killed when it begins a step."""
    made = trainer.backend.step

    def fitted(*given):
        if trainer.step == step:
            raise RuntimeError("gone")
        return made(*given)

    trainer.backend.step = fitted
    with pytest.raises(RunError, match="gone"):
        trainer.fit()


def cosine(trainer):
    trainer.rate = WarmupCosine(0.05, warmup=3)
    return trainer


@pytest.mark.parametrize("step", [14, 40, 100, 143])
def test_a_run_that_is_killed_and_resumed_is_the_run_that_was_not(tmp_path, monkeypatch, step):
    clock = Clock(monkeypatch)
    whole = cosine(budgeted(tmp_path / "whole", clock, lambda call: 0.25)[0])
    whole.fit()
    part = tmp_path / "part"
    first = cosine(budgeted(part, clock, lambda call: 0.25, save_minutes=0.05)[0])
    monkeypatch.setattr(type(first.saver.writer), "is_busy", False)
    gone_at(first, step)
    state = checkpoint.read_state(checkpoint.find_whole(part, "last"))
    assert 0 <= state["step"] <= step and state["train_seconds"] == 0.25 * state["step"]
    again = cosine(budgeted(part, clock, lambda call: 0.25, save_minutes=0.05)[0])
    again.start()
    assert again.course.state() == {name: state[name] for name in ("total_steps", "course")}
    again = cosine(budgeted(part, clock, lambda call: 0.25, save_minutes=0.05)[0])
    again.fit()
    assert (again.step, again.stopwatch.seconds) == (whole.step, SECONDS) == (144, SECONDS)
    assert alike(record(whole), record(again))
    columns = ("learning_rate", "train_seconds", "loss")
    logs = [rows(place / "log.csv") for place in (tmp_path / "whole", part)]
    assert [[row[n] for n in columns] for row in logs[0]] == [
        [row[n] for n in columns] for row in logs[1]
    ]
    looked = [[row["step"] for row in rows(p / "validation.csv")] for p in (whole.run_dir, part)]
    assert looked[0] == looked[1] and len(looked[0]) == LOOKS + 1


def test_a_resumed_run_counts_the_seconds_already_trained(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    gone_at(budgeted(tmp_path, clock, lambda call: 0.25, itertools.repeat(9.0))[0], 100)
    trainer, spent = budgeted(tmp_path, clock, lambda call: 0.25)
    trainer.fit()
    assert trainer.stopwatch.seconds == SECONDS and trainer.step == 144 and len(spent) < 80


def test_more_minutes_go_on_from_those_that_were_trained(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)

    def told(minutes):
        return {"trainer": {"max_minutes": minutes}}

    budgeted(tmp_path, clock, lambda call: 0.25, told=told(0.6))[0].fit()
    again, spent = budgeted(tmp_path, clock, lambda call: 0.25, told=told(0.6))
    again.fit()
    assert not spent and "to go on give a larger trainer.max_minutes" in again.ending()
    fewer = budgeted(tmp_path, clock, lambda call: 0.25, told=told(0.5), max_minutes=0.5)[0]
    with pytest.raises(InputError, match=r"max_minutes=0.5 is not above the 0.6 of the run"):
        fewer.fit()
    more, spent = budgeted(tmp_path, clock, lambda call: 0.25, told=told(1.2), max_minutes=1.2)
    more.fit()
    assert sum(spent) == SECONDS and more.stopwatch.seconds == 2 * SECONDS


def test_a_checkpoint_of_before_seconds_were_counted_goes_on(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    gone_at(budgeted(tmp_path, clock, lambda call: 0.25)[0], 100)
    folder = checkpoint.find_whole(tmp_path, "last")
    state = json.loads((folder / "state.json").read_text())
    for name in ("train_seconds", "recent_seconds", "course"):
        del state[name]
    (folder / "state.json").write_text(json.dumps(state))
    sign(folder)
    trainer, _ = budgeted(tmp_path, clock, lambda call: 5.0)
    trainer.fit()  # with the number of steps that it had
    assert trainer.step == trainer.total == 144 and math.isnan(trainer.stopwatch.seconds)
    assert "144 steps; run in" in trainer.ending()
    assert training_of(tmp_path)[:2] == (144, None)


# --- what is told ---------------------------------------------------------------------------------


def test_everything_says_the_seconds_trained(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    script = Script(9.0, 5.0, 4.0, 6.0, 7.0, 8.0, 9.0, clock=clock, seconds=3.0)
    trainer, _ = budgeted(tmp_path, clock, lambda call: 0.25, score=script)
    trainer.fit()
    assert "best validation score 4; 144 steps in 36 s; run in" in trainer.ending()
    log, looks = (rows(tmp_path / f"{name}.csv") for name in ("log", "validation"))
    assert all(row["train_seconds"] == 0.25 * row["step"] for row in (*log, *looks))
    assert json.loads((tmp_path / "status.json").read_text())["train_seconds"] == 36.0
    best = int(looks[2]["step"])
    assert training_of(tmp_path) == (144, 36.0, best, 0.25 * best)
    state = checkpoint.read_state(checkpoint.find_whole(tmp_path, "best"))
    assert state["train_seconds"] == 0.25 * best


def test_the_training_of_a_run_that_failed_is_that_of_its_last_step(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    trainer, _ = budgeted(tmp_path, clock, lambda call: 0.25)
    gone_at(trainer, 100)
    last = checkpoint.read_state(checkpoint.find_whole(tmp_path, "last"))["step"]
    assert training_of(tmp_path) == (100, 25.0, 0, 0.0) and last < 100
    (tmp_path / "status.json").unlink()
    assert training_of(tmp_path) == (last, 0.25 * last, 0, 0.0)
    with pytest.raises(InputError, match="holds no checkpoint; train there first"):
        training_of(tmp_path / "elsewhere")


def test_a_given_number_of_steps_is_timed_and_never_corrected(tmp_path, monkeypatch):
    clock, totals = Clock(monkeypatch), []
    trainer, _ = budgeted(tmp_path, clock, lambda call: 0.5, max_minutes=None, total_steps=30)
    trainer.rate = lambda step, total: totals.append(total) or 0.01
    trainer.fit()
    assert totals == [30] * 30 and trainer.stopwatch.seconds == 15.0
    assert trainer.course.state() == {
        "total_steps": 30, "course": {"step": 0, "share": 0.0, "looked": 0.0}
    }  # fmt: skip
