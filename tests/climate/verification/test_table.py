"""Runs of many models as one table: means over seeds, paired verdicts, what is missing."""

import json

import numpy as np
import pandas as pd
import pytest

from climate.verification.table import LINE_COLUMNS, collect, markdown
from vgbdm.errors import InputError
from vgbdm.report.tables import write_csv


def card(row, rmse, spread=np.nan):
    return {
        "row": row, "variable": "z", "lead_hours": 6, "rmse_root_of_mean": rmse, "acc": 0.9,
        "crps": rmse / 2, "spread_skill": spread, "n_starts": 40,
    }  # fmt: skip


def write_run(folder, rmse, spread=np.nan, interval=None):
    (folder / "run").mkdir(parents=True)
    (folder / "run" / "last.json").write_text(json.dumps({"step": 100}))
    (folder / "scores").mkdir()
    rows = [card("model", rmse, spread), card("model_dressed", rmse, 1.0), card("persistence", 9.0)]
    pd.DataFrame(rows).to_csv(folder / "scores" / "scorecard.csv", index=False)
    if interval is not None:
        (folder / "compared").mkdir()
        line = {"variable": "z", "lead_hours": 6, "score": "rmse_root_of_mean"}
        line |= {"difference": sum(interval) / 2, "low": interval[0], "high": interval[1]}
        other = {**line, "score": "mse", "difference": 99.0}
        pd.DataFrame([line, other]).to_csv(folder / "compared" / "comparison.csv", index=False)


@pytest.fixture
def runs(tmp_path):
    for seed, (ours, other, interval) in enumerate(
        [(1.0, 2.0, (-1.2, -0.8)), (2.0, 2.0, (-0.2, 0.2)), (3.0, 2.5, (0.1, 0.9))], 1
    ):
        write_run(tmp_path / f"gbdm-{seed}", ours)
        write_run(tmp_path / f"vgbdm-{seed}", other, 0.8, interval)
    return tmp_path


def test_seeds_are_averaged_and_rows_keep_their_names(runs):
    table = collect(runs, ("gbdm", "vgbdm"), (1, 2, 3))
    scores = table.scores.set_index("row")
    assert list(scores.index)[:3] == ["gbdm", "vgbdm", "gbdm_dressed"]
    assert scores.loc["gbdm", "rmse_root_of_mean"] == pytest.approx(2.0)
    assert scores.loc["gbdm", "rmse_root_of_mean_std"] == pytest.approx(1.0)
    assert scores.loc["gbdm", "steps"] == 100 and np.isnan(scores.loc["persistence", "steps"])
    assert (scores["seeds"] == [3, 3, 3, 1, 3]).all()


def test_each_seed_has_its_lines_and_trivial_rows_stand_once(runs, tmp_path):
    lines = collect(runs, ("gbdm", "vgbdm"), (1, 2, 3)).lines
    assert list(lines.columns) == LINE_COLUMNS
    vgbdm = lines[lines["row"] == "vgbdm"]
    assert vgbdm[["seed", "rmse", "crps", "spread_skill", "steps"]].to_numpy().tolist() == [
        [1, 2.0, 1.0, 0.8, 100], [2, 2.0, 1.0, 0.8, 100], [3, 2.5, 1.25, 0.8, 100],
    ]  # fmt: skip
    assert set(lines["row"]) == {"gbdm", "gbdm_dressed", "vgbdm", "vgbdm_dressed", "persistence"}
    write_csv(lines, tmp_path / "table.csv", 6)
    assert "z,persistence,,6,9,4.5,,\n" in (tmp_path / "table.csv").read_text()


def test_verdicts_count_the_seeds_whose_interval_leaves_out_zero(runs):
    table = collect(runs, ("gbdm", "vgbdm"), (1, 2, 3))
    line = table.differences.iloc[0]
    assert line["row"] == "vgbdm" and line["difference"] == pytest.approx((-1.0 + 0.0 + 0.5) / 3)
    assert (line["first_better"], line["first_worse"], line["seeds"]) == (1, 1, 3)
    text = markdown(table, (6, 24))
    assert "| z | vgbdm | 100 | 2.17 ± 0.3 |" in text and "24 h" not in text
    assert "| vgbdm | 1.08 (0.80) |" in text and "| gbdm_dressed | 1 (1.00) |" in text


@pytest.mark.parametrize(
    "interval, said",
    [((-1.2, -0.8), "| 2 ▲ |"), ((0.1, 0.9), "| 2 ▼ |"), ((np.nan, np.nan), "too short")],
)
def test_a_mark_is_given_where_every_seed_agrees(tmp_path, interval, said):
    for seed in (1, 2):
        write_run(tmp_path / f"gbdm-{seed}", 1.0)
        write_run(tmp_path / f"vgbdm-{seed}", 2.0, 0.8, interval)
    assert said in markdown(collect(tmp_path, ("gbdm", "vgbdm"), (1, 2)), (6,))


def test_a_run_without_scores_is_named(runs):
    (runs / "vgbdm-2" / "scores" / "scorecard.csv").unlink()
    with pytest.raises(InputError, match="vgbdm-2: has no scores"):
        collect(runs, ("gbdm", "vgbdm"), (1, 2, 3))
