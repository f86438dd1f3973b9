"""Members that are drawn by opposite numbers, and what is made of their scores."""

import numpy as np
import xarray as xr
from forecasters import Calibrated
from refusals import refused

from climate.forecasts.reading import open_forecast
from climate.forecasts.writing import write_forecast
from climate.verification.scorecard import score

SIX = np.timedelta64(6, "h")


def test_members_in_pairs_are_opposite_about_the_same(store, tmp_path):
    model = Calibrated(store)
    for name, members in (("four", 4), ("three", 3)):
        write_forecast(model, store, tmp_path / name, lead=SIX, members=members, batch=2)
    four, three = (open_forecast(tmp_path / name, store) for name in ("four", "three"))
    assert four.mirrored and not three.mirrored
    members = four.dataset["u10"].values
    centres = (members[:, ::2] + members[:, 1::2]) / 2
    assert np.allclose(centres[:, 0], centres[:, 1], atol=1e-3)
    assert np.array_equal(members[:, [0, 2]], three.dataset["u10"].values[:, :2])


def test_a_forecast_in_pairs_scores_like_one_of_independent_members(store, tmp_path):
    """Also where other programs take every second member; the errors of the mean are fewer."""
    found = {}
    for name, pairs in (("pairs", True), ("free", False)):
        write_forecast(
            Calibrated(store), store, tmp_path / name, lead=SIX, members=8, pairs=pairs
        )  # fmt: skip
        scored = score(open_forecast(tmp_path / name, store), store)
        assert ("members" in scored.rules) == pairs
        card = scored.scorecard
        found[name] = card[card["row"] == "model"].set_index("variable")
        ranks = scored.ranks[scored.ranks["row"] == "model"]
        counted = 5 if pairs else 9  # among one of each pair
        assert set(ranks["rank"]) == set(range(counted))
        assert np.allclose(ranks["share"] * counted, 1, atol=0.15)
    dataset = xr.open_zarr(tmp_path / "pairs", consolidated=False)
    half = open_forecast(dataset.isel(realization=slice(None, None, 2)), store)
    card = score(half, store).scorecard
    found["half"] = card[card["row"] == "model"].set_index("variable")
    assert not half.mirrored
    for name in ("half", "pairs"):
        assert np.allclose(found[name]["crps"], found["free"]["crps"], rtol=0.03)
        assert np.allclose(found[name]["spread_skill"], 1, atol=0.04)
    assert (found["pairs"]["rmse_root_of_mean"] < 0.97 * found["free"]["rmse_root_of_mean"]).all()


def test_half_of_some_pairs_is_refused(store, tmp_path):
    write_forecast(Calibrated(store), store, tmp_path / "out", lead=SIX, members=4)
    dataset = xr.open_zarr(tmp_path / "out", consolidated=False)
    turned = open_forecast(dataset.isel(realization=[1, 0, 3, 2]), store)
    assert turned.mirrored
    alone = xr.Dataset({name: dataset[name] for name in dataset.data_vars})  # without attributes
    assert open_forecast(alone.assign_attrs(statistics_hash=store.statistics.hash), store).mirrored
    for members in ([0, 1, 2], [0, 1], [0, 2, 1, 3], [0, 1, 0, 1]):
        part = dataset.isel(realization=members)
        refused(lambda part=part: open_forecast(part, store), "drawn in pairs", "whole pairs")
