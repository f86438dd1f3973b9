"""Ranks of real runs that die or hang: what is said, what is left on disk, and a new start."""

import shutil
import signal

import endings
import pytest
from endings import FIRST, SLOW_STEPS, STEPS, check_failed, check_finished
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


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
@pytest.mark.parametrize("rank", [0, 1])
def test_after_a_peers_death_the_last_checkpoint_stands(options, tmp_path, launcher, rank):
    backend = {"torchrun": "ddp", "deepspeed": "deepspeed"}[launcher]
    more = [*options, f"backend={backend}"]
    with Run(tmp_path / "run", more, launcher=launcher, faults=SLOW_STEPS) as run:
        run.wait_step(FIRST)
        send(run.rank(rank), signal.SIGKILL)
        assert run.finish() != 0
        check_failed(run, "a peer is gone", "last checkpoint stands: step-00000000")
        assert run.status()["checkpoint"] == "step-00000000"


@pytest.mark.parametrize("late", [0, 1])
def test_torchrun_starts_a_run_again(options, undisturbed, tmp_path, late):
    struck = STEPS // 2 + 3
    faults = f"pause seconds=0.1 after={struck} more=0.4; late rank={late} seconds=3"
    again = ["--standalone", "--nproc-per-node=2", "--max-restarts=2"]
    launcher = [shutil.which("torchrun") or "torchrun", *again]
    with Run(tmp_path / "run", [*options, "resume=true"], launcher=launcher, faults=faults) as run:
        run.wait_step(struck)
        send(run.rank(1), signal.SIGKILL)
        assert run.finish() == 0, run.text()
        assert len(run.lines("torchrun, start 2: 2 rank(s)")) == 1
        check_finished(run, undisturbed)


def test_a_hang_is_ended_and_every_rank_says_where(options, tmp_path):
    more = [*options, "trainer.hang_minutes=0.5"]
    with Run(tmp_path / "run", more, faults="hang rank=1 steps=7") as run:
        assert run.finish() != 0
        check_failed(run, "no progress for 30 s", "hang-rank")
        stacks = [(run.run_dir / f"hang-rank{rank}.txt").read_text() for rank in (0, 1)]
        assert all("faulty.py" in text for text in stacks)
        assert run.status()["step"] == 6


def test_no_process_of_any_run_is_left(tmp_path_factory):
    endings.check_none_is_left(tmp_path_factory.getbasetemp())
