"""Forecast files, read unchanged by xarray and scored by a public package, agree with our scores.

The package is `scores` (Leeuwenburg et al. 2024); WeatherBench-X is not on PyPI.
"""

import numpy as np
import pytest
import xarray as xr
from forecasters import Calibrated, Oracle
from scores import continuous, probability
from scores.functions import create_latitude_weights

from climate.forecasts.reading import open_forecast
from climate.forecasts.writing import write_forecast
from climate.verification.scorecard import score

SIX = np.timedelta64(6 * 3600, "s")
SPACE = ["time", "lead_time"]


@pytest.fixture(scope="module", params=[1, 6])
def case(request, store, tmp_path_factory):
    """Ours, the file as xarray opens it, and the truth at its valid times as a dataset."""
    path, members = tmp_path_factory.mktemp("public") / "out", request.param
    model = Oracle(store, 0.5) if members == 1 else Calibrated(store)
    write_forecast(model, store, path, lead=2 * SIX, members=members, pairs=False)
    ours = score(open_forecast(path, store), store).scorecard
    dataset = xr.open_zarr(path, consolidated=False)
    states = xr.open_zarr(store.path, consolidated=False)["state"]
    truth = states.sel(time=dataset["valid_time"].drop_vars("valid_time"))
    truth = truth.assign_coords(time=dataset["time"])
    return ours[ours["row"] == "model"].set_index(["variable", "lead_hours"]), dataset, truth


@pytest.mark.parametrize("channel", ["z", "u10"])
def test_scores_agree(case, channel):
    ours, dataset, truth = case
    observed = truth.sel(channel=channel).drop_vars("channel").astype("float64")
    members = dataset[channel].astype("float64")
    ensemble = "realization" in members.dims
    mean = members.mean("realization") if ensemble else members
    weights = create_latitude_weights(dataset["lat"])
    table = ours.loc[channel]
    each = continuous.mse(mean, observed, preserve_dims=SPACE, weights=weights)
    found = {
        "rmse_root_of_mean": np.sqrt(each.mean("time")),
        "rmse_mean_of_roots": np.sqrt(each).mean("time"),
        "bias": continuous.additive_bias(
            mean, observed, preserve_dims="lead_time", weights=weights
        ),
    }
    if ensemble:
        found["crps"] = probability.crps_for_ensemble(
            members, observed, "realization", method="fair", preserve_dims="lead_time",
            weights=weights,
        )  # fmt: skip
    else:
        found["crps"] = continuous.mae(mean, observed, preserve_dims="lead_time", weights=weights)
    for name, theirs in found.items():
        assert table[name].to_numpy() == pytest.approx(theirs.values, rel=1e-5, abs=1e-7), name


def test_ranks_agree(store, case):
    _, dataset, truth = case
    if "realization" not in dataset.dims:
        pytest.skip("one forecast has no ranks")
    weights = create_latitude_weights(dataset["lat"])
    theirs = probability.rank_histogram(
        dataset["v10"], truth.sel(channel="v10").drop_vars("channel"), "realization",
        preserve_dims="lead_time", weights=weights,
    )  # fmt: skip
    path = dataset.encoding["source"]
    ranks = score(open_forecast(path, store), store).ranks
    own = ranks[(ranks["row"] == "model") & (ranks["variable"] == "v10")]
    ours = own.set_index(["lead_hours", "rank"])["share"]
    found = theirs.transpose("lead_time", ...).values
    assert ours.to_numpy().reshape(2, 7) == pytest.approx(found, abs=1e-5)
