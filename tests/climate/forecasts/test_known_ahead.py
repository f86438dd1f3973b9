"""States that forecasts are given ahead: the right ones, or one line that says what is missing."""

import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from climate.forecasts import known_ahead as module
from climate.forecasts.access import GIVEN_TRUTH
from climate.forecasts.ahead_sources import Wanted
from climate.forecasts.known_ahead import about, known_ahead
from climate.forecasts.starts import from_store
from climate.grids.regions import parse_region
from climate.store.crop import crop
from vgbdm.errors import InputError

SIX = np.timedelta64(6 * 3600, "s")
BOX = parse_region([-35, 50, 340, 60], 2)
"""Crosses Greenwich; 11 × 11 points of the grid of 11.25° with its halo."""
ROWS, COLUMNS = slice(3, 14), [29, 30, 31, *range(8)]
STARTS = ["2016-01-17T06", "2016-01-17T18"]
NAMES = ("z", "u10", "v10")


def wanted(channels=NAMES, leads=4, members=None, step=SIX):
    return Wanted("boundary", "region.boundary", channels, step, leads, members)


@pytest.fixture(scope="module")
def view(fine_store):
    return crop(fine_store, BOX)


def initial_of(view, starts=STARTS, **options):
    model = SimpleNamespace(
        channels=view.channels,
        statistics_hash=view.statistics.hash,
        step_seconds=21600,
        history=3,
    )
    return from_store(view, model, 0, starts=starts, **options)


@pytest.fixture(scope="module")
def initial(view):
    return initial_of(view)


def truth(store, starts=STARTS, leads=4):
    """(n, leads, C, H, W) of the box and its halo."""
    first = np.searchsorted(store.times, np.array(starts, "M8[s]"))
    frames = first[:, None] + np.arange(1, leads + 1)
    return store.read(0, 80)[frames][..., ROWS, :][..., COLUMNS]


def forecast_of(store, starts, leads, members=0, step=1, **attributes):
    """A global forecast that is the truth plus the hours since its start, and its member."""
    first = np.searchsorted(store.times, np.array(starts, "M8[s]"))
    count = step * np.arange(1, leads + 1)
    values = store.read(0, 80)[first[:, None] + count] + 6.0 * count[:, None, None, None]
    dims = ["time", "lead_time", "lat", "lon"]
    if members:
        values = values[:, None] + 1000.0 * np.arange(members)[:, None, None, None, None]
        dims.insert(1, "realization")
    fields = {
        name: (dims, values[..., c, :, :].astype(np.float32), {"units": unit})
        for c, (name, unit) in enumerate(zip(NAMES, ("m2 s-2", "m s-1", "m s-1"), strict=True))
    }
    coords = {
        "time": np.array(starts, "M8[ns]"),
        "lead_time": count * np.timedelta64(6, "h").astype("m8[ns]"),
        "lat": store.lat,
        "lon": store.lon,
    }
    return xr.Dataset(fields, coords, {"source": "Global model", **attributes})


def all_steps(known, places, members=None):
    return np.stack([*known.steps(np.array(places), members)], 2)


def test_states_of_a_store_are_the_truth_at_the_valid_times(fine_store, initial, monkeypatch):
    known = known_ahead(fine_store.path, wanted(("v10", "z")), initial)
    expected = truth(fine_store)[:, None, :, [2, 0]]
    assert np.array_equal(all_steps(known, [0, 1]), expected)
    assert np.array_equal(all_steps(known, [1], range(2)), expected[1:])
    assert known.sealed == {"boundary": fine_store.digest}
    assert about([known])[GIVEN_TRUTH].startswith("boundary: states of a store")
    monkeypatch.setattr(module, "READ_BYTES", 1)
    read, spans = known.held.read, []
    held = replace(
        known.held, read=lambda at, leads, m: (spans.append(len(leads)), read(at, leads, m))[1]
    )
    assert np.array_equal(all_steps(replace(known, held=held), [0, 1]), expected)
    assert spans == [1, 1, 1, 1]


def test_big_maps_are_read_alike(fine_store, view, initial, monkeypatch):
    known = known_ahead(fine_store.path, wanted(("v10", "z")), initial)
    monkeypatch.setattr(type(fine_store), "is_big", property(lambda _: True))
    again = known_ahead(fine_store.path, wanted(("v10", "z")), initial)
    assert np.array_equal(all_steps(again, [0, 1]), all_steps(known, [0, 1]))


def test_a_forecast_of_the_same_starts_is_taken_lead_by_lead(fine_store, initial):
    dataset = forecast_of(fine_store, ["2016-01-17", *STARTS], 5)
    known = known_ahead(dataset, wanted(), initial)
    hours = 6.0 * np.arange(1, 5)[:, None, None, None]
    expected = (truth(fine_store) + hours).astype(np.float32)
    assert np.array_equal(all_steps(known, [0, 1])[:, 0], expected)
    assert about([known]) == {"boundary": "forecast (Global model) from the same starts"}
    assert known.sealed == {}


def test_of_earlier_starts_the_latest_that_reaches_is_taken_and_none_of_a_later_one(
    fine_store, initial
):
    dataset = forecast_of(fine_store, ["2016-01-16T18", "2016-01-17T06", "2016-01-17T12"], 6)
    known = known_ahead(dataset, wanted(), initial)
    hours = 6.0 * np.arange(1, 5)[:, None, None, None]
    later = truth(fine_store) + hours
    later[1] += 6.0
    np.testing.assert_array_equal(all_steps(known, [0, 1])[:, 0], later.astype(np.float32))
    assert about([known])["boundary"] == "forecast (Global model) from up to 6 h before"
    early = forecast_of(fine_store, ["2016-01-17T12"], 12)
    with pytest.raises(InputError, match="no forecast from 2016-01-17 06:00 or before it"):
        known_ahead(early, wanted(), initial)


def test_members_take_the_member_of_their_number_and_one_forecast_the_mean(fine_store, initial):
    dataset = forecast_of(fine_store, STARTS, 4, members=3)
    known = known_ahead(dataset, wanted(members=3), initial)
    alone = known_ahead(forecast_of(fine_store, STARTS, 4), wanted(), initial)
    base = all_steps(alone, [0, 1])
    assert np.allclose(all_steps(known, [0, 1], range(1, 3)), base + _numbers([1, 2]), atol=1e-3)
    assert np.allclose(all_steps(known, [0, 1]), base + 1000.0, atol=1e-3)
    with pytest.raises(InputError, match=r"holds 3 members, 4 are asked for"):
        known_ahead(dataset, wanted(members=4), initial)


def _numbers(members):
    return 1000.0 * np.array(members)[:, None, None, None, None]


def test_units_are_converted_and_the_attributes_of_given_truth_are_passed_on(fine_store, initial):
    dataset = forecast_of(fine_store, STARTS, 4, **{GIVEN_TRUTH: "forcing: states"})
    known = known_ahead(dataset, wanted(), initial)
    both = about([known, known_ahead(fine_store.path, replace(wanted(), name="f"), initial)])
    assert both[GIVEN_TRUTH] == (
        "boundary: a forecast that was given forcing: states; f: states of a store at the "
        "valid times, which no forecast has"
    )
    assert both.keys() == {GIVEN_TRUTH, "boundary", "f"}
    knots = dataset.assign(u10=(dataset["u10"] * 3.6).assign_attrs(units="km h-1"))
    same = all_steps(known_ahead(knots, wanted(), initial), [0, 1])
    np.testing.assert_allclose(same, all_steps(known, [0, 1]), rtol=1e-5, atol=1e-4)


def test_values_that_are_no_numbers_are_named_but_where_the_model_has_none(fine_store, initial):
    dataset = forecast_of(fine_store, STARTS, 4)
    dataset["u10"][1, 2, 5, 0] = np.nan
    known = known_ahead(dataset, wanted(), initial)
    all_steps(known, [0])
    with pytest.raises(InputError, match=r"u10 of 2016-01-18 12:00 .* start 2016-01-17 18:00"):
        all_steps(known, [0, 1])
    mask = np.zeros((3, 11, 11), bool)
    mask[1, 2, 3] = True
    all_steps(known_ahead(dataset, wanted(), replace(initial, mask=mask)), [0, 1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.drop_vars("v10"), "holds z, u10, no v10; give one that holds z, u10, v10"),
        (lambda d: d.isel(lead_time=slice(3)), "until 2016-01-18 06:00; its 2 forecasts start .* "
         "with leads of 6 h to 18 h"),
        (lambda d: d.isel(lead_time=[1, 3]), "with all leads every 6 h"),
        (lambda d: d.isel(lon=slice(0, 20)), "halo of 2 points, 11 lat from -50.625 to 61.875"),
        (lambda d: d.assign(z=d["z"].assign_attrs(units="K")), "z is in 'K', which does not conv"),
        (lambda d: d.rename(lead_time="lead"), "no lead_time with its values"),
    ],
)  # fmt: skip
def test_forecasts_that_do_not_serve_are_refused(fine_store, initial, change, words):
    with pytest.raises(InputError, match=r"region.boundary=\(dataset\): [^\n]*" + words):
        known_ahead(change(forecast_of(fine_store, STARTS, 4)), wanted(), initial)


def test_stores_that_do_not_serve_are_refused(fine_store, store, view, initial, tmp_path):
    where = re.escape(f"region.boundary={fine_store.path}: ")
    last = initial_of(view, ["2016-01-20T06"])
    held = "2 of 2016-01-21|has no state of 2016-01-21, which 1 of 1 forecasts need; wanted are "
    with pytest.raises(InputError, match=where + rf"({held})states until 2016-01-21 06:00, it "):
        known_ahead(fine_store.path, wanted(), last)
    with pytest.raises(InputError, match=r"holds z, u10, v10, no sst"):
        known_ahead(fine_store.path, wanted(("sst",)), initial)
    three = np.timedelta64(3 * 3600, "s")
    with pytest.raises(InputError, match=r"step=3h: not a multiple of the store's step, 6 h"):
        known_ahead(fine_store.path, wanted(step=three), initial)
    with pytest.raises(InputError, match="region="):
        known_ahead(store.path, wanted(), initial)
    with pytest.raises(InputError, match="no such store or forecast"):
        known_ahead(tmp_path / "none", wanted(), initial)
    with pytest.raises(InputError, match="in memory, not DataArray"):
        known_ahead(xr.DataArray(), wanted(), initial)
    shutil.copytree(fine_store.path, tmp_path / "store")
    (tmp_path / "store/manifest.json").unlink()
    (tmp_path / "store/.conversion").mkdir(exist_ok=True)
    with pytest.raises(InputError, match="not finished"):
        known_ahead(tmp_path / "store", wanted(), initial)


def test_a_forecast_of_the_box_and_halo_serves_as_a_global_one_does(fine_store, initial):
    dataset = forecast_of(fine_store, STARTS, 4)
    box = dataset.isel(lat=ROWS, lon=COLUMNS)
    whole, part = (known_ahead(d, wanted(), initial) for d in (dataset, box))
    assert np.array_equal(all_steps(whole, [0, 1]), all_steps(part, [0, 1]))


def test_forecasts_of_a_split_whose_model_was_trained_on_it_are_refused(fine_store, view):
    seen = {
        "training_period": "2016-01-01/2016-01-17",
        "validation_period": "2016-01-18/2016-01-19",
    }
    dataset = forecast_of(fine_store, fine_store.times[60:72].astype(str), 4, **seen)
    initial = initial_of(view, None, split="test")
    with pytest.raises(InputError, match="trained on what is forecast"):
        known_ahead(dataset, wanted(), initial)
