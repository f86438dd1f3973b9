"""Grids: which coordinates make one, and weights that are exact."""

import numpy as np
import pytest
from refusals import refused

from climate.grids.grid import Grid

CENTRED, POLES = -90 + 7.5 * (np.arange(24) + 0.5), np.linspace(-90, 90, 25)
LON = 7.5 * np.arange(48)
BOX = np.arange(20.0, 60.0, 2.0)


def test_the_globe_has_rows_at_the_poles_or_not_and_a_box_has_no_say():
    assert Grid(CENTRED, LON).includes_poles is False and Grid(POLES, LON).includes_poles is True
    box = Grid(BOX, BOX - 30, 2)
    assert not box.is_global and box.includes_poles is None and box.halo == 2
    assert Grid(CENTRED, LON).is_global and Grid(CENTRED, LON).halo == 0


@pytest.mark.parametrize(
    ("lat", "lon", "words"),
    [
        (CENTRED[1:], LON, "do not span the globe"),
        (POLES[:-1], LON, "do not span the globe"),
        (CENTRED[::-1], LON, "do not span the globe"),
        (CENTRED, LON + 3.75, "longitudes must start at 0, they start at 3.75"),
        (CENTRED, LON[::-1], "evenly spaced"),
        (np.where(np.arange(24) == 5, -50.0, CENTRED), LON, "evenly spaced"),
        (CENTRED, np.where(np.arange(48) == 5, 40.0, LON), "evenly spaced"),
        (CENTRED, 360 / 50 * np.arange(50), "50"),
        (BOX, np.append(BOX[:-1], 61.0), "evenly spaced"),
        (BOX[::-1], BOX, "evenly spaced"),
        (BOX, BOX[::-1], "evenly spaced"),
        (BOX[:1], BOX, "grid: "),
        (np.arange(50.0, 91.0, 2.0), BOX, "a box cannot hold a pole"),
        (np.arange(-90.0, -49.0, 2.0), BOX, "a box cannot hold a pole"),
    ],
)
def test_other_coordinates_are_refused(lat, lon, words):
    refused(lambda: Grid(lat, lon), words)


def test_a_box_may_end_a_row_short_of_a_pole():
    assert Grid(np.arange(50.5, 90.0, 1.0), BOX).lat[-1] == 89.5
    assert Grid(np.arange(-89.5, -50.0, 1.0), BOX).lat[0] == -89.5


@pytest.mark.parametrize("lat", [CENTRED, POLES])
def test_weights_are_by_area_and_exact_for_polynomials_of_the_sine(lat):
    grid, sine = Grid(lat, LON), np.sin(np.deg2rad(lat))
    area = grid.area_weights
    assert np.allclose(area, np.cos(np.deg2rad(lat)) * len(lat) / np.cos(np.deg2rad(lat)).sum())
    for degree in range(len(lat)):
        mean = 0.0 if degree % 2 else 1 / (degree + 1)
        assert (grid.quadrature_weights * sine**degree).sum() == pytest.approx(mean, abs=1e-9)


def test_losses_weigh_by_cells_which_have_an_area_at_the_poles_too():
    centred, poles = Grid(CENTRED, LON), Grid(POLES, LON)
    assert np.array_equal(centred.cell_weights, centred.area_weights)
    cells = poles.cell_weights
    assert cells.mean() == pytest.approx(1)
    half = np.deg2rad(POLES[1] - POLES[0]) / 2
    assert cells[1:-1] / poles.area_weights[1:-1] == pytest.approx(
        np.full(len(POLES) - 2, cells[2] / poles.area_weights[2])
    )
    cap = 2 * np.pi * (1 - np.cos(half))
    assert cells[[0, -1]] / cells.sum() * 4 * np.pi == pytest.approx([cap, cap])
    box = Grid(np.arange(30.5, 60.0), np.arange(10.5, 50.0))
    assert np.array_equal(box.cell_weights, box.area_weights)
