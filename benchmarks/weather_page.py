"""Tables of weather models on pages, written whole from their files of results.

python benchmarks/weather_page.py          after a benchmark has written its file

``weather-real.csv`` (``benchmarks/weather.py results=…``) holds a line for each row, variable and
lead: means over seeds with their standard deviations (``…_std``), and the paired difference of its
RMSE from the first row's with how many seeds have an interval below or above 0.
``weather-folds.csv`` is that of ``benchmarks/weather_folds.py``, ``weather-folds-first.csv`` of an
earlier commit. How a file was made stands in ``about.csv`` beside it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from marks import RESULTS, origin
from tables import write_between_marks

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))  # run by itself

from climate.verification.table import KEY_COLUMNS, ScoreTable, markdown  # noqa: E402
from vgbdm.report.tables import write_csv  # noqa: E402

PAGE = REPO / "docs" / "benchmarks.md"
TABLES = {
    "weather real": "weather-real.csv",
    "weather folds": "weather-folds.csv",
    "first weather folds": "weather-folds-first.csv",
}
"""Marks of the page → file of results."""
HOURS = (6, 12, 24, 42)
COMPARED = ("difference", "low", "high", "first_better", "first_worse", "seeds")
PLACE = ["fold", "seed", "variable", "lead_hours"]


def save(table: ScoreTable, path: Path) -> None:
    """Means and differences of all rows as one file."""
    other = table.differences.rename(columns={name: f"compared_{name}" for name in COMPARED})
    write_csv(table.scores.merge(other, how="left", on=KEY_COLUMNS), path, 6)


def read(path: Path) -> ScoreTable:
    """What `save` wrote, but for the lines of seeds and where runs are."""
    table = pd.read_csv(path)
    names = {f"compared_{name}": name for name in COMPARED}
    differences = table.loc[table["compared_seeds"].notna(), [*KEY_COLUMNS, *names]]
    scores, rows = table.drop(columns=list(names)), tuple(table["row"].unique())
    return ScoreTable(scores, differences.rename(columns=names), rows, {}, pd.DataFrame())


def folds(path: Path) -> str:
    """Recipes against the first one: ratios of scores, averaged over folds, seeds and variables.

    A mean is of those trainings that both have.
    """
    table = pd.read_csv(path)
    recipes = list(table["recipe"].unique())
    first = table[table["recipe"] == recipes[0]].set_index(PLACE)
    hours = sorted(table["lead_hours"].unique())
    head = ["recipe", "steps", "CPU s", "trainings"]
    head += [f"{what}, {hour} h" for hour in hours for what in ("RMSE", "CRPS", "spread/skill")]
    lines = [head, ["---"] * len(head)]
    for name in recipes:
        own = table[table["recipe"] == name].set_index(PLACE)
        both = own.index.intersection(first.index)
        ratios = own.loc[both, ["rmse", "crps"]] / first.loc[both, ["rmse", "crps"]]
        cells = [name, f"{own['steps'].iloc[0]}", f"{own['cpu_s'].mean():.0f}"]
        cells.append(f"{len(both.droplevel(['variable', 'lead_hours']).unique())}")
        for hour in hours:
            there = ratios.xs(hour, level="lead_hours").mean()
            spread = own.loc[both, "spread_skill"].xs(hour, level="lead_hours").mean()
            cells += [f"{there['rmse']:.3f}", f"{there['crps']:.3f}"]
            cells.append("" if pd.isna(spread) else f"{spread:.2f}")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def text_of(title: str, results: Path = RESULTS) -> str:
    """What stands between the marks of the page."""
    path = results / TABLES[title]
    text = folds(path) if "folds" in title else markdown(read(path), HOURS)
    return f"{origin(results, path.name)}\n\n{text}"


def main() -> None:
    """Write all tables."""
    for title in TABLES:
        write_between_marks(PAGE, title, text_of(title))


if __name__ == "__main__":
    main()
