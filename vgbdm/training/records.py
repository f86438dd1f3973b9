"""What a run leaves to look at: CSV, TensorBoard, a progress bar. Rank 0 only, no server."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vgbdm.errors import InputError
from vgbdm.extras import need
from vgbdm.progress import Bar, progress, say
from vgbdm.storage.files import aside_of, create, read_json
from vgbdm.training import checkpoint

STATUS = "status.json"
NO_CURVES = ("samples_checksum",)
"""Columns of the log that are no curve."""


class Table:
    """A CSV file that grows by rows and by columns; resuming cuts off what came after.

    Args:
        path: of the file.
        step: rows with a later step are dropped; -1: all, whatever they are.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        rows: list[dict[str, str]] = []
        if step >= 0 and path.exists():
            with path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        self.columns = list(rows[0]) if rows else ["step"]
        self._rewrite(rows)

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        aside = aside_of(self.path)
        with create(aside) as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        aside.replace(self.path)
        self.file = self.path.open("a", newline="")
        self.writer = csv.DictWriter(self.file, self.columns, restval="")

    def add(self, row: Mapping[str, float]) -> None:
        """Append a row; a column not seen before is added to the file."""
        new = [name for name in row if name not in self.columns]
        if new:
            self.file.close()
            with self.path.open(newline="") as file:
                rows = list(csv.DictReader(file))
            self.columns += new
            self._rewrite(rows)
        self.writer.writerow(
            {k: str(v) if isinstance(v, int) else f"{v:.10g}" for k, v in row.items()}
        )
        self.file.flush()

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class Records:
    """CSV rows, TensorBoard curves and the progress bar of one run.

    Args:
        run_dir: of the run; ``log.csv``, ``validation.csv`` and ``tensorboard/`` go there.
        step: where the run goes on.
        looked: the last step of which a validation is known; -1: none, also not that of step 0.
    """

    def __init__(self, run_dir: Path, step: int, looked: int) -> None:
        need("tensorboard", "training")
        from torch.utils.tensorboard import SummaryWriter

        self.training = Table(run_dir / "log.csv", step or -1)
        self.validation = Table(run_dir / "validation.csv", looked)
        self.curves = SummaryWriter(str(run_dir / "tensorboard"), purge_step=step + 1)
        if (config := run_dir / "config.json").exists():  # as the run has just written it
            told = config.read_text().replace("\n", "\n    ")
            self.curves.add_text("config", f"    {told}", step)
        self.bar: Bar | None = None

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()
        self.training.close()
        self.validation.close()
        self.curves.close()

    def step(
        self, step: int, terms: Mapping[str, float], rates: Mapping[str, float], total: int | None
    ) -> None:
        """A training step: its terms and its speeds, ``train_seconds`` of the run among them."""
        self.training.add({"step": step, **terms, **rates})
        for name, value in [*terms.items(), *rates.items()]:
            if name not in NO_CURVES:
                self.curves.add_scalar(f"train/{name}", value, step)
        if self.bar is None:  # not before: a validation may come first, and has its own
            self.bar = progress(total, "step", "training", initial=step - 1)
        self.bar.total = total
        self.bar.set_postfix_str(
            f"loss {terms['loss']:.4f}, {rates['samples_per_second']:.0f} samples/s",
            refresh=False,
        )
        self.bar.update(1)

    def note(self, line: str) -> None:
        """A line for who watches."""
        say(line)

    def validate(
        self, step: int, scores: Mapping[str, float], best: bool, train_seconds: float
    ) -> None:
        """A validation: its scores, and the seconds of steps before it."""
        self.validation.add({"step": step, **scores, "train_seconds": train_seconds})
        for name, value in scores.items():
            self.curves.add_scalar(f"validation/{name}", value, step)
        mark = " (best so far)" if best else ""
        say(f"step {step}: validation score {scores['score']:.4f}{mark}")

    def show(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Pictures (H, W, 3) of 8 bits of the validation at a step, by what they show.

        A validation that has a method ``pictures`` gives those of its last call, on rank 0.
        """
        for name, picture in pictures.items():
            self.curves.add_image(f"validation/{name}", picture, step, dataformats="HWC")


class Training(NamedTuple):
    """How much a run was trained, and where its best checkpoint is.

    Attributes:
        steps: optimiser steps made.
        seconds: of those steps, without start-up, validations and saves; None where the run is of
            before they were counted.
        best_step: of the best checkpoint; None where there is none.
        best_seconds: of the steps before it; None where unknown.
    """

    steps: int
    seconds: float | None
    best_step: int | None
    best_seconds: float | None


def training_of(run_dir: str | Path) -> Training:
    """Steps made and seconds trained of a run, and those of its best checkpoint.

    Read from ``status.json``, which a run that failed has written later than its last checkpoint,
    or from that checkpoint, whichever is further.

    Args:
        run_dir: of the run, finished or not.

    Raises:
        InputError: if it holds no checkpoint, or one that is damaged.
    """
    folder = Path(run_dir)
    last, best = (checkpoint.find(folder, pointer) for pointer in ("last", "best"))
    if last is None:
        raise InputError(f"{folder}: holds no checkpoint; train there first")
    made = [checkpoint.read_state(last, "step")]
    if (folder / STATUS).exists():
        made.append(read_json(folder / STATUS))
    furthest = max(made, key=lambda said: int(said["step"]))
    held = {} if best is None else checkpoint.read_state(best, "step")
    return Training(
        int(furthest["step"]), furthest.get("train_seconds"),
        held.get("step"), held.get("train_seconds"),
    )  # fmt: skip
