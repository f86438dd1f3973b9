"""Made-up states on WeatherBench's grid and dates, converted and forecast: the rows appear."""

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from forecasters import Oracle

from climate.conversion.convert import convert
from climate.forecasts.reading import open_forecast
from climate.forecasts.writing import write_forecast
from climate.store.layout import open_store
from climate.verification.published import (
    PERIODS,
    PUBLISHED_LAT,
    PUBLISHED_LON,
    ROWS,
    format_beside,
)
from climate.verification.scorecard import score

pytestmark = pytest.mark.slow
UNITS = {"z": "m2 s-2", "t": "K", "t2m": "K", "u10": "m s-1", "v10": "m s-1"}
LEVELS = {"z": 54000.0, "t": 280.0, "t2m": 285.0, "u10": 0.0, "v10": 0.0}
STEP = np.timedelta64(6 * 3600, "s")


class SixHourly(Oracle):
    """Of a store whose step is its own; reads no more than it forecasts."""

    def truth(self, times, steps):
        import torch

        index = np.searchsorted(self.store.times.astype(np.int64), times.numpy())
        return torch.stack([
            torch.as_tensor(np.array(self.store.read(k + 1, k + 1 + steps))) for k in index
        ])  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Thirteen six-hourly years of a few waves."""
    times = np.arange("2006-01-01T00", "2019-01-01T00", 6, dtype="datetime64[h]")
    turns = da.from_array(np.arange(len(times), dtype=np.float32), chunks=720)[:, None, None]
    lat = np.deg2rad(PUBLISHED_LAT).astype(np.float32)[None, :, None]
    lon = np.deg2rad(PUBLISHED_LON).astype(np.float32)[None, None, :]
    axes = {"time": times.astype("datetime64[ns]"), "lat": PUBLISHED_LAT, "lon": PUBLISHED_LON}
    fields = {
        name: (("time", "lat", "lon"), level + 9 * np.cos(lat) * da.sin((k + 1) * lon - turns / 9),
               {"units": UNITS[name]})
        for k, (name, level) in enumerate(LEVELS.items())
    }  # fmt: skip
    path = tmp_path_factory.mktemp("published") / "store"
    convert(xr.Dataset(fields, axes), path, PERIODS, source={}, scheduler="synchronous")
    return open_store(path)


def test_published_rows_stand_beside_a_forecast_of_their_own_test_years(store, tmp_path):
    starts = ["2017-03-01T00", "2018-06-01T12"]
    write_forecast(SixHourly(store, 2.0), store, tmp_path / "f", lead=6 * STEP, starts=starts)
    forecast = open_forecast(tmp_path / "f", store)
    card = score(forecast, store).scorecard
    text = format_beside(card, forecast, store)
    assert all(text.count(name) == 5 for name in ROWS)
    model = [line.split()[1:] for line in text.splitlines() if line.startswith("model")]
    assert model == [["2"] * 6] * 5
    attrs = {**store.channel_attrs, "t2m": {"units": "Pa"}}
    early = {**store.splits, "test": (store.splits["test"][0], np.datetime64("2017-12-31T23"))}
    for other, words in (
        (replace(store, channel_attrs=attrs), "t2m is in Pa"),
        (replace(store, lat=store.lat + 0.5), "the grid is not"),
        (replace(store, splits=early), "test is 2017-01-01"),
    ):
        told = format_beside(card, forecast, other)
        assert words in told and told.startswith("published rows are not comparable")
