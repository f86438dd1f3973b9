"""What a summary looks like: numbers, spreads, names."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from physics_systems.data.trajectories import Trajectories
from physics_systems.evaluation.scoring import Row
from physics_systems.report import pages
from physics_systems.report.pages import (
    SHOWN_SCORES,
    cells,
    format_summary,
    label,
    markdown,
    parameters,
    table,
)


def summary():
    """Two variants of one objective, another one, and a sanity row."""
    numbers = dict.fromkeys(SHOWN_SCORES, 1.23456) | {"steps": 900.0, "nfe": 40.0, "crps": np.nan}
    spreads = {f"{name}_std": 0.01234 for name in SHOWN_SCORES} | {"crps_std": np.nan}
    rows = []
    for objective, variant, runs in (
        ("vgbdm", "aa", 3), ("vgbdm", "bb", 1), ("no<de", "cc", 2), ("oracle", "dd", 1),
        ("oracle", "ee", 1),
    ):  # fmt: skip
        own = spreads if runs > 1 else dict.fromkeys(spreads, np.nan)
        rows.append({"objective": objective, "variant": variant, "runs": runs} | numbers | own)
    made = pd.DataFrame(rows)
    made["theta_error_L"] = [0.5, 0.25, np.nan, np.nan, np.nan]
    return made


def test_cells_are_means_and_spreads():
    made = summary()
    first, alone = cells(made.iloc[0]), cells(made.iloc[1])
    names = list(SHOWN_SCORES)
    assert first[names.index("forecast_mse")] == "1.23 ± 0.01"
    assert alone[names.index("forecast_mse")] == "1.23"
    assert first[names.index("steps")] == "900" and first[names.index("nfe")] == "40"
    assert alone[names.index("crps")] == "–"


def test_variants_are_named_where_there_are_several():
    made = summary()
    names = [label(row, made) for _, row in made.iterrows()]
    assert names == ["vgbdm aa", "vgbdm bb", "no<de", "oracle", "oracle"]


def test_the_tables_have_a_line_per_variant():
    made = summary()
    lines = format_summary(made).splitlines()
    assert len(lines) == 6 and len({len(line) for line in lines}) == 1
    assert lines[1].startswith("vgbdm aa     3   1.23 ± 0.01  1.23 ± 0.01")
    assert lines[0].split()[:2] == ["runs", "forecast"]
    marked = markdown(made).splitlines()
    assert len(marked) == 7 and marked[1].count("---") == 2 + len(SHOWN_SCORES)
    assert marked[2].startswith("| vgbdm aa | 3 | 1.23 ± 0.01 |")
    page = table(made)
    assert page.count("<tr") == 6 and page.count("class=model") == 3
    assert "no&lt;de" in page and "no<de" not in page


def test_parameters_stand_beside_the_exact_minimiser():
    made = summary()
    limits = pd.DataFrame({"parameter": ["L"], "minimum_norm_error": [4.5]})
    page = "".join(parameters(made, limits))
    order = [page.index(text) for text in ("vgbdm aa", "0.5", "vgbdm bb", "0.25", "exact", "4.5")]
    assert order == sorted(order) and "oracle" not in page
    assert parameters(made, limits.iloc[:0]) == []


def row_of(objective, seed, field, scored=4):
    """Forecasts of some frames; their numbers tell whose they are."""
    mean = torch.full((2, scored, 3), float(seed))
    numbers = {"objective": objective, "seed": seed}
    return Row(numbers, np.zeros(2), SimpleNamespace(mean=mean), field)


@pytest.mark.parametrize("known", [True, False])
def test_pictures_are_of_the_first_run_of_each_objective(tmp_path, monkeypatch, known):
    seen = []
    for name in ("error_against_time", "trajectories", "portrait", "parameter_scatter",
                 "calibration"):  # fmt: skip
        monkeypatch.setattr(
            pages.figures, name, lambda *told, name=name: seen.append((name, *told)) or b""
        )
    data = Trajectories(torch.zeros(2, 14, 3), torch.zeros(2, 14))
    field = SimpleNamespace(
        window=10, std=torch.tensor([[1.0], [2.0], [3.0], [9.0]]), size=3, parameter_names=("L",)
    )
    bare = SimpleNamespace(window=10, std=None, size=3, parameter_names=())
    rows = [row_of("oracle", 0, None), row_of("vgbdm", 2, field), row_of("vgbdm", 1, field),
            row_of("node", 5, bare), row_of("persistence", 7, None, 5)]  # fmt: skip
    frames = {"summary": summary(), "paired": pd.DataFrame(), "limits": pd.DataFrame()}
    truth = {"L": torch.ones(2)} if known else None
    path = pages.write_report(tmp_path, SimpleNamespace(name="a<b"), data, truth, rows, frames)
    (first, told, window, same, scale), *others = seen
    assert (first, told is data, window) == ("error_against_time", True, 10)
    assert list(same) == ["oracle", "vgbdm", "node"] and float(same["vgbdm"][0, 0, 0]) == 2.0
    assert scale.tolist() == [1.0, 2.0, 3.0]
    of_parameters = ["parameter_scatter", "calibration"] if known else []
    want = ["trajectories", "portrait", *of_parameters, "trajectories", "portrait"]
    assert [name for name, *_ in others] == want
    shown = [told[-1] for told in others]
    assert shown == ["vgbdm, seed 2"] * (len(want) - 2) + ["node, seed 5"] * 2
    text = path.read_text()
    order = ["a&lt;b", "2 test trajectories; frames 0 to 9 are given, 10 to 13 are scored",
             "No run of VGB-DM", "Error against time", "vgbdm, seed 2", "node, seed 5"]  # fmt: skip
    assert [text.index(words) for words in order] == sorted(text.index(words) for words in order)
