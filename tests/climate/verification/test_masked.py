"""Scores, spectra and pictures of a variable that has no values on land."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from builders import CASE_SPLITS, LAT, LON
from entry import compose_config
from forecasters import Stepwise
from refusals import refused
from seas import LAND, make_sea_store

from climate.conversion.convert import convert
from climate.forecasts.reading import open_forecast
from climate.forecasts.writing import write_forecast
from climate.grids.area import Area
from climate.report.maps import Ground, Panel, maps
from climate.report.pages import write_comparison, write_report
from climate.sources.opening import open_source
from climate.store.layout import open_store
from climate.verification.comparison import compare
from climate.verification.dressing import validation_spread
from climate.verification.pairs import rank_histogram
from climate.verification.scorecard import score
from climate.verification.trivial import fit_trivial

SIX = np.timedelta64(6 * 3600, "s")
WEIGHTS = np.cos(np.deg2rad(LAT))[:, None] * ~LAND
WEIGHTS /= WEIGHTS.sum()


class Off(Stepwise):
    """Forecasts the truth plus half the longitude's index; members are that much apart."""

    step_seconds, history = 21600, 3

    def __init__(self, store, stochastic=False):
        super().__init__()
        self.channels, self.statistics_hash = store.channels, store.statistics.hash
        self.store, self.stochastic = store, stochastic
        self.error = 0.5 * torch.arange(len(store.lon), dtype=torch.float32)

    def forecast(self, states, times, steps):
        index = np.searchsorted(self.store.times.astype(np.int64), times.numpy())
        frames = index[:, None] + np.arange(1, steps + 1)
        truth = self.store.read(0, len(self.store.times))[frames]
        return torch.from_numpy(truth) + self.error

    def forecast_ensemble(self, states, times, steps, members, seed):
        one = self.forecast(states, times, steps)
        return torch.stack([one + k - (len(members) - 1) / 2 for k in members], 1)


@pytest.fixture(scope="module")
def sea(tmp_path_factory):
    return make_sea_store(tmp_path_factory.mktemp("sea") / "store")


@pytest.fixture(scope="module")
def forecast(sea, tmp_path_factory):
    path = tmp_path_factory.mktemp("forecast") / "out"
    write_forecast(Off(sea), sea, path, lead=4 * SIX)
    return open_forecast(path, sea)


@pytest.fixture(scope="module")
def result(sea, forecast):
    return score(forecast, sea)


@pytest.fixture(scope="module")
def ensemble(sea, tmp_path_factory):
    path = tmp_path_factory.mktemp("ensemble") / "out"
    write_forecast(Off(sea, stochastic=True), sea, path, lead=2 * SIX, members=4, pairs=False)
    return open_forecast(path, sea)


def rewritten(forecast, path, change):
    """A forecast of somebody else, who knows nothing of this project."""
    data = xr.open_zarr(forecast.path, consolidated=False).load()
    for name in data.variables:
        data[name].encoding = {}
    change(data).assign_attrs({}).to_zarr(path, zarr_format=3, consolidated=False)
    return path


def mean(field):
    """Over the sea by area: (..., H, W) → (...)."""
    return (np.where(LAND, 0.0, field) * WEIGHTS).sum((-1, -2))


def test_sea_only(case, tmp_path):
    told = [
        "store=s", "source=cf_files", f"source.root={case('sea_only')}",
        "variables=[t2m,u10,v10,sst]", "+source.fields.sst={name: sst}",
    ]  # fmt: skip
    dataset, about = open_source(compose_config("convert_era5", told))
    convert(dataset, tmp_path / "s", CASE_SPLITS, source=about, nan_allowance=0.35)
    store = open_store(tmp_path / "s")
    write_forecast(Off(store), store, tmp_path / "out", lead=4 * SIX)
    card = score(open_forecast(tmp_path / "out", store), store).scorecard
    rows = card[(card["row"] == "persistence") & (card["variable"] == "sst")]
    found = rows.set_index("lead_hours")["rmse_root_of_mean"].loc[[6, 12, 18, 24]]
    assert found.tolist() == pytest.approx([2.020, 2.884, 2.171, 1.118], abs=5e-4)


def test_every_row_is_scored_over_the_sea(sea, forecast, result):
    table = result.scorecard.set_index(["row", "variable", "lead_hours"])
    assert np.isfinite(table.loc["model"]["rmse_root_of_mean"]).all()
    error = 0.5 * np.arange(16) * np.ones((8, 1))
    for name in ("rmse_root_of_mean", "rmse_mean_of_roots"):
        assert table[name]["model", "sst", 12] == pytest.approx(np.sqrt(mean(error**2)), rel=1e-4)
    assert table["bias"]["model", "sst", 12] == pytest.approx(mean(error), rel=1e-4)
    starts, states = forecast.starts, sea.read(0, 80)[:, 2].astype(np.float64)
    later, climatology = states[starts + 2], sea.climatology.at(sea.times[starts + 2])[:, 2]
    rmse = table["rmse_root_of_mean"]
    for row, guess in (("persistence", states[starts]), ("climatology", climatology)):
        want = np.sqrt(mean((guess - later) ** 2).mean())
        assert rmse[row, "sst", 12] == pytest.approx(want, rel=1e-5)
    anomaly = states - sea.climatology.at(sea.times)[:, 2]
    observed, predicted = anomaly[starts + 2], anomaly[starts + 2] + error
    scale = np.sqrt(mean(predicted**2).mean() * mean(observed**2).mean())
    want = mean(predicted * observed).mean() / scale
    assert table["acc"]["model", "sst", 12] == pytest.approx(want, rel=1e-4)
    fit = fit_trivial(sea, forecast.area, SIX, 4)
    anchors = sea.anchors("train", SIX, 0, 4)
    now, then = anomaly[anchors], anomaly[anchors + 2]
    assert fit.damping[1, 2] == pytest.approx(mean(now * then).sum() / mean(now**2).sum(), rel=1e-5)


def test_a_foreign_forecast_may_have_numbers_there(sea, forecast, result, tmp_path):
    path = rewritten(forecast, tmp_path / "foreign", lambda data: data.fillna(9999.0))
    other = open_forecast(path, sea)
    assert np.isfinite(other.read(slice(0, 2), slice(0, 4), "sst")).all()
    again = score(other, sea)
    for name in ("rmse_root_of_mean", "acc", "bias", "crps"):
        assert np.allclose(again.scorecard[name], result.scorecard[name], equal_nan=True)
    table = compare(forecast, other, sea).table
    assert np.isfinite(table[table["score"] != "acc"]["a"]).all()
    assert np.allclose(table["difference"], 0.0)
    write_report(again, other, sea, tmp_path, None)


def test_a_foreign_forecast_with_gaps_at_sea_is_refused(sea, forecast, tmp_path):
    def gap(data):
        return data.assign(sst=data["sst"].where(data["lon"] > 0))

    path = rewritten(forecast, tmp_path / "gaps", gap)
    refused(lambda: score(open_forecast(path, sea), sea), "sst", "not finite")


def test_distributions_are_scored_over_the_sea(sea, ensemble):
    result = score(ensemble, sea)
    model = result.scorecard[result.scorecard["row"] == "model"].set_index("variable")
    error = 0.5 * np.arange(16) * np.ones((8, 1))
    members = np.stack([error + k - 1.5 for k in range(4)])
    pairs = np.abs(members[:, None] - members[None]).sum((0, 1)) / 12
    want = mean(np.abs(members).mean(0) - 0.5 * pairs)
    assert model["crps"]["sst"].to_numpy() == pytest.approx(want, rel=1e-4)
    spread = np.sqrt(5 / 4 * 5 / 3) / np.sqrt(mean(error**2))
    assert model["spread_skill"]["sst"].to_numpy() == pytest.approx(spread, rel=1e-4)
    shares = result.ranks.groupby(["row", "variable", "lead_hours"])["share"].sum()
    assert np.allclose(shares, 1.0)


def test_ranks_are_of_the_points_that_count():
    area = Area.of(LAT, LON, LAT, LON).without(LAND, "x")
    truth = np.where(LAND, 9.0, 0.5)[None]
    members = np.stack([np.zeros((8, 16)), np.ones((8, 16))])[:, None]
    assert rank_histogram(members, truth, area)[0].tolist() == pytest.approx([0, 1, 0])


def test_a_dress_has_the_size_of_errors_at_sea(sea, forecast, tmp_path):
    write_forecast(Off(sea), sea, tmp_path / "val", lead=4 * SIX, split="val")
    spread = validation_spread(open_forecast(tmp_path / "val", sea), forecast, sea)
    square = np.where(LAND, 0.0, (0.5 * np.arange(16)) ** 2)
    assert np.allclose(spread[:, 2], np.sqrt(square.sum(1) / (~LAND).sum(1)), rtol=1e-4)
    result = score(forecast, sea, open_forecast(tmp_path / "val", sea))
    dressed = result.scorecard[result.scorecard["row"] == "model_dressed"]
    assert np.isfinite(dressed["crps"]).all()


def test_spectra_are_of_whole_variables_and_the_share_is_told(sea, forecast, result, tmp_path):
    assert set(result.spectra["variable"]) == {"u10", "v10"}
    share = (
        1 - (np.cos(np.deg2rad(LAT))[:, None] * ~LAND).sum() / np.cos(np.deg2rad(LAT)).sum() / 16
    )
    line = f"sst: {100 * share:.0f} % of the area is masked and left out"
    result.write(tmp_path)
    rules = json.loads((tmp_path / "rules.json").read_text())
    assert rules["masked"] == line and rules["spectra"].endswith("none of masked variables")
    page = write_report(result, forecast, sea, tmp_path, None).read_text()
    assert f"Grey on the maps: {line}" in page
    both = compare(forecast, forecast, sea)
    page = write_comparison(both, ("a", "b"), sea, tmp_path).read_text()
    assert line in page


def test_a_box_of_land_is_refused_and_one_of_sea_is_whole(sea, forecast, tmp_path):
    def cut(name, **box):
        return open_forecast(rewritten(forecast, tmp_path / name, lambda d: d.isel(**box)), sea)

    land = cut("land", lat=slice(2, 6), lon=slice(3, 9))
    refused(lambda: score(land, sea), "sst: is masked on all points of this area")
    assert "masked" not in score(cut("sea", lat=slice(2, 6), lon=slice(10, 16)), sea).rules


def test_maps_leave_masked_points_grey():
    field = np.where(LAND, np.nan, np.arange(16.0) * np.ones((8, 1)))
    panels = [Panel("state", field), Panel("error", field - 3, "difference")]
    ground = Ground(Area.of(LAT, LON, LAT, LON), None, "K")
    picture = maps([*panels, Panel("spread", field, "spread")], ground)
    assert picture.startswith(b"\x89PNG")
