"""Durations and dates as messages say them."""

import numpy as np
import pytest

from climate.conventions.calendar import parse_duration
from climate.conventions.wording import (
    date,
    duration,
    last_date,
    period,
    setting_of,
    size,
    unit_words,
    with_unit,
)


def length(text):
    count, unit = text.split()
    return np.timedelta64(int(count), unit)


@pytest.mark.parametrize(
    ("given", "said", "key"),
    [
        ("21600 s", "6 h", "6h"),
        ("0 s", "0 h", None),
        ("48 h", "48 h", "48h"),
        ("5 D", "5 d", "5d"),
        ("3712 s", "1 h 1 min 52 s", None),
        ("732 h", "30 d 12 h", "732h"),
        ("1 M", "1 month", "1mo"),
        ("2 M", "2 months", "2mo"),
        ("1800 s", "30 min", None),
        ("1 h", "1 h", "1h"),
        ("71 h", "71 h", "71h"),
        ("72 h", "3 d", "3d"),
        ("73 h", "3 d 1 h", "73h"),
        ("61 s", "1 min 1 s", None),
        ("90061 s", "1 d 1 h 1 min 1 s", None),
        ("3599 s", "59 min 59 s", None),
        ("1 Y", "12 months", "12mo"),
    ],
)
def test_lengths(given, said, key):
    assert (duration(length(given)), setting_of(length(given))) == (said, key)
    if key is not None:
        assert parse_duration("step", key) == length(given)


def test_dates():
    assert date(np.datetime64("2010-01-01", "s")) == "2010-01-01"
    assert date(np.datetime64("2010-01-01T06", "ns")) == "2010-01-01 06:00"
    assert date(np.datetime64("2010-01-01T06:00:07")) == "2010-01-01 06:00:07"
    assert last_date(np.datetime64("2010-01-31T23:59:59")) == "2010-01-31"
    ends = np.datetime64("2010-01-01", "s"), np.datetime64("2010-02-05T18", "s")
    assert period(*ends) == "2010-01-01 … 2010-02-05 18:00"


def test_backwards_is_said_with_a_minus():
    assert duration(np.timedelta64(-5400, "s")) == "-1 h 30 min"


def test_an_end_is_a_date_only_where_the_day_ends():
    assert last_date(np.datetime64("2010-01-31T23:59:58")) == "2010-01-31 23:59:58"
    assert last_date(np.datetime64("2010-01-31T00:00:00")) == "2010-01-31"
    assert date(np.datetime64("2010-01-01T00:00:01")) == "2010-01-01 00:00:01"


def test_sizes_are_told_in_what_they_are_large_in():
    assert size(2**30) == "1.00 GiB" and size(2**30 - 2**20) == "1023.0 MiB"


@pytest.mark.parametrize(
    ("unit", "shown"),
    [
        ("m**2 s**-2", "m² s⁻²"), ("m2 s-2", "m² s⁻²"), ("m^2 s^-2", "m² s⁻²"), ("K", "K"),
        ("m s**-1", "m s⁻¹"), ("kg m**-2*s**-1", "kg m⁻² s⁻¹"), ("W/m2", "W/m²"), ("1", ""),
        ("degC", "°C"), ("hPa", "hPa"), ("10^6 m", "10^6 m"), ("percent", "%"), ("", ""),
        ("(0 - 1)", "(0 - 1)"), ("m+2", "m²"), ("<b>2", "<b>2"),
    ],
)  # fmt: skip
def test_units_are_printed_as_in_a_book(unit, shown):
    assert unit_words(unit) == shown
    assert with_unit("z", unit) == (f"z ({shown})" if shown else "z")
