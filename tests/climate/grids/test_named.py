"""Grids by a name: which they are, and that models take the smallest of them."""

import numpy as np
import pytest
from refusals import refused

from climate.grids.named import MIN_COLUMNS, MIN_ROWS, name_of, parse_grid
from climate.operators.sphere import SpectralOperators


@pytest.mark.parametrize(
    ("name", "shape", "first"),
    [
        (5.625, (32, 64), -87.1875),
        ("5.625", (32, 64), -87.1875),
        (2.8125, (64, 128), -88.59375),
        (1.40625, (128, 256), -89.296875),
        (1.5, (121, 240), -90.0),
        (0.25, (721, 1440), -90.0),
        (1, (181, 360), -90.0),
        (2.5, (73, 144), -90.0),
        (0.3333333, (541, 1080), -90.0),
        ("32x64", (32, 64), -87.1875),
        ("33×64", (33, 64), -90.0),
        ("6x8", (6, 8), -75.0),
    ],
)
def test_what_a_name_means(name, shape, first):
    """Odd counts of rows have the poles; degrees are those of WeatherBench and ERA5."""
    grid = parse_grid(name)
    assert (len(grid.lat), len(grid.lon)) == shape
    assert grid.lat[0] == pytest.approx(first) and grid.lat[-1] == pytest.approx(-first)
    assert grid.includes_poles == bool(shape[0] % 2)
    assert np.allclose(grid.lon, np.arange(shape[1]) * 360 / shape[1])
    assert name_of(grid) == f"{shape[0]} × {shape[1]}"


@pytest.mark.parametrize(
    "name",
    [0, -1.5, 7, 0.7, 1e-9, 1e300, float("nan"), float("inf"), True, "", "x", "32", "32x", "axb",
     "32x66", "4x64", "32x4", "32x999999", "32x64x2", "-32x64"],
)  # fmt: skip
def test_what_names_no_grid_of_models_is_refused(name):
    refused(lambda: parse_grid(name), f"regrid={name}: want ")


@pytest.mark.parametrize("rows", [MIN_ROWS, MIN_ROWS + 1])
def test_the_smallest_grids_have_waves_to_resolve(rows):
    assert SpectralOperators(parse_grid(f"{rows}x{MIN_COLUMNS}")).truncation > 0
