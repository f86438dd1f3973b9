"""A run's folder: whether a run may begin in it or go on, and whose it is meanwhile.

    RUN/.lock             of rank 0, while the run lasts (see `vgbdm.storage.lock`)
    RUN/console.log       what its console said, see `vgbdm.training.console`
    RUN/config.json …     what a run writes before its first checkpoint blocks no other start
    RUN/checkpoints, RUN/best.json, RUN/last.json     what a run that has begun is known by

So a start that ended before its first checkpoint, on a typo, say, leaves nothing in the way.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from vgbdm.errors import InputError
from vgbdm.storage.files import asides_in
from vgbdm.storage.lock import LOCK, locked
from vgbdm.training.backends.base import Backend
from vgbdm.training.backends.group import Group
from vgbdm.training.card import CARD
from vgbdm.training.checkpoint import CHECKPOINTS, has_any
from vgbdm.training.console import CONSOLE, OLDER, kept_console
from vgbdm.training.saving import agree_on_error
from vgbdm.training.status import CLAIM, FILE, Status

DERIVED = "derived"
"""Folder of a run for what is made from read-only data; it may outlive a start that failed."""
DATA = "data"
"""Folder of a run for stores of what it was given in memory."""
LEFT = {FILE, CLAIM, DATA, DERIVED, LOCK, CHECKPOINTS, "config.json", "log.csv", "validation.csv",
        "tensorboard", CARD, CONSOLE, OLDER}  # fmt: skip
"""What a start leaves that ended before its first checkpoint."""
LEFT_LOGS = re.compile(r"(?:error|hang)-rank\d+\.(?:log|txt)")


def check_run_dir(run_dir: Path, resume: bool) -> None:
    """Refuse a folder that holds a run, unless to resume it, or anything that no run wrote.

    Raises:
        InputError: if there is something, and ``resume`` is false.
    """
    if resume or not run_dir.exists():
        return
    if not run_dir.is_dir():
        raise InputError(f"run_dir={run_dir} is a file; choose another")
    left = {entry.name for entry in asides_in(run_dir)}
    names = {entry.name for entry in run_dir.iterdir()} - LEFT - left
    others = [name for name in names if not LEFT_LOGS.fullmatch(name)]
    if others or has_any(run_dir) or _has_steps(run_dir):
        raise InputError(f"run_dir={run_dir} is not empty; add resume=true or choose another")


def _has_steps(run_dir: Path) -> bool:
    """Whether a log holds steps; nobody but its owner throws that away."""
    try:
        with (run_dir / "log.csv").open() as log:
            return len([line for _, line in zip(range(2), log, strict=False)]) > 1
    except (OSError, UnicodeDecodeError):
        return False


def prepare_run_dir(run_dir: Path, resume: bool) -> None:
    """Make a run folder that `check_run_dir` lets pass; what starts that failed have said goes.

    Whoever calls it owns the folder.
    """
    check_run_dir(run_dir, resume)
    run_dir.mkdir(parents=True, exist_ok=True)
    Status(run_dir).clear()
    if not resume:
        for entry in run_dir.iterdir():
            if LEFT_LOGS.fullmatch(entry.name) or entry.name in (CONSOLE, OLDER):
                entry.unlink()


@contextlib.contextmanager
def for_all(group: Group, begin: Callable[[contextlib.ExitStack], object]) -> Iterator[None]:
    """What rank 0 enters for all ranks, and leaves at the end. *Collective.*

    Args:
        group: the processes.
        begin: takes the stack to enter things on; only rank 0 calls it.

    Raises:
        InputError: on every rank, where rank 0 is refused.
    """
    with contextlib.ExitStack() as stack:
        error = None
        if group.rank == 0:
            try:
                begin(stack)
            except Exception as caught:
                error = caught
        agree_on_error(group, error, "begin")
        yield


@contextlib.contextmanager
def owned(
    run_dir: Path, backend: Backend, resume: bool, make: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Own a run's folder, ready to train in; rank 0 does, for all. *Collective.*

    Args:
        run_dir: of the run.
        backend: its processes.
        resume: whether it may hold a run.
        make: what only one process may make before the others look, such as derived data.

    Raises:
        InputError: on every rank, where another process trains in it, or it may not be begun in.
    """

    def begin(stack: contextlib.ExitStack) -> None:
        stack.enter_context(locked(run_dir))
        check_run_dir(run_dir, resume)
        make()
        prepare_run_dir(run_dir, resume)
        stack.enter_context(kept_console(run_dir))

    with for_all(backend, begin):
        yield
