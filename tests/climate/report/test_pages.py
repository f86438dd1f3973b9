"""Pages of the report: whose cards, maps and pictures stand on them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from climate.grids.area import Area
from climate.report import pages
from climate.report.pages import write_table_report
from climate.verification.table import ScoreTable
from vgbdm.report.parts import Text

UNITS = {"z": "m2 s-2", "t2m": "K"}
KINDS = ["state", "state", "difference", "spread", "state", "state"]
STORE = SimpleNamespace(
    channels=tuple(UNITS),
    channel_attrs={name: {"units": unit} for name, unit in UNITS.items()},
    provenance={"title": "A < B", "comment": "a & b"},
)


@pytest.fixture
def drawn(monkeypatch):
    """What pictures would be drawn of, in order; no map is."""
    seen = []

    def noting(name, found=True):
        def draw(*told):
            seen.append((name, *told))
            return name.encode() if found else None

        return draw

    for name in ("skill_curves", "spectra", "rank_histograms", "courant"):
        monkeypatch.setattr(pages.figures, name, noting(name))
    monkeypatch.setattr(pages, "open_forecast", lambda path, store: path)
    monkeypatch.setattr(
        pages, "_maps", lambda path, store, units: [Text(f"maps {path.parent.name}")]
    )
    return seen


def card(row, rmse):
    return {"row": row, "variable": "z", "lead_hours": 6, "rmse_root_of_mean": rmse}


def write_run(folder, rmse, pictures):
    (folder / "scores").mkdir(parents=True)
    rows = [card("model", rmse), card("model_dressed", rmse), card("persistence", 9.0)]
    pd.DataFrame(rows).to_csv(folder / "scores/scorecard.csv", index=False)
    for name in ("spectra", "ranks") if pictures else ():
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
    table = ScoreTable(scores, differences, ("best", "other"), runs)
    path = write_table_report(table, STORE, tmp_path, "make <it>")
    *others, curves = drawn
    assert curves[0] == "skill_curves" and curves[2] == UNITS
    told = curves[1][["row", "rmse_root_of_mean"]].to_numpy().tolist()
    assert told == [["best", 2.0], ["persistence", 9.0], ["other", 3.0]]
    best, other = (tmp_path / f"{name}-2" for name in ("best", "other"))
    assert [one[0] for one in others] == ["spectra", "rank_histograms", "courant", "courant"]
    assert [one[1].iloc[0, 0] for one in others[:2]] == ["best-2"] * 2
    assert [one[1] for one in others[2:]] == [best / "run/log.csv", other / "run/log.csv"]
    text = path.read_text()
    order = [
        "A &lt; B", "make &lt;it&gt;", "a &amp; b", "Scores against lead time", "Seed 2;", "0.1235",
        "-0.988", ">best</h2>", "Zonal energy spectra", "Rank histograms", "maps best-2",
        "Courant number", ">other</h2>", "maps other-2",
    ]  # fmt: skip
    assert [text.index(words) for words in order] == sorted(text.index(words) for words in order)
    assert "nan" not in text.split("<body>")[1].lower()


def test_maps_are_of_the_middle_start_a_day_ahead(monkeypatch):
    seen = []
    monkeypatch.setattr(pages.figures, "maps", lambda *told: seen.append(told) or b"")
    lat, lon = np.arange(3.0), np.arange(4.0)
    area = Area(lat, lon, np.arange(3), np.arange(4), True)
    members = np.random.default_rng(0).normal(size=(2, 2, 5, 3, 4)).astype(np.float32)
    kept = np.ones((3, 4), bool)
    kept[1, 2] = False
    forecast = SimpleNamespace(
        starts=np.array([5, 9, 20]), hours=[6, 12, 18, 24, 30], area=area, step="six",
        read=lambda starts, leads, name: members[None, list(UNITS).index(name)][:, :, leads]
        if starts == slice(1, 2) else None,
        area_of=lambda store, c: SimpleNamespace(kept=None if c == 0 else kept),
        scored=lambda store: dict(enumerate(UNITS)),
    )  # fmt: skip
    states = np.random.default_rng(1).normal(size=(60, 2, 3, 4))
    store = SimpleNamespace(
        channels=tuple(UNITS), static={}, stride=lambda step: 6, times=np.arange(60) * 3600
        + np.datetime64("2016-01-01", "s"), read=lambda start, stop: states[start:stop],
        frames=lambda starts, ahead: starts[:, None] + ahead,
    )  # fmt: skip
    parts = pages._maps(forecast, store, UNITS)
    assert parts[0].words == "From 2016-01-01 09:00, 24 h ahead." and len(seen) == 2
    for c, (panels, found, land, units) in enumerate(seen):
        assert found is area and land is None and units == list(UNITS.values())[c]
        own = members[c, :, 3] if c == 0 else np.where(kept, members[c, :, 3], np.nan)
        truth = states[9 + 24, c]
        want = [own.mean(0), truth, own.mean(0) - truth, own.std(0, ddof=1), own[0], own[1]]
        assert [p.kind for p in panels] == KINDS
        for panel, field in zip(panels, want, strict=True):
            assert np.allclose(panel.field, field, rtol=1e-5, atol=1e-6, equal_nan=True)
