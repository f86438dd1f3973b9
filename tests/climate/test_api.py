"""Weather from Python: every kind of model forecasts and is scored, whoever holds the states."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from climode import GRIDS, make_climode
from seas import LAND, make_sea_store, sea_dataset
from weather import make_latents, make_model, shake

import vgbdm
from climate.conventions.units import unit_of
from climate.conversion.monthly import open_monthly
from climate.grids.regions import Region
from climate.models.domain import Domain
from climate.store.crop import crop
from climate.verification.trivial import ROWS
from vgbdm.errors import InputError

SIX, MONTH = np.timedelta64(6 * 3600, "s"), np.timedelta64(1, "M")


@dataclass(frozen=True)
class Case:
    """A model, the store it is of, the same states in memory, and what to ask for.

    Attributes:
        model: with weights that are not its start's.
        store: path.
        states: in memory.
        start: a time.
        leads: two steps.
    """

    model: Any
    store: Any
    states: xr.Dataset
    start: str = "2016-01-18T06"
    leads: str = "12h"

    def forecast(self, states=None, **options):
        given = {"start": self.start, "leads": self.leads} | options
        return vgbdm.forecast(self.model, self.states if states is None else states, **given)


def dataset_of(store):
    """A store's states as anybody's dataset."""
    values = store.read(0, len(store.times))
    coords = {"time": store.times.astype("M8[ns]"), "lat": store.lat, "lon": store.lon}
    fields = {
        name: (("time", "lat", "lon"), values[:, c], {"units": store.channel_attrs[name]["units"]})
        for c, name in enumerate(store.channels)
    }
    return xr.Dataset(fields, coords)


def model_of(store, step=SIX, **options):
    domain = Domain.from_store(store, step, [("u10", "v10")], 3)
    model = make_model(alter=lambda _: domain, **({"physics": False} | options))
    shake(model)
    return model.eval()


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    sea = make_sea_store(tmp_path_factory.mktemp("sea") / "store")
    return Case(model_of(sea), sea.path, sea_dataset())


@pytest.fixture(scope="module")
def monthly(years):
    means = open_monthly(years)
    return Case(model_of(means, MONTH), years.path, dataset_of(means), "2017-03", "2mo")


@pytest.fixture(scope="module")
def regional(fine_store):
    part = crop(fine_store, Region("box", -35, 50, 340, 60, 2))
    return Case(model_of(part), fine_store.path, dataset_of(fine_store))


@pytest.fixture(scope="module")
def climode(fine_store):
    domain = Domain.from_store(fine_store, SIX, [("u10", "v10")], 3)
    model = make_climode(GRIDS["small"], alter=lambda _: domain).eval()
    return Case(model, fine_store.path, dataset_of(fine_store))


@pytest.fixture(scope="module")
def stochastic(fine_store):
    model = model_of(fine_store, physics=True, latents=make_latents())
    return Case(model, fine_store.path, dataset_of(fine_store))


@pytest.fixture(scope="module", params=["masked", "monthly", "regional", "climode"])
def case(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def made(case):
    return case.forecast()


def test_states_in_memory_and_in_a_store_forecast_alike_and_stay_as_they_are(case, made):
    before = case.states.copy(deep=True)
    xr.testing.assert_identical(case.forecast(), made)
    xr.testing.assert_identical(case.states, before)
    xr.testing.assert_allclose(case.forecast(case.store).drop_attrs(), made.drop_attrs())


def test_a_forecast_is_one_of_cf(case, made):
    assert made.attrs["Conventions"].startswith("CF-")
    assert made["time"].attrs["standard_name"] == "forecast_reference_time"
    assert made.sizes["lead_time"] == 2
    for name in case.model.channels:
        assert unit_of(made[name].attrs) == unit_of(case.states[name].attrs)
        assert made[name].dims == ("time", "lead_time", "lat", "lon")


def test_it_is_scored_in_memory_and_from_files(case, made, tmp_path):
    made.to_netcdf(tmp_path / "a.nc")
    made.to_zarr(tmp_path / "a.zarr", consolidated=False)
    scores = vgbdm.evaluate(made, case.store)
    assert {*scores["row"]} - {"model"} <= {*ROWS}
    assert scores["rmse_root_of_mean"].notna().all()
    assert scores.loc[scores["row"] == "model", "spread_skill"].isna().all()
    undecoded = xr.open_dataset(tmp_path / "a.nc", decode_timedelta=False)
    for other in (tmp_path / "a.nc", str(tmp_path / "a.zarr"), undecoded):
        pd.testing.assert_frame_equal(vgbdm.evaluate(other, case.store), scores)


def test_a_run_is_scored_on_the_test_period(case):
    scores = vgbdm.evaluate(case.model, case.store, "persistence", leads=case.leads)
    assert {*scores["row"]} == {"model", "persistence"}
    assert scores["n_starts"].gt(1).all()


def test_land_is_no_state_whatever_it_holds(masked):
    made = masked.forecast()
    assert (made["sst"].isnull() == LAND).all()
    filled = masked.states.assign(sst=masked.states["sst"].fillna(1e20))
    filled["sst"].attrs = masked.states["sst"].attrs
    xr.testing.assert_identical(masked.forecast(filled), made)
    dry = masked.states.where(masked.states["lon"] < 200)
    with pytest.raises(InputError, match="no number at"):
        masked.forecast(dry)


def test_a_monthly_model_takes_months(monthly):
    assert monthly.forecast(leads=None).sizes["lead_time"] == 7
    assert monthly.forecast(leads=np.timedelta64(3, "M")).sizes["lead_time"] == 3
    middle = monthly.states.assign_coords(time=monthly.states["time"] + np.timedelta64(14, "D"))
    xr.testing.assert_identical(monthly.forecast(middle), monthly.forecast())
    fine = monthly.states.sel(time=slice("2016-06", None)).resample(time="1D").ffill()
    with pytest.raises(InputError, match=r"are 24 h apart, .* resample\(time='MS'\)"):
        monthly.forecast(fine)


def test_a_region_says_what_it_wants_around(regional):
    inside = regional.states.sel(lat=slice(-35, 50))
    west = inside.assign_coords(lon=(inside["lon"] + 180) % 360 - 180).sortby("lon")
    with pytest.raises(InputError, match="2 points around its box, or the globe's"):
        regional.forecast(west.sel(lon=slice(-20, 60)))


def test_an_ensemble_is_that_of_its_seed_and_one_member_has_no_spread(stochastic):
    three, again = (stochastic.forecast(members=3, batch=batch) for batch in (16, 1))
    np.testing.assert_allclose(three["u10"], again["u10"], atol=1e-4)
    other = stochastic.forecast(members=3, seed=1)
    assert abs(three["u10"] - other["u10"]).max() > 1e-2
    one = vgbdm.evaluate(stochastic.forecast(members=1), stochastic.store, "persistence")
    assert one["spread_skill"].isna().all() and one["crps"].notna().all()
    many = vgbdm.evaluate(three, stochastic.store, "persistence")
    assert many.loc[many["row"] == "model", "spread_skill"].notna().all()


@pytest.mark.parametrize("leads", ["12h", np.timedelta64(720, "m"), pd.Timedelta("12h")])
def test_leads_are_a_text_or_a_duration(regional, leads):
    made = regional.forecast(leads=leads)
    assert made["lead_time"].values[-1] == np.timedelta64(12, "h")
    assert made.attrs["history"] == "vgbdm.forecast(leads='12h', seed=0, precision='fp32')"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"leads": "99999999999999999999h"}, "leads=9+h: want a duration"),
        ({"leads": "999999d"}, "leads: 999999 d go beyond the year 2261; choose shorter"),
        ({"leads": pd.Timedelta(0)}, "leads=0 days 00:00:00: want a duration"),
        ({"leads": pd.timedelta_range("6h", periods=2)}, "leads=TimedeltaIndex.*want a duration"),
        ({"leads": "7h"}, "leads=7h: not a multiple of the model's step, 6 h"),
        ({"members": 2**31 - 1}, "do not fit in memory; give fewer members"),
        ({"device": "meta"}, "device=meta: "),
        ({"states": __file__}, "states: .* is a file; give the path of a training store"),
        ({"states": "tests"}, "not finished, or no training store"),
    ],
)
def test_what_cannot_be_forecast_is_one_line(stochastic, options, words):
    with pytest.raises(InputError, match=words) as error:
        stochastic.forecast(**options)
    assert "\n" not in str(error.value)


def test_weights_of_another_precision_are_refused(fine_store, regional):
    model = model_of(fine_store).double()
    with pytest.raises(InputError, match=r"run: its weights are torch.float64; give model.float"):
        vgbdm.forecast(model, regional.states, leads="6h")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.isel(time=0), "no time with its values; want time, lead_time, lat, lon"),
        (lambda f: f.isel(lat=0), "no lat with its values"),
        (lambda f: f.rename(lat="latitude"), "no lat with its values.*rename"),
        (lambda f: f.isel(time=slice(0, 0)), "holds no time; select at least one"),
        (lambda f: f.isel(lat=slice(0, 0)), "holds no lat; select at least one"),
        (lambda f: f.expand_dims(realization=0), "holds no realization; select at least one"),
        (lambda f: f.astype(str), "holds <U32, not numbers"),
        (lambda f: f.assign_coords(lead_time=[6, 12]), "no durations but int64; give timedeltas"),
        (lambda f: f.isel(lead_time=[1, 0]), "not multiples of the first, each once; sort"),
        (lambda f: f.drop_vars("u10"), "holds no u10, which .* does"),
        (lambda f: f.assign_coords(time=f["time"] + np.timedelta64(30, "m")),
         "does not hold, such as 2016-01-18 06:30; it holds 2016-01-01 … 2016-01-20 18:00"),
    ],
)  # fmt: skip
def test_what_is_laid_out_otherwise_is_one_line(regional, change, words):
    made = regional.forecast()
    with pytest.raises(InputError, match=words) as error:
        vgbdm.evaluate(change(made), regional.store)
    assert "\n" not in str(error.value)


def test_forecasts_without_truth_are_counted_and_those_with_it_are_scored(regional):
    starts = ["2016-01-18T06", "2016-01-20T12", "2016-01-20T18"]
    made = regional.forecast(regional.store, start=starts)
    with pytest.raises(InputError, match=r"no truth of 2 of 3 forecasts.* from 2016-01-20 12:00"):
        vgbdm.evaluate(made, regional.store)
    assert vgbdm.evaluate(made.isel(time=[0]), regional.store)["n_starts"].eq(1).all()


def test_what_is_asked_of_scores_is_looked_at_before_scoring(regional, monkeypatch):
    made = regional.forecast()
    monkeypatch.setattr("climate.api.score", None)  # whoever calls it fails
    for baselines, words in ((["nope"], "no nope; there are persistence"), ([], "baselines=")):
        with pytest.raises(InputError, match=words):
            vgbdm.evaluate(made, regional.store, baselines)
    for options in ({"leads": "6h"}, {"members": 2}):
        with pytest.raises(InputError, match="is of a run; select from the forecast instead"):
            vgbdm.evaluate(made, regional.store, **options)
