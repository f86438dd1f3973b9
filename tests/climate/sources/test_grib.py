"""GRIB as ecCodes writes it: exact to its packing, one series, and no file beside the data."""

import pickle
import sys

import numpy as np
import pytest
from archives import cf_source
from builders import SPLITS, hours, warm, waves
from gribs import message, write_grib
from refusals import refused
from whole_way import forecast_of_files

from climate.sources.grib import open_grib

TIMES = hours("2016-01-01", 80, 6)
NAMES = {"u10": "10u", "v10": "10v", "t2m": "2t"}
LEVELS = {"z": {"name": "z", "level": 500}, "z8": {"name": "z", "level": 850}}
FIELDS = LEVELS | {"t2m": {"name": "t2m"}}


def surface(name, times=TIMES, edition=1, **keys):
    k = 1 + list(NAMES).index(name)
    values = (warm if name == "t2m" else waves)(times, k)
    return [message(NAMES[name], t, v, edition, **keys) for t, v in zip(times, values, strict=True)]


def levels(times=TIMES, edition=1):
    return [
        message("z", time, waves(times, k)[n], edition, level=level)
        for n, time in enumerate(times)
        for k, level in ((3, 500), (4, 850))
    ]


def opened(root, *variables, **options):
    names = variables or ("z", "z8", "t2m")
    return cf_source(root, names, fields=FIELDS, static={}, pattern=None, **options).open()


def near(values, wanted):
    """To the packing in 24 bits."""
    assert np.abs(values - wanted).max() < 1e-4


@pytest.mark.parametrize("edition", [1, 2])
def test_maps_and_levels_of_both_editions_are_read_and_nothing_is_written(tmp_path, edition):
    times = TIMES[:6]
    path = write_grib(
        tmp_path / "all.grib", [*levels(times, edition), *surface("t2m", times, edition)]
    )
    dataset = opened(tmp_path)
    assert np.array_equal(dataset["time"], times)
    near(dataset["z"].values, waves(times, 3))
    near(dataset["z8"].isel(time=[4]).values, waves(times, 4)[4:5])
    again = pickle.loads(pickle.dumps(dataset))
    near(again["t2m"].values, warm(times, 3))
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_both_editions_over_months_and_files(tmp_path):
    one, two = TIMES[:3], TIMES[3:7]
    write_grib(tmp_path / "a.grb", [*surface("t2m", one), *surface("t2m", two[:2], 2)])
    write_grib(tmp_path / "b.nc", surface("t2m", two[1:]))  # one time twice, named like another
    dataset = opened(tmp_path, "t2m")
    assert np.array_equal(dataset["time"], TIMES[:7])
    near(dataset["t2m"].values, warm(TIMES[:7], 3))


def leads(start, *steps):
    return [
        message("2t", start, warm(np.array([start + np.timedelta64(step, "h")]), 3)[0], step=step)
        for step in steps
    ]


def test_forecasts_that_do_not_overlap_are_a_series_of_their_valid_times(tmp_path):
    write_grib(tmp_path / "a.grib", [*leads(TIMES[0], 6, 12), *leads(TIMES[2], 6, 12)])
    dataset = opened(tmp_path, "t2m")
    assert np.array_equal(dataset["time"], TIMES[1:5])
    near(dataset["t2m"].values, warm(TIMES[1:5], 3))


def test_forecasts_that_overlap_are_refused(tmp_path):
    write_grib(tmp_path / "a.grib", [*leads(TIMES[0], 6, 12), *leads(TIMES[1], 6, 12)])
    refused(lambda: opened(tmp_path), "t2m has forecasts of 2016-01-01 12:00 from several initial")


def test_a_message_that_comes_twice_is_one_unless_its_values_differ(tmp_path):
    write_grib(tmp_path / "a.grib", surface("t2m", TIMES[:3]) + surface("t2m", TIMES[:1]))
    near(opened(tmp_path, "t2m")["t2m"].values, warm(TIMES[:3], 3))
    other = message("2t", TIMES[1], warm(TIMES[:1], 2)[0])
    write_grib(tmp_path / "a.grib", [*surface("t2m", TIMES[:3]), other])
    refused(lambda: opened(tmp_path), "t2m has 2016-01-01 06:00 twice with different values")


def test_the_ground_is_told_from_levels_of_the_same_name(tmp_path):
    ground = np.full((8, 16), 4903.325)
    maps = [*levels(TIMES[:3]), message("z", TIMES[0], ground), message("lsm", TIMES[0], ground)]
    write_grib(tmp_path / "a.grib", maps)
    static = {"orography": {"name": "z", "factor": 1 / 9.80665, "units": "m"}}
    source = cf_source(tmp_path, ("z",), fields=FIELDS, static=static, pattern=None)
    dataset = source.open()
    near(dataset["z"].values, waves(TIMES[:3], 3))
    assert np.allclose(dataset["orography"].values, 500.0)


@pytest.mark.parametrize("edition", [1, 2])
def test_the_day_0_of_monthly_means_of_mars_is_not_the_day_before(tmp_path, edition):
    """It would put each mean into the month before."""
    maps = surface("t2m", TIMES[:1], edition, day=0)
    write_grib(tmp_path / "a.grib", maps)
    refused(lambda: opened(tmp_path, "t2m"), "the date 20160100, which is none", "-s day=1")
    write_grib(tmp_path / "a.grib", surface("t2m", hours("2016-01-01", 2, 744), edition, day=1))
    assert np.array_equal(opened(tmp_path, "t2m")["time"], hours("2016-01-01", 2, 744))


def test_two_grids_in_one_file_are_refused(tmp_path):
    other = {"longitudeOfFirstGridPointInDegrees": -180, "longitudeOfLastGridPointInDegrees": 157.5}
    maps = [*surface("t2m", TIMES[:2]), *surface("t2m", TIMES[2:4], **other)]
    write_grib(tmp_path / "a.grib", maps)
    refused(lambda: opened(tmp_path), "a.grib: t2m is on 2 grids; keep one")


def damage(raw, how):
    half = 3 * len(raw) // 4
    return {
        "cut off": raw[:-1],
        "half": raw[:half],
        "length": raw[:4] + b"\xff\xff\xff" + raw[7:],
        "name alone": b"GRIB" + bytes(99),
        "no message": bytes(99),
    }[how]


@pytest.mark.parametrize("how", ["cut off", "half", "length", "name alone", "no message"])
def test_damaged_files_are_one_line(tmp_path, how, caplog):
    raw = b"".join(surface("t2m", TIMES[:2]))
    (tmp_path / "a.grib").write_bytes(damage(raw, how))
    refused(lambda: opened(tmp_path), "a.grib: not a readable GRIB file (", "fetch it again")
    assert not caplog.records


def test_what_is_damaged_between_is_said_when_it_is_read(tmp_path):
    path = write_grib(tmp_path / "a.grib", surface("t2m", TIMES[:2]))
    dataset = opened(tmp_path, "t2m")
    path.write_bytes(path.read_bytes()[:300])
    refused(lambda: dataset["t2m"].values, "a.grib: t2m cannot be read (", "fetch it again")


def test_without_cfgrib_the_line_says_how_to_get_it(tmp_path, monkeypatch):
    path = write_grib(tmp_path / "a.grib", surface("t2m", TIMES[:1]))
    monkeypatch.setitem(sys.modules, "cfgrib", None)
    refused(
        lambda: open_grib(path, "a.grib"), "a.grib is a GRIB file; reading it: needs cfgrib",
        "pip install 'vgbdm[grib]'",
    )  # fmt: skip


def test_from_a_file_to_a_forecast(tmp_path):
    write_grib(tmp_path / "FILES/era5.grib", [*levels(), *surface("u10"), *surface("v10")])
    made = forecast_of_files(tmp_path / "FILES", tmp_path, SPLITS, ["variables=[z,u10,v10]"])
    assert list(made.data_vars) == ["z", "u10", "v10"]
    assert np.isfinite(made["z"].values).all() and made.sizes["lead_time"] == 2
