"""Forecasts in other units than the store's: converted and said, or refused."""

import logging

import numpy as np
import pytest
import xarray as xr
from builders import make_store
from forecasters import Oracle

from climate.forecasts.reading import open_forecast
from climate.forecasts.writing import write_forecast
from climate.verification.comparison import compare
from climate.verification.scorecard import score
from vgbdm.errors import InputError

SIX = np.timedelta64(6 * 3600, "s")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("warm"), ("z", "t2m", "u10", "v10"))


@pytest.fixture(scope="module")
def forecast(store, tmp_path_factory):
    path = tmp_path_factory.mktemp("forecast") / "out"
    write_forecast(Oracle(store), store, path, lead=2 * SIX)
    return path


def rewritten(forecast, path, name, unit, change=lambda values: values, kept=True):
    with xr.open_zarr(forecast, consolidated=False) as dataset:
        data = dataset.load()
    for variable in data.variables:
        data[variable].encoding = {}
    attributes = {k: v for k, v in data[name].attrs.items() if k != "units"}
    data[name] = change(data[name]).assign_attrs(attributes | ({"units": unit} if unit else {}))
    data.attrs = data.attrs if kept else {}
    data.to_zarr(path, zarr_format=3, consolidated=False)
    return path


OTHERS = [
    ("t2m", "degC", lambda x: x - np.float32(273.15)),
    ("u10", "knots", lambda x: x / np.float32(0.514444444)),
    ("z", "gpm", lambda x: x / np.float32(9.80665)),
]


@pytest.mark.parametrize("kept", [True, False], ids=["hashed", "foreign"])
@pytest.mark.parametrize(("name", "unit", "change"), OTHERS)
def test_a_forecast_in_another_unit_is_converted(
    store, forecast, tmp_path, caplog, name, unit, change, kept
):
    path = rewritten(forecast, tmp_path / "f", name, unit, change, kept)
    with caplog.at_level(logging.INFO):
        other = open_forecast(path, store)
    assert f"{name}: {unit} is converted to the store's" in caplog.text
    own = open_forecast(forecast, store)
    some = slice(0, 3), slice(0, own.leads)
    assert np.allclose(other.read(*some, name), own.read(*some, name), atol=1e-3)


def test_scores_and_differences_know_no_offset(store, forecast, tmp_path):
    """A forecast wrong by 1 degC is wrong by 1 K, and by as much worse than a perfect one."""
    path = rewritten(forecast, tmp_path / "f", "t2m", "degC", lambda x: x - np.float32(272.15))
    other, own = open_forecast(path, store), open_forecast(forecast, store)
    card = score(other, store).scorecard
    line = card[(card["row"] == "model") & (card["variable"] == "t2m")]
    assert np.allclose(line["rmse_root_of_mean"], 1.0, atol=1e-3)
    assert np.allclose(line["bias"], 1.0, atol=1e-3)
    table = compare(other, own, store).table
    table = table[(table["variable"] == "t2m") & (table["score"] == "rmse_root_of_mean")]
    assert np.allclose(table["difference"], 1.0, atol=1e-3)


@pytest.mark.parametrize("unit", ["Pa", "furry"])
def test_another_quantity_is_refused(store, forecast, tmp_path, unit):
    path = rewritten(forecast, tmp_path / "f", "t2m", unit)
    with pytest.raises(InputError, match=f"t2m is in '{unit}', which .*; write it in K"):
        open_forecast(path, store)


def test_a_forecast_without_units_has_the_stores(store, forecast, tmp_path):
    path = rewritten(forecast, tmp_path / "f", "t2m", None)
    assert not open_forecast(path, store).conversions


def test_the_reported_celsius_forecast(store, forecast, tmp_path, case):
    case.celsius_forecast(forecast, tmp_path)
    own = open_forecast(forecast, store)
    for kind in ("hashed", "foreign"):
        other = open_forecast(tmp_path / kind, store)
        table = compare(other, own, store).table
        table = table[(table["variable"] == "t2m") & (table["score"] == "rmse_root_of_mean")]
        assert np.allclose(table["difference"], 0.0, atol=1e-3)
