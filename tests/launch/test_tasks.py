"""Every task end to end, through the launchers: train, forecast, evaluate. Each is a real one."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from builders import make_fine_store
from hydra import compose, initialize_config_dir
from processes import finish

from climate.conventions.calendar import parse_duration
from climate.forecasts.reading import open_forecast
from climate.forecasts.truth import open_for_forecast
from climate.forecasts.writing import write_forecast
from climate.grids.features import MonthFeatures
from climate.grids.regions import parse_region
from climate.store.crop import crop
from climate.stream.views import open_for_model
from climate.training.run import build_model, open_task_store
from climate.verification.scorecard import score
from vgbdm.errors import InputError
from vgbdm.loading import load

REPO = Path(__file__).resolve().parents[2]
QUICK = [
    "size=tiny", "batch=8", "trainer.total_steps=4", "trainer.validations=1", "backend=single",
    "validation.starts=2",
]  # fmt: skip
BOX = "region=[-35,50,340,60]"
"""Crosses Greenwich; 7 × 7 points of the grid of 11.25°."""
REGIONAL = ["task=regional", BOX, "halo=2", "validation.lead=6h"]


def launch(name: str, *options: str, code: int = 0) -> str:
    result = finish([sys.executable, REPO / "launch" / f"{name}.py", *options], code)
    return result.stdout if code == 0 else result.stderr


def configure(store, *options: str):
    with initialize_config_dir(str(REPO / "configs"), version_base="1.3"):
        return compose("train_era5", [f"store={store.path}", "run_dir=r", "size=tiny", *options])


@pytest.fixture(scope="module")
def regional(fine_store, tmp_path_factory):
    """Run, forecast and scores of a region."""
    base = tmp_path_factory.mktemp("regional")
    store = f"store={fine_store.path}"
    launch("train_era5", store, f"run_dir={base}/run", *QUICK, *REGIONAL)
    launch(
        "forecast_era5", f"run_dir={base}/run", store, f"out={base}/forecast", "leads=18h"
    )  # fmt: skip
    launch(
        "evaluate_era5", f"forecast={base}/forecast", store, f"out={base}/scores",
        f"run_dir={base}/run",
    )  # fmt: skip
    return base


@pytest.fixture(scope="module")
def monthly(years, tmp_path_factory):
    """Run, forecast and scores of monthly means."""
    base = tmp_path_factory.mktemp("monthly")
    store = f"store={years.path}"
    launch("train_era5", store, f"run_dir={base}/run", *QUICK, "task=monthly")
    launch("forecast_era5", f"run_dir={base}/run", store, f"out={base}/forecast", "leads=6mo")
    launch("evaluate_era5", f"forecast={base}/forecast", store, f"out={base}/scores")
    return base


def test_a_monthly_model_forecasts_months(years, monthly):
    dataset = xr.open_zarr(monthly / "forecast", consolidated=False)
    assert dataset["time"].values.astype("M8[M]").astype(str).tolist() == [
        "2017-01", "2017-02", "2017-03", "2017-04",
    ]  # fmt: skip
    valid = dataset["valid_time"].values.astype("M8[M]")
    months = dataset["time"].values.astype("M8[M]")[:, None] + np.arange(1, 7)
    assert np.array_equal(valid, months)
    assert np.array_equal(dataset["valid_time"].values, months.astype("M8[ns]"))
    table = pd.read_csv(monthly / "scores" / "scorecard.csv")
    assert sorted(table["lead_hours"].unique()) == [730, 1461, 2191, 2922, 3652, 4383]
    assert set(table["row"]) >= {"model", "persistence", "damped_persistence", "climatology"}
    assert table["rmse_root_of_mean"].gt(0).all() and (table["n_starts"] == 4).all()
    assert "per month of the year" in (monthly / "scores" / "report.html").read_text()


def test_the_rows_of_months_are_their_own_climatology_and_persistence(years, monthly):
    store = open_for_forecast(years.path, monthly / "forecast")
    table = pd.read_csv(monthly / "scores" / "scorecard.csv")
    table = table.set_index(["row", "variable", "lead_hours"])["rmse_root_of_mean"]
    states, months = store.read(0, len(store.times)), store.times.astype("M8[M]")
    starts = np.flatnonzero(months == np.datetime64("2017-01"))[0] + np.arange(4)
    area = store.grid.area_weights[:, None]
    for row, guess in (
        ("persistence", states[starts, 0]),
        ("climatology", store.climatology.at(store.times[starts + 6])[:, 0]),
    ):
        error = (guess - states[starts + 6, 0]).astype(np.float64)
        want = np.sqrt((error**2 * area).mean())
        assert table[row, "z", 4383] == pytest.approx(want, rel=1e-5)


def test_a_monthly_model_has_month_features_and_its_wind_bound(years, monthly):
    model = load(monthly / "run")
    assert isinstance(model.calendar, MonthFeatures)
    assert float(model.wind_limit.max()) * model.step_seconds / 6.371e6 == pytest.approx(
        0.3, rel=0.01
    )
    assert model.region is None
    assert open_for_model(years.path, model).path == years.path / "monthly"


def test_a_regional_model_forecasts_its_box_without_being_told(fine_store, regional):
    dataset = xr.open_zarr(regional / "forecast", consolidated=False)
    assert dataset["z"].shape[1:] == (3, 7, 7)
    assert dataset["lon"].values[0] == -11.25
    assert dataset.attrs["region_box"] == [-35, 50, 340, 60]
    state = json.loads(next((regional / "run/checkpoints").glob("*/state.json")).read_text())
    assert state["must_match"]["domain"]["region"]["halo"] == 2
    table = pd.read_csv(regional / "scores" / "scorecard.csv")
    own = table[(table["row"] == "persistence") & (table["variable"] == "z")]
    starts = fine_store.anchors("test", np.timedelta64(21600, "s"), 3, 3)
    rows, columns = slice(5, 12), [31, 0, 1, 2, 3, 4, 5]
    states = fine_store.read(0, 80)[:, 0, rows][..., columns].astype(np.float64)
    area = np.cos(np.deg2rad(fine_store.lat[rows]))[:, None]
    error = states[starts + 1] - states[starts]
    want = np.sqrt((error**2 * area / area.mean()).mean())
    assert own["rmse_root_of_mean"].iloc[0] == pytest.approx(want, rel=1e-5)


def test_no_truth_outside_box_and_halo_reaches_a_forecast_nor_halo_truth_a_score(
    regional, tmp_path, fine_store
):
    """The test period altered outside box and halo, and in the halo: nothing changes."""
    box, halo = (range(5, 12), [31, 0, 1, 2, 3, 4, 5]), (range(3, 14), [29, 30, *range(8), 31])

    def spoiler(kept):
        def spoil(values):
            outside = np.ones(values.shape[1:], bool)
            outside[np.ix_(*kept)] = False
            values[60:, outside] *= 1.1

        return spoil

    beyond = make_fine_store(tmp_path / "beyond", spoiler(halo))
    model = load(regional / "run")
    for name, store in (("own", fine_store), ("spoilt", beyond)):
        view = open_for_model(store.path, model)
        write_forecast(model, view, tmp_path / name, lead=parse_duration("leads", "18h"))
    ours, theirs = (
        xr.open_zarr(tmp_path / name, consolidated=False)["z"].values for name in ("own", "spoilt")
    )
    assert np.array_equal(ours, theirs)
    around = make_fine_store(tmp_path / "around", spoiler(box))
    assert not np.array_equal(around.read(60, 80), fine_store.read(60, 80))
    cards = []
    for store in (fine_store, around):
        view = open_for_forecast(store.path, tmp_path / "own")
        cards.append(score(open_forecast(tmp_path / "own", view), view).scorecard)
    pd.testing.assert_frame_equal(*cards)


def test_the_halo_evolves_by_itself(regional, fine_store):
    """Its later truth is not asked for: a forecast takes the history alone."""
    model = load(regional / "run")
    view = open_for_model(fine_store.path, model)
    window = view.read(60, 64)[None]
    first = model.forecast(torch.from_numpy(window), torch.zeros(1), 2)
    assert first.shape[-2:] == (11, 11)
    assert view.without_halo(first).shape[-2:] == (7, 7)
    halo = torch.ones(11, 11, dtype=torch.bool)
    halo[2:-2, 2:-2] = False
    last = torch.from_numpy(window[0, -1])
    assert not torch.allclose(first[0, 1][:, halo], last[:, halo])


@pytest.mark.parametrize("task", [["task=hourly"], REGIONAL])
def test_tasks_build_and_describe_themselves(fine_store, task):
    cfg = configure(fine_store, *task)
    store = open_task_store(cfg)
    model, facts = build_model(cfg, store)
    assert (model.domain.region is None) == (task == ["task=hourly"])
    assert facts["domain"]["region"] == model.domain.describe()["region"]


def test_a_crop_keeps_the_whole_store_s_splits(fine_store):
    view = crop(fine_store, parse_region([-35, 50, 340, 60], 2))
    assert view.splits == fine_store.splits


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["task=regional", "region=Atlantis"], "region=Atlantis: unknown; there are NorthAmerica"),
        (["task=regional", "region=Europe"], "region=Europe: 3 × 4 points of this grid"),
        (["task=monthly"], "holds no complete month"),
    ],
)
def test_tasks_that_a_store_cannot_serve_are_refused(fine_store, options, words):
    with pytest.raises(InputError, match=words):
        open_task_store(configure(fine_store, *options))


def test_a_refusal_is_one_line_and_leaves_no_run(fine_store, tmp_path):
    told = ["validation.lead=4d" if "lead" in told else told for told in (*QUICK, *REGIONAL)]
    store = f"store={fine_store.path}"
    said = launch("train_era5", store, f"run_dir={tmp_path}/run", *told, code=2)
    lines = [line for line in said.splitlines() if "error: " in line]
    assert len(lines) == 1
    assert "holds no start with" in lines[0]
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("leads", "words"), [("42h", "not a multiple of the model's step"), ("12mo", "no start with")]
)
def test_leads_in_the_wrong_unit_and_beyond_the_period_are_refused(
    years, monthly, tmp_path, leads, words
):
    model = load(monthly / "run")
    with pytest.raises(InputError, match=words):
        write_forecast(
            model,
            open_for_model(years.path, model),
            tmp_path / "out",
            lead=parse_duration("leads", leads),
        )
