"""What a summary looks like: numbers, spreads, names."""

import numpy as np
import pandas as pd

from physics_systems.report import SHOWN, cells, format_summary, label, markdown, parameters, table


def summary():
    """Two variants of one objective, another one, and a sanity row."""
    numbers = dict.fromkeys(SHOWN, 1.23456) | {"steps": 900.0, "nfe": 40.0, "crps": np.nan}
    spreads = {f"{name}_std": 0.01234 for name in SHOWN} | {"crps_std": np.nan}
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
    names = list(SHOWN)
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
    assert len(marked) == 7 and marked[1].count("---") == 2 + len(SHOWN)
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
