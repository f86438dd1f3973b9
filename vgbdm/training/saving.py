"""The checkpoints of a run: when one is due, written beside training, and the one to go on from.

Every rank writes its part, rank 0 all else; it finds the checkpoint to go on from and decides. What
it finds, every rank learns; what any rank cannot write, too.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from vgbdm.errors import InputError
from vgbdm.training import checkpoint
from vgbdm.training.backends.base import Backend
from vgbdm.training.backends.group import Group
from vgbdm.training.faults import is_peer_loss
from vgbdm.training.parts import GivenUpError
from vgbdm.training.watchdog import note_progress
from vgbdm.training.writer import Writer

POLL_SECONDS = 1.0
STILL_LOOKS, DEAD_LOOKS = 30, 3
"""Looks at what ranks write without a byte more, after which a run that ends waits for none; where
a rank is dead, launchers soon kill the others."""


def agree_on_error(group: Group, error: Exception | None, purpose: str) -> None:
    """Raise the error of any rank on every rank. *Collective.*

    Args:
        group: the processes.
        error: of this rank; `GivenUpError` is none of its own.
        purpose: what cannot be done, a verb for the others' message.
    """
    own = error is not None and not isinstance(error, GivenUpError)
    marks = [0.0] * group.world_size
    marks[group.rank] = float(own)
    failed = group.totals(*marks)
    if own and error is not None:
        raise error
    if any(failed):
        rank = next(k for k, mark in enumerate(failed) if mark)
        raise InputError(f"rank {rank} cannot {purpose}, its line says why")


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
        self.given_up = threading.Event()

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

        Any rank wants one when it could not write, for `save` says so on every rank.
        """
        late = time.perf_counter() - self.saved >= self.seconds and not self.writer.is_busy
        return (self.backend.rank == 0 and late) or self.writer.has_failed

    def save(self, state: Mapping[str, Any], score: float | None) -> None:
        """Begin a checkpoint. *Collective.*

        Each rank copies here what it holds; that is written while training goes on.

        Args:
            state: what goes with the tensors, as JSON.
            score: of this checkpoint where it is the best one so far; None: it is not.

        Raises:
            InputError: on every rank, if the checkpoint before could not be written.
        """
        self.settle()
        part = self.backend.state()
        part = replace(part, token=int(self.backend.broadcast(float(part.token))))
        self.given_up.clear()
        if part.rank == 0:
            self.writer.begin(
                lambda: checkpoint.commit(
                    self.run_dir, part, state, score, self.keep, self.given_up.is_set
                )
            )
        else:
            self.writer.begin(lambda: checkpoint.contribute(self.run_dir, part, state["step"]))
        self.saved = time.perf_counter()

    def settle(self) -> None:
        """Wait until the checkpoint under way is on disk. *Collective.*

        While its files grow, every rank is getting on, however long that takes.

        Raises:
            InputError: on every rank, if any could not write.
        """
        seen = -1.0
        while True:
            busy, failed = self.backend.totals(self.writer.is_busy, self.writer.has_failed)
            if failed:
                self.given_up.set()
            if not busy:
                break
            self.writer.join(POLL_SECONDS)
            held = checkpoint.bytes_under_way(self.run_dir) if self.backend.rank == 0 else 0
            now = self.backend.broadcast(float(held))
            if now != seen:
                note_progress()
            seen = now
        agree_on_error(self.backend, self.writer.wait(), "save")

    def __enter__(self) -> Saver:
        self.writer.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        self.join(DEAD_LOOKS if failure is not None and is_peer_loss(failure) else STILL_LOOKS)
        self.writer.__exit__(kind, failure, place)

    def join(self, looks: int = STILL_LOOKS) -> None:
        """Wait for the writer, but not for ranks that write no more, for they may be dead.

        Args:
            looks: without a byte more, after which nobody is waited for.
        """
        still, seen = 0, -1
        while self.writer.is_busy:
            self.writer.join(POLL_SECONDS)
            held = checkpoint.bytes_under_way(self.run_dir)
            still, seen = (still + 1 if held == seen else 0), held
            if still > looks:
                self.given_up.set()
