"""Masks as text and in words, for masks of any shape."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from refusals import refused

from climate.store.mask import (
    area_lines,
    check_left,
    describe_mask,
    in_one_line,
    mask_lines,
    not_finite,
    pack,
    percent,
    shares,
    unpack,
)

MASK = np.zeros((3, 4, 5), bool)
MASK[1, 0, :2], MASK[2, 2:] = True, True
NAMES = ("z", "sst", "soil")


@given(arrays(bool, array_shapes(min_dims=1, max_dims=3, max_side=9)))
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_a_mask_comes_back_from_its_text(mask):
    again = unpack(pack(mask), mask.shape)
    assert again.dtype == bool and np.array_equal(again, mask)


@given(st.integers(0, 3), st.integers(0, 3), st.sampled_from([np.nan, np.inf, -np.inf]))
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_what_is_not_finite_is_found_but_for_the_mask(row, column, value):
    values, mask = np.ones((3, 2, 4, 4), np.float32), np.zeros((4, 4), bool)
    assert not not_finite(values, None).any()
    values[1, 1, row, column] = value
    assert not_finite(values, None).tolist() == [False, True, False]
    mask[row, column] = True
    assert not not_finite(values, mask).any()
    assert not_finite(values, np.roll(mask, 1, 1)).tolist() == [False, True, False]


def test_large_numbers_are_finite_though_their_sum_is_not():
    assert not not_finite(np.full((2, 3, 3), 1e308), None).any()


def test_shares_are_of_the_points_and_lines_of_the_area():
    assert shares(NAMES, MASK) == {"sst": 0.1, "soil": 0.5}
    assert shares(NAMES, None) == {} == area_lines(NAMES, None, np.ones(4))
    assert mask_lines(NAMES, MASK) == [
        "sst: 10 % of the points are masked, as in every time",
        "soil: 50 % of the points are masked, as in every time",
    ]
    weights = np.array([5.0, 1, 1, 3])
    told = area_lines(NAMES, MASK, weights)
    assert told == {
        "sst": "20 % of the area is masked and left out",
        "soil": "40 % of the area is masked and left out",
    }
    assert in_one_line(told).startswith("sst: 20 %") and "; soil: 40 %" in in_one_line(told)


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.5, "50 %"),
        (0.004, "0.4 %"),
        (0.9996, "99.96 %"),
        (1e-5, "0.001 %"),
        (1e-7, "0.00001 %"),
        (1e-8, "0 %"),
        (1.0, "100 %"),
    ],
)
def test_a_share_is_never_rounded_to_none_or_all(share, said):
    assert percent(share) == said


def test_two_masks_are_told_apart_where_a_point_or_a_name_is():
    moved = np.roll(MASK, 1, 2)
    texts = {describe_mask(NAMES, MASK), describe_mask(NAMES, moved),
             describe_mask(("z", "sst", "snow"), MASK)}  # fmt: skip
    assert len(texts) == 3
    assert describe_mask(NAMES, MASK).startswith("sst 10 %, soil 50 % of the points (")
    assert describe_mask(NAMES, None) == describe_mask(NAMES, 0 * MASK > 0) == ""


def test_a_part_without_any_point_of_a_channel_is_refused():
    check_left("region=x", NAMES, MASK, "choose")
    refused(lambda: check_left("region=x", NAMES, MASK[:, 2:], "choose another"),
            "region=x: soil is masked on all of its points; choose another")  # fmt: skip
