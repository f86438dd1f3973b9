"""What a summary looks like: numbers, spreads, names."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from physics_systems.data.trajectories import Trajectories
from physics_systems.evaluation.rows import Row
from physics_systems.evaluation.sets import EvaluationSet
from physics_systems.report import pages
from physics_systems.report.pages import (
    SHOWN_SCORES,
    cells,
    columns,
    format_summary,
    label,
    markdown,
    table,
)
from physics_systems.report.words import MEANINGS


def summary():
    """Two variants of one objective, another one, and a sanity row."""
    numbers = dict.fromkeys(SHOWN_SCORES, 1.23456) | {
        "steps": 900.0, "points": 40.5, "crps": np.nan, "n": 250.0, "observed_mse": np.nan,
    }  # fmt: skip
    spreads = {f"{name}_std": 0.01234 for name in SHOWN_SCORES} | {"crps_std": np.nan}
    del spreads["unchosen_mse_std"]
    rows = []
    for objective, variant, seeds, refined in (
        ("vgbdm", "aa", 3, True), ("vgbdm", "bb", 1, False), ("no<de", "cc", 2, True),
        ("oracle", "dd", 0, None), ("oracle", "ee", 0, None),
    ):  # fmt: skip
        own = spreads if seeds > 1 else dict.fromkeys(spreads, np.nan)
        named = {"objective": objective, "variant": variant, "seeds": seeds, "refined": refined}
        rows.append(named | numbers | own)
    made = pd.DataFrame(rows)
    made["theta_error_L"] = [0.5, 0.25, np.nan, np.nan, np.nan]
    return made


def test_cells_are_seeds_refinement_means_and_spreads():
    made, names = summary(), list(SHOWN_SCORES)
    first, alone, sanity = (cells(made.iloc[k], names) for k in (0, 1, 3))
    shown = dict(zip(["seeds", "refined", *names], first, strict=True))
    assert (shown["seeds"], shown["refined"], shown["forecast_mse"]) == ("3", "yes", "1.23 ± 0.01")
    assert (shown["n"], shown["steps"], shown["points"]) == ("250", "900", "40.5")
    assert shown["unchosen_mse"] == "1.23"
    assert alone[:3] == ["1", "no", "1.23"] and alone[2 + names.index("crps")] == "–"
    assert sanity[:2] == ["–", "–"]


def test_means_are_infinite_where_medians_and_counts_stand():
    made = summary()
    made.loc[0, ["forecast_mse", "forecast_mse_std", "n_failed"]] = [np.inf, np.nan, 3.0]
    names = list(columns(made))
    shown = dict(zip(names, cells(made.iloc[0], names)[2:], strict=True))
    assert shown["forecast_mse"] == "inf" and shown["forecast_mse_median"].startswith("1.23")
    assert shown["n_failed"].startswith("3")


def test_a_column_that_no_row_has_is_left_out():
    made = summary()
    assert set(SHOWN_SCORES) - set(columns(made)) == {"observed_mse"}
    made.loc[3, "observed_mse"] = 0.01
    assert list(columns(made)) == list(SHOWN_SCORES)
    assert "crps" in columns(made)


def test_variants_are_named_where_there_are_several():
    made = summary()
    names = [label(row, made) for _, row in made.iterrows()]
    assert names == ["vgbdm aa", "vgbdm bb", "no<de", "oracle", "oracle"]


def test_the_tables_have_a_line_per_variant():
    made = summary()
    lines = format_summary(made).splitlines()
    assert len(lines) % 7 == 6 and max(map(len, lines)) <= 80
    assert lines[1].split()[:6] == ["vgbdm", "aa", "3", "yes", "1.23", "±"]
    assert lines[0].split()[:3] == ["seeds", "refined", "forecast"]
    marked = markdown(made).splitlines()
    assert len(marked) == 7 and marked[1].count("---") == 3 + len(columns(made))
    assert marked[2].startswith("| vgbdm aa | 3 | yes | 1.23 ± 0.01 |")
    (group,) = table(made).groups
    assert [line.name for line in group.lines] == ["vgbdm aa", "vgbdm bb", "no<de", *["oracle"] * 2]
    assert [line.kind for line in group.lines] == ["model"] * 3 + [""] * 2


def row_of(objective, seed, field, chosen=True):
    """Forecasts of some frames; their numbers tell whose they are."""
    mean = torch.full((2, 4, 3), float(seed))
    numbers = {"objective": objective, "seed": seed, "chosen": chosen}
    return Row(numbers, np.zeros(2), SimpleNamespace(mean=mean, theta_draws=None), field, (0, 1))


@pytest.mark.parametrize("known", [True, False])
def test_pictures_are_of_the_first_run_of_each_objective(tmp_path, monkeypatch, known):
    seen = []
    monkeypatch.setattr(pages.figures, "bars", lambda *told: b"")
    for name in ("error_against_time", "trajectories", "portrait", "parameter_scatter"):
        monkeypatch.setattr(
            pages.figures, name, lambda *told, name=name: seen.append((name, *told)) or b""
        )
    data = Trajectories(torch.zeros(2, 14, 3), torch.zeros(2, 14))
    field = SimpleNamespace(
        window=10, std=torch.tensor([[1.0], [2.0], [3.0], [9.0]]), size=3, parameter_names=("L",)
    )
    bare = SimpleNamespace(window=10, std=None, size=3, parameter_names=())
    system = SimpleNamespace(name="a<b", grid=None)
    rows = [row_of("oracle", 0, None), row_of("vgbdm", 9, field, False), row_of("vgbdm", 2, field),
            row_of("vgbdm", 1, field), row_of("node", 5, bare)]  # fmt: skip
    names = ("paired", "limits", "calibration")
    frames = {"summary": summary(), **dict.fromkeys(names, pd.DataFrame())}
    states = torch.ones(2, 14, 3)
    test = EvaluationSet(data, states, {"L": torch.ones(2)} if known else None)
    path = pages.write_report(tmp_path, system, test, rows, frames, {"runs": "r<s"})
    (first, told, window, same, scale), *others = seen
    assert (first, told.x is states, window) == ("error_against_time", True, 10)
    assert list(same) == ["oracle", "vgbdm", "node"] and float(same["vgbdm"][0, 0, 0]) == 2.0
    assert scale.tolist() == [1.0, 2.0, 3.0]
    of_parameters = ["parameter_scatter"] if known else []
    want = ["trajectories", "portrait", *of_parameters, "trajectories", "portrait"]
    assert [name for name, *_ in others] == want
    shown = [told[-1] for told in others]
    assert shown == ["vgbdm, seed 2"] * (len(want) - 2) + ["node, seed 5"] * 2
    text, contents = path.read_text(), "<main>"
    order = ["a&lt;b", "2 test trajectories; frames 0 to 9 are given, 10 to 13 are scored",
             "against the states without noise", contents]  # fmt: skip
    assert [text.index(words) for words in order] == sorted(text.index(words) for words in order)
    text = text.partition(contents)[2]
    assert "r&lt;s" in text and "What the columns are" in text
    order = ["No run of VGB-DM", "Error against time", "vgbdm, seed 2", "node, seed 5"]  # fmt: skip
    assert [text.index(words) for words in order] == sorted(text.index(words) for words in order)


def test_every_column_that_may_be_shown_has_a_meaning():
    assert {*MEANINGS} == {"seeds", "refined", *SHOWN_SCORES.values()}
