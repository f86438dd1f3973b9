"""The invented ground: what lies where, the same for every sample that was ever made."""

import numpy as np
import pytest

from climate.sample import geography
from climate.sample.geography import land_fraction, orography
from climate.sample.write import LAT, LON

LAND = [
    [29, 28, 27, 24, 24, 27, 28, 29],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 27, 36, 0, 0, 43, 1],
    [79, 0, 14, 18, 0, 0, 119, 11],
    [153, 3, 36, 0, 0, 0, 20, 0],
    [26, 110, 147, 0, 0, 75, 44, 0],
    [31, 128, 87, 0, 0, 81, 82, 0],
    [0, 1, 0, 0, 0, 1, 19, 0],
]
"""Of the globe, in parts of ten thousand, in boxes of 22.5° × 45°, the south first."""
GROUND = [
    [321, 328, 320, 286, 264, 265, 270, 301],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 147, 0],
    [51, 0, 0, 0, 0, 0, 520, 0],
    [198, 7, 46, 0, 0, 0, 28, 0],
    [2, 681, 1035, 0, 0, 465, 2, 0],
    [0, 21, 23, 0, 0, 372, 8, 0],
    [0, 0, 0, 0, 0, 0, 6, 0],
]
"""What each adds to the mean height of the globe, cm."""


@pytest.mark.parametrize(
    ("field", "table", "unit"), [(land_fraction, LAND, 1e-4), (orography, GROUND, 1e-2)]
)
def test_land_and_mountains_lie_where_they_always_did(field, table, unit):
    weights = np.cos(np.deg2rad(LAT)) / np.cos(np.deg2rad(LAT)).sum() / len(LON)
    boxes = (field(LAT, LON) * weights[:, None]).reshape(8, 4, 8, 8).sum((1, 3))
    assert np.abs(boxes / unit - table).max() <= 0.51


def test_a_continent_is_a_hill_cut_at_the_height_of_its_coast(monkeypatch):
    """Half land where a hill of a half width of 20° north and 30° east is 0.55 high."""
    monkeypatch.setattr(geography, "CONTINENTS", ((10.0, 350.0, 20.0, 30.0),))
    reach = np.sqrt(-np.log(0.55))
    for lat, lon in ((10 + 20 * reach, 350), (10 - 20 * reach, 350), (10, 350 + 30 * reach - 360)):
        here = np.array([lat, lat - np.sign(lat - 10) * 1.0]), np.array([lon, lon + 180.0])
        share = land_fraction(*here)
        assert share[0, 0] == pytest.approx(0.5, abs=1e-9) and share[0, 1] < 1e-5
    height = np.exp(-(((14 - 10) / 20) ** 2) - (((5 + 360 - 350) / 30) ** 2))
    want = 1 / (1 + np.exp(-(height - 0.55) * 25))
    assert land_fraction(np.array([14.0]), np.array([5.0]))[0, 0] == pytest.approx(want)
    monkeypatch.setattr(geography, "RANGES", ((8.0, 5.0, 6.0, 9.0, 1000.0),) * 2)
    top = 2000 * np.exp(-(((14 - 8) / 6) ** 2) - ((3 - 5) / 9) ** 2)
    land = land_fraction(np.array([14.0]), np.array([3.0]))[0, 0]
    assert orography(np.array([14.0]), np.array([3.0]))[0, 0] == pytest.approx(top * land)
