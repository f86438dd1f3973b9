"""Runs as groups of processes: to signal one of them, and to see that none is left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pandas as pd
import psutil
import warm
from ports import free_port

SUPPORT = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
MARK = "VGBDM_TEST_RUN"
OURS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def starter(name: str, ranks: int = 2) -> list[str]:
    """The words that start `ranks` ranks by python (which makes one), torchrun or deepspeed.

    DeepSpeed's gets a port of its own: tests run beside each other.
    """
    if name == "python":
        return [sys.executable]
    if name == "torchrun":
        return [str(BIN / "torchrun"), "--standalone", f"--nproc-per-node={ranks}"]
    return [str(BIN / name), "--num_accelerators", str(ranks), "--master_port", str(free_port())]


def environment(**more: str) -> dict[str, str]:
    """Ours, without a rank, with one thread, and `more`."""
    variables = {k: v for k, v in os.environ.items() if k not in OURS} | {"OMP_NUM_THREADS": "1"}
    return variables | {"PATH": f"{BIN}:{variables['PATH']}", **more}


def environments(ranks: int, **more: str) -> list[dict[str, str]]:
    """Of each rank on this machine, as a launcher that is none of those we know sets them."""
    shared = {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [
        environment(**shared, RANK=str(rank), LOCAL_RANK=str(rank), **more) for rank in range(ranks)
    ]


def marked(mark: str) -> list[psutil.Process]:
    """All that were started with this mark, and live."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark:
                found.append(process)
    return found


def kill_marked(mark: str) -> None:
    for process in marked(mark):
        with contextlib.suppress(psutil.Error):
            process.kill()


def finish(
    command, code: int | None = 0, seconds: float = 600, place: Path | None = None, **env: str
):
    """A command to its end: its result, with its output as text.

    A script for python comes from a process that has imported the libraries, see `warm`.

    Args:
        command: words.
        code: what it must end with, or None for whatever it does.
        seconds: after so many it is killed, with all that it has started.
        place: folder to start it in; None: that of this process.
        env: more variables.
    """
    mark, words = uuid.uuid4().hex, [str(word) for word in command]
    variables = environment(**{MARK: mark}, **env)
    # other variables libraries may have looked at when they were imported
    at_hand = words[0] == sys.executable and words[1].endswith(".py") and env.keys() <= set(OURS)
    try:
        if at_hand:
            result = warm.run(words[1:], [variables], seconds)
        else:
            result = subprocess.run(
                words, env=variables, capture_output=True, text=True, timeout=seconds, cwd=place
            )
    finally:
        kill_marked(mark)
    assert code in (None, result.returncode), result.stdout + result.stderr
    return result


def finish_ranks(command, ranks: int, code: int | None = 0, seconds: float = 600):
    """A script for python on several ranks to its end, as `finish` ends one; without a launcher.

    What `deepspeed` and `torchrun` do besides is proven where they are named.

    Args:
        command: path of the script, and its arguments.
        ranks: how many.
        code: what they must end with: 0, or the first other one; or None for whatever they do.
        seconds: after so many they are killed, with all that they have started.
    """
    mark = uuid.uuid4().hex
    words = [str(word) for word in command]
    try:
        result = warm.run(words, environments(ranks, **{MARK: mark}), seconds)
    finally:
        kill_marked(mark)
    assert code in (None, result.returncode), result.stdout + result.stderr
    return result


def heed_the_keyboard() -> None:
    """What a shell starts in the background ignores ^C, and so would all that comes of it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Run:
    """A training with faults in the background; as a context manager it leaves no process.

    Args:
        run_dir: of the training.
        options: of the training.
        script: that trains.
        launcher: python, torchrun, deepspeed, or a command; or how many ranks there are without a
            launcher, from the server of `warm`.
        faults: see `faulty`.
        env: more variables.
    """

    def __init__(self, run_dir, options, script="train_system", launcher="torchrun", faults="",
                 env=None) -> None:  # fmt: skip
        self.run_dir, self.mark = Path(run_dir), uuid.uuid4().hex
        command = [str(SUPPORT / "faulty.py"), script, faults, f"run_dir={run_dir}", *options]
        more = {MARK: self.mark, **(env or {})}
        self.log = self.run_dir.with_name(f"{self.run_dir.name}-{self.mark[:6]}.out")
        self.log.touch()
        if isinstance(launcher, int):
            self.process = warm.Group(command, environments(launcher, **more), self.log)
            return
        start = starter(launcher) if isinstance(launcher, str) else launcher
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [*start, *command], env=environment(**more), stdout=out, stderr=subprocess.STDOUT,
                start_new_session=True, preexec_fn=heed_the_keyboard,
            )  # fmt: skip

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        kill_marked(self.mark)
        self.process.wait()

    def processes(self) -> list[psutil.Process]:
        """All that belong to the run and live."""
        return marked(self.mark)

    def rank(self, rank: int) -> int:
        """The process number of a rank; with python, of the process."""
        if isinstance(self.process, warm.Group):
            return self.process.processes[rank].pid
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("RANK", "0") == str(rank) and any(
                    argument.endswith("faulty.py") for argument in process.cmdline()[:3]
                ):
                    return process.pid
        raise AssertionError(f"no rank {rank}: {self.text()}")

    def text(self) -> str:
        return self.log.read_text()

    def step(self) -> int:
        try:
            return len(pd.read_csv(self.run_dir / "log.csv"))
        except (OSError, ValueError):
            return 0

    def wait_until(self, ready, seconds: float = 600) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.05)

    def wait_step(self, step: int) -> None:
        self.wait_until(lambda: self.step() >= step)

    def finish(self, seconds: float = 600) -> int:
        """Wait for the launcher and for all it started; its exit code."""
        code = self.process.wait(seconds)
        deadline = time.monotonic() + 300
        while self.processes():
            assert time.monotonic() < deadline, f"left behind: {self.processes()}\n{self.text()}"
            time.sleep(0.1)
        return code

    def status(self) -> dict:
        return json.loads((self.run_dir / "status.json").read_text())

    def lines(self, start: str = "error: ") -> list[str]:
        """Lines of the output that start so."""
        return [line for line in self.text().splitlines() if line.startswith(start)]


def press(run: Run) -> None:
    """^C in the terminal: a signal to every process of the run."""
    os.killpg(run.process.pid, signal.SIGINT)


def send(process: int, number: signal.Signals = signal.SIGTERM) -> None:
    os.kill(process, number)
