"""The share of a run that is done goes on where it was, whatever becomes of the plan."""

import itertools

import pytest

from vgbdm.training.course import CORRECTIONS, Course


@pytest.mark.parametrize(
    ("total", "count", "due"),
    [
        (100, 4, {25, 50, 75, 100}),
        (10, 3, {3, 7, 10}),
        (2, 5, {1, 2}),
        (10, 5, {2, 4, 6, 8, 10}),
        (1, 1, {1}),
        (None, 5, set()),
    ],
)
def test_validations_are_spread_evenly_and_end_with_the_run(total, count, due):
    assert Course(total).looks(count) == due


def test_a_given_number_of_steps_is_one_course_with_the_shares_that_schedules_had():
    for total in (1, 6, 7, 1000, 2**40 + 1):
        course = Course(total)
        assert {course.length_at(step) for step in (0, 1, 5, total)} == {total}
        for step in (0, 1, total // 3, total):
            assert course.share_at(step) == step / total
        looks = {round(total * k / 7) for k in range(1, 8)} - {0}
        assert course.looks(7) == (looks if total > 6 else {*looks, 1})


def test_while_steps_are_timed_nothing_is_done_yet():
    course = Course(None)
    assert course.length_at(9) is None and course.share_at(9) == 0.0
    assert not course.is_correction(9)
    begun = course.corrected(15, 115, 4)
    assert begun == Course(115, 15) and begun.length_at(15) is None
    assert begun.share_at(65) == 0.5 and begun.length_at(65) == 130.0
    assert begun.looks(4) == {40, 65, 90, 115}


@pytest.mark.parametrize("total", [61, 105, 1000])
def test_the_share_does_not_jump_where_the_plan_is_corrected(total):
    course = Course(None).corrected(10, 110, 5)
    other = course.corrected(60, total, 5)
    total = other.total
    assert other.share_at(60) == course.share_at(60) == 0.5
    assert other.length_at(60) == pytest.approx(120)
    shares = [other.share_at(step) for step in range(60, total + 1)]
    steps = [b - a for a, b in itertools.pairwise(shares)]
    assert shares[-1] == 1.0
    assert steps == pytest.approx([0.5 / (total - 60)] * len(steps))


def test_what_was_looked_at_is_not_looked_at_again_and_the_rest_is_still_to_come():
    course = Course(None).corrected(10, 110, 5)
    assert course.looks(5) == {30, 50, 70, 90, 110}
    for step in range(11, 110):
        behind = {look for look in course.looks(5) if look <= step}
        for total in (step + 1, step + 2, 110, 5000):
            other = course.corrected(step, total, 5)
            to_come = other.looks(5)
            assert min(to_come) > step and max(to_come) == total
            assert len(to_come) == min(5 - len(behind), total - step)
            again = other.corrected(step, 111, 5)  # at once, as after a resume
            assert len(again.looks(5)) == min(5 - len(behind), 111 - step)


def test_a_chain_of_corrections_looks_as_often_as_was_asked_for():
    course, looked = Course(None).corrected(15, 40, 6), []
    totals = iter([300, 90, 1000, 200, 400, 350, 360] + [370] * 500)
    step = 15
    while step < course.total:
        step += 1
        if step in course.looks(6):
            looked.append(step)
        if step < course.total and (looked[-1:] == [step] or course.is_correction(step)):
            course = course.corrected(step, max(next(totals), step + 1), 6)
    assert len(looked) == 6 and looked[-1] == step == course.total


def test_corrections_are_spread_over_the_run():
    course, steps = Course(None).corrected(15, 1015, 5), []
    for step in range(15, 1016):
        if course.is_correction(step):
            steps.append(step)
            course = course.corrected(step, 1015, 5)
    assert steps == [15 + 1000 * k // CORRECTIONS for k in range(1, CORRECTIONS)]


def test_a_checkpoint_says_the_course_and_an_old_one_is_of_one():
    course = Course(None).corrected(10, 110, 5).corrected(60, 300, 5)
    assert Course.of(course.state()) == course
    assert Course.of({"total_steps": 7}) == Course(7)
