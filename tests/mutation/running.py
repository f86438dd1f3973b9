"""Tests against a faulty copy of the repository, in a process that has imported the libraries."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mutation.operators import Mutant
from mutation.selection import mirrors

COPIED = ("vgbdm", "climate", "physics_systems", "launch", "configs", "tests", "benchmarks", "docs",
          ".ci")  # fmt: skip
"""All folders that are committed: tests may read any of them."""
LIBRARIES = ("pytest", "hypothesis", "numpy", "pandas", "scipy", "torch", "torch_harmonics", "dask",
             "torchdiffeq", "hydra", "xarray", "zarr", "cf_units", "safetensors")  # fmt: skip
"""What a test imports that cannot be faulty; once, before the processes part."""
PAUSE = 0.05
KILLED, SURVIVED, LATE, UNTESTED, UNTRIED = "killed", "survived", "late", "untested", "untried"
NO_TESTS = 5
"""Pytest's code where a file has only slow ones."""


@dataclass(frozen=True)
class Verdict:
    """What the tests said of a fault.

    Attributes:
        mutant: the fault.
        word: `KILLED`; `SURVIVED`; `LATE`, which is killed: the tests did not come to their end;
            `UNTESTED`, which is survived: no test mirrors its module; `UNTRIED`: the time of all
            was over.
        output: of the tests.
    """

    mutant: Mutant
    word: str
    output: str


class Copy:
    """One copy of the repository, which takes a fault at a time.

    Args:
        root: of the repository.
        place: folder to copy to; nothing is there.
    """

    def __init__(self, root: Path, place: Path) -> None:
        self.place, self.output = place / "repository", place / "output"
        ignored = shutil.ignore_patterns("__pycache__", ".*_cache", "*.pyc")
        for name in COPIED:
            if (root / name).is_dir():
                shutil.copytree(root / name, self.place / name, ignore=ignored)
        for file in root.iterdir():
            if file.is_file():
                shutil.copy(file, self.place)
        if (root.parent / "shared").is_dir():  # tests look for it beside the repository
            (place / "shared").symlink_to(root.parent / "shared")

    def begin(self, mutant: Mutant, tests: Sequence[str], seconds: float) -> None:
        """Start the tests against a fault."""
        self.mutant, self.ends = mutant, time.monotonic() + seconds
        self.file = self.place / mutant.module
        self.whole = self.file.read_bytes()
        self.file.write_bytes(mutant.apply(self.whole))
        self.output.write_bytes(b"")  # a process that is killed at once has said nothing
        sys.stdout.flush()
        self.process = os.fork()
        if self.process == 0:
            self._run(tests)
        with contextlib.suppress(PermissionError, ProcessLookupError):  # whoever comes first
            os.setpgid(self.process, self.process)

    def _run(self, tests: Sequence[str]) -> None:
        """In the process: the tests; it never returns."""
        code = 3
        try:
            os.setpgid(0, 0)
            handle = os.open(self.output, os.O_WRONLY)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            os.chdir(self.place)
            os.environ |= {"PYTHONPATH": str(self.place), "PYTHONDONTWRITEBYTECODE": "1",
                           "TMPDIR": str(self.place.parent)}  # fmt: skip
            sys.dont_write_bytecode = True
            sys.path[:] = [str(self.place), *(p for p in sys.path if not _ours(p))]
            code = _first_failure(tests)
        finally:
            sys.stdout.flush()
            os._exit(code)

    def end(self, over: bool) -> Verdict | None:
        """The verdict, where the tests have ended or their time has; the copy is whole again.

        Args:
            over: whether the time of all is over.
        """
        done, status = os.waitpid(self.process, os.WNOHANG)
        late = not done and time.monotonic() > self.ends
        if not done and not late and not over:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process, signal.SIGKILL)  # with launches that are left
        if not done:
            os.waitpid(self.process, 0)
        self.file.write_bytes(self.whole)
        for left in self.place.parent.glob("pytest-of-*"):
            shutil.rmtree(left, ignore_errors=True)
        passed = done and os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
        word = LATE if late else UNTRIED if not done else SURVIVED if passed else KILLED
        return Verdict(self.mutant, word, self.output.read_text(errors="replace"))


def _first_failure(tests: Sequence[str]) -> int:
    """Pytest's code for files of which the first is the likeliest to notice a fault.

    The others are not even imported where it does: that takes longer than most of its tests.
    """
    import pytest

    for some in (tests[:1], tests[1:]):
        told = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *some]
        code = int(pytest.main(told)) if some else 0
        if code not in (0, NO_TESTS):
            return code
    return 0


def _ours(path: str) -> bool:
    """Whether an entry of `sys.path` is of the checkout that is copied."""
    return (Path(path) / "vgbdm").is_dir() or Path(path).name in ("tests", "support", "launch")


def judge(
    root: Path,
    place: Path,
    mutants: Iterable[Mutant],
    copies: int,
    seconds: float,
    ends: float = math.inf,
) -> Generator[Verdict]:
    """Run the tests that mirror each fault's module, some at a time.

    Args:
        root: of the repository.
        place: an empty folder.
        mutants: faults.
        copies: how many at a time.
        seconds: after which tests are killed.
        ends: by the monotonic clock, when those at work are given up and no others begun.

    Yields:
        A verdict of each that was begun, as they end.
    """
    for name in LIBRARIES:
        importlib.import_module(name)
    free = [Copy(root, place / str(number)) for number in range(copies)]
    busy: list[Copy] = []
    waiting = iter(mutants)
    ended = False
    try:
        while busy or not ended:
            over = time.monotonic() > ends
            ended = ended or over
            while free and not ended:
                mutant = next(waiting, None)
                if mutant is None:
                    ended = True
                elif tests := mirrors(root, mutant.module):
                    busy.append(free.pop())
                    busy[-1].begin(mutant, tests, seconds)
                else:
                    yield Verdict(mutant, UNTESTED, "no test mirrors this module")
            time.sleep(PAUSE)
            for copy in list(busy):
                verdict = copy.end(over)
                if verdict is not None:
                    busy.remove(copy)
                    free.append(copy)
                    yield verdict
    finally:
        for copy in busy:  # nobody waits for more verdicts
            copy.end(True)
