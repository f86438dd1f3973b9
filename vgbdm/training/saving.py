"""The checkpoints of a run: when one is due, written beside training, and the one to go on from.

Rank 0 reads, writes and decides; what it finds, every rank learns.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vgbdm.errors import InputError
from vgbdm.training import checkpoint
from vgbdm.training.backends.base import Backend
from vgbdm.training.backends.group import Group
from vgbdm.training.watchdog import note_progress
from vgbdm.training.writer import Writer

POLL_SECONDS = 1.0


def agree_on_error(group: Group, error: Exception | None, purpose: str) -> None:
    """Raise rank 0's error on every rank, so that none waits for another. *Collective.*

    Args:
        group: the processes.
        error: of this rank; only rank 0's counts.
        purpose: what cannot be done, a verb for the others' message.
    """
    failed = group.broadcast(float(error is not None))
    if error is not None:
        raise error
    if failed:
        raise InputError(f"rank 0 cannot {purpose}, its line says why")


class Saver:
    """Keeps a run's checkpoints; as a context it waits for the one under way.

    Args:
        run_dir: of the run.
        backend: its processes and its state.
        keep: checkpoints kept besides best and last.
        minutes: after which `is_due`; None: never.
    """

    def __init__(self, run_dir: Path, backend: Backend, keep: int, minutes: float | None) -> None:
        self.run_dir, self.backend, self.keep = run_dir, backend, keep
        self.seconds = math.inf if minutes is None else 60 * minutes
        self.writer, self.saved = Writer(), time.perf_counter()

    def find_start(self) -> Path | None:
        """The checkpoint to go on from, or None where there is none yet. *Collective.*

        Raises:
            InputError: on every rank, where none is whole.
        """
        folder, error = None, None
        if self.backend.rank == 0:
            try:
                folder = checkpoint.find_resumable(self.run_dir)
            except InputError as caught:
                error = caught
        agree_on_error(self.backend, error, "resume")
        step = int(self.backend.broadcast(-1 if folder is None else checkpoint.step_of(folder)))
        return None if step < 0 else checkpoint.folder_of(self.run_dir, step)

    def has_best(self) -> bool:
        """Whether the best checkpoint is there and whole. *Collective.*"""
        whole = self.backend.rank == 0 and checkpoint.has_whole(self.run_dir, "best")
        return bool(self.backend.broadcast(float(whole)))

    def is_due(self) -> bool:
        """Whether this rank wants a save: rank 0, where it is time and the last one is written.

        It wants one, too, when the last one could not be written, for `save` says so on every rank.
        """
        late = time.perf_counter() - self.saved >= self.seconds and not self.writer.is_busy
        return self.backend.rank == 0 and (late or self.writer.has_failed)

    def save(self, state: Mapping[str, Any], score: float | None) -> None:
        """Begin a checkpoint. *Collective.*

        The tensors are gathered and copied here; they are written while training goes on.

        Args:
            state: what goes with the tensors, as JSON.
            score: of this checkpoint where it is the best one so far; None: it is not.

        Raises:
            InputError: on every rank, if the checkpoint before could not be written.
        """
        self.settle()
        tensors = self.backend.state()
        if self.backend.rank == 0:
            self.writer.begin(
                lambda: checkpoint.commit(self.run_dir, tensors, state, score, self.keep)
            )
        self.saved = time.perf_counter()

    def settle(self) -> None:
        """Wait until the checkpoint under way is on disk. *Collective.*

        While its files grow, every rank is getting on, however long that takes.

        Raises:
            InputError: on every rank, if it could not be written.
        """
        seen = -1.0
        while self.backend.broadcast(float(self.writer.is_busy)):
            self.writer.join(POLL_SECONDS)
            held = checkpoint.bytes_under_way(self.run_dir) if self.backend.rank == 0 else 0
            now = self.backend.broadcast(float(held))
            if now != seen:
                note_progress()
            seen = now
        agree_on_error(self.backend, self.writer.wait(), "save")
