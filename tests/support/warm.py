"""Launches by python without the seconds of imports: from a server that has made them.

A script runs in a process of its own, by its file, with its arguments, variables and outputs, as
`python SCRIPT …` runs it; only that torch and the like are imported already.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

REPO = Path(__file__).resolve().parents[2]
SERVER = get_context("forkserver")
IMPORTED = [
    "hydra", "zarr", "matplotlib.pyplot", "climate.training.run", "climate.report.pages",
    "climate.sources.opening", "climate.conversion.verify", "climate.conversion.append",
    "climate.verification.scorecard", "physics_systems.training", "physics_systems.report.pages",
    "deepspeed",
]  # fmt: skip


def _run(
    command: Sequence[str], variables: Mapping[str, str], place: str, out: str, err: str
) -> None:
    """In the process: the script, as its file says; it never returns."""
    import torch

    torch.set_num_threads(int(variables["OMP_NUM_THREADS"]))
    os.chdir(place)
    os.environ.clear()
    os.environ.update(variables)
    for stream, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), stream)
    sys.argv, code = list(command), 0
    sys.path.insert(0, str(Path(command[0]).parent))
    try:
        runpy.run_path(command[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Group:
    """Processes of one script, each with an environment of its own.

    Args:
        command: path of the script, and its arguments.
        environments: all of the variables of each process.
        out: file of what they write.
        err: file of their errors; the same, unless it is given.
    """

    def __init__(
        self,
        command: Sequence[str],
        environments: Sequence[Mapping[str, str]],
        out: Path,
        err: Path | None = None,
    ) -> None:
        os.environ["PYTHONPATH"] = str(REPO)  # the server looks nowhere else
        SERVER.set_forkserver_preload(IMPORTED)
        self.command = list(command)
        told = (str(Path.cwd()), str(out), str(err or out))
        self.processes = [
            SERVER.Process(target=_run, args=(self.command, dict(variables), *told))
            for variables in environments
        ]
        for process in self.processes:
            process.start()

    @property
    def pid(self) -> int:
        """Of the first."""
        return self.processes[0].pid

    def poll(self) -> int | None:
        """None while one lives; then 0, or the first code that is none."""
        codes = [process.exitcode for process in self.processes]
        return None if None in codes else next(filter(None, codes), 0)

    def wait(self, seconds: float | None = None) -> int:
        """What `poll` gives in the end.

        Raises:
            TimeoutExpired: of `subprocess`, when they are killed.
        """
        end = None if seconds is None else time.monotonic() + seconds
        for process in self.processes:
            process.join(None if end is None else max(0.0, end - time.monotonic()))
        if self.poll() is None:
            self.kill()
            raise subprocess.TimeoutExpired(self.command, seconds)
        return self.poll()

    def kill(self) -> None:
        """End all of them."""
        for process in self.processes:
            process.kill()
            process.join()


def run(
    command: Sequence[str], environments: Sequence[Mapping[str, str]], seconds: float
) -> subprocess.CompletedProcess[str]:
    """A script to its end, in as many processes as there are environments.

    Args:
        command: path of the script, and its arguments.
        environments: all of the variables of each process.
        seconds: after so many they are killed.

    Raises:
        TimeoutExpired: of `subprocess`.
    """
    with TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        group = Group(command, environments, out, err)
        try:
            code = group.wait(seconds)
        finally:
            group.kill()
        said = (path.read_text() if path.exists() else "" for path in (out, err))
        return subprocess.CompletedProcess(command, code, *said)
