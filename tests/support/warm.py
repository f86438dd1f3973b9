"""Launches by python without the seconds of imports: from a server that has made them.

A script runs in a process of its own, by its file, with its arguments, variables and outputs, as
`python SCRIPT …` runs it; only that torch and the like are imported already.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

REPO = Path(__file__).resolve().parents[2]
SERVER = get_context("forkserver")
IMPORTED = [
    "hydra", "zarr", "matplotlib.pyplot", "climate.training", "climate.report",
    "climate.sources.opening", "climate.store.verify", "climate.store.append",
    "climate.verification.scorecard", "physics_systems.training", "physics_systems.report",
    "deepspeed",
]  # fmt: skip


def _run(command: Sequence[str], variables: Mapping[str, str], place: str, folder: str) -> None:
    """In the process: the script, as its file says; it never returns."""
    os.chdir(place)
    os.environ.clear()
    os.environ.update(variables)
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{folder}/{name}", os.O_CREAT | os.O_WRONLY | os.O_APPEND), stream)
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


def run(
    command: Sequence[str], variables: Mapping[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    """A script to its end.

    Args:
        command: path of the script, and its arguments.
        variables: all of its environment.
        seconds: after so many it is killed.

    Raises:
        TimeoutExpired: of `subprocess`.
    """
    os.environ["PYTHONPATH"] = str(REPO)  # the server looks nowhere else
    SERVER.set_forkserver_preload(IMPORTED)
    with TemporaryDirectory() as folder:
        told = (list(command), dict(variables), str(Path.cwd()), folder)
        process = SERVER.Process(target=_run, args=told)
        process.start()
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(command, seconds)
        out, err = ((Path(folder) / n).read_text() if (Path(folder) / n).exists() else ""
                    for n in ("out", "err"))  # fmt: skip
    return subprocess.CompletedProcess(command, process.exitcode, out, err)
