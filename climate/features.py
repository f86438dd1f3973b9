"""Time and position features from the calendar and the grid.

Shapes: ``B`` samples, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from climate.grid import Grid

SECONDS_PER_DAY = 86400.0
DAYS_PER_YEAR = 365.2425
"""Mean Gregorian year; the phase of the seasons drifts by less than a day."""


class CalendarFeatures(nn.Module):
    """Season, local solar time and the sun's elevation on the grid.

    From seconds since 1970-01-01: sine and cosine of the day of the year; sine and cosine of the
    local solar hour angle; the cosine of the solar zenith angle with the declination
    δ = −23.44° cos(2π (day + 10) / 365.25) (Spencer 1971 to first order).
    """

    count = 5
    longitude: Tensor
    sin_lat: Tensor
    cos_lat: Tensor

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        latitude = torch.from_numpy(np.deg2rad(grid.lat)).float()[:, None]
        longitude = torch.from_numpy(np.deg2rad(grid.lon)).float()[None, :]
        self.register_buffer("longitude", longitude, persistent=False)
        self.register_buffer("sin_lat", latitude.sin(), persistent=False)
        self.register_buffer("cos_lat", latitude.cos(), persistent=False)

    def forward(self, seconds: Tensor) -> Tensor:
        """Features (B, 5, H, W) at times (B,), float64 or int64 seconds since 1970."""
        days = seconds.double() / SECONDS_PER_DAY
        day, year = days % 1.0, (days % DAYS_PER_YEAR) / DAYS_PER_YEAR
        hour_angle = (2 * math.pi * day).float()[:, None, None] + self.longitude - math.pi
        season = (2 * math.pi * year).float()[:, None, None]
        declination = -math.radians(23.44) * torch.cos(season + 2 * math.pi * 10 / DAYS_PER_YEAR)
        zenith = self.sin_lat * declination.sin() + self.cos_lat * declination.cos() * torch.cos(
            hour_angle
        )
        waves = (season.sin(), season.cos(), hour_angle.sin(), hour_angle.cos())
        return torch.stack((*(wave.expand_as(zenith) for wave in waves), zenith), 1)


class MonthFeatures(nn.Module):
    """The month of the year on the grid, as sine and cosine: the clock of monthly means."""

    count = 2

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.shape = (len(grid.lat), len(grid.lon))

    def forward(self, seconds: Tensor) -> Tensor:
        """Features (B, 2, H, W) at times (B,), float64 or int64 seconds since 1970."""
        year = (seconds.double() / SECONDS_PER_DAY % DAYS_PER_YEAR) / DAYS_PER_YEAR
        month = (2 * math.pi * year).float()
        both = torch.stack((month.sin(), month.cos()), 1)
        return both[:, :, None, None].expand(-1, -1, *self.shape)


def position_features(grid: Grid) -> Tensor:
    """Cartesian coordinates (3, H, W) of the grid points on the unit sphere."""
    latitude = torch.from_numpy(np.deg2rad(grid.lat))[:, None]
    longitude = torch.from_numpy(np.deg2rad(grid.lon))[None, :]
    return torch.stack(
        (
            latitude.cos() * longitude.cos(),
            latitude.cos() * longitude.sin(),
            latitude.sin() + 0 * longitude,
        )
    ).float()
