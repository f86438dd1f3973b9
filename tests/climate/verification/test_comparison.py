"""Paired comparison of two forecast stores."""

import numpy as np
import pytest
import xarray as xr
from forecasters import Calibrated, Oracle

from climate.forecasts.reading import open_forecast
from climate.forecasts.writing import write_forecast
from climate.report.pages import write_comparison
from climate.verification.comparison import DIFFERENCE_COLUMNS, compare, format_comparison
from climate.verification.scorecard import score
from vgbdm.errors import InputError

SIX = np.timedelta64(6 * 3600, "s")


@pytest.fixture(scope="module")
def folder(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    write_forecast(Oracle(store, 0.5), store, folder / "near", lead=2 * SIX)
    write_forecast(Oracle(store, -1.0), store, folder / "far", lead=3 * SIX)
    write_forecast(Calibrated(store), store, folder / "ensemble", lead=2 * SIX, members=6)
    return folder


@pytest.fixture
def opened(store, folder):
    return {name: open_forecast(folder / name, store) for name in ("near", "far", "ensemble")}


@pytest.fixture
def many_days(monkeypatch):
    monkeypatch.setattr("climate.verification.intervals.FEWEST_DAYS", 2)
    monkeypatch.setattr("climate.verification.intervals.FEWEST_ROWS", 2)
    monkeypatch.setattr("climate.verification.intervals.row_length", lambda *of: 1.0)
    monkeypatch.setattr("climate.verification.intervals.widening", lambda *of: 1.0)


def test_differences_are_those_of_the_scores(store, opened, many_days):
    table = compare(opened["near"], opened["far"], store).table
    assert tuple(table.columns) == DIFFERENCE_COLUMNS
    assert sorted(table["lead_hours"].unique()) == [6, 12]
    mse = table[table["score"] == "mse"]
    assert np.allclose(mse["difference"], 0.25 - 1.0, atol=1e-3)
    for name in ("rmse_root_of_mean", "rmse_mean_of_roots", "crps"):
        lines = table[table["score"] == name]
        assert np.allclose(lines["difference"], -0.5, atol=1e-3)
        assert np.allclose(lines["low"], -0.5, atol=1e-3)  # nothing varies between starts
        assert set(lines["better"]) == {"a"}
    assert set(table["n_starts"]) == {len(store.anchors("test", SIX, 3, 3))}


def test_the_order_turns_the_sign_and_nothing_else(store, opened, many_days):
    one = compare(opened["near"], opened["ensemble"], store).table
    two = compare(opened["ensemble"], opened["near"], store).table
    assert np.allclose(one["difference"], -two["difference"])
    assert np.allclose(one["low"], -two["high"], atol=1e-9)
    swapped = two["better"].map({"a": "b", "b": "a", "": ""})
    assert (one["better"] == swapped).all()
    acc = one[one["score"] == "acc"]
    assert set(acc["better"]) == {"a"}  # the oracle's pattern is right


def test_pairs_agree_with_the_scorecard(store, opened):
    table = compare(opened["ensemble"], opened["near"], store).table
    card = score(opened["ensemble"], store).scorecard
    for name in ("crps", "rmse_root_of_mean", "acc"):
        ours = card[card["row"] == "model"][name].to_numpy()
        assert np.allclose(table[table["score"] == name]["a"], ours)


def test_a_forecast_is_as_good_as_itself(store, opened, many_days):
    table = compare(opened["ensemble"], opened["ensemble"], store).table
    assert (table["difference"] == 0).all()
    assert (table["better"] == "").all()


def test_pairing_is_what_narrows_the_interval(store, folder, many_days):
    """Errors that differ much from start to start, but hardly between the two forecasts."""
    dataset = xr.open_zarr(folder / "near", consolidated=False).load()
    error = np.random.default_rng(0).normal(size=len(dataset["time"]))
    for name, factor in (("one", 1.0), ("other", 1.05)):
        offset = xr.DataArray(factor * error - 0.5, dims="time").astype("float32")
        fields = {c: dataset[c] + offset for c in store.channels}
        dataset.assign(fields).to_zarr(folder / name, zarr_format=3, consolidated=False)
    a, b = (open_forecast(folder / name, store) for name in ("other", "one"))
    table = compare(a, b, store).table
    mse = table[table["score"] == "mse"]
    assert (mse["better"] == "b").all()
    assert np.allclose(mse["difference"], (1.05**2 - 1) * mse["b"], rtol=1e-3)
    single = score(b, store).scorecard
    rmse = single[single["row"] == "model"]
    apart = rmse["rmse_root_of_mean_high"] ** 2 - rmse["rmse_root_of_mean_low"] ** 2
    paired = (mse["high"] - mse["low"]).to_numpy()
    assert np.allclose(paired, (1.05**2 - 1) * apart.to_numpy(), rtol=0.2)


def test_too_short_a_period_makes_no_claim(store, opened):
    comparison = compare(opened["near"], opened["far"], store)
    assert comparison.table["low"].isna().all()
    assert (comparison.table["better"] == "").all()
    assert "no claim" in comparison.rule and "per hour of day" in comparison.climatology
    assert "–" in format_comparison(comparison)


def test_the_text_is_of_the_score_that_is_asked_for(store, opened):
    comparison = compare(opened["near"], opened["far"], store)
    for name in ("rmse_root_of_mean", "mse"):
        text, rows = format_comparison(comparison, name), comparison.table
        rows = rows[rows["score"] == name]
        assert text.count(f": {name}, ") == rows["variable"].nunique()
        shown = [line.split() for line in text.splitlines() if line.strip()[:1].isdigit()]
        assert len(shown) == len(rows)
        wanted = [f"{value:.4g}" for value in rows["a"]]
        assert [float(line[1]) for line in shown] == pytest.approx(
            [float(value) for value in wanted], rel=1e-2
        )


def test_only_common_starts_count(store, folder, opened):
    later = opened["far"].select(np.arange(30, 60), 3)
    comparison = compare(opened["near"], later, store)
    assert set(comparison.table["n_starts"]) == {30}
    assert comparison.first == store.times[opened["far"].starts[30]]


def test_pairs_that_are_none_are_refused_in_one_line(store, folder, opened, tmp_path):
    early, late = opened["near"].select(np.arange(5), 2), opened["far"].select(np.arange(9, 12), 2)
    box = xr.open_zarr(folder / "near", consolidated=False).isel(lat=slice(2, 5)).load()
    box.to_zarr(tmp_path / "box", zarr_format=3, consolidated=False)
    other = xr.open_zarr(folder / "far", consolidated=False).isel(lead_time=[1]).load()
    other.to_zarr(tmp_path / "step", zarr_format=3, consolidated=False)
    for pair, words in (
        ((early, late), "no start in common"),
        ((opened["near"], open_forecast(tmp_path / "box", store)), "their lat differ"),
        ((opened["near"], open_forecast(tmp_path / "step", store)), "same step"),
    ):
        with pytest.raises(InputError, match=words) as error:
            compare(*pair, store)
        assert "\n" not in str(error.value)


def test_boxes_are_compared_too(store, folder, tmp_path):
    for name in ("near", "far"):
        box = xr.open_zarr(folder / name, consolidated=False).isel(lat=slice(2, 5)).load()
        box.to_zarr(tmp_path / name, zarr_format=3, consolidated=False)
    pair = (open_forecast(tmp_path / name, store) for name in ("near", "far"))
    table = compare(*pair, store).table
    assert np.allclose(table[table["score"] == "mse"]["difference"], -0.75, atol=1e-3)


def test_the_page_stands_alone(store, opened, many_days, tmp_path):
    comparison = compare(opened["near"], opened["ensemble"], store)
    page = write_comparison(comparison, ("near", "<far>"), store, tmp_path).read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "&lt;far&gt;" in page
    assert "bootstrap" in page
    for link in ("http://", "https://", "<script"):
        assert link not in page
