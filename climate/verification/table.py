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

SHOWN = ("rmse_root_of_mean", "acc", "crps", "spread_skill")
TRIVIAL = ("persistence", "damped_persistence", "climatology")
KEYS = ["row", "variable", "lead_hours"]


@dataclass(frozen=True)
class Table:
    """What a folder of runs comes to.

    Attributes:
        scores: a line per (row, variable, lead): means over seeds, ``<score>_std`` over them,
            ``seeds`` and ``steps``.
        differences: a line per (row, variable, lead): RMSE of the first row less that of this one,
            ``difference``, ``low`` and ``high`` averaged over seeds, and how many seeds have an
            interval below 0 (``first_better``), above it (``first_worse``), of ``seeds``.
        rows: models, the first one first.
        runs: folder of each (row, seed).
    """

    scores: pd.DataFrame
    differences: pd.DataFrame
    rows: tuple[str, ...]
    runs: dict[tuple[str, int], Path]


def collect(folder: Path, rows: Sequence[str], seeds: Sequence[int]) -> Table:
    """Read what the runs below a folder left.

    Args:
        folder: of the runs, each ``<row>-<seed>`` with ``run``, ``scores`` and, but for the first
            row, ``compared``.
        rows: models.
        seeds: of every model.

    Raises:
        InputError: if a run has no scores.
    """
    runs = {(row, seed): folder / f"{row}-{seed}" for row in rows for seed in seeds}
    parts, compared = [], []
    for (row, seed), place in runs.items():
        card = place / "scores" / "scorecard.csv"
        if not card.exists():
            raise InputError(f"{place}: has no scores; run the benchmark again to finish it")
        table = pd.read_csv(card)
        steps = int(json.loads((place / "run" / "last.json").read_text())["step"])
        parts += list(_rows_of(table, row, steps))
        if row != rows[0]:
            other = pd.read_csv(place / "compared" / "comparison.csv")
            compared.append(other[other["score"] == "rmse_root_of_mean"].assign(row=row, seed=seed))
    scores = _mean_over_seeds(pd.concat(parts))
    order = {name: k for k, name in enumerate([*rows, f"{rows[0]}_dressed", *TRIVIAL])}
    scores = scores.sort_values("row", key=lambda r: r.map(order).fillna(len(order)), kind="stable")
    return Table(scores, _differences(compared), tuple(rows), runs)


def _rows_of(card: pd.DataFrame, row: str, steps: int) -> Iterator[pd.DataFrame]:
    """The model's lines under its own name, and the trivial ones."""
    for name, block in card.groupby("row", sort=False):
        if str(name) in ("model", "model_dressed"):
            yield block.assign(row=str(name).replace("model", row), steps=steps)
        else:
            yield block.assign(steps=np.nan)


def _mean_over_seeds(scores: pd.DataFrame) -> pd.DataFrame:
    groups = scores.groupby(KEYS, sort=False)
    mean, std = groups[[*SHOWN, "steps", "n_starts"]].mean(), groups[list(SHOWN)].std()
    return mean.join(std, rsuffix="_std").assign(seeds=groups.size()).reset_index()


def _differences(compared: list[pd.DataFrame]) -> pd.DataFrame:
    columns = ["difference", "low", "high", "first_better", "first_worse"]
    if not compared:
        return pd.DataFrame(columns=[*KEYS, *columns, "seeds"])
    table = pd.concat(compared)
    table["first_better"], table["first_worse"] = table["high"] < 0, table["low"] > 0
    groups = table.groupby(KEYS, sort=False)
    mean = groups[columns[:3]].mean()
    return mean.join(groups[columns[3:]].sum()).assign(seeds=groups.size()).reset_index()


def markdown(table: Table, hours: Sequence[int]) -> str:
    """RMSE by row and lead, a table per variable, CRPS and spread/skill; then the differences."""
    parts = []
    for variable, block in table.scores.groupby("variable", sort=False):
        shown = [h for h in hours if h in set(block["lead_hours"])]
        lines = [[f"{variable}", "steps", *(f"{h} h" for h in shown)], ["---"] * (2 + len(shown))]
        for row, values in block.groupby("row", sort=False):
            cells = values.set_index("lead_hours").loc[shown]
            steps = cells["steps"].iloc[0]
            numbers = [_cell(line) for _, line in cells.iterrows()]
            lines.append([str(row), "–" if np.isnan(steps) else f"{steps:.0f}", *numbers])
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"{text}\n\n{_verdict(table, str(variable), shown)}")
    return "\n\n".join(parts)


def _cell(values: pd.Series) -> str:
    """RMSE ± std; where there is a distribution, CRPS and spread/skill."""
    std = values["rmse_root_of_mean_std"]
    text = f"{values['rmse_root_of_mean']:.3g}" + (f" ± {std:.1g}" if std > 0 else "")
    if not np.isnan(values["spread_skill"]):
        text += f" (CRPS {values['crps']:.3g}, spread/skill {values['spread_skill']:.2f})"
    return text


def _verdict(table: Table, variable: str, hours: Sequence[int]) -> str:
    """What the paired intervals say of the first row, in words."""
    said = []
    of_variable = table.differences[table.differences["variable"] == variable]
    for row, block in of_variable.groupby("row", sort=False):
        cells = block.set_index("lead_hours").loc[list(hours)]
        for hour, line in cells.iterrows():
            claim = "no interval, no claim"
            if not np.isnan(line["low"]):
                claim = (
                    f"[{line['low']:.2g}, {line['high']:.2g}], better in "
                    f"{line['first_better']:.0f}, worse in {line['first_worse']:.0f} of "
                    f"{line['seeds']:.0f} seeds"
                )
            said.append(f"{row} at {hour} h {line['difference']:+.2g} ({claim})")
    if not said:
        return ""
    return f"{table.rows[0]} less the other, RMSE, paired over starts: {'; '.join(said)}."
