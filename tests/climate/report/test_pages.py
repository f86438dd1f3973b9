"""Pages of the report: whose cards, maps and pictures stand on them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from climate.report import pages
from climate.report.pages import write_table_report
from climate.verification.table import ScoreTable
from vgbdm.report.parts import Text

UNITS = {"z": "m2 s-2", "t2m": "K"}
STORE = SimpleNamespace(
    channels=tuple(UNITS),
    channel_attrs={name: {"units": unit} for name, unit in UNITS.items()},
    provenance={"title": "A < B", "comment": "a & b"},
)


@pytest.fixture
def drawn(monkeypatch):
    """What pictures would be drawn of, in order; no map is."""
    seen = []

    def noting(module, name, made):
        def draw(*told):
            seen.append((name, *told))
            return made

        monkeypatch.setattr(module, name, draw)

    noting(pages, "_curves", [Text("curves")])
    noting(pages, "_spectra", [Text("spectra")])
    noting(pages, "_ranks", Text("ranks"))
    noting(pages.figures, "courant", b"a picture")
    monkeypatch.setattr(pages, "open_forecast", lambda path, store: path)

    def mapped(path, store, units):
        return [Text(f"maps {path.parent.name}")]

    monkeypatch.setattr(pages, "one_forecast", mapped)
    return seen


def card(row, rmse):
    return {
        "row": row,
        "variable": "z",
        "lead_hours": 6,
        "rmse_root_of_mean": rmse,
        "spread_skill": np.nan,
    }


def write_run(folder, rmse, pictures):
    (folder / "scores").mkdir(parents=True)
    rows = [card("model", rmse), card("model_dressed", rmse), card("persistence", 9.0)]
    pd.DataFrame(rows).to_csv(folder / "scores/scorecard.csv", index=False)
    for name in ("spectra", "ranks") if pictures else ("ranks",):
        pd.DataFrame({"of": [folder.name]}).to_csv(folder / f"scores/{name}.csv", index=False)
    return folder


def test_a_page_of_many_models_shows_the_first_seed_of_each(tmp_path, drawn):
    rows = [("best", 4, 1.0, True), ("best", 2, 2.0, True), ("other", 2, 3.0, False)]
    runs = {
        (name, seed): write_run(tmp_path / f"{name}-{seed}", rmse, pictures)
        for name, seed, rmse, pictures in rows
    }
    scores = pd.DataFrame({"row": ["best"], "crps": [0.123456], "std": [np.nan]})
    differences = pd.DataFrame({"row": ["other"], "difference": [-0.98765]})
    table = ScoreTable(scores, differences, ("best", "other"), runs, pd.DataFrame())
    path = write_table_report(table, STORE, tmp_path, "make <it>")
    *others, curves = drawn
    assert curves[0] == "_curves" and curves[2] == UNITS
    told = curves[1][["row", "rmse_root_of_mean"]].to_numpy().tolist()
    assert told == [["best", 2.0], ["persistence", 9.0], ["other", 3.0]]
    best, other = (tmp_path / f"{name}-2" for name in ("best", "other"))
    assert [one[0] for one in others] == ["_spectra", "_ranks", "courant", "_ranks", "courant"]
    found = [one[1] if one[0] == "courant" else one[1].iloc[0, 0] for one in others]
    logs = [best / "run/log.csv", other / "run/log.csv"]
    assert found == ["best-2", "best-2", logs[0], "other-2", logs[1]]
    text = path.read_text()
    order = [
        "A &lt; B", "make &lt;it&gt;", "a &amp; b", "<main>", "<p>curves", "Seed 2;", "0.1235",
        "-0.988", ">best</h2>", "<p>spectra", "<p>ranks", "maps best-2",
        "Courant number", ">other</h2>", "maps other-2",
    ]  # fmt: skip
    assert [text.index(words) for words in order] == sorted(text.index(words) for words in order)
    assert "nan" not in text.split("<body>")[1].lower()
