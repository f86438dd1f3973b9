"""Edges of cells and what they share, against what is plain."""

import numpy as np
import pytest

from climate.grids.cells import column_edges, edges_of_bounds, row_edges, shared

NODES = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(12)[0]))


@pytest.mark.parametrize(
    ("lat", "ends"),
    [
        (NODES, [-90, 90]),
        (np.linspace(-90, 90, 13), [-90, 90]),
        (-90 + 15 * (np.arange(12) + 0.5), [-90, 90]),
        (np.arange(-75.0, 76.0, 15.0), [-82.5, 82.5]),
        (np.arange(30.0, 61.0, 5.0), [27.5, 62.5]),
        (np.array([-88.0, -40.0]), [-90, -16]),
    ],
    ids=["gaussian", "poles", "centred", "without its poles", "box", "two"],
)
def test_rows_end_midway_and_at_a_pole_that_no_further_row_reaches(lat, ends):
    edges = row_edges(lat)
    assert edges[[0, -1]] == pytest.approx(ends)
    assert np.array_equal(edges[1:-1], (lat[1:] + lat[:-1]) / 2)


def test_columns_go_around_or_end_half_a_cell_beyond():
    around = 7.5 * np.arange(48)
    for shift in (0.0, 3.75, -180.0):
        assert np.allclose(column_edges(around + shift), np.append(around, 360.0) + shift - 3.75)
    assert np.allclose(column_edges(around[:40]), 7.5 * np.arange(41) - 3.75)
    uneven = np.array([0.0, 80, 180, 260])
    assert column_edges(uneven).tolist() == [-50, 40, 130, 220, 310]


@pytest.mark.parametrize("around", [False, True])
def test_of_bounds_that_do_not_meet_there_are_no_edges(around):
    points = np.array([0.0, 10, 20])
    whole = np.stack((points - 4, points + 6), 1)
    assert edges_of_bounds(whole, points, around).tolist() == [-4, 6, 16, 26]
    assert edges_of_bounds(whole.astype("f4") + 1e-4, points, around) is not None
    for wrong in (
        whole * [1, 0.9],
        whole + 5,
        whole - 7,
        whole * np.nan,
        whole * 0,
        whole[:, :1] + 0 * whole,
    ):
        assert edges_of_bounds(wrong, points, around) is None


def test_no_more_than_a_turn_is_had_of_bounds():
    points = np.array([0.0, 100, 200, 300])
    turn = np.stack((points - 50, points + 50), 1)
    assert edges_of_bounds(turn, points, True) is None
    turn[-1, 1] = 310 + 1e-5
    assert edges_of_bounds(turn, points, True)[[0, -1]].tolist() == [-50, 310]


def test_shares_are_those_of_the_target_cell_also_across_the_seam():
    found = shared(np.array([0.0, 90, 180, 270, 360]), np.array([-30.0, 60, 330]), True).toarray()
    assert found == pytest.approx(np.array([[2 / 3, 0, 0, 1 / 3], [1 / 9, 1 / 3, 1 / 3, 2 / 9]]))
    box = shared(np.array([10.0, 20, 30]), np.array([355.0, 375, 385, 395]), True).toarray()
    assert box == pytest.approx(np.array([[0.25, 0], [0.5, 0.5], [0, 0.5]]))
    rows = shared(np.array([0.0, 1, 3]), np.array([0.5, 2.5, 4.5]), False).toarray()
    assert rows == pytest.approx(np.array([[0.25, 0.75], [0, 0.25]]))
