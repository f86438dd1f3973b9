"""From a trained model to scores, through the launchers."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from processes import finish

REPO = Path(__file__).resolve().parents[2]


def launch(name: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    return finish([sys.executable, REPO / "launch" / f"{name}.py", *arguments], code)


def refused(name: str, *arguments: str) -> str:
    """The one line of an error."""
    result = launch(name, *arguments, code=2)
    lines = [line for line in result.stderr.splitlines() if "error: " in line]
    assert len(lines) == 1
    assert "Traceback" not in result.stderr
    return lines[0]


@pytest.fixture(scope="module")
def made(store, tmp_path_factory):
    """A trained model and its forecasts of the test and the validation period."""
    folder = tmp_path_factory.mktemp("made")
    launch(
        "train_era5", f"store={store.path}", f"run_dir={folder}/run", "size=tiny", "backend=single",
        "trainer.total_steps=12", "trainer.validations=2", "validation.starts=2",
        "validation.lead=6h", "rate.peak=5e-3", "rate.warmup=2",
    )  # fmt: skip
    for split in ("test", "val"):
        launch(
            "forecast_era5", f"run_dir={folder}/run", f"store={store.path}",
            f"out={folder}/{split}", "leads=12h", f"split={split}",
        )  # fmt: skip
    return folder


def test_forecasts_are_scored_and_reported(store, made, tmp_path):
    result = launch(
        "evaluate_era5", f"forecast={made}/test", f"store={store.path}", f"out={tmp_path}",
        f"run_dir={made}/run", f"dress={made}/val",
    )  # fmt: skip
    assert "published rows are not comparable: the variables are z, u10, v10" in result.stdout
    card = pd.read_csv(tmp_path / "scorecard.csv")
    rows = ["model", "model_dressed", "persistence", "damped_persistence", "climatology"]
    assert list(card["row"].unique()) == rows
    table = card.set_index(["row", "variable", "lead_hours"])
    assert np.isfinite(table.loc["model"]["crps"]).all()
    assert np.isfinite(table.loc["model_dressed"]["spread_skill"]).all()
    rules = json.loads((tmp_path / "rules.json").read_text())
    assert "validation" in rules["model_dressed"]
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3 + 1 + 1 + 1 + 3 + 1
    ranks = pd.read_csv(tmp_path / "ranks.csv")
    assert list(ranks["row"].unique()) == ["model_dressed", "climatology"]
    assert ranks["rank"].max() == 16
    assert f"python launch/evaluate_era5.py forecast={made}/test" in page
    attributes = xr.open_zarr(made / "test", consolidated=False).attrs
    history = "launch/forecast_era5.py leads=12h split=test seed=0 checkpoint=best precision=fp32"
    assert attributes["history"] == history
    assert str(made) not in str(attributes)


def test_two_periods_are_scored_as_one(store, made, tmp_path):
    result = launch(
        "evaluate_era5", f"forecast=[{made}/test,{made}/val]", f"store={store.path}",
        f"out={tmp_path}",
    )  # fmt: skip
    assert "periods: pooled: 2016-01-13" in result.stdout
    starts = sum(xr.open_zarr(made / n, consolidated=False).sizes["time"] for n in ("val", "test"))
    card = pd.read_csv(tmp_path / "scorecard.csv")
    assert set(card.loc[card["row"] == "model", "n_starts"]) == {starts}
    assert f"{starts} starts" in (tmp_path / "report.html").read_text()
    twice = [f"forecast=[{made}/test,{made}/test]", f"store={store.path}", f"out={tmp_path}/out"]
    assert "a list of names, each once" in refused("evaluate_era5", *twice)


def test_two_forecasts_are_compared_by_bare_arguments(store, made, tmp_path):
    result = launch(
        "compare_forecasts", f"{made}/test", f"{made}/test", f"truth={store.path}",
        f"out={tmp_path}",
    )  # fmt: skip
    assert f"a: {made}/test\nb: {made}/test" in result.stdout
    table = pd.read_csv(tmp_path / "comparison.csv")
    assert (table["difference"] == 0).all()
    assert sorted(table["lead_hours"].unique()) == [6, 12]
    assert "data:image/png" in (tmp_path / "report.html").read_text()


def test_what_cannot_be_is_refused_in_one_line(store, made, tmp_path):
    own = [f"run_dir={made}/run", f"store={store.path}", f"out={tmp_path}/out"]
    assert "is deterministic" in refused("forecast_era5", *own, "members=4")
    pair = [f"{made}/test", f"{made}/val"]
    where = [f"truth={store.path}", f"out={tmp_path}/out"]
    assert "no start in common" in refused("compare_forecasts", *pair, *where)
    assert "key=value" in refused("compare_forecasts", *pair, "more", *where)
    card = [f"forecast={made}/test", f"store={store.path}", f"out={tmp_path}/out"]
    assert "split=val" in refused("evaluate_era5", *card, f"dress={made}/test")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_ranks_make_the_bytes_of_one_and_refuse_together(store, made, tmp_path):
    def forecast(out, *options):
        return [
            "--nproc-per-node=2", "--standalone", str(REPO / "launch/forecast_era5.py"),
            f"run_dir={made}/run", f"store={store.path}", f"out={tmp_path}/{out}", "leads=12h",
            *options,
        ]  # fmt: skip

    torchrun = str(Path(sys.executable).with_name("torchrun"))
    finish([torchrun, *forecast("two")])
    one, two = (
        {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        for root in (made / "test", tmp_path / "two")
    )
    assert one == two
    result = finish([torchrun, *forecast("two")], 1)
    assert "out=" in result.stderr and "exists; remove it" in result.stderr
