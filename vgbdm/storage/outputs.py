"""What appears whole or not at all: made aside, by one process at a time, and then named.

    .OUT.lock           while it is made, see `vgbdm.storage.lock`
    .OUT.<token>.tmp/   of one process; what the dead have left goes when the next one begins

A writer gets a path to make, and need not know of this.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from vgbdm.errors import InputError
from vgbdm.storage.files import aside_of, asides_in, make_folder
from vgbdm.storage.lock import LOCK, Lock, held

log = logging.getLogger(__name__)

TRIES, PAUSE = 20, 0.05
"""To remove what is no longer wanted; seconds between two."""


def check_free(out: str | Path) -> None:
    """Refuse to write over something.

    Raises:
        InputError: if there is something, even a link to nowhere.
    """
    if Path(out).exists() or Path(out).is_symlink():
        raise InputError(f"out={out} exists; remove it or choose another")


def _nothing(folder: Path) -> bool:
    return False


@contextlib.contextmanager
def scratch(
    beside: Path,
    token: int | None = None,
    is_worth: Callable[[Path], bool] = _nothing,
    resume: bool = False,
) -> Iterator[tuple[Path, Lock]]:
    """A folder of this process beside a path, which it owns meanwhile; removed at the end.

    Args:
        beside: this path.
        token: of the folder's name, where ranks agreed on one; see `vgbdm.storage.files.aside_of`.
        is_worth: whether a folder is to be kept where something goes wrong, to be gone on with.
        resume: take over what such a process has left, if there is some.

    Raises:
        InputError: if another process is at work on the path, or nothing can be written there.
    """
    make_folder(beside.parent)
    with held(beside.with_name(f".{beside.name}{LOCK}"), str(beside)) as lock:
        left = asides_in(beside.parent, beside.name)
        worthy = [entry for entry in left if is_worth(entry)]
        taken = worthy[-1] if resume and worthy else None
        if worthy and not resume:
            log.warning("%s: what was begun here is dropped; resume=true goes on with it", beside)
        for entry in left:
            if entry != taken:
                shutil.rmtree(entry)
        folder = taken or aside_of(beside, token)
        folder.mkdir(exist_ok=True)
        try:
            yield folder, lock
        except BaseException:
            if not is_worth(folder):
                _remove(folder)
            raise
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder in which threads of a library may still write after one of them failed."""
    for _ in range(TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(PAUSE)
        if not folder.exists():
            return


@contextlib.contextmanager
def appearing(
    out: Path, is_worth: Callable[[Path], bool] = _nothing, resume: bool = False
) -> Iterator[Path]:
    """The path to make something under, which gets the name ``out`` where nothing goes wrong.

    Args:
        out: its name; nothing is there, or an empty folder.
        is_worth: see `scratch`; of the folder around the path.
        resume: see `scratch`.

    Raises:
        InputError: if another process makes it, or something has come there.
    """
    with scratch(out, None, is_worth, resume) as (folder, lock):
        made = folder / out.name
        yield made
        lock.check()
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"out={out}: something has come there; move it, and begin again")
        made.replace(out)
