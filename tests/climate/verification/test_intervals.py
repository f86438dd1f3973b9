"""Intervals: the parts against exact answers, the whole by what it covers."""

import numpy as np
import pytest

from climate.verification.days import DaySums
from climate.verification.intervals import (
    DRAWS,
    FINENESS,
    Intervals,
    autocovariance,
    draw_days,
    row_length,
    widening,
)


def autoregression(memory, count, trials, seed=0):
    """(count, trials) of unit variance, its correlation falling by e in ``memory`` steps."""
    noise = np.random.default_rng(seed).normal(size=(count, trials))
    keep = np.exp(-1 / memory)
    series = noise.copy()
    for t in range(1, count):
        series[t] = keep * series[t - 1] + np.sqrt(1 - keep**2) * noise[t]
    return series


def summed(values):
    """Of one start a day: (K, S)."""
    sums = DaySums(*values.shape)
    sums.add(np.arange(len(values)), {"x": values})
    return sums


def first_mean(parts):
    return parts[0]["x"]


@pytest.mark.parametrize(
    ("days", "memory"), [(365, 0.5), (365, 1), (365, 2), (365, 4), (60, 0.5), (60, 1)]
)
def test_they_cover_what_they_say(days, memory):
    """Six-hourly errors that are remembered for so many days, by 1500 series."""
    trials, a_day = 1500, 4
    hourly = autoregression(memory * a_day, days * a_day, trials, seed=days)
    sums = DaySums(days, trials)
    sums.add(np.repeat(np.arange(days), a_day), {"x": hourly})
    low, high = Intervals(0).of({"x": first_mean}, [sums])["x"]
    given = np.isfinite(low)
    assert given.mean() > 0.9
    assert 0.93 <= ((low < 0) & (high > 0))[given].mean() <= 0.97


def test_too_few_days_or_rows_have_none():
    short, slow = np.random.default_rng(0).normal(size=(27, 3)), autoregression(40, 60, 3)
    for values in (short, slow):
        intervals = Intervals(0)
        low, high = intervals.of({"x": first_mean}, [summed(values)])["x"]
        assert np.isnan(low).all() and np.isnan(high).all()
        assert "no claim" in intervals.rule and not intervals.lengths
    intervals = Intervals(0)
    low, high = intervals.of({"x": first_mean}, [summed(autoregression(0.2, 60, 3))])["x"]
    assert (low < high).all() and "95%" in intervals.rule


def test_a_lead_with_too_few_days_has_none_beside_one_that_has():
    sums = DaySums(60, 2)
    values = np.random.default_rng(0).normal(size=(60, 2))
    sums.add(np.arange(60), {"x": values[:, :1]})
    sums.add(np.arange(20), {"x": values[:20, 1:]}, lead=1)
    low, _ = Intervals(0).of({"x": first_mean}, [sums])["x"]
    assert np.isfinite(low).tolist() == [True, False]


def test_a_score_that_is_no_number_has_none():
    found = Intervals(0).of({"x": lambda parts: parts[0]["x"] * np.nan}, [summed(np.ones((60, 1)))])
    assert np.isnan(found["x"]).all()


def test_two_forecasts_are_compared_under_the_same_draws():
    """Of a difference that is the same each day, the interval is a point."""
    values = np.random.default_rng(0).normal(size=(60, 1))
    pair = [summed(values), summed(values + 0.3)]
    low, high = Intervals(0).of({"x": lambda p: p[0]["x"] - p[1]["x"]}, pair)["x"]
    assert low == pytest.approx([-0.3]) and high == pytest.approx([-0.3])


def test_of_independent_days_it_is_the_textbook_one():
    values = np.random.default_rng(1).normal(size=(400, 1))
    low, high = Intervals(0).of({"x": first_mean}, [summed(values)])["x"]
    half = 1.966 * values.std(ddof=1) / np.sqrt(400)
    assert low[0] == pytest.approx(values.mean() - half, abs=0.2 * half)
    assert high[0] == pytest.approx(values.mean() + half, abs=0.2 * half)


def test_draws_are_rows_of_the_length_asked_for_and_depend_on_the_seed_alone():
    draws = draw_days((300,), 6.0, 3)
    assert draws.shape == (DRAWS, 300) and (draws.sum(1) == 300).all()
    assert np.array_equal(draws, draw_days((300,), 6.0, 3))
    assert not np.array_equal(draws, draw_days((300,), 6.0, 4))
    assert draws.mean(0) == pytest.approx(1, abs=0.15)
    # counts of neighbours go together as long as rows last: correlation (1 - 1/length)^k
    counts = draws.astype(float) - 1
    near = (counts * np.roll(counts, 1, 1)).mean() / (counts**2).mean()
    assert near == pytest.approx(1 - 1 / 6, abs=0.03)
    alone = draw_days((50,), 1.0, 0)
    assert alone.var() == pytest.approx(1 - 1 / 50, rel=0.05)  # multinomial


def test_rows_are_longer_where_more_is_remembered():
    assert row_length(np.zeros(50)) == 1.0
    lengths = [
        np.median([row_length(s) for s in autoregression(memory, 365, 40).T])
        for memory in (0.1, 1, 4)
    ]
    assert lengths[0] < 3 < lengths[1] < 12 < lengths[2] < 40
    powers = np.log(lengths) / np.log(FINENESS)
    assert np.rint(powers) == pytest.approx(powers, abs=1e-6)


def test_autocovariances_are_those_of_the_definition():
    series = np.array([1.0, -2.0, 0.5, 0.5])
    assert autocovariance(series, 2) == pytest.approx([1.375, -0.6875, -0.125])


def test_widening_makes_up_for_what_the_bootstrap_takes_away():
    """Against the mean variance of draws of many series of a first-order autoregression."""
    memory, days, length = 2.0, 120, 5.0
    series = autoregression(memory, days, 400, seed=2)
    draws = draw_days((days,), length, 0).astype(float)
    seen = np.var(draws @ series / days, axis=0).mean()
    keep, lags = np.exp(-1 / memory), np.arange(1, days)
    true = (1 + 2 * ((1 - lags / days) * keep**lags).sum()) / days
    factors = [widening(column, length, np.inf) for column in series.T]
    assert np.mean(factors) == pytest.approx(np.sqrt(true / seen), rel=0.05)
    assert widening(series[:, 0], length, 8) > 1.15 * factors[0]  # Student's t of 7
