"""States in memory forecast as those of a store do, however they lie; what is not the model's is
refused in one line."""

import datetime as dt
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from forecasters import Calibrated
from weather import make_model, shake

from climate.forecasts.forecasting import Settings
from climate.forecasts.starts import find_windows, from_store, parse_starts
from climate.forecasts.states import from_arrays
from climate.forecasts.writing import make_forecast, write_forecast
from climate.grids.regions import Region
from climate.models.domain import Domain
from climate.store.crop import crop
from vgbdm.errors import InputError

SIX, HOUR = np.timedelta64(6 * 3600, "s"), np.timedelta64(1, "h")
UNITS = {"z": "m2 s-2", "u10": "m s-1", "v10": "m s-1"}
FIVE = np.timedelta64(5, "h")
START = "2016-01-18T06"


def model_of(store, history=3):
    """A model of a store's domain with weights that are not its start's."""
    domain = Domain.from_store(store, SIX, [("u10", "v10")], history)
    model = make_model(physics=False, alter=lambda _: domain)
    shake(model)
    return model.eval()


def states_of(store, times=slice("2016-01-17", "2016-01-18")):
    """The store's own states as anybody's dataset."""
    values = store.read(0, len(store.times))
    coords = {"time": store.times.astype("M8[ns]"), "lat": store.lat, "lon": store.lon}
    held = {
        name: (("time", "lat", "lon"), values[:, c], {"units": UNITS[name]})
        for c, name in enumerate(store.channels)
    }
    return xr.Dataset(held, coords).sel(time=times)


@pytest.fixture(scope="module")
def model(store):
    return model_of(store)


@pytest.fixture(scope="module")
def expected(store, model):
    """What the model forecasts from the store."""
    return make_forecast(model, from_store(store, model, 2, starts=START), Settings(2 * SIX))


def forecast(model, data, starts=START):
    return make_forecast(model, from_arrays(data, model, starts), Settings(2 * SIX))


def same_fields(one, other, **tolerance):
    assert np.array_equal(one["time"], other["time"])
    for name in UNITS:
        assert one[name].attrs == other[name].attrs
        np.testing.assert_allclose(one[name], other[name], **({"rtol": 0} | tolerance))


def test_states_in_memory_forecast_as_the_store_does(store, model, expected):
    made = forecast(model, states_of(store))
    same_fields(made, expected)
    assert made["u10"].dims == ("time", "lead_time", "lat", "lon")
    assert made["valid_time"].values[0, -1] == np.datetime64("2016-01-18T18", "ns")
    assert {**expected.attrs, "store_digest": 0}.keys() - made.attrs.keys() == {"store_digest"}
    assert expected["z"].std() > 1


def flipped(data):
    return data.isel(lat=slice(None, None, -1))


def from_greenwich_westwards(data):
    return data.assign_coords(lon=(data["lon"] + 180) % 360 - 180).sortby("lon")


def doubles_in_other_units(data):
    changed = data.astype(np.float64)
    changed["z"] = (data["z"] / 9.80665).assign_attrs(units="gpm")
    changed["u10"] = (data["u10"] * 3.6).assign_attrs(units="km/h")
    return changed


def zoned_objects(data):
    zone = dt.timezone(dt.timedelta(hours=5))
    times = [time.to_pydatetime().replace(tzinfo=zone) for time in data.indexes["time"] + FIVE]
    return data.assign_coords(time=np.array(times, object))


def packed(data):
    whole = (10 * data["u10"]).round().astype(np.int16)
    return data.assign(u10=whole.assign_attrs(data["u10"].attrs, scale_factor=0.1))


def spreads(data):
    return data.assign(u10=data["u10"].assign_attrs(cell_methods="time: standard_deviation"))


def infinite(data):
    return data.where((data["lat"] != data["lat"][0]) | (data["lon"] > 0), np.inf)


def one_array(data):
    return data.to_dataarray("channel").transpose("lon", "time", "channel", "lat")


def on_levels(data):
    two = xr.concat([data["z"] + 5e4, data["z"]], "level").assign_attrs(units="m2 s-2")
    level = xr.Variable("level", [300, 500], {"units": "hPa"})
    return data.drop_vars("z").assign(z=two).assign_coords(level=level)


@pytest.mark.parametrize(
    "change",
    [
        flipped, from_greenwich_westwards, doubles_in_other_units, one_array,
        lambda data: data.transpose("lon", "lat", "time"),
        lambda data: data.isel(time=slice(None, None, -1)),
        lambda data: data.rename(lat="latitude", lon="longitude").expand_dims(number=1),
        lambda data: data.chunk({"time": 7}),
        lambda data: data.convert_calendar("standard", use_cftime=True),
        lambda data: data.assign_coords(time=data.indexes["time"].tz_localize("UTC")),
        lambda data: data.assign_coords(time=data.indexes["time"].tz_localize("Etc/GMT-5") + FIVE),
        zoned_objects,
    ],
)  # fmt: skip
def test_however_they_lie_and_whatever_they_are_in(store, model, expected, change):
    same_fields(forecast(model, change(states_of(store))), expected, atol=2e-3)


def test_a_level_is_found_by_the_name_of_the_channel(store, expected):
    domain = Domain.from_store(store, SIX, [("u10", "v10")], 3)
    named = replace(domain, channels=("z500", "u10", "v10"))
    model = make_model(physics=False, alter=lambda _: named)
    shake(model)
    made = forecast(model, on_levels(states_of(store)))
    np.testing.assert_allclose(made["z500"], expected["z"], atol=2e-3)
    pascals = on_levels(states_of(store)).isel(level=[1, 0])
    level = xr.Variable("level", [50000.0, 30000.0], {"units": "Pa"})
    other = forecast(model, pascals.assign_coords(level=level))
    np.testing.assert_array_equal(other["z500"], made["z500"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.isel(level=[0]), "z has the levels 300 hPa, the model wants 500 hPa"),
        (lambda d: d.isel(level=[1, 1]), "z: level 500 hPa comes twice; drop one"),
        (lambda d: d.assign_coords(level=("level", [300, 500], {"units": "m"})), "300, 500 m"),
        (lambda d: d.isel(level=0).rename(z="z500"), "z500 has the levels 300 hPa"),
        (lambda d: d.isel(level=0, drop=True), "z has no levels, the model wants 500 hPa"),
    ],
)
def test_another_level_than_that_of_the_name_is_refused(store, change, words):
    domain = Domain.from_store(store, SIX, [("u10", "v10")], 3)
    named = replace(domain, channels=("z500", "u10", "v10"))
    model = make_model(physics=False, alter=lambda _: named)
    with pytest.raises(InputError, match=words):
        forecast(model, change(on_levels(states_of(store))))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.drop_vars("z"), "states: holds u10, v10, no z; the model wants z, u10, v10"),
        (lambda d: d.assign(z=d["z"].assign_attrs(units="K")), "does not convert to m2 s-2"),
        (lambda d: d.assign(u10=d["u10"] + 1e3), "no wind"),
        (lambda d: d.where(d["lat"] < 60), "no number at 16 of 128 points"),
        (lambda d: d.isel(lat=slice(0, 6)), "do not span|the model's are"),
        (lambda d: d.isel(time=[-1]), r"only|holds no|no state"),
        (lambda d: xr.concat([d, d], "time"), "comes twice"),
        (lambda d: d["z"].drop_attrs().rename("x"), "names no channels"),
        (lambda d: d.drop_vars("time"), "its axis time has no times"),
        (on_levels, r"z has the levels 300, 500 hPa, the model's has one"),
        (packed, "u10 is packed; unpack it first"),
        (infinite, "no number at 1 of 128 points; fill in"),
        (spreads, "u10 says of itself to be differences or spreads; give states"),
        (lambda d: d.rename(u10="u"), "holds z, u, v10, no u10"),
        (lambda d: one_array(d).assign_attrs(units="km/h"), "does not convert to m2 s-2"),
        (lambda d: d.drop_vars("lat"), "its dimension lat has no numbers; give its degrees"),
        (lambda d: d.isel(lat=slice(0, 0)), "its latitude has no points"),
        (lambda d: d.assign_coords(lat=d["lat"].where(d["lat"] < 60)), "latitude has missing"),
        (lambda d: d.assign_coords(lat=d["lat"] + 1), "the model's are 8 lat from -78.75 to 78.75"),
        (lambda d: d.rename(time="when"), "times along when, which is not named time; rename it"),
        (lambda d: d.rename_dims(time="i"), "swap_dims(i='time') first"),
        (lambda d: d.convert_calendar("noleap"), "convert_calendar('standard')"),
        (lambda d: d.assign_coords(time=d["time"].values.astype(str)), "pandas.to_datetime"),
        (
            lambda d: d.assign_coords(time=d["time"].values.astype(str).astype(object)),
            "cannot be read, the first is '2016-01-17T00:00:00",
        ),
        (lambda d: d.isel(time=slice(0, None, 12)), "no state of .* holds 4 times 12 h apart"),
    ],
)
def test_what_is_not_the_models_is_one_line(store, model, change, words):
    with pytest.raises(InputError, match=re.sub(r"([()])", r"\\\1", words)) as error:
        forecast(model, change(states_of(store)))
    assert "\n" not in str(error.value)
    assert "source.fields" not in str(error.value)


def test_a_short_history_says_what_is_wanted(store, model):
    short = states_of(store).sel(time=slice("2016-01-18", None))
    with pytest.raises(InputError, match=r"4 states 6 h apart.*no state of 2016-01-17 18:00"):
        forecast(model, short)
    single = states_of(store).sel(time=START)
    with pytest.raises(InputError, match="holds only 2016-01-18 06:00; the model starts from 4"):
        forecast(model, single, "latest")
    without = model_of(store, history=0)
    made = forecast(without, single, "latest")
    assert made.sizes["time"] == 1


def test_a_region_is_cut_out_of_the_globe_with_its_halo(fine_store):
    region = Region("box", -35, 50, 340, 60, 2)
    part = crop(fine_store, region)
    model = model_of(part)
    wanted = make_forecast(model, from_store(part, model, 2, starts=START), Settings(2 * SIX))
    for change in (lambda d: d, from_greenwich_westwards):
        made = forecast(model, change(states_of(fine_store)))
        assert made.sizes["lat"] < len(part.lat)
        assert made.attrs["region"] == "box"
        np.testing.assert_allclose(made["lon"], wanted["lon"])
        same_fields(made, wanted)


def test_starts_in_one_month_of_a_monthly_model_are_one():
    month = np.timedelta64(1, "M")
    clock = np.arange(np.datetime64("2017-01"), np.datetime64("2018-01")).astype("M8[s]")
    assert len(find_windows(clock, month, 0, ["2017-03", "2017-03-15"], "here")) == 1


def test_what_the_caller_gives_is_named_as_the_caller_names_it(store, model):
    with pytest.raises(InputError, match=r"^start: states has no state of"):
        forecast(model, states_of(store), "2030-01-01")
    with pytest.raises(InputError, match=r"^start: store .* has no state of"):
        from_store(store, model, 1, starts="2030-01-01", argument="start")


def test_the_latest_start_is_the_last_that_has_its_history(store, model):
    clock = store.times[np.arange(len(store.times)) != len(store.times) - 19]
    windows = find_windows(clock, SIX, 3, "latest", "here")
    assert clock[windows[0, -1]] == store.times[-2]
    assert (np.diff(clock[windows[0]]) == SIX).all()


def test_forecasts_go_on_past_the_end_of_the_store(store, model, tmp_path):
    write_forecast(model, store, tmp_path / "out", lead=4 * SIX, starts="latest")
    made = xr.open_zarr(tmp_path / "out", consolidated=False)
    assert made["time"].values == store.times[-1].astype("M8[ns]")
    assert made["valid_time"].values.max() == (store.times[-1] + 4 * SIX).astype("M8[ns]")
    assert "split" not in made.attrs
    asked = ["2016-01-18", "2016-01-17T12"]
    several = from_store(store, model, 99, starts=asked)
    assert several.times.astype(str).tolist() == ["2016-01-17T12:00:00", "2016-01-18T00:00:00"]
    with pytest.raises(InputError, match="has no state of 2030-01-01; it holds 480 times"):
        from_store(store, model, 1, starts=["2030-01-01"])


@pytest.mark.parametrize("given", ["yesterday", 2018, "2018", [], [None], "now", "-1", {"a": 1}])
def test_what_is_no_time_is_refused(given):
    with pytest.raises(InputError, match="starts="):
        parse_starts(given)


def test_times_of_every_kind_are_read():
    wanted = np.datetime64("2018-01-01T06", "s")
    for given in (
        "2018-01-01T06", np.datetime64("2018-01-01T06"), dt.datetime(2018, 1, 1, 6),
        pd.Timestamp("2018-01-01 06:00"), pd.DatetimeIndex(["2018-01-01T06:00"]),
        xr.DataArray(np.array(["2018-01-01T06"], "M8[ns]")), "2018-01-01T06:00Z",
        "2018-01-01T07:00+01:00", "20180101T06", {"2018-01-01 06"}, iter(["2018-01-01T06"]),
        dt.datetime(2018, 1, 1, 7, tzinfo=dt.timezone(dt.timedelta(hours=1))),
        pd.Timestamp("2018-01-01 07:00", tz="Europe/Berlin"),
    ):  # fmt: skip
        assert parse_starts(given).tolist() == [wanted.item()]


def test_an_ensemble_has_its_members_in_memory_too(store):
    model = Calibrated(store)
    initial = from_store(store, model, 2, starts=START)
    made = make_forecast(model, initial, Settings(2 * SIX, members=3, seed=5))
    assert made["v10"].dims == ("time", "realization", "lead_time", "lat", "lon")
    assert made["v10"].std("realization").min() > 0
