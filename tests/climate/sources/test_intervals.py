"""What is a sum or a mean over an interval is summed or averaged when the step grows."""

import re

import numpy as np
import pytest
import xarray as xr
from archives import cf_source
from builders import LAT, LON, hours, waves

from climate.sources.fields import Blocks
from climate.sources.select import parse_selection
from vgbdm.errors import InputError

TIMES = hours("2016-01-01", 96)
RAIN = np.abs(waves(TIMES, 1))
FIELDS = {"tp": {"name": "tp", "units": "m"}, "u10": {"name": "u10", "units": "m s-1"}}


def write(path, times=TIMES, cell_methods=None, values=RAIN):
    dims = ("time", "latitude", "longitude")
    attrs = {} if cell_methods is None else {"cell_methods": cell_methods}
    kept = np.isin(TIMES, times)
    xr.Dataset(
        {"tp": (dims, values[kept], attrs), "u10": (dims, waves(TIMES, 2)[kept])},
        {"time": times, "latitude": LAT, "longitude": LON},
    ).to_netcdf(path)


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
    read, asked = Blocks.read, []
    monkeypatch.setattr(
        Blocks, "read", lambda self, part, at: asked.extend(at) or read(self, part, at)
    )
    assert np.allclose(dataset["tp"].values, want, rtol=1e-6)
    assert asked == list(range(1, 91))  # each once
    assert dataset.attrs["tp_over_step"] == make.__name__
    assert np.allclose(dataset["tp"].isel(time=[3, 9]).values, want[[3, 9]], rtol=1e-6)
    assert np.array_equal(dataset["u10"].values, waves(TIMES, 2)[6::6])


@pytest.mark.parametrize(("cell_methods", "more"), [(None, {}), ("time: sum", {"method": "point"})])
def test_points_are_sampled(tmp_path, cell_methods, more):
    write(tmp_path / "a.nc", cell_methods=cell_methods)
    dataset = opened(tmp_path, **more)
    assert np.array_equal(dataset["time"], TIMES[::6])
    assert np.array_equal(dataset["tp"].values, RAIN[::6])


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
    with pytest.raises(InputError, match="tp is a maximum over time") as caught:
        opened(tmp_path)
    key, value = re.search(r"fields\.tp\.(\w+)=(\w+)", str(caught.value)).groups()
    assert np.array_equal(opened(tmp_path, **{key: value})["tp"].values, RAIN[::6])
    with pytest.raises(InputError, match=r"method=total: want point, sum or mean"):
        opened(tmp_path, method="total")
    mixed = np.delete(TIMES, [k for k in range(49, 96) if k % 3])
    (tmp_path / "b").mkdir()
    write(tmp_path / "b/a.nc", mixed, "time: sum")
    with pytest.raises(InputError, match="intervals of 1 h, then of 3 h; choose a period of one"):
        opened(tmp_path / "b")
