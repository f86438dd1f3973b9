"""What a run is charged for, and what a step takes."""

import math

import pytest

from vgbdm.training.stopwatch import (
    EARLY_SHARE,
    STARTUP_STEPS,
    TIMED_STEPS,
    TIMED_TOGETHER,
    Stopwatch,
    typical,
)


def watch(*seconds, **before):
    made = Stopwatch(**before)
    for taken in seconds:
        made.add(taken)
    return made


def test_steps_that_differ_by_turns_count_as_they_come():
    turns = ([3.0] + [1.0] * (TIMED_TOGETHER - 1)) * (TIMED_STEPS // TIMED_TOGETHER)
    mean = (TIMED_TOGETHER + 2) / TIMED_TOGETHER
    assert typical(turns) == pytest.approx(mean)
    assert typical(turns[1:] + turns[:1]) == pytest.approx(mean)


def test_a_moment_in_which_the_machine_did_something_else_does_not_count():
    assert typical([1.0] * (TIMED_STEPS - 1) + [50.0]) == 1.0


def test_start_up_is_charged_as_usual_steps_are():
    assert STARTUP_STEPS == 3
    assert watch(60.0, 2.0, 2.0).seconds == 64.0  # nothing else is known
    assert watch(60.0, 2.0, 2.0, 0.5).seconds == 2.0
    assert watch(60.0, 2.0, 0.25, 0.5, 0.75).seconds == 0.5 + 0.5 + 0.25 + 0.5 + 0.75
    assert watch(60.0, 2.0, 2.0, 0.5, 0.5).recent == [0.5, 0.5]


def test_start_up_of_a_resumed_run_is_charged_by_what_its_steps_took():
    going = watch(60.0, 0.25, trained=100.0, recent=[0.5] * 4)
    assert going.seconds == 100.75 and going.recent == [0.5] * 4
    assert watch(0.5, 0.5, 0.5, 1.0, trained=100.0, recent=[0.5] * 4).seconds == 102.5


def test_steps_left_follow_what_steps_took_of_late():
    assert watch(9.0, 9.0, 9.0).steps_left(100.0, True) == 0
    few = watch(*[1.0] * 5)
    assert few.steps_left(100.0, False) == 0 and few.steps_left(100.0, True) == 95
    assert few.steps_left(5 / EARLY_SHARE, False) == round(5 / EARLY_SHARE) - 5
    assert watch(*[1.0] * (STARTUP_STEPS + TIMED_STEPS)).steps_left(100.0, False) == 85
    grown = watch(*[1.0] * 100, *[2.0] * TIMED_STEPS)
    assert len(grown.recent) == TIMED_STEPS
    assert grown.steps_left(100 + 2 * TIMED_STEPS + 50.9, True) == 25
    assert grown.steps_left(1.0, True) == 1  # a run ends with a step


def test_a_long_compilation_does_not_use_a_budget_up():
    begun = watch(90.0, 1.0, 1.0, 1.0)
    assert begun.seconds == 4.0 and begun.steps_left(30.0, False) == 26


def test_a_checkpoint_says_it_and_an_old_one_does_not_know():
    held = watch(*[0.25] * 6)
    state = held.state()
    again = Stopwatch.of({"step": 6, "total_steps": 9, **state})
    assert (again.seconds, again.recent, again.known) == (held.seconds, held.recent, 1.5)
    old = Stopwatch.of({"step": 6, "total_steps": 9})
    old.add(1.0)
    assert math.isnan(old.seconds) and old.known is None
    assert old.state()["train_seconds"] is None and old.describe(7) == "7 steps"
    for begun in ({"step": 0, "total_steps": 9}, {"step": 6, "total_steps": None}):
        assert Stopwatch.of(begun).seconds == 0.0
    assert held.describe(6) == "6 steps in 1.5 s"
