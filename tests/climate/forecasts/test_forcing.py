"""Forecasts of models that are given some channels ahead and are told nothing of others."""

import numpy as np
import pytest
import torch
import xarray as xr
from refusals import refused
from seas import LAND, driven_dataset, make_driven_store, make_sea_store, sst
from weather import make_latents, make_model, shake

import vgbdm
from climate.forecasts import known_ahead
from climate.forecasts.reading import open_forecast
from climate.forecasts.writing import write_forecast
from climate.grids.regions import Region
from climate.models.domain import Domain
from climate.store.crop import crop
from climate.verification.comparison import compare
from climate.verification.scorecard import score

SIX = np.timedelta64(6 * 3600, "s")
ROLES = {"forcing": ["sst"], "diagnostic": ["tp"]}
FORECAST = {"u10", "v10", "t2m", "tp"}


def model_of(store, roles=ROLES, **options):
    domain = Domain.from_store(store, SIX, [("u10", "v10")], 3, roles=roles)
    model = make_model(alter=lambda _: domain, **({"physics": False} | options))
    shake(model)
    return model.eval()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_driven_store(tmp_path_factory.mktemp("driven") / "store")


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    """The same seas, some degrees warmer, and for five days more."""
    times = np.datetime64("2016-01-01", "ns") + np.arange(100) * np.timedelta64(6, "h")
    dataset = driven_dataset(times, sst(times) + np.float32(3.0))
    return make_driven_store(tmp_path_factory.mktemp("later") / "store", dataset)


@pytest.fixture(scope="module")
def model(store):
    return model_of(store)


@pytest.fixture(scope="module")
def made(store, model, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "out"
    write_forecast(model, store, out, lead=3 * SIX)
    return out


def opened(path):
    return xr.open_zarr(path, consolidated=False)


# --- what it makes --------------------------------------------------------------------------------


def test_a_forecast_holds_what_is_forecast_and_says_what_was_given(made):
    dataset = opened(made)
    assert set(dataset.data_vars) == FORECAST
    assert dataset.attrs["forcing_channels"] == "sst"
    assert dataset.attrs["diagnostic_channels"] == "tp"
    assert "valid times" in dataset.attrs["forcing"]
    assert all(np.isfinite(dataset[name].values).all() for name in FORECAST)


def test_by_default_what_is_known_is_the_store_s_own(store, model, made):
    dataset = opened(made)
    start = int(np.searchsorted(store.times, dataset["time"].values[1].astype("M8[s]")))
    states = torch.from_numpy(store.read(start - 3, start + 4))[None]
    times = torch.tensor([int(store.times[start].astype(np.int64))])
    ahead = iter(states[:, 4:, None, 2:3].unbind(1))
    want = model.forecast(states[:, :4], times, 3, ahead)[0, :, [0, 1, 3, 4]].numpy()
    got = np.stack([dataset[n].values[1] for n in ("u10", "v10", "t2m", "tp")], 1)
    assert np.allclose(got, want, rtol=1e-4, atol=1e-6)


def test_it_is_scored_without_what_was_given(store, made, tmp_path):
    forecast = open_forecast(made, store)
    assert forecast.given == ("sst",)
    card = score(forecast, store).scorecard
    assert set(card["variable"]) == FORECAST
    assert card.loc[card["row"] == "model", "rmse_root_of_mean"].notna().all()
    table = compare(forecast, forecast, store).table
    assert set(table["variable"]) == FORECAST


def test_a_forecast_that_lacks_more_is_refused(store, made):
    dataset = opened(made)
    refused(lambda: open_forecast(dataset.drop_vars("tp"), store), "holds no tp")
    del dataset.attrs["forcing_channels"]
    refused(lambda: open_forecast(dataset, store), "holds no sst")


def test_what_was_measured_of_a_diagnostic_has_no_influence(store, model, made, tmp_path):
    dataset = driven_dataset()
    rain = dataset["tp"].values
    rain[1::2] = 3e-5 + rain[1::2]
    other = make_driven_store(tmp_path / "rainy", dataset)
    write_forecast(model, other, tmp_path / "out", lead=3 * SIX)
    one, two = opened(made), opened(tmp_path / "out")
    assert all(np.array_equal(one[name].values, two[name].values) for name in FORECAST)


def test_what_is_given_has_influence(store, later, model, made, tmp_path):
    write_forecast(model, store, tmp_path / "out", lead=3 * SIX, forcing=later.path)
    one, two = opened(made), opened(tmp_path / "out")
    for name in FORECAST:
        assert not np.array_equal(one[name].values, two[name].values)
        assert not np.array_equal(one[name].values[:, 0], two[name].values[:, 0])


def test_members_are_given_the_same(store, tmp_path):
    stochastic = model_of(store, physics=True, latents=make_latents())
    write_forecast(stochastic, store, tmp_path / "out", lead=2 * SIX, members=3, batch=4)
    dataset = opened(tmp_path / "out")
    assert dataset["tp"].dims[1] == "realization" and set(dataset.data_vars) == FORECAST
    card = score(open_forecast(tmp_path / "out", store), store).scorecard
    assert set(card["variable"]) == FORECAST


# --- where it comes from --------------------------------------------------------------------------


def test_the_latest_start_needs_a_store_that_goes_on(store, later, model, tmp_path):
    def latest(**options):
        write_forecast(model, store, tmp_path / "out", lead=4 * SIX, starts="latest", **options)

    held = (
        "has no state of 2016-01-21",
        "until 2016-01-21 18:00",
        "it holds 2016-01-01 … 2016-01-20",
    )
    message = refused(latest, *held, "give forcing=, a store that holds sst until then")
    assert message.startswith(str(store.path)) and not (tmp_path / "out").exists()
    latest(forcing=later.path)
    assert opened(tmp_path / "out").sizes["time"] == 1


def test_one_that_ends_before_the_last_lead_is_refused(store, later, model, tmp_path):
    refused(
        lambda: write_forecast(
            model, store, tmp_path / "out", lead=21 * SIX, starts="latest", forcing=later.path
        ),
        f"forcing={later.path}: has no state of 2016-01-26", "until 2016-01-26",
    )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_a_store_without_it_or_with_other_land_is_refused(store, later, model, tmp_path):
    bare = make_sea_store(tmp_path / "bare", driven_dataset()[["u10", "v10", "t2m"]])
    refused(
        lambda: write_forecast(model, store, tmp_path / "out", lead=SIX, forcing=bare.path),
        f"forcing={bare.path}", "no sst",
    )  # fmt: skip
    land = np.roll(LAND, 3, 1)
    elsewhere = make_driven_store(tmp_path / "elsewhere", driven_dataset(values=sst(land=land)))
    refused(
        lambda: write_forecast(model, store, tmp_path / "out", lead=SIX, forcing=elsewhere.path),
        f"forcing={elsewhere.path}: sst of 2016-01-16", "not finite",
    )  # fmt: skip


def test_a_model_that_is_given_nothing_takes_nothing(store, later, tmp_path):
    plain = model_of(store, roles={"diagnostic": ["tp"]})
    refused(
        lambda: write_forecast(plain, store, tmp_path / "out", lead=SIX, forcing=later.path),
        "forcing: the model has no forcing channels", "leave forcing out",
    )  # fmt: skip


def test_it_is_read_some_leads_at_a_time(store, model, tmp_path, monkeypatch):
    monkeypatch.setattr(known_ahead, "READ_BYTES", 1)
    counts, read = [], known_ahead.KnownAhead._read

    def counted(self, places, leads, numbers):
        counts.append(len(leads))
        return read(self, places, leads, numbers)

    monkeypatch.setattr(known_ahead.KnownAhead, "_read", counted)
    write_forecast(model, store, tmp_path / "out", lead=3 * SIX, starts="2016-01-17", batch=1)
    assert counts == [1, 1, 1]


class Stopped(Exception):
    pass


def test_a_stopped_forecast_goes_on_with_the_same_forcing_alone(
    store, later, model, tmp_path, monkeypatch
):
    options = {"lead": 2 * SIX, "batch": 2, "forcing": later.path}
    write_forecast(model, store, tmp_path / "whole", **options)
    steps, calls = model.forecast_steps, []

    def stop(*args, **known):
        calls.append(1)
        if len(calls) == 3:
            raise Stopped
        return steps(*args, **known)

    monkeypatch.setattr(model, "forecast_steps", stop)
    with pytest.raises(Stopped):
        write_forecast(model, store, tmp_path / "out", **options)
    refused(
        lambda: write_forecast(
            model, store, tmp_path / "out", resume=True, **options | {"forcing": None}
        ),
        "resume=false",
    )  # fmt: skip
    write_forecast(model, store, tmp_path / "out", resume=True, **options)
    one, two = opened(tmp_path / "whole"), opened(tmp_path / "out")
    xr.testing.assert_identical(one, two)


# --- from Python ----------------------------------------------------------------------------------


def test_states_in_memory_are_given_what_comes_after_the_start(store, model):
    dataset, how = driven_dataset(), {"start": "2016-01-18T06", "leads": "12h"}
    made = vgbdm.forecast(model, dataset, **how)
    assert set(made.data_vars) == FORECAST
    xr.testing.assert_allclose(
        made.drop_attrs(), vgbdm.forecast(model, store.path, **how).drop_attrs()
    )
    until, after = dataset.sel(time=slice(None, how["start"])), dataset[["sst"]]
    again = vgbdm.forecast(model, until, forcing=after.isel(time=slice(60, None)), **how)
    xr.testing.assert_equal(again, made)
    celsius = (after["sst"] - 273.15).assign_attrs(units="degC")
    close = vgbdm.forecast(model, until, forcing=celsius, **how)
    xr.testing.assert_allclose(close.drop_attrs(), made.drop_attrs(), rtol=1e-3, atol=1e-3)
    refused(
        lambda: vgbdm.forecast(model, until, **how),
        "states: has no state of 2016-01-18 12",
        "forcing=",
    )


def test_missing_values_in_memory_are_refused_by_name_and_date(model):
    dataset = driven_dataset()
    dataset["sst"][71, 0, 0] = np.nan
    refused(
        lambda: vgbdm.forecast(model, dataset, start="2016-01-18T06", leads="18h"),
        "states: sst", "2016-01-18 18:00", "no number at 1",
    )  # fmt: skip


def test_a_model_is_evaluated_as_a_hindcast(store, model):
    card = vgbdm.evaluate(model, store.path, leads="12h")
    assert set(card["variable"]) == FORECAST


# --- regions --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fine(tmp_path_factory):
    """Of 16 × 32 points, on which a box has an inside."""
    lat, lon = -90 + 11.25 * (np.arange(16) + 0.5), 11.25 * np.arange(32)
    held = driven_dataset().interp(lat=lat, lon=lon, kwargs={"fill_value": "extrapolate"})
    dry = held.assign(sst=held["t2m"] - 5, tp=held["tp"].clip(min=0.0)).astype(np.float32)
    for name in dry.data_vars:
        dry[name].attrs = driven_dataset()[name].attrs
    return make_driven_store(tmp_path_factory.mktemp("fine") / "store", dry)


def test_a_region_is_given_its_own_and_what_lies_around_it(fine, tmp_path):
    box = crop(fine, Region("box", -35, 50, 340, 60, 2))
    model = model_of(box, physics=True)
    made = {}
    for name, options in {"self": {}, "around": {"boundary": fine.path}}.items():
        write_forecast(model, box, tmp_path / name, lead=2 * SIX, **options)
        made[name] = opened(tmp_path / name)
        assert set(made[name].data_vars) == FORECAST
    for name in FORECAST:
        assert not np.array_equal(made["self"][name].values, made["around"][name].values)
    states = torch.from_numpy(box.read(3, 9))[None]
    forcing, boundary = states[:, 4:, None, 2:3], states[:, 4:, None, [0, 1, 3]]
    steps = model.forecast_steps(
        states[:, :4],
        torch.zeros(1).long(),
        2,
        boundary=boundary.unbind(1),
        forcing=forcing.unbind(1),
    )
    halo = model.halo.bool()
    for k, x in enumerate(steps):
        truth = states[0, 4 + k]
        assert torch.allclose(
            x[0, 0, [0, 1, 3]][:, halo], truth[[0, 1, 3]][:, halo], rtol=1e-4, atol=1e-3
        )
        assert torch.allclose(x[0, 0, 2], truth[2], rtol=1e-4)
        off = (x[0, 0, [0, 1, 3]] - truth[[0, 1, 3]]).abs()[:, ~halo].amax(1)
        assert (off > 0.01).all()
        assert not torch.allclose(x[0, 0, 4][halo], truth[4][halo])  # nothing diagnosed is taken
