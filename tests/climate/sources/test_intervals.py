"""What is a sum or a mean over an interval is summed or averaged when the step grows."""

import re

import numpy as np
import pytest
import xarray as xr
from archives import cf_source
from builders import LAT, LON, hours, waves
from refusals import refused

from climate.sources.select import parse_selection
from climate.sources.series import SeriesArray
from vgbdm.errors import InputError

TIMES = hours("2016-01-01", 96)
RAIN = np.abs(waves(TIMES, 1))
FIELDS = {"tp": {"name": "tp", "units": "m"}, "u10": {"name": "u10", "units": "m s-1"}}


def write(path, times=TIMES, cell_methods=None, values=RAIN, bounds=None, name="tp", **about):
    dims = ("time", "latitude", "longitude")
    attrs = about | ({} if cell_methods is None else {"cell_methods": cell_methods})
    kept = np.isin(TIMES, times)
    data = xr.Dataset(
        {name: (dims, values[kept], attrs), "u10": (dims, waves(TIMES, 2)[kept])},
        {"time": times, "latitude": LAT, "longitude": LON},
    )
    if bounds is not None:
        data["time"].attrs["bounds"] = "time_bnds"
        data["time_bnds"] = (("time", "nv"), times[:, None] + bounds * np.timedelta64(60, "m"))
    data.to_netcdf(path)


def opened(root, step="6h", variables=("tp", "u10"), **more):
    fields = FIELDS | {"tp": FIELDS["tp"] | more}
    source = cf_source(root, variables=variables, fields=fields, static={})
    return source.open(parse_selection(None, step, None, 0, None))


@pytest.mark.parametrize(
    ("cell_methods", "more", "make"),
    [
        ("time: sum", {}, np.sum),
        ("area: mean time: sum (interval: 1 hour)", {}, np.sum),
        ("time: mean", {}, np.mean),
        (None, {"method": "sum"}, np.sum),
        ("time: sum", {"method": "mean"}, np.mean),
    ],
)
def test_it_is_joined_beside_what_is_sampled(tmp_path, cell_methods, more, make, monkeypatch):
    write(tmp_path / "a.nc", cell_methods=cell_methods)
    dataset = opened(tmp_path, **more)
    assert np.array_equal(dataset["time"], TIMES[6::6])
    want = make(RAIN[1:91].reshape(15, 6, 8, 16).astype(np.float64), axis=1)
    read, asked = SeriesArray.read, []
    monkeypatch.setattr(
        SeriesArray, "read", lambda self, part, at: asked.extend(at) or read(self, part, at)
    )
    assert np.allclose(dataset["tp"].values, want, rtol=1e-6)
    assert asked == list(range(1, 91))  # each once
    assert dataset.attrs["tp_over_step"] == make.__name__
    assert np.allclose(dataset["tp"].isel(time=[3, 9]).values, want[[3, 9]], rtol=1e-6)
    assert np.array_equal(dataset["u10"].values, waves(TIMES, 2)[6::6])


@pytest.mark.parametrize(
    ("cell_methods", "more"),
    [("time: point", {}), (None, {"method": "point"}), ("time: sum", {"method": "point"})],
)
def test_points_are_sampled(tmp_path, cell_methods, more):
    write(tmp_path / "a.nc", cell_methods=cell_methods)
    dataset = opened(tmp_path, **more)
    assert np.array_equal(dataset["time"], TIMES[::6])
    assert np.array_equal(dataset["tp"].values, RAIN[::6])


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("tp", {}),
        ("total_precipitation_6hr", {}),
        ("ssr", {}),
        ("x", {"units": "J m**-2"}),
        ("x", {"long_name": "Accumulated rain"}),
        ("x", {"long_name": "Mean total precipitation rate"}),
        ("x", {"long_name": "Maximum temperature at 2 metres since previous post-processing"}),
        ("x", {"standard_name": "precipitation_amount"}),
        ("x", {"GRIB_stepType": "accum"}),
        ("avg_tprate", {}),
    ],
)
def test_what_looks_like_a_sum_or_mean_is_refused_until_said(tmp_path, name, about):
    write(tmp_path / "a.nc", name=name, **about)
    fields = {"q": {"name": name, "units": about.get("units", "m")}, "u10": FIELDS["u10"]}

    def open_it(step="6h", **more):
        source = cf_source(
            tmp_path, variables=("q", "u10"), fields=fields | {"q": fields["q"] | more}, static={}
        )
        return source.open(parse_selection(None, step, None, 0, None))

    said = refused(open_it, "a.nc: q looks like a sum or a mean", "step= is longer")
    found = re.findall(r"\+\+source\.fields\.q\.method=(\w+)", said)
    assert found == ["sum", "mean", "point"]
    six = RAIN[1:91].reshape(15, 6, 8, 16).astype(np.float64)
    for method, want in (("sum", six.sum(1)), ("mean", six.mean(1)), ("point", RAIN[::6])):
        assert np.allclose(open_it(method=method)["q"].values, want, rtol=1e-6)
    assert np.array_equal(open_it(None)["q"].values, RAIN)


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("x", {"GRIB_stepType": "instant"}),
        ("msl", {"long_name": "Mean sea level pressure"}),
        ("sd", {"long_name": "Snow depth", "units": "m of water equivalent"}),
        ("x", {"standard_name": "surface_snow_amount"}),
    ],
)
def test_what_is_of_an_instant_is_sampled(tmp_path, name, about):
    write(tmp_path / "a.nc", name=name, **about)
    fields = {"q": {"name": name, "units": "m"}}
    source = cf_source(tmp_path, variables=("q",), fields=fields, static={})
    dataset = source.open(parse_selection(None, "6h", None, 0, None))
    assert np.array_equal(dataset["q"].values, RAIN[::6])


@pytest.mark.parametrize(
    ("bounds", "shift"),
    [((-1.0, 0.0), 0), ((0.0, 1.0), 1), ((-0.5, 0.5), None)],
    ids=["ends", "begins", "centred"],
)
def test_bounds_say_when_intervals_begin_and_end(tmp_path, bounds, shift):
    bounds = np.array(bounds)
    if shift is None:  # hours stamped at their middle, without what is sampled at whole hours
        times, shift, variables = TIMES + np.timedelta64(30, "m"), 1, ("tp",)
        write(tmp_path / "a.nc", cell_methods="time: sum", bounds=bounds)
        data = xr.load_dataset(tmp_path / "a.nc")
        moved = {"time": ("time", times, {"bounds": "time_bnds"})}
        data["time_bnds"] = data["time_bnds"] + np.timedelta64(30, "m")
        data.assign_coords(moved).to_netcdf(tmp_path / "a.nc")
    else:
        variables = ("tp", "u10")
        write(tmp_path / "a.nc", cell_methods="time: sum", bounds=bounds)
    dataset = opened(tmp_path, variables=variables)
    sums = {
        t: RAIN[k - 6 - shift + 1 : k - shift + 1].sum(0)
        for k, t in enumerate(hours("2016-01-01", 97))
    }
    assert len(dataset["time"]) >= 15
    for k, time in enumerate(dataset["time"].values):
        assert np.allclose(dataset["tp"].values[k], sums[time], rtol=1e-5)
        if "u10" in variables:
            assert np.array_equal(dataset["u10"].values[k], waves(time[None], 2)[0])


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ((-3.0, 0.0), "intervals of 3 h that end 1 h apart"),
        ((-0.5, 0.0), "intervals of 30 min that end 1 h apart"),
        ("since midnight", "intervals of 1 h to 24 h that end 1 h apart"),
    ],
)
def test_intervals_that_do_not_follow_each_other_are_refused(tmp_path, bounds, words):
    if isinstance(bounds, str):
        bounds = np.stack((-1.0 - (np.arange(96) - 1) % 24, np.zeros(96)), 1)
    write(tmp_path / "a.nc", cell_methods="time: sum", bounds=np.array(bounds))
    said = refused(lambda: opened(tmp_path), words, "bounds of its times")
    key, value = re.search(r"fields\.tp\.(\w+)=(\w+)", said).groups()
    assert np.array_equal(opened(tmp_path, **{key: value})["tp"].values, RAIN[::6])


def test_sums_stay_at_their_own_step(tmp_path):
    write(tmp_path / "a.nc", cell_methods="time: sum")
    for step in (None, "1h"):
        assert np.array_equal(opened(tmp_path, step)["tp"].values, RAIN)


def test_a_step_with_a_missing_interval_is_left_out(tmp_path):
    write(tmp_path / "a.nc", np.delete(TIMES, 20), "time: sum")
    assert np.array_equal(opened(tmp_path)["time"], np.delete(TIMES[6::6], 3))


def test_a_missing_value_makes_the_step_missing(tmp_path):
    values = RAIN.copy()
    values[20, 0, 0] = np.nan
    write(tmp_path / "a.nc", cell_methods="time: sum", values=values)
    assert np.argwhere(np.isnan(opened(tmp_path)["tp"].values)).tolist() == [[3, 0, 0]]


def test_what_cannot_be_joined_is_refused_and_the_remedy_works(tmp_path):
    write(tmp_path / "a.nc", cell_methods="time: maximum")
    said = refused(lambda: opened(tmp_path), "tp is a maximum over time")
    key, value = re.search(r"fields\.tp\.(\w+)=(\w+)", said).groups()
    assert np.array_equal(opened(tmp_path, **{key: value})["tp"].values, RAIN[::6])
    with pytest.raises(InputError, match=r"method=total: want point, sum or mean"):
        opened(tmp_path, method="total")
    mixed = np.delete(TIMES, [k for k in range(49, 96) if k % 3])
    (tmp_path / "b").mkdir()
    write(tmp_path / "b/a.nc", mixed, "time: sum")
    with pytest.raises(InputError, match="intervals of 1 h, then of 3 h; choose a period of one"):
        opened(tmp_path / "b")
