"""The stand-in's weather: unstable jets over mountains, and two temperatures they carry.

The zonal mean of the flow is drawn to seasonal jets; eddies are damped, except that a band of
wavenumbers grows by itself. That growth stands for the baroclinic instability that one layer does
not have: jets alone settle to nearly periodic waves, with it the flow is chaotic. Temperatures are
advected, relaxed to a climate with seasons, and over land heated by the sun. The model is
deterministic; the seed chooses the small waves it starts from.

Shapes: ``M`` zonal wavenumbers, ``L`` degrees, ``W`` Gaussian longitudes, ``K`` latitudes, ``F``
fields as in `climate.sample.shallow_water`, the tracers being t and t2m.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from climate.conventions.earth import EARTH_RADIUS, GRAVITY
from climate.sample.geography import land_fraction, orography
from climate.sample.harmonics import GaussianTransform, Synthesis
from climate.sample.shallow_water import (
    DIVERGENCE,
    GEOPOTENTIAL,
    TRACERS,
    VORTICITY,
    Damping,
    ShallowWater,
)

DAY, YEAR = 86400.0, 365.2425 * 86400.0
LAPSE = 6.5e-3
"""K/m."""
MEAN_GEOPOTENTIAL = 54500.0
"""Of the free surface, m²/s²: about that of 500 hPa."""
T, T2M = TRACERS, TRACERS + 1


@dataclass(frozen=True)
class Climate:
    """The numbers of the forcing, tuned so that the sample is as lively as weather.

    Attributes:
        jet_speed: of the target jets, m/s.
        jet_season: how much faster in winter than on average, share.
        jet_latitude: of the jets in the yearly mean, degrees.
        jet_width: e-folding half width, degrees.
        jet_days: relaxation of the zonal mean flow, days.
        eddy_days: damping of all eddies, days.
        large_eddy_days: further damping of eddies larger than those that grow, days.
        divergence_days: damping of the divergence, which keeps the flow near balance, days.
        growth_days: e-folding of the growing eddies, before damping, days.
        growth_degrees: smallest and largest degree of the eddies that grow.
        growth_orders: smallest and largest zonal wavenumber of the eddies that grow.
        carried: share of the flow that carries t and t2m.
        temperature_days: relaxation of t and of t2m, days.
        contrast: equator less pole of t, K.
        season: amplitude of the seasons of t at the poles, K.
        heating: of t2m over land under the zenith sun, K/day.
        wind_share: of the flow that is u10, v10 over sea and over land.
    """

    jet_speed: float = 36.0
    jet_season: float = 0.12
    jet_latitude: float = 42.0
    jet_width: float = 9.0
    jet_days: float = 5.0
    eddy_days: float = 20.0
    large_eddy_days: float = 20.0
    divergence_days: float = 2.0
    growth_days: float = 3.5
    growth_degrees: tuple[int, int] = (10, 20)
    growth_orders: tuple[int, int] = (1, 4)
    carried: tuple[float, float] = (0.5, 0.4)
    temperature_days: tuple[float, float] = (6.0, 5.0)
    contrast: float = 42.0
    season: float = 3.0
    heating: float = 18.0
    wind_share: tuple[float, float] = (0.45, 0.3)


class Atmosphere:
    """The model: state, forcing, and what is written of it.

    Args:
        truncation: largest spherical degree.
        lat: (H,) latitudes of the output, degrees ascending.
        lon: (W,) longitudes of the output.
        climate: of the forcing.
        time_step: s; divides an hour.
    """

    def __init__(
        self,
        truncation: int,
        lat: np.ndarray,
        lon: np.ndarray,
        climate: Climate | None = None,
        time_step: float = 1800.0,
    ) -> None:
        self.climate = climate or Climate()
        self.transform = GaussianTransform(truncation)
        self.steps_per_hour = round(3600.0 / time_step)
        own_lat = np.rad2deg(self.transform.latitudes.numpy())
        own_lon = np.arange(self.transform.longitudes) * 360.0 / self.transform.longitudes
        self._phi = self.transform.latitudes
        self._lam = torch.from_numpy(np.deg2rad(own_lon))[:, None]
        self.land = torch.from_numpy(land_fraction(own_lat, own_lon).T.copy())
        ground = self._smooth(torch.from_numpy(orography(own_lat, own_lon).T.copy()))
        self._ground = ground
        self.fluid = ShallowWater(
            self.transform,
            MEAN_GEOPOTENTIAL,
            ground * GRAVITY,
            self.climate.carried,
            time_step,
        )
        self._rate = self._damping_rates()
        self._today: tuple[int, Damping] | None = None
        radians = torch.from_numpy(np.deg2rad(lat))
        self.output = Synthesis(truncation, radians, len(lon))
        land = torch.from_numpy(land_fraction(lat, lon).T.copy())
        sea_share, land_share = self.climate.wind_share
        self._wind_share = sea_share + (land_share - sea_share) * land

    def _smooth(self, field: Tensor) -> Tensor:
        return self.transform.values(self.transform.coefficients(field.unsqueeze(-1)))[..., 0]

    def _damping_rates(self) -> Tensor:
        """(M, L, F) 1/s; negative where eddies grow."""
        size, climate = self.transform.truncation + 1, self.climate
        (low, high), (narrow, wide) = climate.growth_degrees, climate.growth_orders
        rate = torch.zeros(size, size, T2M + 1, dtype=torch.float64)
        rate[..., :TRACERS] = 1.0 / (climate.eddy_days * DAY)
        rate[0, :, :TRACERS] = 1.0 / (climate.jet_days * DAY)
        rate[1:, :low, VORTICITY] += 1.0 / (climate.large_eddy_days * DAY)
        rate[narrow : wide + 1, low : high + 1, VORTICITY] -= 1.0 / (climate.growth_days * DAY)
        rate[..., DIVERGENCE] = 1.0 / (climate.divergence_days * DAY)
        rate[0, 0, :TRACERS] = 0.0  # mass is conserved, not restored
        rate[..., T] = 1.0 / (climate.temperature_days[0] * DAY)
        rate[..., T2M] = 1.0 / (climate.temperature_days[1] * DAY)
        return rate

    def _jets(self, season: float) -> Tensor:
        """Target zonal wind (K,), m/s; ``season`` is 1 in January and -1 in July."""
        climate, degrees = self.climate, torch.rad2deg(self._phi)
        wind = torch.zeros_like(degrees)
        for side in (1.0, -1.0):
            strength = climate.jet_speed * (1 + climate.jet_season * season * side)
            centre = side * (climate.jet_latitude - 2.0 * season * side)
            wind = wind + strength * torch.exp(-(((degrees - centre) / climate.jet_width) ** 2))
        return wind - 6.0 * torch.exp(-((degrees / 15.0) ** 2))

    def damping(self, seconds: float) -> Damping:
        """The linear terms of the day that holds a time (s since 1970); kept for that day."""
        day = math.floor(seconds / DAY)
        if self._today is None or self._today[0] != day:
            self._today = day, Damping(self._rate, self.target((day + 0.5) * DAY))
        return self._today[1]

    def target(self, seconds: float) -> Tensor:
        """What the state is drawn to at a time (s since 1970), (M, L, F)."""
        season = math.cos(2 * math.pi * (seconds / YEAR - 15 * DAY / YEAR))
        shape = (self.transform.longitudes, len(self._phi))
        east = self._jets(season).expand(shape)
        wind = torch.stack((east, torch.zeros_like(east)), -1).unsqueeze(-1)
        none = torch.zeros(*shape, 0, dtype=torch.float64)
        _, _, curl = self.transform.analyse(none, wind, EARTH_RADIUS)
        target = torch.zeros_like(self._rate, dtype=torch.complex128)
        target[..., VORTICITY] = curl[..., 0]
        target[..., GEOPOTENTIAL] = self.fluid.balanced(curl[..., 0])
        sine = self._phi.sin().expand(shape)
        aloft = 290.0 - self.climate.contrast * sine**2 - self.climate.season * season * sine
        below = aloft + 8.0 - 1.5 * self.climate.season * season * sine * self.land
        fields = torch.stack((aloft, below - LAPSE * self._ground), -1)
        target[..., T:] = self.transform.coefficients(fields)
        return target

    def heating(self, seconds: float) -> Tensor:
        """(M, L, F) per second: the sun over land on t2m, less its daily mean."""
        angle = 2 * math.pi * (seconds / DAY % 1.0) + self._lam - math.pi
        warmth = self.land * self._phi.cos() * (angle.cos().clamp(min=0.0) - 1 / math.pi)
        forcing = torch.zeros_like(self._rate, dtype=torch.complex128)
        rate = self.climate.heating / DAY
        forcing[..., T2M] = self.transform.coefficients((rate * warmth).unsqueeze(-1))[..., 0]
        return forcing

    def start(self, seconds: float, seed: int) -> tuple[Tensor, Tensor]:
        """The target state with small random waves in the vorticity: two time levels."""
        state = self.target(seconds)
        generator = torch.Generator().manual_seed(seed)
        size = self.transform.truncation + 1
        noise = torch.randn((size, size, 2), dtype=torch.float64, generator=generator)
        waves = torch.view_as_complex(noise).triu() * 2e-6
        waves[0], waves[:, 12:] = 0, 0
        state[..., VORTICITY] += waves
        state[..., DIVERGENCE] = 0
        return self.fluid.start(state)

    def hour(self, levels: tuple[Tensor, Tensor], seconds: float) -> tuple[Tensor, Tensor]:
        """One hour on from ``seconds``, the time of the first level."""
        damping, heating = self.damping(seconds), self.heating(seconds + 1800.0)
        for _ in range(self.steps_per_hour):
            levels = self.fluid.step(levels, heating, damping)
        return levels

    def fields(self, state: Tensor) -> dict[str, np.ndarray]:
        """z, t, t2m, u10, v10 of a state on the output grid: (H, W) float32 each."""
        scalars = self.output.values(state[..., [GEOPOTENTIAL, T, T2M]])
        wind = self.output.wind(self.fluid.potentials(state), EARTH_RADIUS)
        wind = wind * self._wind_share.unsqueeze(-1)
        values = {
            "z": scalars[..., 0] + MEAN_GEOPOTENTIAL,
            "t": scalars[..., 1],
            "t2m": scalars[..., 2],
            "u10": wind[..., 0],
            "v10": wind[..., 1],
        }
        return {name: field.T.float().numpy() for name, field in values.items()}
