"""Trainings of a table: its trials, the choice among them, its runs.

What chooses is given the stores of training and of validation and nothing else: the test store is
made after the last choice, so no θ, no oracle and no test score can have had a part in it.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from systems_fairness import as_planned
from systems_rows import TRAINED, TRIAL_SHARE, Kind, Preset, Run

from vgbdm.storage.files import write_json

FINISHED = "finished.json"
TRIAL_SEED = 1
ATTEMPTS = 3
"""Trainings of which the last is taken as it is."""
Launch = Callable[..., str]


class Stores(NamedTuple):
    """Of one system, for training."""

    train: Path
    val: Path


class Trial(NamedTuple):
    """What one trial of a row came to.

    Attributes:
        number: in the grid.
        options: of the grid.
        score: best validation score; infinite without any.
        about: what else is known of it, by column.
    """

    number: int
    options: list[str]
    score: float
    about: Mapping[str, Any]


def train(
    launch: Launch,
    stores: Stores,
    folder: Path,
    options: Sequence[str],
    here: Mapping[str, Any],
    planned: float | None = None,
) -> dict[str, Any]:
    """One training, unless it is finished; one that was interrupted goes on.

    One whose seconds miss what was planned, as on a machine that slowed down at its end, is made
    again, whatever it scored.

    Args:
        launch: see `systems_jobs.Jobs`.
        stores: to train and to validate on.
        folder: of the run.
        options: of its command line, later ones first among equals.
        here: commit, machine, load; of the sitting that ends it.
        planned: seconds of optimiser steps; None: it is not measured by them.

    Returns:
        ``ended`` (why it diverged, or nothing), ``score`` (best on validation, or None), ``curve``
        (seconds of steps and score at each validation), ``steps``, ``train_seconds`` and ``here``.
    """
    done = folder / FINISHED
    for attempt in range(ATTEMPTS):
        if done.exists():
            break
        ended = launch(
            "train_system", folder.with_suffix(".log"), *latest(options),
            f"data.train={stores.train}", f"data.val={stores.val}", f"run_dir={folder}",
            "backend=single", "trainer.threads=1", "resume=true",
        )  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)  # of one that diverged at once
        made = record_of(folder)
        if ended or attempt == ATTEMPTS - 1 or as_planned(made["train_seconds"], planned):
            write_json(done, {"ended": ended, **made, **here})
        else:
            shutil.rmtree(folder)
    said: dict[str, Any] = json.loads(done.read_text())
    return said


def latest(options: Sequence[str]) -> list[str]:
    """Options of which the last of each key counts, as Hydra wants each once."""
    return list({option.partition("=")[0]: option for option in options}.values())


def record_of(folder: Path) -> dict[str, Any]:
    """What a run's folder says of its training; None for what it does not."""
    from vgbdm.errors import InputError
    from vgbdm.training.records import training_of

    best = folder / "best.json"
    score = float(json.loads(best.read_text())["score"]) if best.exists() else None
    try:
        made = training_of(folder)
        steps, seconds = made.steps, made.seconds
    except InputError:  # diverged before its first checkpoint
        steps, seconds = None, None
    curve = [
        f"{float(told['train_seconds']):.3g}:{float(told['score']):.3g}"
        for told in rows_of(folder / "validation.csv")
        if told.get("train_seconds")
    ]
    return {"score": score, "steps": steps, "train_seconds": seconds, "curve": " ".join(curve)}


def rows_of(path: Path) -> list[dict[str, str]]:
    """Of a CSV file; none where there is none."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def try_one(
    launch: Launch, stores: Stores, folder: Path, preset: Preset, kind: Kind, own: Sequence[str],
    number: int, here: Mapping[str, Any],
) -> Trial:  # fmt: skip
    """One trial of a row: half of a run's steps, one seed.

    Args:
        launch: see `systems_jobs.Jobs`.
        stores: to train and to validate on.
        folder: of trials.
        preset: of the table.
        kind: row of the system's table.
        own: options of the row, as `Kind.options` gives them.
        number: in the grid of the row.
        here: commit, machine, load.
    """
    chosen = kind.trials()[number]
    options = (*preset.options, *chosen, *own, f"seed={TRIAL_SEED}", "trainer.validations=1")
    place = folder / Run(*kind, number).place
    length = preset.budget(TRIAL_SHARE)
    said = train(
        launch, stores, place, (*options, *length), here, preset.planned(TRIAL_SHARE)
    )  # fmt: skip
    score = said.pop("score")
    return Trial(number, chosen, math.inf if score is None else score, said)


def choose(trials: Sequence[Trial]) -> Trial:
    """The trial of the lowest validation score; of equal ones the first."""
    return min(trials, key=lambda trial: (trial.score, trial.number))


def run_options(preset: Preset, own: Sequence[str], run: Run, trial: Sequence[str]) -> list[str]:
    """Options of a run: the row's, those of its chosen trial, seed and length."""
    length = preset.budget() if TRAINED[run.row].tuned else ()
    return [*preset.options, *trial, *own, f"seed={run.seed}", *length]
