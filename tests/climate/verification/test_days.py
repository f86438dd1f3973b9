"""Sums of statistics by day."""

import numpy as np
import pytest

from climate.verification import days as module
from climate.verification.days import LONGEST_GAP, DaySums, assign_days

HOUR, DAY = np.timedelta64(1, "h"), np.timedelta64(1, "D")
START = np.datetime64("2017-01-01T06", "s")


def test_days_are_counted_from_the_first_start():
    times = START + 6 * np.arange(40) * HOUR
    assert np.array_equal(assign_days(times), np.arange(40) // 4)
    assert assign_days(times[:1]).tolist() == [0]
    without = np.delete(times, slice(8, 20))  # three days
    assert np.array_equal(assign_days(without), np.delete(np.arange(40) // 4, slice(8, 20)))


def test_starts_further_apart_than_a_day_are_each_a_day():
    months = np.arange("2001-01", "2004-01", dtype="datetime64[M]").astype("datetime64[s]")
    assert np.array_equal(assign_days(months), np.arange(36))
    assert assign_days(np.delete(months, 5))[5] == 6
    weeks = START + 7 * np.arange(9) * DAY
    assert np.array_equal(assign_days(weeks), np.arange(9))


def test_two_seasons_are_told_apart_without_the_days_between():
    winter, summer = START + np.arange(30) * DAY, START + (200 + np.arange(30)) * DAY
    days = assign_days(np.concatenate((winter, summer)))
    assert np.array_equal(days[:30], np.arange(30))
    assert np.array_equal(days[30:], 29 + LONGEST_GAP + np.arange(30))


def test_there_are_no_more_days_than_memory_is_given_for(monkeypatch):
    monkeypatch.setattr(module, "MOST", 100)
    days = assign_days(START + np.arange(1000) * DAY)
    assert days[-1] < 100 and set(np.bincount(days)[:-1]) == {10}


def test_sums_do_not_depend_on_batches_and_weigh_starts_alike():
    generator = np.random.default_rng(0)
    values, days = generator.normal(size=(50, 3)), np.sort(generator.integers(0, 6, 50))
    once, parts, late = DaySums(6, 3), DaySums(6, 3), DaySums(5, 1, first=1)
    once.add(days, {"x": values})
    for part in (slice(0, 7), slice(7, 8), slice(8, 50)):
        parts.add(days[part], {"x": values[part, :2]})
    late.add(days[days > 0], {"x": values[days > 0, 2:]})
    third = DaySums(6, 3)
    third.add(days[days == 0], {"x": values[days == 0, 2:]}, lead=2)
    third.counts[late.first :, 2:] += late.counts
    third.sums["x"][late.first :, 2:] += late.sums["x"]
    parts.merge(third)
    assert once.count == 50
    assert once.means()["x"] == pytest.approx(values.mean(0))
    assert parts.means()["x"] == pytest.approx(values.mean(0))
    assert once.of_leads([2, 0]).means()["x"] == pytest.approx(values.mean(0)[[2, 0]])
    draws = np.array([[2.0, 0, 1, 0, 3, 1]])
    again = np.concatenate([values[days == d] for d in range(6) for _ in range(int(draws[0, d]))])
    assert once.means(draws)["x"][0] == pytest.approx(again.mean(0))
    for day in range(6):
        left = values[days != day].mean(0)
        assert once.means_without()["x"][day] == pytest.approx(left)
