"""What a training period covers of a cycle, against dates and hours anyone can check."""

import numpy as np
import pytest

from climate.conventions.cycles import (
    WHOLE,
    arcs_seen,
    covered,
    describe_arcs,
    distance,
    is_covered,
)

HOUR = np.timedelta64(3600, "s")


def hours(start: str, end: str, step: int = 6) -> np.ndarray:
    return np.arange(np.datetime64(start, "s"), np.datetime64(end, "s"), step * HOUR)


@pytest.mark.parametrize(
    ("start", "end", "whole"),
    [
        ("2006-01-01", "2007-01-01", True),
        ("2006-01-01", "2006-11-20", True),  # 41 days are missing, less than an eighth
        ("2006-01-01", "2006-11-10", False),
        ("2006-03-24", "2006-05-06", False),
        ("2006-07-01", "2016-07-01", True),
    ],
)
def test_a_season_is_covered_where_no_gap_exceeds_an_eighth(start, end, whole):
    assert is_covered(arcs_seen(hours(start, end), 21600, "season")) == whole


def test_seasons_of_several_years_come_together():
    halves = np.concatenate((hours("2006-01-01", "2006-06-20"), hours("2007-06-01", "2007-12-30")))
    assert is_covered(arcs_seen(halves, 21600, "season"))


def test_an_arc_goes_past_the_turn_of_the_year():
    winter = arcs_seen(hours("2006-12-01", "2007-03-01"), 21600, "season")
    assert len(winter) == 1
    assert winter[0][0] == pytest.approx(334 / 365, abs=0.005)
    assert winter[0][1] == pytest.approx(1 + 59 / 365, abs=0.005)
    assert describe_arcs(winter, "season") == "1 December to 28 February"


def test_two_seasons_are_two_arcs():
    both = np.concatenate((hours("2006-03-01", "2006-04-01"), hours("2006-09-01", "2006-10-01")))
    seen = arcs_seen(both, 21600, "season")
    assert [round(12 * a) for arc in seen for a in arc] == [2, 3, 8, 9]
    away = distance(seen, np.array(["2006-03-15", "2011-09-15", "2006-12-31"], "M8[s]"), "season")
    assert away[:2].tolist() == [0, 0]
    assert away[2] == pytest.approx(61 / 365, abs=0.01)  # to March, which is nearer than September


def test_the_hours_of_a_day_are_seen_from_each_state_a_step_on():
    """Matching draws times between states: four analyses a day show all of it, one of 6 h not."""
    assert arcs_seen(hours("2006-03-01", "2006-03-09"), 21600, "day") == WHOLE
    nights = hours("2006-03-01", "2006-03-09", 24)
    assert arcs_seen(nights, 21600, "day") == ((0.0, 0.25),)
    assert arcs_seen(nights, 86400, "day") == WHOLE
    away = distance(((0.0, 0.25),), np.array(["2006-07-01T03", "2006-07-01T09"], "M8[s]"), "day")
    assert away == pytest.approx([0, 0.125])
    assert describe_arcs(((0.0, 0.25),), "day") == "0 h UTC to 6 h UTC"


def test_what_was_seen_is_inside_of_it_to_its_ends():
    times = hours("2006-12-01", "2007-01-12", 1)
    seen = arcs_seen(times, 3600, "season")
    assert not distance(seen, times, "season").any()
    assert distance(seen, times[-1:] + 3 * HOUR, "season") * 365.2425 * 24 == pytest.approx(2, 0.05)


def test_without_a_record_everything_counts_as_covered():
    assert covered(None, ("season", "day")) == ("season", "day")
    seen = {"season": ((0.2, 0.3),), "day": [[0.0, 1.0]]}
    assert covered(seen, ("season", "day")) == ("day",)


@pytest.mark.parametrize(("missing", "whole"), [(44, True), (45, True), (46, False), (47, False)])
def test_a_gap_of_an_eighth_of_the_year_is_still_covered(missing, whole):
    """45.66 days; the step after the last state is seen too."""
    end = np.datetime64("2007-01-01", "s") - missing * 24 * HOUR
    times = np.arange(np.datetime64("2006-01-01", "s"), end, 6 * HOUR)
    assert is_covered(arcs_seen(times, 21600, "season")) is whole


@pytest.mark.parametrize(
    ("hour", "want"), [(21, 3 / 24), (23, 1 / 24), (1, 0.0), (6, 0.0), (7, 1 / 24), (12, 6 / 24)]
)
def test_the_distance_is_to_the_nearer_end_of_an_arc_past_midnight(hour, want):
    """Seen from 0 to 6 and, apart from it, at 18."""
    time = np.array([np.datetime64("2006-07-01", "s") + hour * HOUR])
    got = distance(((0.0, 0.25), (0.75, 0.75)), time, "day")
    assert got == pytest.approx([want])
