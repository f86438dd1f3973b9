"""^C, as a terminal sends it: to every process of a run."""

import signal
import time

import pytest
from endings import FIRST, SLOW_STEPS, options_of
from processes import Run, press

from vgbdm.training import checkpoint


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Of a short training."""
    return options_of(tmp_path_factory.mktemp("lorenz"))


def test_the_first_saves_and_says_how_to_go_on(options, tmp_path):
    with Run(tmp_path / "run", options, launcher="python", faults=SLOW_STEPS) as run:
        run.wait_step(FIRST)
        press(run)
        assert run.finish() == 75, run.text()
        status = run.status()
        line = f"stopped at step {status['step']} (SIGINT); {status['checkpoint']} is saved, "
        assert run.lines("stopped at step") == [f"{line}resume=true goes on"]
        assert (status["state"], status["cause"]) == ("stopped", f"{line}resume=true goes on")
        assert FIRST <= status["step"] == int(status["checkpoint"][5:])
        assert run.lines("SIGINT: stops after the step under way") and not run.lines()


@pytest.mark.slow
def test_the_second_ends_at_once_and_the_last_checkpoint_stands(options, tmp_path):
    faults = "pause seconds=3600"
    with Run(tmp_path / "run", options, launcher="python", faults=faults) as run:
        run.wait_until((run.run_dir / "last.json").exists)
        press(run)
        run.wait_until(lambda: run.lines("SIGINT: stops"))
        press(run)
        assert run.finish() == 130, run.text()
        line = "stopped at step 0 (SIGINT, twice); step-00000000 stands, resume=true goes on"
        assert run.lines("stopped") == [line] and run.status()["cause"] == line


@pytest.mark.slow
@pytest.mark.parametrize("presses", [1, 2])
@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_under_launchers_no_finished_checkpoint_is_lost(options, tmp_path, launcher, presses):
    """What they allow: docs/howto/faults.md#runs-you-can-leave-alone."""
    more = [*options, "backend=ddp" if launcher == "torchrun" else "backend=deepspeed"]
    with Run(tmp_path / "run", more, launcher=launcher, faults=SLOW_STEPS) as run:
        run.wait_step(FIRST)
        for _ in range(presses):
            press(run)
            time.sleep(0.2)
        assert run.finish() == {"torchrun": 1, "deepspeed": -signal.SIGINT}[launcher]
        whole = checkpoint.find_whole(run.run_dir, "last")
        assert run.status()["state"] == "stopped", run.text()
        assert run.status()["step"] == checkpoint.step_of(whole) >= FIRST
