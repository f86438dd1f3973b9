"""Faults of real runs on two ranks: what is said, what is left on disk, and that it goes on.

Where a launcher has no part in it, there is none: ``launcher=2`` are two ranks alone.
"""

import shutil
import signal

import numpy as np
import pandas as pd
import psutil
import pytest
from processes import Run, send
from systems import short_training

pytestmark = pytest.mark.slow

STEPS = 40
SLOW_STEPS = "pause seconds=0.1"


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Of a short training."""
    return short_training(tmp_path_factory.mktemp("lorenz"), STEPS)


@pytest.fixture(scope="module")
def undisturbed(options, tmp_path_factory):
    """The losses of a run on two ranks that nothing happens to."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    with Run(run_dir, options, launcher=2) as run:
        assert run.finish() == 0, run.text()
    return losses(run_dir)


def losses(run_dir):
    return pd.read_csv(run_dir / "log.csv")["loss"].to_numpy()


def check_it_goes_on(run, options, undisturbed):
    """Resumed, it finishes, with the losses of an undisturbed run, bit for bit."""
    with Run(run.run_dir, [*options, "resume=true"], launcher=2) as again:
        assert again.finish() == 0, again.text()
        check_finished(again, undisturbed)


def check_finished(run, undisturbed):
    last = f"step-{STEPS:08d}"
    expected = {"state": "finished", "cause": "", "step": STEPS, "checkpoint": last}
    assert run.status() == expected
    assert np.array_equal(losses(run.run_dir), undisturbed)
    looks = pd.read_csv(run.run_dir / "validation.csv")["step"]
    assert list(looks) == [0, STEPS // 2, STEPS]


def check_stopped(run, step, words):
    """It has saved its last step, and says so once."""
    status = run.status()
    assert status["state"] == "stopped", run.text()
    assert step <= status["step"] < STEPS
    assert status["step"] == len(losses(run.run_dir))
    assert status["checkpoint"] == f"step-{status['step']:08d}"
    assert (run.run_dir / "checkpoints" / status["checkpoint"] / "state.json").exists()
    lines = run.lines("stopped at step")
    assert lines == [status["cause"]]
    assert words in lines[0]
    assert not run.lines()


def check_failed(run, *words):
    """It names its cause once; what was saved before stands."""
    lines, status = run.lines(), run.status()
    assert len(lines) == 1, run.text()
    assert status["state"] == "failed"
    assert status["cause"] in lines[0]
    for word in words:
        assert word in lines[0]
    checkpoint = status["checkpoint"]
    assert (run.run_dir / "checkpoints" / checkpoint / "state.json").exists()


# --- signals -------------------------------------------------------------------------------------


def test_sigterm_to_the_agent_saves_and_the_run_goes_on(options, undisturbed, tmp_path):
    with Run(tmp_path / "run", options, faults=SLOW_STEPS) as run:
        run.wait_step(5)
        for _ in range(3):
            send(run.process.pid)
        assert run.finish() == 1  # torchrun's own
        check_stopped(run, 5, "SIGTERM")
        check_it_goes_on(run, options, undisturbed)


def test_sigterm_to_the_deepspeed_front_end_does_not_leave_ranks(options, tmp_path):
    deepspeed = [*options, "backend=deepspeed"]
    with Run(tmp_path / "run", deepspeed, launcher="deepspeed", faults=SLOW_STEPS) as run:
        run.wait_step(5)
        send(run.process.pid)
        assert run.finish() == -signal.SIGTERM
        check_stopped(run, 5, "its launcher is gone")


def test_sigusr1_to_one_rank_stops_all(options, tmp_path):
    deepspeed = [*options, "backend=deepspeed"]
    with Run(tmp_path / "run", deepspeed, launcher="deepspeed", faults=SLOW_STEPS) as run:
        run.wait_step(5)
        send(run.rank(1), signal.SIGUSR1)
        assert run.finish() == 75
        check_stopped(run, 5, "another rank")


@pytest.mark.parametrize("moment", ["before", "looking", "saving"])
def test_a_signal_may_come_at_any_time(options, tmp_path, moment):
    faults = f"{SLOW_STEPS}; look seconds=2; save seconds=2"
    with Run(tmp_path / "run", options, launcher=2, faults=faults) as run:
        marks = {"before": "config.json", "looking": "looking", "saving": "saving"}
        run.wait_until((run.run_dir / marks[moment]).exists)
        for rank in (0, 1):
            for _ in range(3):
                send(run.rank(rank))
        assert run.finish() == 75
        check_stopped(run, STEPS // 2 if moment == "looking" else 0, "SIGTERM")


def test_a_stop_where_a_validation_is_due_is_made_up_for(options, undisturbed, tmp_path):
    more = [*options, "trainer.validations=40"]
    with Run(tmp_path / "run", more, launcher=1, faults=SLOW_STEPS) as run:
        run.wait_step(5)
        send(run.process.pid)
        assert run.finish() == 75
        step = run.status()["step"]
        assert step not in pd.read_csv(run.run_dir / "validation.csv")["step"].to_list()
    with Run(tmp_path / "run", [*more, "resume=true"], launcher=1) as again:
        assert again.finish() == 0, again.text()
    looks = pd.read_csv(tmp_path / "run" / "validation.csv")["step"]
    assert list(looks) == list(range(STEPS + 1))


# --- ranks that die or hang ----------------------------------------------------------------------


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
@pytest.mark.parametrize("rank", [0, 1])
def test_after_a_peers_death_the_last_checkpoint_stands(options, tmp_path, launcher, rank):
    backend = {"torchrun": "ddp", "deepspeed": "deepspeed"}[launcher]
    more = [*options, f"backend={backend}"]
    with Run(tmp_path / "run", more, launcher=launcher, faults=SLOW_STEPS) as run:
        run.wait_step(5)
        send(run.rank(rank), signal.SIGKILL)
        assert run.finish() != 0
        check_failed(run, "a peer is gone", "last checkpoint stands: step-00000000")
        assert run.status()["checkpoint"] == "step-00000000"


@pytest.mark.parametrize("late", [0, 1])
def test_torchrun_starts_a_run_again(options, undisturbed, tmp_path, late):
    faults = f"{SLOW_STEPS}; late rank={late} seconds=3"
    again = ["--standalone", "--nproc-per-node=2", "--max-restarts=2"]
    launcher = [shutil.which("torchrun") or "torchrun", *again]
    with Run(tmp_path / "run", [*options, "resume=true"], launcher=launcher, faults=faults) as run:
        run.wait_step(STEPS // 2 + 3)
        send(run.rank(1), signal.SIGKILL)
        assert run.finish() == 0, run.text()
        assert len(run.lines("torchrun, start 2: 2 rank(s)")) == 1
        check_finished(run, undisturbed)


def test_a_hang_is_ended_and_every_rank_says_where(options, tmp_path):
    more = [*options, "trainer.hang_minutes=0.2"]
    with Run(tmp_path / "run", more, faults="hang rank=1 steps=7") as run:
        assert run.finish() != 0
        check_failed(run, "no progress for 12 s", "hang-rank")
        stacks = [(run.run_dir / f"hang-rank{rank}.txt").read_text() for rank in (0, 1)]
        assert all("faulty.py" in text for text in stacks)
        assert run.status()["step"] == 6


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
    own = str(tmp_path_factory.getbasetemp())  # other workers' runs may be under way
    names = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
    assert not [name for name in names if "faulty.py" in name and own in name]
