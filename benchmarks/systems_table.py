"""The table of the systems as a file: its columns, its lines, which of them count.

A line is a run scored one way, with refinement or without. ``table.csv`` holds all lines of all
sittings: a copy of an earlier one is what has been done, whatever else was lost. ``trials.csv``
holds the trials of its rows.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vgbdm.errors import InputError
from vgbdm.origin import commit
from vgbdm.report.tables import write_csv

COLUMNS = (
    "system", "inputs", "row", "seed", "refined", "mse", "mse_median", "relative_mse",
    "theta_error", "crps", "coverage_90", "theta_coverage_90", "n_failed", "steps",
    "train_seconds", "forecast_seconds", "points", "chosen", "validation_mse", "observed_mse",
    "prior_theta_coverage_90", "n", "n_seeds", "trial", "trial_options", "n_trials",
    "budget_seconds", "ended", "residual_inputs", "given", "commit", "machine", "load", "curve",
    "theta_ranks", "theta_pairs", "errors",
)  # fmt: skip
"""The last four hold several numbers each: seconds:score of validations, counts of ranks of θ in
bins, true and inferred θ, the error of each test trajectory."""
TRIAL_COLUMNS = (
    "system", "inputs", "row", "trial", "options", "score", "steps", "train_seconds",
    "budget_seconds", "ended", "commit", "machine", "load",
)  # fmt: skip
ROW = ["system", "inputs", "row"]
AS_CONFIGURED = "as configured"
"""Of a trial without options."""
TEXTS = ("system", "inputs", "row", "trial_options", "options", "ended", "residual_inputs", "given",
         "commit", "machine", "curve", "theta_ranks", "theta_pairs", "errors")  # fmt: skip
Line = Mapping[str, Any]
Key = tuple[str, str, str, str]


def here() -> dict[str, Any]:
    """Commit, machine and load of now."""
    told = commit() or ""
    short = told[:9] + ("-dirty" if told.endswith("-dirty") else "")
    return {"commit": short, "machine": machine(), "load": round(os.getloadavg()[0], 2)}


def machine() -> str:
    """Processor and number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(x.partition(":")[2].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.machine()
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def text_of(options: Sequence[str]) -> str:
    """Options of a trial as a cell."""
    return " ".join(options) or AS_CONFIGURED


def options_of(text: str | None) -> list[str]:
    """Options that a cell says."""
    return [] if text in (None, AS_CONFIGURED) else str(text).split(" ")


def key_of(line: Line) -> Key:
    """Which run a line is of; rows without training have no seed."""
    seed = line.get("seed")
    missing = seed is None or seed == "" or (isinstance(seed, float) and math.isnan(seed))
    told = "" if missing else str(int(float(str(seed))))
    return str(line["system"]), str(line["inputs"]), str(line["row"]), told


def read_lines(path: Path, columns: Sequence[str] = COLUMNS) -> list[dict[str, Any]]:
    """Lines of a file; none where there is none.

    Raises:
        InputError: if it is no such table.
    """
    if not path.exists():
        return []
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(TEXTS, str), keep_default_na=True)
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: no table: {error!s:.200}") from None
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(f"{path}: has no column {missing[0]}; it is no table of this version")
    table = table.astype(object).where(table.notna(), None)
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def decide(lines: Iterable[Line]) -> pd.DataFrame:
    """The table of lines, with ``chosen`` and ``n_seeds``.

    Of a row's two ways the one with the lower mean of validation MSE over its seeds is chosen; one
    of which a seed has no number is not, where the other has all.
    """
    table = pd.DataFrame(list(lines)).reindex(columns=list(COLUMNS))
    if table.empty:
        return table
    table["refined"] = table["refined"].map(lambda told: told in (True, "True", 1))
    table["chosen"], table["n_seeds"] = True, 1
    for _, own in table.groupby(ROW, sort=False):
        table.loc[own.index, "n_seeds"] = max(1, own["seed"].nunique())
        means = {
            bool(refined): float(part["validation_mse"].astype(float).mean(skipna=False))
            for refined, part in own.groupby("refined")
        }
        best = min(means, key=lambda way: (_or_infinite(means[way]), not way))
        table.loc[own.index, "chosen"] = own["refined"] == best
    order = table.assign(seed=pd.to_numeric(table["seed"]).fillna(0))
    return table.loc[order.sort_values([*ROW, "seed", "refined"], kind="stable").index]


def _or_infinite(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def write(path: Path, lines: Iterable[Line]) -> pd.DataFrame:
    """Write the table; it appears at once."""
    table = decide(lines)
    write_csv(_numbers(table), path, 6)
    return table


def write_trials(path: Path, lines: Iterable[Line]) -> None:
    """Write the trials of all rows; they appear at once."""
    table = pd.DataFrame(list(lines)).reindex(columns=list(TRIAL_COLUMNS))
    write_csv(_numbers(table.sort_values([*ROW, "trial"], kind="stable")), path, 6)


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Columns that hold numbers as such, whole ones without a point."""
    made = table.copy()
    for name in made.columns:
        if name not in (*TEXTS, "refined", "chosen"):
            values = pd.to_numeric(made[name])
            whole = values.dropna().map(lambda v: math.isfinite(v) and float(v).is_integer()).all()
            made[name] = values.astype("Int64") if whole and name in WHOLE else values
    return made


WHOLE = ("seed", "n_failed", "steps", "points", "n", "n_seeds", "trial", "n_trials")
