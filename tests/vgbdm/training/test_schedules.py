"""Schedules against exact values; counted in steps, whatever an epoch is."""

import pytest

from vgbdm.errors import InputError
from vgbdm.training.schedules import Constant, Every, Geometric, Growing, Linear, WarmupCosine


def test_constant():
    assert [Constant(0.3)(step, 10) for step in (0, 5, 10)] == [0.3, 0.3, 0.3]


def test_every_is_there_by_turns_in_a_timed_run_too():
    for total in (10, None):
        assert [Every(2.0, 4)(step, total) for step in range(6)] == [2.0, 0.0, 0.0, 0.0, 2.0, 0.0]


def test_a_period_of_no_steps_is_refused():
    with pytest.raises(InputError, match="period=0"):
        Every(1.0, 0)


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
    # steps timed before the length is known cost at least what steps cost on average
    assert growing(0, None) == 3
    assert Growing(2, 2)(5, 10) == Growing(2, 2)(0, None) == 2
