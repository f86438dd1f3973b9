"""The documentation's tables of weather models are those of their files of results."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from climate.verification.table import ScoreTable, markdown

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "benchmarks"))

import marks  # noqa: E402
import weather_page  # noqa: E402


def table():
    """Two models and a trivial row at two leads; the second is worse in all seeds at the first."""
    keys = [(row, "z", hours) for row in ("gbdm", "vgbdm", "persistence") for hours in (6, 24)]
    scores = pd.DataFrame(keys, columns=["row", "variable", "lead_hours"]).assign(
        rmse_root_of_mean=[1.0, 2.0, 1.5, 2.5, 3.0, 4.0], acc=0.5, crps=0.25,
        spread_skill=[np.nan, np.nan, 0.9, 1.1, np.nan, np.nan], steps=[9, 9, 7, 7, None, None],
        n_starts=40, rmse_root_of_mean_std=[0.1, 0.2, 0.3, 0.4, None, None], seeds=3,
    )  # fmt: skip
    differences = pd.DataFrame(keys[2:4], columns=["row", "variable", "lead_hours"]).assign(
        difference=[-0.5, -0.5], low=[-0.7, -0.8], high=[-0.3, 0.2], first_better=[3, 2],
        first_worse=0, seeds=3,
    )  # fmt: skip
    return ScoreTable(scores, differences, ("gbdm", "vgbdm"), {}, pd.DataFrame())


def test_a_table_of_its_file_is_the_table(tmp_path):
    weather_page.save(table(), tmp_path / "a.csv")
    again = markdown(weather_page.read(tmp_path / "a.csv"), (6, 24))
    assert again == markdown(table(), (6, 24))
    assert "| z | vgbdm | 7 | 1.5 ± 0.3 ▲ | 2.5 ± 0.4 |" in again
    assert "| z | persistence |  | 3 | 4 |" in again


def test_without_intervals_nothing_is_claimed(tmp_path):
    short = table()
    short.differences[["low", "high"]] = np.nan
    weather_page.save(short, tmp_path / "a.csv")
    assert "too short for intervals" in markdown(weather_page.read(tmp_path / "a.csv"), (6, 24))


def test_recipes_are_held_against_the_first_where_both_were_trained(tmp_path):
    rows = [
        ("gbdm", 1, 1, 2.0, 1.0, None), ("gbdm", 1, 2, 4.0, 2.0, None),
        ("late", 1, 1, 1.0, 1.0, 0.9), ("late", 1, 2, 6.0, 1.0, 1.1),
        ("late", 2, 1, 99.0, 9.0, 9.0),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["recipe", "fold", "seed", "rmse", "crps", "spread_skill"])
    table = table.assign(variable="z", lead_hours=6, steps=5, cpu_s=7.0)
    table.to_csv(tmp_path / "a.csv", index=False)
    text = weather_page.folds(tmp_path / "a.csv").splitlines()
    assert text[0].startswith("| recipe | steps | CPU s | trainings | RMSE, 6 h | CRPS, 6 h |")
    assert text[2] == "| gbdm | 5 | 7 | 2 | 1.000 | 1.000 |  |"
    assert text[3] == "| late | 5 | 7 | 2 | 1.000 | 0.750 | 1.00 |"


@pytest.mark.parametrize("title", weather_page.TABLES)
def test_the_page_has_what_the_file_says(title):
    assert weather_page.TABLES[title] in {path.name for path in marks.RESULTS.glob("*.csv")}
    between = weather_page.PAGE.read_text().split(f"<!-- {title} -->\n")[1]
    assert between.split(f"\n<!-- end of {title} -->")[0] == weather_page.text_of(title)
