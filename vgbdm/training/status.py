"""``RUN/status.json``: how a run stands, for whoever supervises it.

    state           running | finished | stopped | failed
    cause           one line; empty while nothing happened
    checkpoint      name of the last whole checkpoint, null before the first
    step            optimiser steps done when it was written
    train_seconds   seconds of those steps, see `vgbdm.training.stopwatch`; null where unknown

It is replaced at once, never half. A run whose processes were all killed still says ``running``.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from vgbdm.errors import InputError
from vgbdm.storage.files import write_json
from vgbdm.storage.masking import mask_text
from vgbdm.training import checkpoint

FILE, CLAIM = "status.json", ".failed"


class Status:
    """The status of one run.

    Args:
        run_dir: of the run.

    Attributes:
        train_seconds: of the steps so far, as the run last said; None: unknown.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.train_seconds: float | None = None

    @property
    def checkpoint(self) -> str | None:
        """The name of the last whole checkpoint."""
        with contextlib.suppress(InputError):
            folder = checkpoint.find(self.run_dir, "last")
            return folder.name if folder else None
        return None

    def clear(self) -> None:
        """Forget that an earlier start has failed. One rank calls it, before any may fail."""
        (self.run_dir / CLAIM).unlink(missing_ok=True)

    def write(self, state: str, cause: str, step: int) -> None:
        """Replace the file; where the disk is full, overwrite it in place."""
        cause = mask_text(cause)
        value = {
            "state": state, "cause": cause, "checkpoint": self.checkpoint, "step": step,
            "train_seconds": self.train_seconds,
        }  # fmt: skip
        path = self.run_dir / FILE
        try:
            write_json(path, value)
        except OSError:
            # the block that the file has is still its own
            if path.is_symlink():
                return
            with contextlib.suppress(OSError), path.open("r+") as file:
                file.write(json.dumps(value) + "\n")
                file.truncate()

    def fail(self, cause: str, step: int) -> bool:
        """Say that the run has failed, unless another rank has.

        What follows from a failure fails too, on every other rank; the first one knows the cause.

        Returns:
            Whether this rank is the first.
        """
        try:
            (self.run_dir / CLAIM).touch(exist_ok=False)
        except FileExistsError:
            return False
        except OSError:  # no room for another file: better said twice than not at all
            pass
        self.write("failed", cause, step)
        return True
