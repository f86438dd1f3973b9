"""How short runs on two ranks end: what a run that goes wrong must say and leave."""

import time

import numpy as np
import pandas as pd
import psutil
from processes import Run
from system_fields import short_training

STEPS = 40
FIRST = 5
"""Steps that tests wait for before they disturb a run."""
SLOW_STEPS = f"pause seconds=0.1 after={FIRST} more=1"


def options_of(place):
    """Of a short training, on stores made at a place."""
    return short_training(place, STEPS)


def run_undisturbed(options, run_dir):
    """The losses of a run on two ranks that nothing happens to."""
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
    said = run.status()
    assert said.pop("train_seconds") > 0 and said == expected
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


def check_none_is_left(place):
    """No process of a run below a folder lives; other workers' may be under way."""
    deadline = time.monotonic() + 300
    while True:  # what was killed takes a moment to go
        names = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
        left = [name for name in names if "faulty.py" in name and str(place) in name]
        if not left:
            return
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
