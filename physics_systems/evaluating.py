"""Score every trained model below a folder, and write tables and report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig
from tqdm import tqdm

from physics_systems.data.trajectories import Trajectories, load_trajectories, read_parameters
from physics_systems.evaluation.comparison import compare_rows
from physics_systems.evaluation.scoring import (
    find_runs,
    gauge_limits,
    sanity_rows,
    score_run,
    tabulate,
)
from physics_systems.report.pages import format_summary, write_report
from physics_systems.systems.system import System
from vgbdm.errors import InputError
from vgbdm.fields.latent_field import LatentField
from vgbdm.loading import load
from vgbdm.report.tables import write_csv
from vgbdm.storage.lock import locked

log = logging.getLogger(__name__)


def evaluate(cfg: DictConfig) -> None:
    """Score, write ``scores.csv``, ``summary.csv``, ``paired.csv``, ``limits.csv`` and the report.

    Raises:
        InputError: if there is nothing to score, the test store does not fit, or another process is
            at work on the folder.
    """
    with locked(Path(cfg.out)):
        _evaluate(cfg)


def _evaluate(cfg: DictConfig) -> None:
    torch.set_num_threads(cfg.threads)
    runs = find_runs(cfg.runs, cfg.data.test)
    first = load(runs[0], kind=LatentField)
    system = first.physics
    if not isinstance(system, System):
        raise InputError(f"{runs[0]}: its physics is no System, which this table needs")
    window = common_window(runs)
    data = load_trajectories(cfg.data.test, system, window + 1)
    truth = read_parameters(cfg.data.test, system)
    if cfg.limit is not None:
        data = Trajectories(data.x[: cfg.limit], data.t[: cfg.limit])
        truth = None if truth is None else {k: v[: cfg.limit] for k, v in truth.items()}
    rows = [
        score_run(run, data, truth, cfg.members, cfg.seed)
        for run in tqdm(runs, unit="run", desc="scoring")
    ]
    mean = first.mean[: first.size].flatten()
    if cfg.data.train is not None:
        train = load_trajectories(cfg.data.train, system, window + 1)
        mean = train.x.transpose(0, 2).flatten(1).mean(1)
    rows += sanity_rows(system, data, first, truth, mean)
    table, summary = tabulate(rows)
    differences = compare_rows(rows)
    out = Path(cfg.out)
    least = gauge_limits(system, data, truth, first)
    frames = {"scores": table, "summary": summary, "paired": differences, "limits": least}
    for name, frame in frames.items():
        write_csv(frame, out / f"{name}.csv")
    print_table(format_summary(summary))
    report = write_report(out, system, data, truth, rows, frames)
    print_table(f"\nscores: {out / 'scores.csv'}\nreport: {report}")


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
