"""Coarser grids keep what is on the sphere: by exact areas, whatever the field."""

import numpy as np
import pytest
from refusals import refused

from climate.grids.grid import Grid
from climate.sources.coarsen import coarsening

GRIDS = {
    "centred": Grid(-90 + 7.5 * (np.arange(24) + 0.5), np.arange(48) * 7.5),
    "poles": Grid(np.linspace(-90, 90, 25), np.arange(48) * 7.5),
}


def areas(lat):
    """Of the cells around latitudes, cut off at the poles."""
    half = (lat[1] - lat[0]) / 2
    ends = np.clip(np.stack((lat - half, lat + half)), -90, 90)
    south, north = np.sin(np.deg2rad(ends))
    return (north - south) / 2


@pytest.mark.parametrize("factor", [2, 3, 4, 6])
@pytest.mark.parametrize("name", GRIDS)
def test_the_mean_over_the_sphere_is_kept(name, factor):
    grid = GRIDS[name]
    field = np.random.default_rng(0).normal(3, 2, (2, len(grid.lat), 48))
    change = coarsening(grid, factor)
    coarse = change(field)
    assert coarse.dtype == np.float32
    assert coarse.shape == (2, (24 // factor) + (name == "poles"), 48 // factor)
    if name == "centred":  # at the poles a cell's half is shared by whole rows
        want = field.mean(-1) @ areas(grid.lat)
        assert coarse.mean(-1) @ areas(change.grid.lat) == pytest.approx(want, rel=1e-5)
    assert change.grid.includes_poles == grid.includes_poles
    assert change.row_weights.sum(1) == pytest.approx(np.ones(len(change.rows)))
    assert change.column_weights.sum(1) == pytest.approx(np.ones(len(change.columns)))
    assert change(np.full((1, len(grid.lat), 48), 7.0)) == pytest.approx(7.0)


@pytest.mark.parametrize(("factor", "shares"), [(2, [0.25, 0.5, 0.25]), (3, [1 / 3] * 3)])
def test_a_column_is_the_mean_of_those_around_it(factor, shares):
    """From the middle of its first and last cells where the factor is even; around the circle."""
    change = coarsening(GRIDS["centred"], factor)
    ramp = np.arange(48.0) ** 2
    got = change(np.broadcast_to(ramp, (24, 48)))[3]
    want = [sum(s * ramp[(factor * k + d) % 48] for s, d in zip(shares, (-1, 0, 1), strict=True))
            for k in range(48 // factor)]  # fmt: skip
    assert got == pytest.approx(want)
    assert np.array_equal(change.grid.lon, GRIDS["centred"].lon[::factor])


def test_rows_beside_a_pole_weigh_by_the_area_that_is_theirs():
    """Factor 2: around 0 and the rows beside it; at the pole the cap, and a half of the next."""
    grid = GRIDS["poles"]
    field = np.zeros((25, 48))
    field[0], field[12] = 1.0, 1.0
    got = coarsening(grid, 2)(field)[:, 0]
    sine = np.sin(np.deg2rad([3.75, 7.5, 82.5, 86.25]))
    assert got[6] == pytest.approx(sine[0] / sine[1], rel=1e-5)
    assert got[0] == pytest.approx((1 - sine[3]) / (1 - sine[2]), rel=1e-4)


def test_a_missing_value_makes_only_its_cells_missing():
    field = np.ones((24, 48))
    field[4, 9] = np.nan
    missing = np.isnan(coarsening(GRIDS["centred"], 3)(field))
    assert missing.sum() == 1 and missing[1, 3]


def test_factors_that_do_not_fit_are_refused():
    for factor in (1, 0, -2):
        refused(lambda f=factor: coarsening(GRIDS["centred"], f), "a whole factor of 2 or more")
    refused(lambda: coarsening(GRIDS["centred"], 5), "24 intervals between latitudes", "2, 3, 4")
    box = Grid(np.arange(10, 40, 7.5), np.arange(0, 40, 7.5))
    refused(lambda: coarsening(box, 2), "only of the globe")
