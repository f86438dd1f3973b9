"""A trained model forecasts any store that fits, with its own statistics; and what does not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from builders import LAT, LON, SPLITS, make_store, source
from hydra import compose, initialize_config_dir
from runs import CONFIGS

from climate.conversion.convert import convert
from climate.forecasts.compatibility import outside_training
from climate.forecasts.reading import open_forecast
from climate.forecasts.writing import write_forecast
from climate.report.pages import write_report
from climate.store.layout import open_store
from climate.training.run import build_model
from climate.verification.scorecard import score
from vgbdm.errors import InputError

SIX = np.timedelta64(21600, "s")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The store that the model is trained on."""
    return make_store(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def other(own, tmp_path_factory):
    """The same weather, converted with a shorter training period: other statistics."""
    splits = SPLITS | {"train": ["2016-01-02", "2016-01-05"]}
    path = tmp_path_factory.mktemp("other") / "store"
    convert(source(own.path.parent / "files").open(), path, splits, source={})
    return open_store(path)


@pytest.fixture
def model(own):
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        cfg = compose("train_era5", ["store=s", "run_dir=r", "size=tiny"])
    field = build_model(cfg, own)[0]
    torch.nn.init.normal_(field.trunk.last.weight, std=0.1)
    return field


def test_a_model_forecasts_a_store_of_other_statistics_with_its_own(own, other, model, tmp_path):
    assert own.statistics.hash != other.statistics.hash
    for name, store in (("own", own), ("other", other)):
        write_forecast(model, store, tmp_path / name, lead=2 * SIX)
    first, second = (xr.open_zarr(tmp_path / n, consolidated=False) for n in ("own", "other"))
    xr.testing.assert_equal(first, second)
    assert second.attrs["training_period"] == "2016-01-01T00:00:00/2016-01-12T23:00:00"
    assert second.attrs["statistics_hash"] == own.statistics.hash
    cards = [score(open_forecast(tmp_path / "other", s), s).scorecard for s in (own, other)]
    rows = [card[card["row"] == "model"]["rmse_root_of_mean"].to_numpy() for card in cards]
    assert np.allclose(rows[0], rows[1])


def test_a_forecast_is_not_scored_on_what_its_model_was_trained_on(own, model, tmp_path):
    write_forecast(model, own, tmp_path / "out", lead=SIX)
    dataset = xr.open_zarr(tmp_path / "out", consolidated=False).load()
    for key, word in (("training_period", "training"), ("validation_period", "validation")):
        changed = dataset.assign_attrs({key: "2016-01-17T00:00:00/2016-01-18T00:00:00"})
        changed.to_zarr(tmp_path / word, zarr_format=3, consolidated=False)
        with pytest.raises(InputError, match=f"overlaps the model's {word} period"):
            open_forecast(tmp_path / word, own)


def test_a_model_that_does_not_tell_its_period_wants_its_own_store(own, other, model, tmp_path):
    model.domain = replace(model.domain, periods=None, units=None, seen=None)
    write_forecast(model, own, tmp_path / "own", lead=SIX)
    with pytest.raises(InputError, match="does not record its training period"):
        write_forecast(model, other, tmp_path / "other", lead=SIX)
    with pytest.raises(InputError, match="does not record the period of its model's training"):
        open_forecast(tmp_path / "own", other)


def test_what_does_not_fit_is_refused_in_one_line(other, model, tmp_path):
    units = {name: dict(attrs) for name, attrs in other.channel_attrs.items()}
    units["u10"]["units"] = "knots"
    for changed, words in (
        ({"channels": ("z", "v10", "u10")}, "has channels z,v10,u10, the model was trained on"),
        ({"channel_attrs": units}, "u10 is in 'knots', the model was trained on"),
        ({"lat": LAT / 2}, "its lat is 8 values from -39.375 to 39.375, the model's 8 values"),
        ({"lon": LON[::2]}, "its lon is 8 values from 0 to 315, the model's 16 values"),
        ({"step": np.timedelta64(4 * 3600, "s")}, "not a multiple of the store's"),
    ):
        with pytest.raises(InputError, match=words) as refusal:
            write_forecast(model, replace(other, **changed), tmp_path / "out", lead=SIX)
        assert "\n" not in str(refusal.value)
        assert not (tmp_path / "out").exists()


def test_spellings_of_one_unit_fit(other, model, tmp_path):
    units = {name: dict(attrs) for name, attrs in other.channel_attrs.items()}
    spelled = {"z": "m**2 s**-2", "u10": "m s**-1", "v10": ""}
    for name, text in spelled.items():
        units[name]["units"] = text
    write_forecast(model, replace(other, channel_attrs=units), tmp_path / "out", lead=SIX)


def test_scorecard_and_report_say_what_lies_outside_of_training(own, model, tmp_path):
    write_forecast(model, own, tmp_path / "forecast", lead=SIX)
    forecast = open_forecast(tmp_path / "forecast", own)
    line = forecast.outside_training
    assert "starts (2016-01-16 to 2016-01-20) lie outside the season of training" in line
    assert "(1 January to 12 January), up to 8 days from it" in line
    result = score(forecast, own)
    assert result.rules["outside_training"] == line
    page = write_report(result, forecast, own, tmp_path, None).read_text()
    assert page.index("Outside of training:") < page.index("Skill against lead time")
    assert "trained on 2016-01-01 … 2016-01-12 23:00" in page


def test_inside_of_training_nothing_is_said():
    times = np.array(["2016-01-03", "2017-01-04"], "M8[s]")
    assert outside_training({"season": ((0.0, 0.03),), "day": ((0.0, 1.0),)}, times) == ""
    assert outside_training(None, times) == ""
