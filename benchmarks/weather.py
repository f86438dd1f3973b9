"""The table of weather models: every row under one budget, several seeds, one leak-free protocol.

python benchmarks/weather.py store=STORE out=DIR minutes=M seeds=3

Trains every model for the same minutes of optimiser steps on the same threads, one run at a time,
forecasts every start of the test period, scores all alike, and compares GB-DM with each other row
on paired starts. DIR/table.csv and DIR/report.html are the result; finished runs are kept, so that
an interrupted matrix goes on. `results=benchmarks/results/weather-real.csv` keeps the means, of
which `python benchmarks/weather_page.py` makes the table of the documentation.

A line of table.csv is of a variable, row, seed and lead, in hours. rmse: root of the mean over
starts, of the mean of an ensemble. crps: fair, of 16 members; those of a row …_dressed, and of
climatology, are drawn about it (`climate.verification.draws`); of a single forecast its absolute
error.
spread_skill: 1 where the members spread as the mean errs. steps: of training; of a row that goes on
from another model, which takes its share of the minutes, those of both.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO / "launch"))

from entry import launch as start  # noqa: E402
from marks import remember  # noqa: E402
from omegaconf import DictConfig  # noqa: E402
from weather_page import save  # noqa: E402


def run(name: str, threads: int, *options: str) -> None:
    """Run a launcher; its last words are shown where it fails."""
    command = [sys.executable, str(REPO / "launch" / f"{name}.py"), *options]
    env = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-2000:]}")


def stages(cfg: DictConfig, row: str, folder: Path) -> list[tuple[Path, str, float, list[str]]]:
    """The trainings of a row one after the other: run folder, model, minutes, further options."""
    last, options = folder / "run", cfg.row_options.get(row, [])
    model = cfg.begun.get(row)
    if model is None:
        return [(last, row, cfg.minutes, options)]
    first, minutes = folder / "begun", cfg.begun_share * cfg.minutes
    return [
        (first, model, minutes, cfg.row_options.get(model, [])),
        (last, row, cfg.minutes - minutes, [*options, f"init={first}"]),
    ]


def train_and_score(cfg: DictConfig, row: str, seed: int) -> None:
    """One run with its forecasts and scores, unless it is finished."""
    folder = Path(cfg.out) / "runs" / f"{row}-{seed}"
    if (folder / "scores" / "scorecard.csv").exists():
        return
    store, model = f"store={cfg.store}", folder / "run"
    for run_dir, name, minutes, more in stages(cfg, row, folder):
        options = {o.partition("=")[0]: o for o in (*cfg.options, *more)}
        run(
            "train_era5", cfg.threads, store, f"run_dir={run_dir}", f"model={name}",
            f"seed={seed}", f"trainer.max_minutes={minutes:g}", "backend=single", "resume=true",
            *options.values(),
        )  # fmt: skip
    for split in ("val", "test"):
        out = folder / split
        if not out.exists():
            run(
                "forecast_era5", cfg.threads, f"run_dir={model}", store, f"out={out}",
                f"leads={cfg.leads}", f"split={split}",
            )  # fmt: skip
    run(
        "evaluate_era5", cfg.threads, f"forecast={folder}/test", store, f"out={folder}/scores",
        f"run_dir={model}", f"dress={folder}/val",
    )  # fmt: skip


def compare(cfg: DictConfig, row: str, seed: int) -> None:
    """The first row's forecasts against another's, seed by seed."""
    runs = Path(cfg.out) / "runs"
    out = runs / f"{row}-{seed}" / "compared"
    if not (out / "comparison.csv").exists():
        run(
            "compare_forecasts", cfg.threads, f"{runs}/{cfg.rows[0]}-{seed}/test",
            f"{runs}/{row}-{seed}/test", f"truth={cfg.store}", f"out={out}",
        )  # fmt: skip


def main(cfg: DictConfig) -> None:
    """Train, forecast, score, compare, tabulate."""
    from climate.report.pages import write_table_report
    from climate.store.layout import open_store
    from climate.verification.table import collect, markdown
    from vgbdm.progress import each
    from vgbdm.report.tables import write_csv

    store, out, seeds = open_store(cfg.store), Path(cfg.out), range(1, cfg.seeds + 1)
    runs = list(itertools.product(seeds, cfg.rows))
    for seed, row in each(runs, len(runs), "run", "weather models"):
        train_and_score(cfg, row, seed)
    for seed, row in itertools.product(seeds, cfg.rows[1:]):
        compare(cfg, row, seed)
    table = collect(out / "runs", tuple(cfg.rows), tuple(seeds))
    write_csv(table.lines, out / "table.csv", 6)
    write_csv(table.differences, out / "differences.csv", 6)
    command = f"python benchmarks/weather.py minutes={cfg.minutes:g} seeds={cfg.seeds}"
    command += f" threads={cfg.threads} leads={cfg.leads} 'options={json.dumps(list(cfg.options))}'"
    text = markdown(table, tuple(cfg.shown_hours))
    print(text)
    if cfg.results is not None:
        save(table, Path(cfg.results))
        remember(Path(cfg.results), sys.argv[1:])
    page = write_table_report(table, store, out, command)
    print(f"table: {out / 'table.csv'}\nreport: {page}")


if __name__ == "__main__":
    start(main, "benchmark_weather")
