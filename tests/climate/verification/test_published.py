"""Published rows stand beside ours only where data and split are the published ones."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from forecasters import Oracle

from climate.forecasts.reading import open_forecast
from climate.forecasts.writing import write_forecast
from climate.grids.area import Area
from climate.sample.write import NOTICE
from climate.verification.published import (
    HOURS,
    PERIODS,
    PUBLISHED_LAT,
    PUBLISHED_LON,
    ROWS,
    format_beside,
    tables_beside,
    why_not_comparable,
)

SIX = np.timedelta64(6 * 3600, "s")


@pytest.fixture(scope="module")
def pair(store, tmp_path_factory):
    """A forecast and a store that look like the published ones."""
    path = tmp_path_factory.mktemp("published") / "out"
    write_forecast(Oracle(store), store, path, lead=6 * SIX)
    times = np.arange("2006-01-01T00", "2019-01-01T00", dtype="datetime64[h]")
    published = replace(
        store,
        channels=("z", "t", "t2m", "u10", "v10"),
        lat=PUBLISHED_LAT,
        lon=PUBLISHED_LON,
        times=times.astype("datetime64[s]"),
        splits={k: (np.datetime64(a, "s"), np.datetime64(b, "s")) for k, (a, b) in PERIODS.items()},
        provenance={"title": "ERA5"},
    )
    starts = np.searchsorted(published.times, np.datetime64("2017-01-01T00")) + np.arange(9)
    forecast = open_forecast(path, store)
    return replace(
        forecast,
        starts=starts,
        area=Area.of(PUBLISHED_LAT, PUBLISHED_LON, PUBLISHED_LAT, PUBLISHED_LON),
    ), published


def card() -> pd.DataFrame:
    rows = [("model", v, h, float(h)) for v in ROWS["ClimODE, published"] for h in HOURS]
    return pd.DataFrame(rows, columns=["row", "variable", "lead_hours", "rmse_mean_of_roots"])


def test_the_published_data_and_split_are_recognised(pair):
    assert why_not_comparable(*pair) is None
    text = format_beside(card(), *pair)
    for words in ("ClimODE, published", "102.9", "3.43", "include", "test years", "220.6"):
        assert words in text
    lines = [line.split()[2:] for line in text.splitlines() if ", published" in line]
    assert [line[4] for line in lines[:3]] == ["–", "220.6", "–"]
    assert len(lines) == 15 and {len(line) for line in lines} == {len(HOURS)}
    tables = tables_beside(card(), pair[1])
    assert [*tables] == [*ROWS["ClimODE, published"]]
    assert tables["z"].loc["ClimODE, published", 6] == 102.9


def test_the_numbers_are_those_of_the_papers():
    assert [len(row) for table in ROWS.values() for row in table.values()] == [len(HOURS)] * 15
    none = {name: np.isnan(list(table.values())).sum() for name, table in ROWS.items()}
    assert none == {"ClimODE, published": 5, "CoDiCast, published": 0, "GB-DM, published": 5}
    assert ROWS["ClimODE, published"]["t2m"] == pytest.approx(
        (1.21, 1.45, 1.43, 1.40, np.nan, 1.70), nan_ok=True
    )
    assert ROWS["CoDiCast, published"]["v10"] == (1.31, 1.57, 1.75, 1.95, 2.15, 2.36)
    assert ROWS["GB-DM, published"]["z"] == pytest.approx(
        (114.1, 182.4, 251.2, 307.5, np.nan, 432.1), nan_ok=True
    )


def test_everything_else_is_named(pair):
    forecast, store = pair
    year = np.timedelta64(365, "D")
    late = {**store.splits, "train": (store.splits["train"][0] + year, store.splits["train"][1])}
    box = Area.of(PUBLISHED_LAT[:9], PUBLISHED_LON, PUBLISHED_LAT, PUBLISHED_LON)
    early = replace(forecast, starts=forecast.starts - 24 * 300)
    for changed, words in (
        ((forecast, replace(store, provenance={"comment": NOTICE})), "stand-in"),
        ((forecast, replace(store, channels=("z", "t"))), "the variables are z, t"),
        ((forecast, replace(store, lat=PUBLISHED_LAT[::2])), "grid"),
        ((replace(forecast, area=box), store), "grid"),
        ((forecast, replace(store, splits=late)), "train is 2007"),
        ((forecast, replace(store, times=store.times[9999:])), "do not cover train"),
        ((early, store), "test period"),
        ((forecast.select(np.arange(3), 2), store), "36 h"),
    ):
        reason = why_not_comparable(*changed)
        assert reason and words in reason
        assert format_beside(card(), *changed) == f"published rows are not comparable: {reason}"


def test_published_errors_are_shown_in_the_stores_unit_without_an_offset(pair):
    forecast, store = pair
    units = {"t2m": "degC", "t": "degF", "u10": "knots", "z": "gpm", "v10": "m s-1"}
    attrs = {name: {"units": unit} for name, unit in units.items()}
    text = format_beside(card(), forecast, replace(store, channel_attrs=attrs))
    lines = [line.split() for line in text.splitlines() if line.startswith("ClimODE, published")]
    first = dict(zip(store.channels, (float(line[2]) for line in lines), strict=True))
    assert first == pytest.approx(
        {"z": 102.9 / 9.80665, "t": 1.16 * 1.8, "t2m": 1.21, "u10": 1.41 / 0.514444, "v10": 1.53},
        rel=1e-3,
    )
    wrong = replace(store, channel_attrs=attrs | {"t2m": {"units": "Pa"}})
    assert why_not_comparable(forecast, wrong) == "t2m is in Pa"


def test_no_number_of_the_papers_has_changed():
    """Their sums; and the grid they are on, that of WeatherBench at 5.625°."""
    sums = {n: {v: np.nansum(row) for v, row in table.items()} for n, table in ROWS.items()}
    want = {
        "ClimODE, published": {"z": 853.4, "t": 7.25, "t2m": 7.19, "u10": 9.45, "v10": 9.63},
        "CoDiCast, published": {"z": 1003.9, "t": 8.66, "t2m": 8.18, "u10": 10.62, "v10": 11.09},
        "GB-DM, published": {"z": 1287.3, "t": 8.95, "t2m": 9.23, "u10": 12.0, "v10": 12.65},
    }
    for name, table in want.items():
        assert sums[name] == pytest.approx(table, abs=1e-9)
    assert np.allclose(PUBLISHED_LAT, np.linspace(-87.1875, 87.1875, 32))
    assert np.allclose(PUBLISHED_LON, np.linspace(0, 354.375, 64))
