"""Invented continents: the same for every seed.

Shapes: ``K`` latitudes, ``W`` longitudes; angles in degrees.
"""

from __future__ import annotations

import numpy as np

CONTINENTS = (
    # latitude, longitude, half width north–south, half width east–west
    (48.0, 262.0, 24.0, 34.0),
    (66.0, 285.0, 12.0, 30.0),
    (-14.0, 302.0, 26.0, 17.0),
    (50.0, 75.0, 22.0, 62.0),
    (30.0, 100.0, 18.0, 28.0),
    (6.0, 20.0, 27.0, 20.0),
    (-25.0, 134.0, 12.0, 19.0),
    (-86.0, 0.0, 18.0, 360.0),
)
RANGES = (
    # latitude, longitude, half width north–south, half width east–west, height in m
    (43.0, 250.0, 17.0, 9.0, 1400.0),
    (-18.0, 291.0, 24.0, 7.0, 1500.0),
    (33.0, 88.0, 9.0, 17.0, 2200.0),
    (72.0, 320.0, 9.0, 12.0, 1200.0),
    (6.0, 37.0, 14.0, 9.0, 800.0),
    (-84.0, 90.0, 13.0, 360.0, 1500.0),
)
COAST = 0.55
"""Level of the continents' bumps at which the sea begins."""


def _bump(
    lat: np.ndarray, lon: np.ndarray, centre: tuple[float, float], half: tuple[float, float]
) -> np.ndarray:
    """A smooth hill of height 1, (K, W), of a width given in degrees along the parallels."""
    north = (lat[:, None] - centre[0]) / half[0]
    east = (lon[None, :] - centre[1] + 180.0) % 360.0 - 180.0
    east = east * np.cos(np.deg2rad(centre[0])) / (half[1] * np.cos(np.deg2rad(centre[0])))
    return np.exp(-(north**2) - east**2)


def land_fraction(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Share of land (K, W), 0 to 1, with coasts a few degrees wide."""
    height = np.zeros((len(lat), len(lon)))
    for centre_lat, centre_lon, half_lat, half_lon in CONTINENTS:
        bump = _bump(lat, lon, (centre_lat, centre_lon), (half_lat, half_lon))
        height = np.maximum(height, bump)
    return 1.0 / (1.0 + np.exp(-(height - COAST) * 25.0))


def orography(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Height of the ground (K, W), m: mountain ranges, on land and on nothing else."""
    height = np.zeros((len(lat), len(lon)))
    for centre_lat, centre_lon, half_lat, half_lon, top in RANGES:
        height += top * _bump(lat, lon, (centre_lat, centre_lon), (half_lat, half_lon))
    return height * land_fraction(lat, lon)
