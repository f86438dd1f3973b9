"""Launchers as jobs of one thread each, in processes that have paid for their imports.

Starting Python and torch costs seconds, more than a short run's steps; so launchers are forked from
one process that has imported them and has no threads. A job is a launcher with its command line:
what it says goes to a file, how it ends is its exit code, as if it had been typed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import runpy
import signal
import sys
import threading
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
PLACES = {"systems_scores": "benchmarks"}
"""Folders of what is no launcher."""
IMPORTED = ["hydra", "torch", "pandas", "scipy.stats", "xarray", "dask.array", "entry", "pages",
            "physics_systems.training", "physics_systems.evaluating",
            "physics_systems.data.simulate", "torch.utils.tensorboard"]  # fmt: skip
ALONE = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_SIZE", "LOCAL_WORLD_SIZE", "CROSS_SIZE",
         "MASTER_ADDR", "MASTER_PORT")  # fmt: skip
"""What a launcher says of itself to its libraries; its children are no ranks of it."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
FORGIVEN = "is not finite"
"""How a training ends that diverged: its row is scored at its best checkpoint."""


class JobError(Exception):
    """A launcher that failed; the message names it and where it said why."""


class Jobs:
    """Starts launchers and waits for them; usable from several threads.

    Args:
        plugins: packages that every launcher is told of.
    """

    def __init__(self, plugins: tuple[str, ...] = ()) -> None:
        self.told = [f"plugins=[{','.join(plugins)}]"] if plugins else []
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(IMPORTED)
        self.lock, self.living = threading.Lock(), set[BaseProcess]()
        self.stopped = False
        for name in ALONE:
            os.environ.pop(name, None)
        os.environ.update(ONE_THREAD)

    def __call__(self, name: str, log: Path, *options: str) -> str:
        """Run a launcher to its end.

        Args:
            name: of its file.
            log: what it says goes there, after what stands there.
            options: of its command line.

        Returns:
            Nothing, or its last line where a training diverged.

        Raises:
            JobError: where it failed otherwise.
        """
        script = REPO / PLACES.get(name, "launch") / f"{name}.py"
        log.parent.mkdir(parents=True, exist_ok=True)
        told = [str(script), *options, *(self.told if name not in PLACES else [])]
        before = log.stat().st_size if log.exists() else 0
        process = self.context.Process(target=run, args=(told, str(log)))
        with self.lock:
            if self.stopped:
                raise JobError("stopped")
            process.start()
            self.living.add(process)
        connection.wait([process.sentinel])
        with self.lock:  # starting a process asks how others ended: the answer is there once
            process.join()
            self.living.discard(process)
        if process.exitcode == 0:
            return ""
        said = log.read_bytes()[before:].decode(errors="replace") if log.exists() else ""
        lines = said.strip().splitlines()[-5:]
        for line in lines:
            if line.startswith("error: ") and FORGIVEN in line:  # not one of a step that is skipped
                return line
        last = lines[-1] if lines else ""
        raise JobError(f"{' '.join(told)}\n  exit code {process.exitcode}, see {log}: {last:.300}")

    def stop(self) -> None:
        """Ask all that live to end, and start no other; trainings save first."""
        with self.lock:
            self.stopped = True
            for process in self.living:
                with contextlib.suppress(OSError, ValueError):
                    process.terminate()


def run(told: list[str], log: str) -> None:
    """In the child: become the launcher."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(file, stream)
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)  # ^C reaches the table, which asks its jobs to end
    sys.argv = told
    sys.path.insert(0, str(Path(told[0]).parent))
    runpy.run_path(told[0], run_name="__main__")


def end_with_parent() -> None:
    """Ask this process to end when the table's ends, however that does."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
