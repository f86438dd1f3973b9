"""Steps of hours and of calendar months."""

import datetime
import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import refused

from climate.conventions.calendar import (
    MONTH_SECONDS,
    as_step,
    count_steps,
    divide,
    find_gaps,
    hour_of_day,
    in_unit_of,
    inside,
    is_monthly,
    lead_hours,
    leap_day_of_year,
    month_of_year,
    parse_duration,
    parse_period,
    parse_splits,
    step_seconds,
    usual_step,
)
from vgbdm.errors import InputError

HOUR, MONTH = np.timedelta64(3600, "s"), np.timedelta64(1, "M")


@pytest.mark.parametrize("step", [HOUR, 6 * HOUR, 24 * 30 * HOUR, MONTH, 7 * MONTH])
def test_steps_survive_the_way_through_seconds(step):
    again = as_step(step_seconds(step))
    assert again == step
    assert is_monthly(again) == is_monthly(step)


def test_a_mean_month_is_a_twelfth_of_the_gregorian_year():
    assert step_seconds(12 * MONTH) == 365.2425 * 86400
    assert lead_hours(MONTH, 3) == [730, 1461, 2191]
    assert lead_hours(6 * HOUR, 3) == [6, 12, 18]


def test_months_are_counted_by_the_calendar():
    times = np.array(["2016-01", "2016-02", "2016-03", "2016-05"], "M8[M]").astype("M8[s]")
    assert (np.diff(in_unit_of(MONTH, times)) / MONTH).tolist() == [1, 1, 2]
    assert find_gaps(times, MONTH) == [(times[2], times[3])]


def test_hours_and_months_are_never_taken_for_each_other():
    assert count_steps("leads", 6 * MONTH, MONTH, "the model's") == 6
    for length, step in ((42 * HOUR, MONTH), (6 * MONTH, HOUR), (MONTH, 2 * MONTH)):
        with pytest.raises(InputError, match=r"leads=.*not a multiple of the model's step"):
            count_steps("leads", length, step, "the model's")
    with pytest.raises(TypeError):
        assert MONTH > HOUR


@given(st.datetimes(datetime.datetime(1959, 1, 1), datetime.datetime(2200, 1, 1)))
@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_parts_of_a_time_are_those_of_the_calendar(moment):
    time = np.array([moment], "M8[s]")
    assert hour_of_day(time).tolist() == [moment.hour]
    assert month_of_year(time).tolist() == [moment.month - 1]
    same_day = datetime.date(2016, moment.month, moment.day)
    assert leap_day_of_year(time).tolist() == [(same_day - datetime.date(2016, 1, 1)).days]


@pytest.mark.parametrize(
    ("ends", "first", "last"),
    [
        (["2016", "2016"], "2016-01-01T00:00:00", "2016-12-31T23:59:59"),
        (["2016-02", "2016-02"], "2016-02-01T00:00:00", "2016-02-29T23:59:59"),
        (["2016-02-03", "2016-02-03"], "2016-02-03T00:00:00", "2016-02-03T23:59:59"),
        (["2016-02-03T06", "2016-02-03T06"], "2016-02-03T06:00:00", "2016-02-03T06:00:00"),
        (["2016-02-03T06:30", "2016-02-03T07"], "2016-02-03T06:30:00", "2016-02-03T07:00:00"),
    ],
)
def test_an_end_is_the_last_second_of_what_it_names(ends, first, last):
    assert [str(t) for t in parse_period("split.val", ends)] == [first, last]


def test_periods_that_are_none_are_refused():
    refused(lambda: parse_period("split.val", ["2016"]), "split.val", "want [START, END]")
    refused(lambda: parse_period("split.val", ["2016", "soon"]), "must be ISO 8601")
    refused(lambda: parse_period("split.val", ["2016-02", "2016-01"]), "lies before the start")
    refused(lambda: parse_period("split.val", ["2016", "NaT"]), "lies before the start")


def test_a_period_holds_both_its_ends():
    times = np.datetime64("2016-01-01", "s") + np.arange(6) * HOUR
    found = inside(times, (times[1], times[4]))
    assert found.tolist() == [False, True, True, True, True, False]


SPLITS = {
    "train": ["2016-01", "2016-03"],
    "val": ["2016-04", "2016-05"],
    "test": ["2016-06", "2016-07"],
}


def test_splits_follow_each_other_and_hold_data():
    times = np.arange("2016-01-01", "2016-08-01", dtype="M8[D]").astype("M8[s]")
    found = parse_splits(SPLITS, times)
    firsts = [str(found[name][0])[:10] for name in ("train", "val", "test")]
    assert firsts == ["2016-01-01", "2016-04-01", "2016-06-01"]
    only = np.array(["2016-01-01T00:00:00", "2016-05-31T23:59:59", "2016-06-01T00:00:00"], "M8[s]")
    assert set(parse_splits(SPLITS, only)) == {"train", "val", "test"}
    early = times[times < np.datetime64("2016-06")]
    refused(lambda: parse_splits(SPLITS, early), "split.test=", "has no time there")


@pytest.mark.parametrize(
    ("split", "ends"),
    [("val", ["2016-03-31", "2016-05"]), ("test", ["2016-05-31T23:59:59", "2016"])],
)
def test_splits_that_overlap_by_a_second_are_refused(split, ends):
    times = np.arange("2016-01-01", "2016-08-01", dtype="M8[D]").astype("M8[s]")
    refused(lambda: parse_splits(SPLITS | {split: ends}, times), f"split.{split} starts")


@pytest.mark.parametrize(
    ("text", "want"),
    [("6h", 6 * HOUR), ("1h", HOUR), ("10d", 240 * HOUR), ("2mo", 2 * MONTH), ("12mo", 12 * MONTH)],
)
def test_durations_are_read_as_people_write_them(text, want):
    found = parse_duration("leads", text)
    assert found == want and is_monthly(found) == is_monthly(want)


@pytest.mark.parametrize("text", ["0h", "06h", "6", "h", "6 h", "1.5h", "6hh", "x6h", "6min", 6])
def test_what_is_no_duration_is_refused(text):
    refused(lambda: parse_duration("leads", text), f"leads={text}: want a duration")


def test_steps_of_seconds_are_months_only_where_they_are_whole_ones():
    assert as_step(MONTH_SECONDS) == MONTH and as_step(3 * MONTH_SECONDS) == 3 * MONTH
    for seconds in (1, 3600, MONTH_SECONDS - 1, MONTH_SECONDS + 1, 30 * 86400):
        assert as_step(seconds) == np.timedelta64(seconds, "s")
        assert not is_monthly(as_step(seconds))


def test_the_usual_step_is_the_most_frequent_or_a_calendar_month():
    start = np.datetime64("2016-01-01", "s")
    assert usual_step(start + np.array([0, 1, 2, 5, 6, 12]) * HOUR) == HOUR
    months = (np.datetime64("2015-01") + np.arange(9)).astype("M8[s]")
    assert usual_step(months) == MONTH and is_monthly(usual_step(months))
    assert is_monthly(usual_step(np.delete(months, [4])))
    assert not is_monthly(usual_step(start + 30 * 24 * HOUR * np.arange(9)))
    twice = np.sort(np.concatenate((months, months + 14 * 24 * HOUR)))
    assert not is_monthly(usual_step(twice))


@given(st.sets(st.integers(0, 30), min_size=2))
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_a_gap_is_where_the_next_step_is_not(hours):
    held = np.array(sorted(hours))
    times = np.datetime64("2016-01-01", "s") + held * HOUR
    want = [(times[i], times[i + 1]) for i in range(len(held) - 1) if held[i + 1] - held[i] != 1]
    assert find_gaps(times, HOUR) == want


def test_a_period_is_divided_as_the_usual_one():
    usual = {
        "train": ["2006-01-01", "2015-12-31"],
        "val": ["2016-01-01", "2016-12-31"],
        "test": ["2017-01-01", "2018-12-31"],
    }
    assert divide(["2006", "2018"]) == divide(["2006-01-01", "2018-12-31T18"]) == usual


@pytest.mark.parametrize(
    "ends", [["2018-01-05", "2018-02-28"], ["2015-01-02", "2018"], ["2018-01-01", "2018-01-13"]]
)
def test_the_parts_of_a_period_follow_each_other_and_are_all_of_it(ends):
    parts = [parse_period(name, part) for name, part in divide(ends).items()]
    first, last = parse_period("period", ends)
    assert parts[0][0] == first and parts[-1][1] == last
    second = np.timedelta64(1, "s")
    assert [b[0] - a[1] for a, b in itertools.pairwise(parts)] == [second, second]
    days = [(b - a + second) / np.timedelta64(1, "D") for a, b in parts]
    assert np.allclose(days, np.array([10, 1, 2]) / 13 * sum(days), atol=1.0)


def test_whole_months_are_divided_by_months():
    """A mean of January 2009 lay in training and in validation."""
    assert divide(["2006-01", "2009-12"]) == {
        "train": ["2006-01-01", "2009-01-31"],
        "val": ["2009-02-01", "2009-05-31"],
        "test": ["2009-06-01", "2009-12-31"],
    }
    assert divide(["2017-12", "2018-12"])["test"] == ["2018-11-01", "2018-12-31"]


def test_a_period_that_is_too_short_is_not_divided():
    refused(lambda: divide(["2018-01-01", "2018-01-12"]), "12 days are too few", "split.train")
