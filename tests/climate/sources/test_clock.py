"""Spacings that change, times of few digits, forecasts and months: said, and the remedies work."""

import datetime as dt
import re

import cftime
import numpy as np
import pytest
import xarray as xr
from archives import archive, cf_source
from builders import hours
from refusals import refused

from climate.conversion.convert import convert
from climate.sources.axes import open_part
from climate.sources.clock import check_calendar, decode_times, spacings
from climate.sources.select import parse_selection
from climate.store.layout import open_store
from vgbdm.errors import InputError

HOUR = np.timedelta64(3600, "s")
MIXED = np.concatenate((hours("2016-01-01", 21, 6), hours("2016-01-06T03", 59, 3)))
SURFACE = {n: {"name": n} for n in ("t2m", "u10", "v10")}


def opened(root, step=None, period=None, **options):
    selection = parse_selection(period, step, None, 0, None)
    return cf_source(root, **options).open(selection)


def surface(root, **options):
    return opened(root, variables=("t2m", "u10", "v10"), fields=SURFACE, static={}, **options)


def write(times, path):
    archive(times).to_netcdf(path)


def test_a_spacing_that_changes_wants_a_step_which_then_works(tmp_path):
    write(MIXED[:21], tmp_path / "a.nc")
    write(MIXED[21:], tmp_path / "b.nc")
    said = refused(
        lambda: opened(tmp_path), "changes from 6 h to 3 h at 2016-01-06;", "give step=6h,"
    )
    step = re.search(r"step=(\w+)", said)[1]
    dataset = opened(tmp_path, step)
    assert np.array_equal(dataset["time"], hours("2016-01-01", 50, 6))
    splits = {
        "train": ["2016-01-01", "2016-01-07"],
        "val": ["2016-01-08", "2016-01-09"],
        "test": ["2016-01-10", "2016-01-13"],
    }
    convert(dataset, tmp_path / "store", splits, source={})
    store = open_store(tmp_path / "store")
    assert store.step == 6 * HOUR and len(store.anchors("train", 6 * HOUR)) == 28 - 4


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([(90, 1), (30, 3), (20, 6)], ("from 1 h to 3 h at 2016-01-04 18:00", "give step=6h,")),
        ([(50, 3), (10, 6)], ("from 3 h to 6 h", "give step=6h,")),
        ([(20, 6), (20, 4)], ("from 6 h to 4 h", "give step=12h,")),
        ([(10, 24), (40, 6)], ("from 24 h to 6 h", "give step=24h,")),
    ],
)
def test_all_ways_to_change_name_a_step_that_is_taken(tmp_path, parts, words):
    clock = [np.datetime64("2016-01-01", "h")]
    for count, length in parts:
        clock += [clock[-1] + length * k for k in range(1, count + 1)]
    times = np.array(clock).astype("datetime64[ns]")
    write(times, tmp_path / "a.nc")
    said = refused(lambda: opened(tmp_path), *words)
    step = re.search(r"step=(\w+)", said)[1]
    assert len(np.unique(np.diff(opened(tmp_path, step)["time"]))) == 1


def test_off_midnight_a_period_of_one_spacing_is_the_remedy(tmp_path):
    times = np.concatenate((hours("2016-01-01T01", 10, 6), hours("2016-01-03T10", 60, 3)))
    write(times, tmp_path / "a.nc")
    said = refused(lambda: opened(tmp_path), "from 6 h to 3 h", "give period=[")
    period = re.search(r"period=\[(.*?)\]", said)[1].split(",")
    assert len(opened(tmp_path, period=period)["time"]) == 61


def test_gaps_are_no_change_of_spacing():
    times = np.delete(hours("2016-01-01", 200, 6), [40, 41, 80, 82, 84, 86, 198])
    assert check_calendar(times, "a.nc") == 6 * HOUR
    assert [part.length for part in spacings(times)] == [6 * HOUR]


def test_an_odd_time_is_named_and_the_step_leaves_it_out(tmp_path):
    times = np.sort(np.append(hours("2016-01-01", 40, 6), hours("2016-01-03T02", 1)))
    write(times, tmp_path / "a.nc")
    said = refused(lambda: opened(tmp_path), "2016-01-03 is 2 h, not a multiple of 6 h", "step=6h")
    assert len(opened(tmp_path, re.search(r"step=(\w+)", said)[1])["time"]) == 40


def test_a_step_of_only_one_part_is_refused(tmp_path):
    write(MIXED, tmp_path / "a.nc")
    refused(lambda: opened(tmp_path, "3h"), "step=3h: not a multiple of the source's step, 6 h")


SEASONS = np.arange(np.datetime64("2000-01"), np.datetime64("2010-01"), 3)
MIDDLES = SEASONS.astype("M8[h]") + ((SEASONS + 3).astype("M8[h]") - SEASONS.astype("M8[h]")) // 2
MEANS = {
    "seasons": (SEASONS, MIDDLES),
    "years": (np.arange("1970", "2010", dtype="M8[Y]"),
              np.arange("1970", "2010", dtype="M8[Y]").astype("M8[D]") + 182),
    "ten days": ((np.arange("2009-01", "2010-01", dtype="M8[M]").astype("M8[D]")[:, None]
                  + np.array([0, 10, 20])).ravel(),),
}  # fmt: skip


@pytest.mark.parametrize("kind", MEANS)
def test_means_of_no_regular_step_are_named(kind):
    for times in MEANS[kind]:
        said = refused(
            lambda times=times: check_calendar(times.astype("M8[s]"), "a.nc"),
            "a.nc: the s", f"; means of {kind} are no regular steps: convert data of a regular",
        )  # fmt: skip
        assert "period=" not in said and "step=" not in said


def test_no_period_of_a_handful_of_times_is_a_remedy():
    times = np.datetime64("2016-01-01", "h") + np.cumsum([0, 5, 7, 5, 11, 5, 13, 5, 7, 5, 11])
    said = refused(lambda: check_calendar(times.astype("M8[s]"), "a.nc"), "no part of them is")
    assert "period=" not in said


def test_times_of_gregorian_calendars_and_of_zones_are_read():
    wanted = hours("2016-02-28", 3, 12).astype("M8[s]")
    zone = dt.timezone(dt.timedelta(hours=-3))
    stamps = [time.replace(tzinfo=dt.UTC).astimezone(zone) for time in wanted.tolist()]
    for values in (
        cftime.num2date([0, 12, 24], "hours since 2016-02-28", only_use_cftime_datetimes=True),
        np.array(stamps, object),
    ):
        assert np.array_equal(decode_times(xr.Variable("time", values), "x"), wanted)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["2016-01-01"], "its times are text such as '2016-01-01'"),
        (np.array(["2016-01-01"], object), "cannot be read, the first is '2016-01-01'"),
        ([cftime.Datetime360Day(2016, 2, 30)], r"\(360_day\)"),
        ([0, 1], "its times cannot be read"),
    ],
)
def test_what_is_no_time_says_what_is_wanted(values, words):
    with pytest.raises(InputError, match=words):
        decode_times(xr.Variable("time", values), "x")


def test_times_of_another_name_are_to_be_renamed():
    data = archive(hours("2016-01-01", 2))
    for change, words in (
        (data.rename(time="when"), "times along when, which is not named time; rename it"),
        (data.rename_dims(time="i"), "times along i, .* swap_dims\\(i='time'\\)"),
    ):
        with pytest.raises(InputError, match=words):
            open_part(change, "geopotential", "x")


def test_float32_days(case):
    root = case("float32_days")
    said = refused(
        lambda: surface(root),
        "is 56 min 16 s, most are 1 h 1 min 52 s, because its times are stored in too few digits",
    )
    mend(said, root / "all.nc", root / "mended")
    assert np.array_equal(surface(root / "mended")["time"], hours("2010-01-01", 240))


def mend(said, path, folder):
    """Do what the line says: its statements are those of xarray."""
    ds = xr.load_dataset(path)
    folder.mkdir()
    told = re.search(r"right again: (.*) by xarray", said)[1]
    for statement in told.split(", "):
        exec(statement, {"ds": ds, "NEW": folder / path.name})


def test_hours_rounded_to_what_looks_regular(tmp_path):
    units = {"units": "days since 0800-01-01", "dtype": "f4"}
    archive(hours("2016-01-01", 60)).to_netcdf(tmp_path / "a.nc", encoding={"time": units})
    said = refused(lambda: opened(tmp_path), "stored in too few digits")
    mend(said, tmp_path / "a.nc", tmp_path / "mended")
    assert np.array_equal(opened(tmp_path / "mended")["time"], hours("2016-01-01", 60))


def test_half_hours_keep_their_minutes(tmp_path):
    times = np.datetime64("2016-01-01", "ns") + np.arange(90) * np.timedelta64(30, "m")
    units = {"units": "days since 1900-01-01", "dtype": "f4"}
    archive(times).to_netcdf(tmp_path / "a.nc", encoding={"time": units})
    said = refused(lambda: opened(tmp_path), "stored in too few digits")
    mend(said, tmp_path / "a.nc", tmp_path / "mended")
    assert np.array_equal(opened(tmp_path / "mended")["time"], times)


MONTHS = np.arange(np.datetime64("2006-01"), np.datetime64("2010-01"))


def test_monthly_means(case, tmp_path):
    root = case("monthly_means")
    dataset = surface(root)
    assert np.array_equal(dataset["time"].values.astype("datetime64[M]"), MONTHS)
    splits = {"train": ["2006", "2007"], "val": ["2008", "2008"], "test": ["2009", "2009"]}
    convert(dataset, tmp_path / "store", splits, source={})
    store = open_store(tmp_path / "store")
    month = np.timedelta64(1, "M")
    assert store.step == month and len(store.anchors("train", month, 3, 1)) == 20
    refused(lambda: surface(root, step="6h"), "step=6h:", "monthly means; give step=null")
    refused(
        lambda: store.stride(6 * HOUR),
        "step=6h: not a multiple of the store's step, 1 month; take task=monthly",
    )


def test_a_step_of_a_month_is_that_of_monthly_means_alone(case, tmp_path):
    root = case("monthly_means")
    assert len(surface(root, step="1mo")["time"]) == 48
    refused(lambda: surface(root, step="2mo"), "step=2mo:", "single months; give step=null")
    write(hours("2016-01-01", 20, 6), tmp_path / "a.nc")
    refused(lambda: opened(tmp_path, "1mo"), "step=1mo: months are means", "task=monthly")


@pytest.mark.parametrize("day", [0, 14, 27])
def test_months_stamped_on_any_day_with_one_missing(tmp_path, day):
    stamps = np.delete(MONTHS.astype("datetime64[D]") + day, 7)
    write(stamps.astype("datetime64[ns]"), tmp_path / "a.nc")
    times = opened(tmp_path)["time"].values
    assert np.array_equal(times, np.delete(MONTHS, 7).astype("datetime64[ns]"))


def test_means_by_the_hour_of_day_are_said_to_be_no_series(caplog):
    first = MONTHS[:4].astype("datetime64[s]")
    times = (first[:, None] + np.arange(24) * HOUR).ravel()
    assert check_calendar(times, "a.nc") == HOUR
    assert "a.nc: its times lie on one day of each month" in caplog.text
    caplog.clear()
    for others in (times[:48], hours("2016-01-01", 90, 24).astype("M8[s]")):
        check_calendar(others, "a.nc")
    assert not caplog.text


NUMBERS = {
    "YYYYMMDD": (MONTHS.astype(str), lambda t: int(t.replace("-", "") + "01"), "i8"),
    "YYYYMM": (MONTHS.astype(str), lambda t: int(t.replace("-", "")), "i4"),
    "day as %Y%m%d.%f": (
        MONTHS.astype(str),
        lambda t: float(t.replace("-", "") + "15") + 0.5,
        "f8",
    ),
}


@pytest.mark.parametrize("units", NUMBERS)
def test_months_as_numbers_of_digits(tmp_path, units):
    """`date` of the new Climate Data Store, and the absolute times of CDO."""
    texts, number, kind = NUMBERS[units]
    data = archive(MONTHS.astype("datetime64[ns]")).rename(time="date")
    data = data.assign_coords(date=np.array([number(text) for text in texts], kind))
    if "%" in units:
        data["date"].attrs["units"] = units
    data.to_netcdf(tmp_path / "a.nc")
    assert np.array_equal(opened(tmp_path)["time"].values.astype("datetime64[M]"), MONTHS)


def test_fractions_of_days_as_digits_are_times():
    stamps = decode_times(xr.Variable("date", [20160228.0, 20160228.25, 20160229.75]), "x")
    assert np.array_equal(stamps, hours("2016-02-28", 8, 6).astype("M8[s]")[[0, 1, 7]])


@pytest.mark.parametrize(
    "values", [[20161301, 20161401], [2016, 2017], [20160101, 201602], [np.nan] * 2]
)
def test_other_numbers_are_no_times(values):
    with pytest.raises(InputError, match="its times cannot be read"):
        decode_times(xr.Variable("date", values), "x")


def test_months_of_ncep(tmp_path):
    """Hours since 1800 as doubles, latitudes descending, in the calendar that is not named."""
    since = (MONTHS.astype("datetime64[h]") - np.datetime64("1800-01-01", "h")).astype("f8")
    data = archive(MONTHS.astype("datetime64[ns]")).isel(latitude=slice(None, None, -1))
    about = {"units": "hours since 1800-01-01 00:00:0.0", "delta_t": "0000-01-00 00:00:00",
             "avg_period": "0000-01-00 00:00:00"}  # fmt: skip
    data.assign_coords(time=("time", since, about)).to_netcdf(tmp_path / "a.nc")
    dataset = opened(tmp_path)
    assert np.array_equal(dataset["time"].values.astype("datetime64[M]"), MONTHS)
    assert np.array_equal(dataset["z"].values[0], archive(MONTHS[:1].astype("M8[ns]"))
                          ["geopotential"].sel(level=500).values[0].T)  # fmt: skip


def test_rounded_times_are_refused_only_where_steps_differ():
    times = hours("2016-01-01", 20, 6).astype("datetime64[s]")
    assert check_calendar(times, "a.nc", 21600.0) == 6 * HOUR
    words = "the step after 2016-01-02 is 12 h, most are 6 h", "stored in too few digits"
    refused(lambda: check_calendar(np.delete(times, 5), "a.nc", 21600.0), *words)
    assert check_calendar(np.delete(times, 5), "a.nc", 1.0) == 6 * HOUR
