"""How long a run is to be, from its first steps."""

import pytest

from vgbdm.training.loop import TIMED_STEPS, TIMED_TOGETHER, typical


def test_steps_that_differ_by_turns_count_as_they_come():
    turns = ([3.0] + [1.0] * (TIMED_TOGETHER - 1)) * (TIMED_STEPS // TIMED_TOGETHER)
    mean = (TIMED_TOGETHER + 2) / TIMED_TOGETHER
    assert typical(turns) == pytest.approx(mean)
    assert typical(turns[1:] + turns[:1]) == pytest.approx(mean)


def test_a_moment_in_which_the_machine_did_something_else_does_not_count():
    assert typical([1.0] * (TIMED_STEPS - 1) + [50.0]) == 1.0
