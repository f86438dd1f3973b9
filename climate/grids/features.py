"""Time and position features from the calendar and the grid.

Shapes: ``B`` samples, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from climate.conventions.cycles import DAYS_PER_YEAR, SECONDS_PER_DAY, Arcs, covered
from climate.grids.grid import Grid

TILT = math.radians(23.44)


class CalendarFeatures(nn.Module):
    """Season, local solar time and the sun's elevation on the grid, as far as training knows them.

    From seconds since 1970-01-01: sine and cosine of the day of the year; sine and cosine of the
    local solar hour angle; the cosine of the solar zenith angle with the declination
    δ = −23.44° cos(2π (day + 10) / 365.2425) (Spencer 1971 to first order).

    A cycle that training did not cover is left out (`climate.conventions.cycles`). Without the
    season the sun keeps the mean declination of the training period; without the hours it is left
    out too.

    Args:
        grid: the grid.
        seen: what training saw of each of `cycles`; None: unknown, all of them count as covered.
    """

    cycles = ("season", "day")
    longitude: Tensor
    sin_lat: Tensor
    cos_lat: Tensor

    def __init__(self, grid: Grid, seen: Mapping[str, Arcs] | None = None) -> None:
        super().__init__()
        self.used = covered(seen, self.cycles)
        self.count = 2 * ("season" in self.used) + 3 * ("day" in self.used)
        self.declination: float | None = None
        if seen is not None and "season" not in self.used:
            self.declination = mean_declination(seen["season"])
        latitude = torch.from_numpy(np.deg2rad(grid.lat)).float()[:, None]
        longitude = torch.from_numpy(np.deg2rad(grid.lon)).float()[None, :]
        self.register_buffer("longitude", longitude, persistent=False)
        self.register_buffer("sin_lat", latitude.sin(), persistent=False)
        self.register_buffer("cos_lat", latitude.cos(), persistent=False)

    def forward(self, seconds: Tensor) -> Tensor:
        """Features (B, count, H, W) at times (B,), float64 or int64 seconds since 1970."""
        days = seconds.double() / SECONDS_PER_DAY
        season = (2 * math.pi * (days % DAYS_PER_YEAR) / DAYS_PER_YEAR).float()[:, None, None]
        waves = [season.sin(), season.cos()] if "season" in self.used else []
        if "day" in self.used:
            angle = (2 * math.pi * (days % 1.0)).float()[:, None, None] + self.longitude - math.pi
            waves += [angle.sin(), angle.cos(), self.elevation(season, angle)]
        shape = (len(seconds), len(self.sin_lat), self.longitude.shape[1])
        return torch.stack([wave.expand(shape) for wave in waves], 1)

    def elevation(self, season: Tensor, hour_angle: Tensor) -> Tensor:
        """Cosine of the zenith angle (B, H, W), of angles (B, 1, 1) and (B, 1, W)."""
        if self.declination is not None:
            high, low = math.sin(self.declination), math.cos(self.declination)
            return self.sin_lat * high + self.cos_lat * low * hour_angle.cos()
        declination = -TILT * torch.cos(season + 2 * math.pi * 10 / DAYS_PER_YEAR)
        turning = self.cos_lat * declination.cos() * hour_angle.cos()
        return self.sin_lat * declination.sin() + turning


def mean_declination(arcs: Arcs) -> float:
    """Mean declination of the sun over arcs of the year, radians."""
    middles = (np.arange(1000) + 0.5) / 1000
    year = np.concatenate([start + (end - start) * middles for start, end in arcs])
    weight = np.repeat([end - start for start, end in arcs], len(middles))
    declination = -TILT * np.cos(2 * math.pi * (year + 10 / DAYS_PER_YEAR))
    return float(np.average(declination, weights=weight))


class MonthFeatures(nn.Module):
    """The month of the year on the grid, as sine and cosine: the clock of monthly means.

    Args:
        grid: the grid.
        seen: what training saw of the year; where that does not cover it, nothing is left.
    """

    cycles = ("month",)

    def __init__(self, grid: Grid, seen: Mapping[str, Arcs] | None = None) -> None:
        super().__init__()
        self.used = covered(seen, self.cycles)
        self.count = 2 * len(self.used)
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
