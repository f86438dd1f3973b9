"""Examples: which trajectories pictures show."""

import numpy as np

from physics_systems.evaluation.rows import examples


def test_examples_are_the_best_the_median_and_the_worst():
    assert examples(np.array([3.0, 1.0, 9.0, 2.0, 4.0])) == (1, 0, 2)
    assert examples(np.array([3.0, 1.0])) == (1, 0) and examples(np.array([1.0])) == (0,)


def test_failed_ones_are_no_examples_where_others_are():
    assert examples(np.array([np.inf, 1.0, 5.0, 2.0, np.inf])) == (1, 3, 2)
    assert examples(np.array([np.inf, np.inf])) == (0, 1)
