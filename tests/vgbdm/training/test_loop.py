"""How long a run is to be, from its first steps, and when it is validated."""

from types import SimpleNamespace

import pytest

from vgbdm.training.loop import TIMED_STEPS, TIMED_TOGETHER, Trainer, typical


def test_steps_that_differ_by_turns_count_as_they_come():
    turns = ([3.0] + [1.0] * (TIMED_TOGETHER - 1)) * (TIMED_STEPS // TIMED_TOGETHER)
    mean = (TIMED_TOGETHER + 2) / TIMED_TOGETHER
    assert typical(turns) == pytest.approx(mean)
    assert typical(turns[1:] + turns[:1]) == pytest.approx(mean)


def test_a_moment_in_which_the_machine_did_something_else_does_not_count():
    assert typical([1.0] * (TIMED_STEPS - 1) + [50.0]) == 1.0


@pytest.mark.parametrize(
    ("total", "count", "due"),
    [
        (100, 4, [0, 25, 50, 75, 100]),
        (10, 3, [0, 3, 7, 10]),
        (2, 5, [0, 1, 2]),
        (10, 5, [0, 2, 4, 6, 8, 10]),
        (None, 5, [0]),
    ],
)
def test_validations_are_spread_evenly_and_end_with_the_run(total, count, due):
    """A run that went on beyond the total it is given when it goes on has none left."""
    runs = [SimpleNamespace(step=k, total=total, plan=SimpleNamespace(validations=count))
            for k in range(140)]  # fmt: skip
    assert [run.step for run in runs if Trainer.is_due(run)] == due
