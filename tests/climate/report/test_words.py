"""Words of the report: a headline that says what the numbers say, and no more."""

import numpy as np
import pandas as pd
import pytest

from climate.report import tables, words
from climate.report.words import headline, rank_word, skill

RULE = "none, and no claim of a difference: fewer than 28 days of starts"


def card(rows, low=np.nan, high=np.nan, spread=np.nan):
    """A line per (row, variable): RMSE at 6 and 24 h."""
    return pd.DataFrame(
        {
            "row": row, "variable": variable, "lead_hours": hour, "rmse_root_of_mean": value * k,
            "rmse_root_of_mean_low": value * k + low, "rmse_root_of_mean_high": value * k + high,
            "spread_skill": spread if row == "model" else np.nan, "acc": 0.5, "crps": np.nan,
        }
        for row, variable, value in rows
        for hour, k in ((6, 0.5), (24, 1.0))
    )  # fmt: skip


ROWS = [
    ("model", "z", 50.0), ("model", "u10", 2.0), ("persistence", "z", 200.0),
    ("persistence", "u10", 3.0), ("damped_persistence", "z", 100.0),
    ("damped_persistence", "u10", 2.5),
]  # fmt: skip


def test_the_headline_is_against_the_row_that_is_hardest_to_beat():
    first, certainty = headline(card(ROWS), RULE)
    assert first == (
        "24 h ahead: beats damped persistence, the hardest to beat of the rows that need no model: "
        "RMSE 35 % lower in the mean over 2 variables (gains: z +50 %, u10 +20 %)."
    )
    assert certainty == f"Intervals: {RULE}."


@pytest.mark.parametrize(
    ("z", "u10", "verb"), [(200.0, 5.0, "loses to"), (50.0, 4.0, "partly beats")]
)
def test_a_model_that_loses_is_said_to(z, u10, verb):
    rows = [("model", "z", z), ("model", "u10", u10), *ROWS[2:]]
    first = headline(card(rows), RULE)[0]
    assert f"24 h ahead: {verb} damped persistence" in first and "u10 −" in first


def test_one_variable_is_said_in_one_number():
    first = headline(card([row for row in ROWS if row[1] == "z"]), RULE)[0]
    assert first.endswith("of the rows that need no model, by 50 % of its RMSE (z).")


def test_intervals_are_said_to_be_apart_or_not():
    said = headline(card(ROWS, -0.3, 0.3), "95 %")[1]
    assert said == "The 95 % intervals of the two are apart for z and overlap for u10."


@pytest.mark.parametrize(
    ("ratio", "word"), [(0.5, "too narrow"), (1.0, "about"), (2.0, "too wide")]
)
def test_an_ensemble_has_a_word_for_its_width(ratio, word):
    said = headline(card(ROWS, spread=ratio), RULE)[2]
    assert said.startswith(f"The ensemble is {word}") and f"{ratio:.2f} to {ratio:.2f}" in said


def test_a_card_without_rows_to_beat_has_no_headline():
    assert headline(card(ROWS[:2]), RULE) == []


@pytest.mark.parametrize(
    ("shares", "word"),
    [
        ([1, 1, 1, 1], "about even"), ([3, 1, 1, 3], "too narrow"), ([1, 3, 3, 1], "too wide"),
        ([1, 1, 2, 3], "too low"), ([3, 2, 1, 1], "too high"), ([0, 0, 0], "–"), ([1], "–"),
        ([1, 1], "about even"), ([4, 1, 1, 2], "too narrow, too high"),
        ([4, 7, 4, 7, 4], "uneven"), ([6, 5, 4, 5, 6], "about even"),
    ],
)  # fmt: skip
def test_ranks_have_a_word(shares, word):
    assert rank_word(np.array(shares, float)).endswith(word)


def test_skill_is_the_share_that_is_gained():
    found = skill(card(ROWS), "persistence")
    assert found.loc["z"].tolist() == [0.75, 0.75] and list(found.index) == ["z", "u10"]


def test_the_heat_map_is_coloured_by_gains_and_losses():
    rows = [("model", "z", 85.0), ("model", "u10", 3.0), *ROWS[2:]]
    table = tables.heat(card(rows))
    assert table.head == ["", "6 h", "24 h"] and table.kind == "heat"
    damped = table.groups[1]
    assert damped.title == "against damped persistence"
    cells = {line.name: line.cells[1] for line in damped.lines}
    assert (cells["z"].text, cells["z"].kind) == ("+15 %", "gain-2")
    assert (cells["u10"].text, cells["u10"].kind) == ("−20 %", "loss-2")


def test_the_words_of_curves_give_numbers_and_units():
    alt = words.curves_alt(card(ROWS), "rmse_root_of_mean", "RMSE", {"z": "m2 s-2", "u10": "m s-1"})
    assert "6 to 24 h" in alt and "z: model 50, persistence 200" in alt and "m² s⁻²" in alt
