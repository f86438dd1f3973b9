"""Steps of hours and of calendar months."""

import numpy as np
import pytest

from climate.store.calendar import (
    as_step,
    count_steps,
    find_gaps,
    in_unit_of,
    is_monthly,
    lead_hours,
    step_seconds,
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
