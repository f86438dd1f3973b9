"""Many runs of many models as one table: means over seeds, and paired differences to the first.

Shapes: none; everything is a table of numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vgbdm.errors import InputError

REPORTED = ("rmse_root_of_mean", "acc", "crps", "spread_skill")
TRIVIAL = ("persistence", "damped_persistence", "climatology")
KEY_COLUMNS = ["row", "variable", "lead_hours"]
LINE_COLUMNS = ["variable", "row", "seed", "lead", "rmse", "crps", "spread_skill", "steps"]


@dataclass(frozen=True)
class ScoreTable:
    """What a folder of runs comes to.

    Attributes:
        scores: a line per (row, variable, lead): means over seeds, ``<score>_std`` over them,
            ``seeds`` and ``steps``.
        differences: a line per (row, variable, lead): RMSE of the first row less that of this one,
            ``difference``, ``low`` and ``high`` averaged over seeds, and how many seeds have an
            interval below 0 (``first_better``), above it (``first_worse``), of ``seeds``.
        rows: models, the first one first.
        runs: folder of each (row, seed).
        lines: `LINE_COLUMNS` of each variable, row, seed and lead in hours; a row that needs no
            model has no seed and no steps, and is that of the first run.
    """

    scores: pd.DataFrame
    differences: pd.DataFrame
    rows: tuple[str, ...]
    runs: dict[tuple[str, int], Path]
    lines: pd.DataFrame


def collect(folder: Path, rows: Sequence[str], seeds: Sequence[int]) -> ScoreTable:
    """Read what the runs below a folder left.

    Args:
        folder: of the runs, each ``<row>-<seed>`` with ``run``, ``scores`` and, but for the first
            row, ``compared``; ``begun`` is what its run went on from.
        rows: models.
        seeds: of every model.

    Raises:
        InputError: if a run has no scores.
    """
    runs = {(row, seed): folder / f"{row}-{seed}" for row in rows for seed in seeds}
    parts: list[pd.DataFrame] = []
    compared: list[pd.DataFrame] = []
    for (row, seed), place in runs.items():
        card = place / "scores" / "scorecard.csv"
        if not card.exists():
            raise InputError(f"{place}: has no scores; run the benchmark again to finish it")
        table = pd.read_csv(card)
        steps = sum(
            int(json.loads(last.read_text())["step"])
            for last in (place / "begun" / "last.json", place / "run" / "last.json")
            if last.exists()
        )
        parts += list(_rows_of(table, row, seed, steps, alone=bool(parts)))
        if row != rows[0]:
            other = pd.read_csv(place / "compared" / "comparison.csv")
            compared.append(other[other["score"] == "rmse_root_of_mean"].assign(row=row, seed=seed))
    lines = pd.concat(parts)
    scores = _mean_over_seeds(lines)
    order = {name: k for k, name in enumerate([*rows, f"{rows[0]}_dressed", *TRIVIAL])}
    scores = scores.sort_values("row", key=lambda r: r.map(order).fillna(len(order)), kind="stable")
    lines = lines.rename(columns={"rmse_root_of_mean": "rmse", "lead_hours": "lead"})[LINE_COLUMNS]
    lines = lines.astype({"seed": "Int64", "steps": "Int64"})
    return ScoreTable(scores, _differences(compared), tuple(rows), runs, lines)


def _rows_of(
    card: pd.DataFrame, row: str, seed: int, steps: int, *, alone: bool
) -> Iterator[pd.DataFrame]:
    """The model's lines under its own name, and, where it does not stand alone, trivial ones."""
    for name, block in card.groupby("row", sort=False):
        if str(name) in ("model", "model_dressed"):
            yield block.assign(row=str(name).replace("model", row), seed=seed, steps=steps)
        elif not alone:
            yield block.assign(seed=np.nan, steps=np.nan)


def _mean_over_seeds(lines: pd.DataFrame) -> pd.DataFrame:
    groups = lines.groupby(KEY_COLUMNS, sort=False)
    mean, std = groups[[*REPORTED, "steps", "n_starts"]].mean(), groups[list(REPORTED)].std()
    return mean.join(std.add_suffix("_std")).assign(seeds=groups.size()).reset_index()


def _differences(compared: list[pd.DataFrame]) -> pd.DataFrame:
    columns = ["difference", "low", "high", "first_better", "first_worse"]
    if not compared:
        return pd.DataFrame(columns=[*KEY_COLUMNS, *columns, "seeds"])
    table = pd.concat(compared)
    table["first_better"], table["first_worse"] = table["high"] < 0, table["low"] > 0
    groups = table.groupby(KEY_COLUMNS, sort=False)
    mean = groups[columns[:3]].mean()
    return mean.join(groups[columns[3:]].sum()).assign(seeds=groups.size()).reset_index()


def markdown(table: ScoreTable, hours: Sequence[int]) -> str:
    """RMSE by variable, row and lead, with paired verdicts; then the distributions."""
    shown = [h for h in hours if h in set(table.scores["lead_hours"])]
    errors = table.scores[~table.scores["row"].str.endswith("_dressed")]
    lines = [["RMSE", "row", "steps", *(f"{h} h" for h in shown)]]
    together = errors.sort_values("variable", key=lambda v: v.map(_places(v)), kind="stable")
    for (variable, row), block in together.groupby(["variable", "row"], sort=False):
        cells = block.set_index("lead_hours").loc[shown]
        steps = cells["steps"].iloc[0]
        marks = [_mark(table, str(variable), str(row), hour) for hour in shown]
        numbers = [
            _number(line) + mark for mark, (_, line) in zip(marks, cells.iterrows(), strict=True)
        ]
        lines.append([str(variable), str(row), "" if np.isnan(steps) else f"{steps:.0f}", *numbers])
    return f"{_table(lines)}\n\n{_legend(table)}\n\n{_table(_distributions(table, shown))}"


def _places(names: pd.Series) -> dict[str, int]:
    """Of names in the order of their first appearance."""
    return {name: k for k, name in enumerate(names.unique())}


def _number(values: pd.Series) -> str:
    std = values["rmse_root_of_mean_std"]
    return f"{values['rmse_root_of_mean']:.3g}" + (f" ± {std:.1g}" if std > 0 else "")


def _mark(table: ScoreTable, variable: str, row: str, hour: int) -> str:
    """Whether every seed's interval says that this row is worse (▲) or better (▼)."""
    keys = {"variable": variable, "row": row, "lead_hours": hour}
    for _, line in table.differences.iterrows():
        if all(line[key] == value for key, value in keys.items()):
            worse, better = line["first_better"], line["first_worse"]
            return " ▲" if worse == line["seeds"] else " ▼" if better == line["seeds"] else ""
    return ""


def _legend(table: ScoreTable) -> str:
    if not table.differences["low"].notna().any():
        return "The test period is too short for intervals: no difference is claimed."
    return (
        f"▲ worse, ▼ better than {table.rows[0]}: the 95 % interval of the paired difference "
        "leaves out 0 for every seed."
    )


def _distributions(table: ScoreTable, hours: Sequence[int]) -> list[list[str]]:
    """CRPS and spread/skill of what has them, by variable, at a day or the nearest lead to it."""
    hour = min(hours, key=lambda h: abs(h - 24))
    found = table.scores[(table.scores["lead_hours"] == hour) & table.scores["crps"].notna()]
    found = found[found["spread_skill"].notna()]
    variables = list(dict.fromkeys(found["variable"]))
    lines = [[f"CRPS (spread/skill) at {hour} h", *variables]]
    for row, block in found.groupby("row", sort=False):
        cells = block.set_index("variable")
        lines.append([str(row), *(_spread(cells.loc[name]) for name in variables)])
    return lines


def _spread(values: pd.Series) -> str:
    return f"{values['crps']:.3g} ({values['spread_skill']:.2f})"


def _table(lines: list[list[str]]) -> str:
    head, *body = lines
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *body])
