"""The scorecard: its rows by their definitions, rules, verdict and report."""

import json
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from builders import make_store
from forecasters import Calibrated, Oracle
from normals import normal_crps
from uneven_forecasts import forecast as uneven_forecast

from climate.forecasts.reading import open_forecast
from climate.forecasts.writing import write_forecast
from climate.grids.area import Area
from climate.report.pages import write_report
from climate.verification.dressing import validation_spread
from climate.verification.scorecard import (
    SCORE_COLUMNS,
    Verification,
    check_against_trivial,
    format_table,
    score,
)
from climate.verification.trivial import fit_trivial
from vgbdm.errors import InputError
from vgbdm.tasks import Dask

SIX = np.timedelta64(6 * 3600, "s")


@pytest.fixture(scope="module")
def verified(store, tmp_path_factory):
    """A deterministic forecast half a unit too high, and what it comes to."""
    path = tmp_path_factory.mktemp("forecasts") / "oracle"
    write_forecast(Oracle(store, 0.5), store, path, lead=7 * SIX)
    forecast = open_forecast(path, store)
    return forecast, score(forecast, store)


@pytest.fixture
def scorecard(verified):
    return verified[1].scorecard


@pytest.fixture(scope="module")
def ensemble(store, tmp_path_factory):
    """A calibrated ensemble of 8, what it comes to dressed, and the dress, of validation."""
    folder = tmp_path_factory.mktemp("ensembles")
    model = Calibrated(store)
    write_forecast(model, store, folder / "test", lead=2 * SIX, members=8, pairs=False)
    write_forecast(model, store, folder / "val", lead=3 * SIX, members=8, split="val", pairs=False)
    forecast, dress = (open_forecast(folder / name, store) for name in ("test", "val"))
    return forecast, score(forecast, store, dress), dress


@pytest.fixture(scope="module")
def warm_store(tmp_path_factory):
    """A store with t2m."""
    return make_store(tmp_path_factory.mktemp("warm"), ("z", "t2m"))


def area_of(store):
    return Area.of(store.lat, store.lon, store.lat, store.lon)


def test_the_scorecard_has_a_row_for_each_row_variable_and_lead(store, scorecard):
    assert tuple(scorecard.columns) == SCORE_COLUMNS
    first = ["row", "variable", "lead_hours", "rmse_mean_of_roots", "rmse_root_of_mean", "acc"]
    assert list(SCORE_COLUMNS[:8]) == [*first, "bias", "n_starts"]
    assert {"crps", "spread_skill", "crps_low", "acc_high", "spread_skill_low"} <= set(
        SCORE_COLUMNS
    )
    assert len(scorecard) == 4 * 3 * 7
    assert list(scorecard["row"].unique()) == [
        "model", "persistence", "damped_persistence", "climatology",
    ]  # fmt: skip
    assert set(scorecard["n_starts"]) == {len(store.anchors("test", SIX, 3, 7))}
    assert sorted(scorecard["lead_hours"].unique()) == [6, 12, 18, 24, 30, 36, 42]


def test_a_constant_error_is_its_rmse_bias_and_crps(scorecard):
    model = scorecard[scorecard["row"] == "model"]
    for name in ("rmse_mean_of_roots", "rmse_root_of_mean", "bias", "crps"):
        assert np.allclose(model[name], 0.5, atol=1e-4)
    assert model["spread_skill"].isna().all()


def test_trivial_rows_agree_with_their_definitions(store, scorecard):
    starts, states = store.anchors("test", SIX, 3, 7), store.read(0, 480).astype(np.float64)
    area = np.cos(np.deg2rad(store.lat))[:, None] / np.cos(np.deg2rad(store.lat)).mean()
    table = scorecard.set_index(["row", "variable", "lead_hours"])
    rmse = table["rmse_root_of_mean"]
    error = states[starts + 24, 1] - states[starts, 1]
    assert rmse["persistence", "u10", 24] == pytest.approx(np.sqrt((error**2 * area).mean()))
    climatology = store.climatology.at(store.times[starts + 24])[:, 1]
    error = climatology - states[starts + 24, 1]
    assert rmse["climatology", "u10", 24] == pytest.approx(np.sqrt((error**2 * area).mean()))
    anchors = store.anchors("train", SIX, 0, 7)
    square = (states[anchors, 1] - store.climatology.at(store.times[anchors])[:, 1]) ** 2
    spread = np.sqrt(square.mean(0))
    crps = (normal_crps(error, spread) * area).mean()  # 16 draws at each of 14 thousand points
    assert table["crps"]["climatology", "u10", 24] == pytest.approx(crps, rel=0.01)
    acc = scorecard[scorecard["row"] == "climatology"]["acc"]
    assert acc.isna().all()


def test_damping_is_the_least_squares_fit_on_the_training_period(store):
    fit = fit_trivial(store, area_of(store), SIX, 7)
    anchors = store.anchors("train", SIX, 0, 7)
    anomaly = store.read(0, 480) - store.climatology.at(store.times)
    area = np.cos(np.deg2rad(store.lat))[:, None]
    now, later = anomaly[anchors, 2], anomaly[anchors + 18, 2]
    damping = (area * now * later).sum() / (area * now * now).sum()
    assert fit.damping[2, 2] == pytest.approx(damping)
    assert fit.damping.shape == (7, 3)
    assert fit.spread[2] == pytest.approx(np.sqrt((now**2).mean(0)), rel=1e-5)


def test_lagged_persistence_is_a_row_of_t2m_alone(warm_store, tmp_path):
    write_forecast(Oracle(warm_store), warm_store, tmp_path / "out", lead=6 * SIX)
    result = score(open_forecast(tmp_path / "out", warm_store), warm_store)
    rows = result.scorecard[result.scorecard["row"] == "lagged_persistence"]
    assert set(rows["variable"]) == {"t2m"}
    starts, states = warm_store.anchors("test", SIX, 3, 6), warm_store.read(0, 480)
    area = np.cos(np.deg2rad(warm_store.lat))[:, None]
    for hours, back in ((6, 18), (24, 0), (30, 18)):
        error = (states[starts + hours, 1] - states[starts - back, 1]).astype(np.float64)
        expected = np.sqrt((error**2 * area).mean() / area.mean())
        found = rows.set_index("lead_hours")["rmse_root_of_mean"][hours]
        assert found == pytest.approx(expected, rel=1e-5)
    assert "t2m" in result.rules["lagged_persistence"]
    persistence_at_24 = result.scorecard.query(
        "row == 'persistence' and variable == 't2m' and lead_hours == 24"
    )
    at_24 = rows[rows["lead_hours"] == 24]
    assert at_24["crps"].iloc[0] == pytest.approx(persistence_at_24["crps"].iloc[0])


def test_a_calibrated_ensemble_is_seen_as_one(ensemble):
    forecast, result, _ = ensemble
    model = result.scorecard[result.scorecard["row"] == "model"]
    # the members and the truth are N(centre, 1): RMSE² of the mean is 1 + 1/8
    assert np.allclose(model["spread_skill"], 1.0, atol=0.02)
    assert np.allclose(model["rmse_root_of_mean"], np.sqrt(9 / 8), rtol=0.02)
    expected = 1 / np.sqrt(np.pi)  # of N(0, 1) about a centre that is itself N(0, 1) off
    assert np.allclose(model["crps"], expected, rtol=0.02)
    # 108 starts of 128 points: the sampling error of 9 shares is 0.027 each, of 54 of them
    ranks = result.ranks.set_index("row")["share"]
    assert list(ranks.index.unique()) == ["model", "model_dressed", "climatology"]
    for row in ("model", "model_dressed"):
        assert np.allclose(ranks[row] * 9, 1.0, atol=4.5 * 0.027)
    sums = result.ranks.groupby(["row", "variable", "lead_hours"])["share"].sum()
    assert np.allclose(sums, 1.0)
    assert forecast.members == 8


def test_a_narrow_ensemble_is_seen_as_one(store, tmp_path):
    write_forecast(Calibrated(store, width=0.5), store, tmp_path / "out", lead=SIX, members=8)
    result = score(open_forecast(tmp_path / "out", store), store)
    model = result.scorecard[result.scorecard["row"] == "model"]
    assert (model["spread_skill"] < 0.6).all()
    ranks = result.ranks[result.ranks["row"] == "model"]
    assert (ranks.loc[ranks["rank"].isin([0, 8]), "share"] > 1.5 / 9).all()


def test_a_dress_that_is_too_narrow_has_ranks_like_a_u(store, ensemble, monkeypatch):
    forecast, _, dress = ensemble

    def half(*told):
        return validation_spread(*told) / 2

    monkeypatch.setattr("climate.verification.scorecard.validation_spread", half)
    ranks = score(forecast, store, dress, members=4).ranks
    shares = ranks[ranks["row"] == "model_dressed"].pivot(
        index=["variable", "lead_hours"], columns="rank", values="share"
    )
    assert shares.shape == (6, 5) and (shares[[0, 4]] > 1.3 / 5).all(axis=None)
    assert (shares[[1, 2, 3]] < 1 / 5).all(axis=None)


def test_a_dressed_forecast_has_the_size_of_its_validation_errors(store, ensemble):
    _, result, _ = ensemble
    dressed = result.scorecard[result.scorecard["row"] == "model_dressed"]
    model = result.scorecard[result.scorecard["row"] == "model"]
    for name in ("rmse_root_of_mean", "rmse_mean_of_roots", "acc", "bias"):
        assert np.allclose(dressed[name], model[name], rtol=1e-6)
    # its error is N(0, 9/8), and so is its width: E CRPS = σ / √π
    assert np.allclose(dressed["crps"], np.sqrt(9 / 8 / np.pi), rtol=0.03)
    assert np.allclose(dressed["spread_skill"], 1.0, atol=0.03)
    assert list(result.rules)[:2] == ["model", "model_dressed"]
    assert "8 draws" in result.rules["model_dressed"] and "8 draws" in result.rules["climatology"]


def test_a_dress_that_does_not_fit_is_refused(store, ensemble, tmp_path):
    forecast, *_ = ensemble
    with pytest.raises(InputError, match="not all of it lies in the validation period"):
        score(forecast, store, forecast)
    write_forecast(Calibrated(store), store, tmp_path / "short", lead=SIX, split="val")
    with pytest.raises(InputError, match="its grid, step or leads"):
        score(forecast, store, open_forecast(tmp_path / "short", store))
    write_forecast(Oracle(store), store, tmp_path / "other", lead=2 * SIX, split="val")
    with pytest.raises(InputError, match="another model"):
        score(forecast, store, open_forecast(tmp_path / "other", store))


def test_a_box_is_scored_as_a_box(store, verified, tmp_path):
    dataset = xr.open_zarr(verified[0].path, consolidated=False).load()
    box = dataset.isel(lat=slice(4, 7), lon=[15, 0, 1])
    box.to_zarr(tmp_path / "box", zarr_format=3, consolidated=False)
    forecast = open_forecast(tmp_path / "box", store)
    result = score(forecast, store)
    table = result.scorecard.set_index(["row", "variable", "lead_hours"])
    assert np.allclose(table.loc["model"]["bias"], 0.5, atol=1e-4)
    starts, states = store.anchors("test", SIX, 3, 7), store.read(0, 480).astype(np.float64)
    area = np.cos(np.deg2rad(store.lat[4:7]))[:, None]
    error = (states[starts + 12, 0] - states[starts, 0])[:, 4:7][:, :, [15, 0, 1]]
    expected = np.sqrt((error**2 * area).mean() / area.mean())
    assert table["rmse_root_of_mean"]["persistence", "z", 12] == pytest.approx(expected, rel=1e-5)
    assert not len(result.spectra)
    page = write_report(result, forecast, store, tmp_path, None).read_text()
    assert "spectra</h2>" not in page


def test_spectra_of_a_wave_are_one_line(store, verified):
    """The store's `u10` is one wave of wavenumber 2 and a daily cycle of wavenumber 1."""
    spectra = verified[1].spectra
    truth = spectra[(spectra["row"] == "truth") & (spectra["variable"] == "u10")]
    power = truth[truth["lead_hours"] == 6].set_index("wavenumber")["power"]
    area = np.cos(np.deg2rad(store.lat))
    assert power[3] == pytest.approx((30**2 * (area**3).mean() / area.mean()) / 2, rel=1e-4)
    assert power[1] == pytest.approx(0.9**2 / 2, rel=1e-4)
    assert power.drop([0, 1, 3]).max() < 1e-6
    model = spectra[(spectra["row"] == "model") & (spectra["variable"] == "u10")]
    own = model[model["lead_hours"] == 6].set_index("wavenumber")["power"]
    assert own[3] == pytest.approx(power[3], rel=1e-4)


def test_intervals_surround_their_scores_where_there_are_days(store, verified, monkeypatch):
    forecast, plain = verified
    ends = [name for name in SCORE_COLUMNS if name.endswith(("_low", "_high"))]
    assert plain.scorecard[ends].isna().all(axis=None)
    assert "no claim" in plain.rules["intervals"]
    monkeypatch.setattr("climate.verification.intervals.FEWEST_DAYS", 2)
    monkeypatch.setattr("climate.verification.intervals.FEWEST_ROWS", 2)
    monkeypatch.setattr("climate.verification.intervals.row_length", lambda *of: 1.0)
    monkeypatch.setattr("climate.verification.intervals.widening", lambda *of: 1.0)
    short = forecast.select(np.arange(len(forecast.starts)), 1)
    table = score(short, store).scorecard
    persistence_rows = table[table["row"] == "persistence"]
    for name in ("rmse_root_of_mean", "crps", "acc", "bias"):
        assert (persistence_rows[f"{name}_low"] <= persistence_rows[name]).all()
        assert (persistence_rows[name] <= persistence_rows[f"{name}_high"]).all()
    widths = persistence_rows["rmse_root_of_mean_high"] - persistence_rows["rmse_root_of_mean_low"]
    assert (widths > 0).all()


def test_memory_does_not_grow_with_the_number_of_starts(store, ensemble, monkeypatch):
    forecast, _, dress = ensemble
    monkeypatch.setattr("climate.forecasts.pieces.WINDOW_BYTES", 2**16)
    monkeypatch.setattr("climate.forecasts.reading.JOINED_BYTES", 2**16)
    monkeypatch.setattr("climate.verification.draws.PLACES", 1)
    monkeypatch.setattr("vgbdm.tasks.TOGETHER", 1)
    peaks = []
    for count in (20, 80):
        part = forecast.select(np.arange(count), 2)
        score(part, store, dress, dask=Dask("synchronous"))  # files are compared at first
        tracemalloc.start()
        score(part, store, dress, dask=Dask("synchronous"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_memory_hardly_grows_with_leads(store, tmp_path, monkeypatch):
    """Only the sums do: all leads of all starts are held nowhere."""
    made, _ = uneven_forecast(store, np.arange(360, 376), leads=8, members=1)
    monkeypatch.setattr("climate.forecasts.pieces.WINDOW_BYTES", 2**16)
    monkeypatch.setattr("climate.forecasts.reading.JOINED_BYTES", 2**16)
    monkeypatch.setattr("climate.verification.draws.PLACES", 1)
    monkeypatch.setattr("vgbdm.tasks.TOGETHER", 1)
    peaks = []
    for leads in (4, 8):
        part = made.select(np.arange(16), leads)
        fit = {"kept": tmp_path, "dask": Dask("synchronous")}
        score(part, store, **fit)  # fits the trivial rows
        tracemalloc.start()
        score(part, store, **fit)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_the_number_of_starts_at_a_time_changes_nothing(store, ensemble, monkeypatch):
    forecast, whole, dress = ensemble
    monkeypatch.setattr("climate.forecasts.pieces.WINDOW_BYTES", 2**16)
    monkeypatch.setattr("climate.verification.series.CACHE_BYTES", 2**9)
    parts = score(forecast, store, dress, dask=Dask("synchronous"))
    pd.testing.assert_frame_equal(whole.scorecard, parts.scorecard, rtol=1e-6)
    pd.testing.assert_frame_equal(whole.ranks, parts.ranks, rtol=1e-10)
    pd.testing.assert_frame_equal(whole.spectra, parts.spectra, rtol=1e-10)


def test_tables_and_rules_are_written(ensemble, verified, tmp_path):
    ensemble[1].write(tmp_path)
    rules = json.loads((tmp_path / "rules.json").read_text())
    assert "8 members" in rules["model"]
    assert {"climatology", "acc", "model_dressed", "intervals", "spectra", "ranks"} <= set(rules)
    assert rules["acc"].endswith("mean of the training period per hour of day")
    assert set(ensemble[1].scorecard["climatology"]) == {"hours"}
    assert len(pd.read_csv(tmp_path / "ranks.csv")) == 3 * 3 * 2 * 9
    assert len(pd.read_csv(tmp_path / "spectra.csv")) == 3 * 3 * 2 * 9
    assert tuple(pd.read_csv(tmp_path / "scorecard.csv").columns) == SCORE_COLUMNS
    verified[1].write(tmp_path / "one")
    ranks = pd.read_csv(tmp_path / "one" / "ranks.csv")
    assert set(ranks["row"]) == {"climatology"} and len(ranks) == 3 * 7 * 17


def test_the_verdict_names_what_is_not_beaten(scorecard):
    assert check_against_trivial(scorecard, (6, 24)) == []
    worse = scorecard.copy()
    own = (worse["row"] == "model") & (worse["variable"] == "u10") & (worse["lead_hours"] == 24)
    worse.loc[own, "rmse_root_of_mean"] = 1e6
    failures = check_against_trivial(worse, (6, 24))
    assert len(failures) == 2
    assert all(line.startswith("u10 at 24 h: model 1e+06") for line in failures)
    missing = worse.copy()
    missing.loc[own, "rmse_root_of_mean"] = np.nan
    assert len(check_against_trivial(missing, (6, 24))) == 2


def test_the_table_shows_every_row(scorecard):
    text = format_table(scorecard)
    for word in ("u10", "damped_persistence", "42", "–"):
        assert word in text


def test_the_table_shows_distributions(ensemble):
    text = format_table(ensemble[1].scorecard)
    assert "CRPS, spread/skill" in text
    assert "model_dressed" in text


def test_the_report_stands_alone(store, verified, tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    steps = pd.DataFrame({"step": [1, 2], "loss": [1.0, 0.5]})
    steps.to_csv(run_dir / "log.csv", index=False)
    pd.DataFrame({"step": [2], "score": [0.8]}).to_csv(run_dir / "validation.csv", index=False)
    (run_dir / "config.json").write_text('{"step": "6h"}')
    forecast, result = verified
    page = write_report(result, forecast, store, tmp_path, run_dir).read_text()
    assert page.count("data:image/png;base64,") == 3 + 1 + 1 + 1 + 3 + 1
    assert page.count("data:image/webp;base64,") == 1
    for word in (
        "h ahead: ",
        "damped persistence",
        "Training",
        "6h",
        store.climatology.rule,
        "no claim",
    ):
        assert word in page
    assert "not comparable: the variables are z, u10, v10" in page
    for link in ("http://", "https://", "<script"):
        assert link not in page


def test_the_report_of_an_ensemble_shows_ranks_and_distributions(store, ensemble, tmp_path):
    forecast, result, _ = ensemble
    page = write_report(result, forecast, store, tmp_path, None).read_text()
    assert page.count("data:image/png;base64,") == 3 + 1 + 1 + 1 + 2 * 3 + 1
    for word in ("Rank histograms", "mean of 8 members", "model dressed", "CRPS"):
        assert word in page


def test_what_is_written_is_what_there_is_in_a_folder_that_is_made(tmp_path):
    card, none = pd.DataFrame({"row": ["model"], "crps": [0.5]}), pd.DataFrame()
    Verification(card, none, none, {"crps": "fair, ÷ 2"}).write(tmp_path / "a" / "b")
    names = {path.name for path in (tmp_path / "a" / "b").iterdir()}
    assert names == {"scorecard.csv", "rules.json"}
    assert json.loads((tmp_path / "a/b/rules.json").read_text()) == {"crps": "fair, ÷ 2"}
