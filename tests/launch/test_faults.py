"""Signals to runs on two ranks, and losses that are none: what is said and left, and going on.

Where a launcher has no part in it, there is none: ``launcher=2`` are two ranks alone.
"""

import signal

import endings
import numpy as np
import pandas as pd
import pytest
from endings import (
    FIRST,
    SLOW_STEPS,
    STEPS,
    check_failed,
    check_it_goes_on,
    check_stopped,
    losses,
)
from processes import Run, send

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Of a short training."""
    return endings.options_of(tmp_path_factory.mktemp("lorenz"))


@pytest.fixture(scope="module")
def undisturbed(options, tmp_path_factory):
    """The losses of a run on two ranks that nothing happens to."""
    return endings.run_undisturbed(options, tmp_path_factory.mktemp("whole") / "run")


# --- signals -------------------------------------------------------------------------------------


def test_sigterm_to_the_agent_saves_and_the_run_goes_on(options, undisturbed, tmp_path):
    with Run(tmp_path / "run", options, faults=SLOW_STEPS) as run:
        run.wait_step(FIRST)
        for _ in range(3):
            send(run.process.pid)
        assert run.finish() == 1  # torchrun's own
        check_stopped(run, FIRST, "SIGTERM")
        check_it_goes_on(run, options, undisturbed)


def test_sigterm_to_the_deepspeed_front_end_does_not_leave_ranks(options, tmp_path):
    deepspeed = [*options, "backend=deepspeed"]
    with Run(tmp_path / "run", deepspeed, launcher="deepspeed", faults=SLOW_STEPS) as run:
        run.wait_step(FIRST)
        send(run.process.pid)
        assert run.finish() == -signal.SIGTERM
        check_stopped(run, FIRST, "its launcher is gone")


def test_sigusr1_to_one_rank_stops_all(options, tmp_path):
    deepspeed = [*options, "backend=deepspeed"]
    with Run(tmp_path / "run", deepspeed, launcher="deepspeed", faults=SLOW_STEPS) as run:
        run.wait_step(FIRST)
        send(run.rank(1), signal.SIGUSR1)
        assert run.finish() == 75
        check_stopped(run, FIRST, "another rank")


@pytest.mark.parametrize("moment", ["before", "looking", "saving"])
def test_a_signal_may_come_at_any_time(options, tmp_path, moment):
    faults = f"pause seconds=0.1 after={STEPS // 2} more=1; look seconds=2; save seconds=2"
    with Run(tmp_path / "run", options, launcher=2, faults=faults) as run:
        marks = {"before": "config.json", "looking": "looking", "saving": "saving"}
        run.wait_until((run.run_dir / marks[moment]).exists)
        for rank in (0, 1):
            for _ in range(3):
                send(run.rank(rank))
        assert run.finish() == 75
        check_stopped(run, STEPS // 2 if moment == "looking" else 0, "SIGTERM")


def test_a_stop_where_a_validation_is_due_is_made_up_for(options, undisturbed, tmp_path):
    more = [o for o in options if "validations" not in o] + ["trainer.validations=40"]
    with Run(tmp_path / "run", more, launcher=1, faults=SLOW_STEPS) as run:
        run.wait_step(FIRST)
        send(run.process.pid)
        assert run.finish() == 75
        step = run.status()["step"]
        assert step not in pd.read_csv(run.run_dir / "validation.csv")["step"].to_list()
    with Run(tmp_path / "run", [*more, "resume=true"], launcher=1) as again:
        assert again.finish() == 0, again.text()
    looks = pd.read_csv(tmp_path / "run" / "validation.csv")["step"]
    assert list(looks) == list(range(STEPS + 1))


# --- losses that are none ------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_all_ranks(options, tmp_path):
    with Run(tmp_path / "run", options, launcher=2, faults="nan rank=1 steps=7") as run:
        assert run.finish() != 0
        check_failed(run, "step 7: loss is not finite", "trajectories", "step-00000000")


def test_steps_are_skipped_up_to_a_bound(options, tmp_path):
    more = [*options, "trainer.nonfinite=skip", "trainer.max_skips=2"]
    with Run(tmp_path / "few", more, launcher=2, faults="nan rank=1 steps=7,8,12") as run:
        assert run.finish() == 0, run.text()
        said = [line for line in run.lines("step ") if line.endswith("is not finite; skipped")]
        assert len(said) == 3
        log = losses(run.run_dir)
        assert len(log) == STEPS
        assert list(np.flatnonzero(np.isnan(log)) + 1) == [7, 8, 12]
    with Run(tmp_path / "many", more, launcher=2, faults="nan rank=0 steps=7,8,9") as run:
        assert run.finish() != 0
        check_failed(run, "step 9: loss is not finite after 2 skipped")


def test_an_exploding_loss_is_treated_alike(options, tmp_path):
    more = [*options, "trainer.explosion=1000"]
    with Run(tmp_path / "run", more, launcher=2, faults="huge rank=1 steps=25") as run:
        assert run.finish() != 0
        check_failed(run, "step 25: the loss of", "far above the usual", "step-00000020")


def test_no_process_of_any_run_is_left(tmp_path_factory):
    endings.check_none_is_left(tmp_path_factory.getbasetemp())
