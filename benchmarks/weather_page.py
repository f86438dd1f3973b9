"""Tables of weather models on pages, written whole from their files of results.

python benchmarks/weather_page.py          after benchmarks/weather.py results=… has written one

A file holds a line for each row, variable and lead: means over seeds with their standard deviations
(``…_std``), and the paired difference of its RMSE from the first row's with how many seeds have an
interval below or above 0. How it was made stands in ``about.csv`` beside it.
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
TABLES: dict[str, tuple[str, tuple[int, ...]]] = {}
"""Marks of a page → file of results, and leads in hours that are shown."""
COMPARED = ("difference", "low", "high", "first_better", "first_worse", "seeds")


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


def text_of(title: str, results: Path = RESULTS) -> str:
    """What stands between the marks of a page."""
    name, hours = TABLES[title]
    return f"{origin(results, name)}\n\n{markdown(read(results / name), hours)}"


def main() -> None:
    """Write all tables of which there is a file."""
    for title, (name, _) in TABLES.items():
        if (RESULTS / name).exists():
            write_between_marks(PAGE, title, text_of(title))


if __name__ == "__main__":
    main()
