"""Score every trained model below a folder, and write tables and report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from omegaconf import DictConfig
from torch import Tensor

from physics_systems.data.trajectories import Trajectories, load_trajectories
from physics_systems.evaluation.calibration import calibration_table
from physics_systems.evaluation.choice import choose, validation_store
from physics_systems.evaluation.comparison import compare_rows
from physics_systems.evaluation.protocol import begin_states
from physics_systems.evaluation.rows import Row
from physics_systems.evaluation.scoring import (
    find_runs,
    gauge_limits,
    sanity_rows,
    score_run,
    tabulate,
)
from physics_systems.evaluation.sets import EvaluationSet, first, read_set
from physics_systems.report.pages import format_summary, write_report
from physics_systems.systems.system import System
from vgbdm.errors import InputError
from vgbdm.fields.latent_field import LatentField
from vgbdm.loading import load
from vgbdm.progress import each
from vgbdm.report.tables import write_csv
from vgbdm.storage.lock import locked
from vgbdm.training.checkpoint import find_whole, read_state

log = logging.getLogger(__name__)

SAME_START = 1e-4
"""Standard deviations by which states may differ where two models begin alike."""


def evaluate(cfg: DictConfig) -> None:
    """Score; write scores, summary, paired, limits and calibration as CSV, and the report.

    Raises:
        InputError: if there is nothing to score, runs have no table in common, a store does not
            fit, or another process is at work on the folder.
    """
    with locked(Path(cfg.out)):
        _evaluate(cfg)


def _evaluate(cfg: DictConfig) -> None:
    torch.set_num_threads(cfg.threads)
    runs = find_runs(cfg.runs, cfg.data.test)
    field = load(runs[0], kind=LatentField)
    system = field.physics
    if not isinstance(system, System):
        raise InputError(f"{runs[0]}: its physics is no System, which this table needs")
    window = common_window(runs)
    test = read_set(cfg.data.test, system, window + 1, cfg.limit)
    start = common_start(runs, test.data)
    mean = field.mean[: field.size].flatten()
    if cfg.data.train is not None:
        train = load_trajectories(cfg.data.train, system, window + 1)
        mean = train.x.transpose(0, 2).flatten(1).mean(1)
    validation = validation_sets(cfg, runs, system, window + 1)
    rows = [
        row
        for run, held_out in zip(each(runs, len(runs), "run", "scoring"), validation, strict=True)
        for row in score_run(run, test, held_out, cfg.members, cfg.seed)
    ]
    check_seeds(rows)
    choose(rows)
    rows += sanity_rows(system, test, start, window, mean)
    frames = tables_of(rows, system, test, field)
    out = Path(cfg.out)
    for name, frame in frames.items():
        write_csv(frame, out / f"{name}.csv")
    print_table(format_summary(frames["summary"]))
    origin = {"runs": str(cfg.runs), "data": str(cfg.data.test)}
    report = write_report(out, system, test, rows, frames, origin)
    print_table(f"\nscores: {out / 'scores.csv'}\nreport: {report}")


def tables_of(
    rows: list[Row], system: System, test: EvaluationSet, field: LatentField
) -> dict[str, pd.DataFrame]:
    """All tables of an evaluation, by the names of their files."""
    table, summary = tabulate(rows)
    chosen = [row for row in rows if row.numbers["chosen"]]
    drawn = test.parameters if test.from_prior and test.parameters else {}
    return {
        "scores": table,
        "summary": summary,
        "paired": compare_rows(rows),
        "limits": gauge_limits(system, test, field),
        "calibration": calibration_table(chosen if drawn else [], drawn),
    }


def validation_sets(
    cfg: DictConfig, runs: Sequence[Path], system: System, at_least: int
) -> list[Trajectories | None]:
    """Of each run, the trajectories on which its refinement is decided; None where none are."""
    read: dict[str, Trajectories] = {}
    sets: list[Trajectories | None] = []
    for run in runs:
        own = read_state(find_whole(run, "best"))["config"]["data"]["val"]
        store = validation_store(cfg.data.val, own, run)
        if store is not None and store not in read:
            read[store] = first(load_trajectories(store, system, at_least), cfg.limit)
        sets.append(None if store is None else read[store])
    return sets


def check_seeds(rows: Sequence[Row]) -> None:
    """Refuse two runs of one variant and seed: they would count as two seeds."""
    names: dict[tuple[object, ...], object] = {}
    for row in rows:
        key = tuple(row.numbers[name] for name in ("objective", "variant", "seed", "refined"))
        if key in names:
            raise InputError(
                f"runs: {names[key]} and {row.numbers['row']} are of one variant and seed; score "
                "them apart, or train with another seed"
            )
        names[key] = row.numbers["row"]


def common_start(runs: Sequence[Path], data: Trajectories) -> Tensor:
    """States (N, Q, ...) at the last context frame, at which all runs begin.

    Raises:
        InputError: if they differ, as by paths that estimate velocities or smooth noise otherwise:
            then no oracle is that of all rows.
    """
    common: Tensor | None = None
    for run in runs:
        field = load(run, kind=LatentField)
        start = begin_states(field, data)
        if common is None:
            common, std = start, field.std
        apart = float(((start - common) / std).abs().max())
        if apart > SAME_START:
            raise InputError(
                f"runs: {runs[0]} and {run} begin forecasts at other states (up to {apart:.2g} "
                "standard deviations apart) for their paths differ; score runs of one path, and "
                "each such set apart"
            )
    assert common is not None
    return common


def common_window(runs: Sequence[Path]) -> int:
    """Context frames of all runs.

    Raises:
        InputError: if they differ: such runs forecast other frames, and have no table in common.
    """
    windows = {load(run, kind=LatentField).window: run for run in runs}
    if len(windows) > 1:
        told = "; ".join(f"{run} is given {window} frames" for window, run in windows.items())
        raise InputError(f"runs: {told}; score runs of one window, and each such set apart")
    return next(iter(windows))


def print_table(text: str) -> None:
    """To the terminal."""
    log.info("%s", text)
