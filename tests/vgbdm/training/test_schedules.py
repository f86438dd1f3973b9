"""Schedules against exact values; counted in steps, whatever an epoch is."""

import math
from dataclasses import FrozenInstanceError, fields

import pytest

from vgbdm.errors import InputError
from vgbdm.training.backends.steps import ParameterGroup
from vgbdm.training.schedules import (
    Constant,
    Every,
    Geometric,
    Growing,
    Linear,
    Phases,
    WarmupCosine,
    check_rates,
    progress_of,
)


def test_constant():
    assert [Constant(0.3)(step, 10) for step in (0, 5, 10)] == [0.3, 0.3, 0.3]


def test_every_is_there_by_turns_in_a_timed_run_too():
    for total in (10, None):
        assert [Every(2.0, 4)(step, total) for step in range(6)] == [2.0, 0.0, 0.0, 0.0, 2.0, 0.0]


def test_a_period_of_no_steps_is_refused():
    with pytest.raises(InputError, match="period=0"):
        Every(1.0, 0)


def test_phases_follow_each_other_and_may_be_left_out():
    assert [Phases([0.5, 0.8])(step, 10) for step in (0, 4, 5, 7, 8, 10)] == [0, 0, 1, 1, 2, 2]
    assert [Phases([0.0, 0.8])(step, 10) for step in (0, 8)] == [1, 2]
    assert [Phases([0.5, 0.5])(step, 10) for step in (4, 5)] == [0, 2]
    assert Phases([0.5])(3, None) == 0.0


@pytest.mark.parametrize("ends", [[0.8, 0.5], [0.5, 1.2], [-0.1]])
def test_phases_that_do_not_follow_each_other_are_refused(ends):
    with pytest.raises(InputError, match="want shares of the run"):
        Phases(ends)


def test_linear_ramps_between_its_shares_of_the_run():
    ramp = Linear(1.0, 0.0, begin=0.5, finish=1.0)
    assert [ramp(step, 100) for step in (0, 50, 75, 100, 120)] == [1.0, 1.0, 0.5, 0.0, 0.0]


def test_geometric_goes_by_equal_ratios():
    values = [Geometric(0.05, 0.005)(step, 2) for step in range(3)]
    assert values == pytest.approx([0.05, 0.05 * 10**-0.5, 0.005])


def test_learning_rate_warms_up_and_ends_at_its_floor():
    rate = WarmupCosine(peak=2.0, warmup=10, floor=0.1)
    assert rate(0, 1000) == pytest.approx(0.2, rel=1e-4)
    assert rate(4, 1000) == pytest.approx(1.0, rel=1e-3)
    assert rate(500, 1000) == pytest.approx(2 * (0.1 + 0.9 * 0.5))
    assert rate(1000, 1000) == pytest.approx(0.2)


def test_before_the_length_is_known_schedules_stand_at_their_start():
    assert Geometric(0.05, 0.005)(7, None) == 0.05
    assert WarmupCosine(2.0, warmup=4)(7, None) == 2.0


def test_growing_takes_whole_numbers_for_equal_shares():
    growing = Growing(1, 4)
    assert [growing(step, 8) for step in range(9)] == [1, 1, 2, 2, 3, 3, 4, 4, 4]
    assert growing(0, None) == growing(9, None) == 1  # and never goes back
    assert Growing(2, 2)(5, 10) == Growing(2, 2)(0, None) == 2


def test_progress_is_the_share_of_the_run():
    assert [progress_of(step, 8) for step in (0, 2, 8, 9)] == [0.0, 0.25, 1.0, 1.0]
    assert progress_of(5, None) == progress_of(5, 0) == 0.0
    assert [progress_of(step, 1) for step in (0, 1)] == [0.0, 1.0]


def test_linear_ramps_from_any_share_to_any_other():
    ramp = Linear(3.0, -1.0, begin=0.25, finish=0.75)
    exact = [3.0, 3.0, 2.0, 1.0, 0.0, -1.0, -1.0]
    assert [ramp(step, 80) for step in (0, 20, 30, 40, 50, 60, 80)] == pytest.approx(exact)
    assert [Linear(3.0, 1.0)(step, 4) for step in (0, 1, 4)] == [3.0, 2.5, 1.0]


def test_the_warm_up_and_the_cosine_are_multiplied():
    rate = WarmupCosine(peak=3.0, warmup=4, floor=0.2)
    for step in range(13):
        fall = 0.2 + 0.8 * (1 + math.cos(math.pi * step / 12)) / 2
        assert rate(step, 12) == pytest.approx(3.0 * min((step + 1) / 4, 1.0) * fall)
    assert WarmupCosine(3.0, warmup=0)(0, 12) == 3.0
    usual = WarmupCosine(1.0)
    assert usual(19, None) == 1.0 and usual(9, None) == 0.5 and usual(100, 100) == 0.01


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"peak": 0.0}, "rate.peak=0.0"),
        ({"peak": -1.0}, "rate.peak=-1.0"),
        ({"peak": math.inf}, "rate.peak=inf"),
        ({"peak": math.nan}, "rate.peak=nan"),
        ({"peak": "1e-3"}, "rate.peak=1e-3: want a number"),
        ({"peak": 1.0, "floor": -0.1}, "rate.floor=-0.1"),
        ({"peak": 1.0, "floor": 1.1}, "rate.floor=1.1"),
        ({"peak": 1.0, "warmup": -1}, "rate.warmup=-1"),
        ({"peak": 1.0, "warmup": None}, "rate.warmup=None"),
    ],
)
def test_rates_that_cannot_be_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        WarmupCosine(**options)
    assert WarmupCosine(1, warmup=0, floor=0).floor == 0 and WarmupCosine(1.0, floor=1.0)(5, 9) > 0


@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, 0.0), (math.inf, 1.0), (1.0, math.inf)])
def test_ratios_that_cannot_be_are_refused(ends):
    with pytest.raises(InputError, match="want numbers above 0"):
        Geometric(*ends)


def test_growing_has_equal_shares_and_its_start_before_the_length_is_known():
    assert [Growing(2, 4)(step, 9) for step in range(10)] == [2, 2, 2, 3, 3, 3, 4, 4, 4, 4]
    assert Growing(3, 5)(0, None) == 3 and Growing(1, 2)(0, None) == 1


def test_what_would_climb_the_loss_is_refused():
    fine = ParameterGroup([], 0.0, 0.0)
    check_rates(Constant(0.0), [fine], 5)
    for groups, rate, said in (
        ([ParameterGroup([], -1.0, 0.0)], Constant(1.0), "multiple of the rate is -1"),
        ([fine, ParameterGroup([], 1.0, -0.1)], Constant(1.0), "weight_decay is -0.1"),
        ([ParameterGroup([], 1.0, math.nan)], Constant(1.0), "weight_decay is nan"),
        ([fine], Constant(math.inf), "^rate is inf"),
        ([fine], Linear(1.0, -0.5), "^rate is -0.5"),
        ([fine], Linear(-0.5, 1.0), "^rate is -0.5"),
    ):
        with pytest.raises(InputError, match=said):
            check_rates(rate, groups, 5)


def test_a_group_has_its_own_rate():
    group = ParameterGroup([], 0.5, 0.0, "encoder")
    assert group.rate(0.2, {"encoder": 0.3}) == pytest.approx(0.03)
    assert ParameterGroup([], 0.5, 0.0).rate(0.2, {"encoder": 0.3}) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "schedule",
    [Constant(1.0), Every(1.0, 2), Phases([0.3, 0.6]), Linear(1.0, 0.0), Geometric(1.0, 2.0),
     WarmupCosine(1.0), Growing(1, 2)],
)  # fmt: skip
def test_a_schedule_cannot_be_changed_during_a_run(schedule):
    with pytest.raises(FrozenInstanceError):
        setattr(schedule, fields(schedule)[0].name, 3.0)
