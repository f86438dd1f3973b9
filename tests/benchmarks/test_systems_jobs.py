"""Launchers as jobs: how they end is told, many at once, and they end with who started them."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "benchmarks"))

import systems_jobs  # noqa: E402

SCRIPT = """
import os, sys, time
told = dict(word.split("=", 1) for word in sys.argv[1:])
if "beat" in told:
    while True:
        open(told["beat"], "a").write("x")
        time.sleep(0.05)
print(told["says"], file=sys.stderr, flush=True)
sys.exit(int(told["code"]))
"""
STARTER = """
import sys
sys.path.append({benchmarks!r})
import systems_jobs
from pathlib import Path
if __name__ == "__main__":
    systems_jobs.REPO, systems_jobs.IMPORTED[:] = Path({repo!r}), []
    systems_jobs.Jobs()("script", Path({repo!r}) / "log", "beat=" + {beat!r})
"""


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Of one script; without imports that cost seconds, and with this process's variables kept."""
    (tmp_path / "launch").mkdir()
    (tmp_path / "launch" / "script.py").write_text(SCRIPT)
    monkeypatch.setattr(systems_jobs, "REPO", tmp_path)
    monkeypatch.setattr(systems_jobs, "IMPORTED", [])
    for name in (*systems_jobs.ALONE, *systems_jobs.ONE_THREAD):
        monkeypatch.setenv(name, "1")
    return systems_jobs.Jobs()


def test_how_a_job_ends_is_told(jobs, tmp_path):
    log = tmp_path / "logs" / "one.log"
    assert jobs("script", log, "says=fine", "code=0") == ""
    assert log.read_text() == "fine\n"
    told = "error: step 7: loss is not finite"
    assert jobs("script", log, f"says={told}", "code=1") == told
    with pytest.raises(systems_jobs.JobError):  # a step that was skipped is not why it failed
        jobs("script", log, "says=step 7: loss is not finite; skipped", "code=1")
    with pytest.raises(systems_jobs.JobError, match=r"exit code 3, see .*one\.log: no room"):
        jobs("script", log, "says=no room", "code=3")
    assert "RANK" not in os.environ and os.environ["OMP_NUM_THREADS"] == "1"


def test_many_at_once_do_not_take_each_others_end(jobs, tmp_path):
    def one(number):
        try:
            return jobs("script", tmp_path / f"{number}.log", "says=x", f"code={number % 2}") == ""
        except systems_jobs.JobError as error:
            return "exit code 1," not in str(error)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(one, range(24))) == [number % 2 == 0 for number in range(24)]


def test_no_job_starts_once_they_were_stopped(jobs, tmp_path):
    jobs.stop()
    with pytest.raises(systems_jobs.JobError, match="stopped"):
        jobs("script", tmp_path / "log", "says=x", "code=0")


def test_jobs_die_with_the_process_that_started_them(jobs, tmp_path):
    beat = tmp_path / "beat"
    places = {"benchmarks": str(REPO / "benchmarks"), "repo": str(tmp_path), "beat": str(beat)}
    starter = tmp_path / "starter.py"
    starter.write_text(STARTER.format(**places))
    process = subprocess.Popen([sys.executable, str(starter)])
    wait(lambda: beat.exists() and beat.stat().st_size > 2)
    process.send_signal(signal.SIGKILL)
    process.wait()

    def silent():
        size = beat.stat().st_size
        time.sleep(0.5)
        return beat.stat().st_size == size

    wait(silent)


def wait(holds, seconds=600):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
