"""The stand-in's weather on short runs: lively, bounded, smooth, and the same when asked again."""

import math

import numpy as np
import pytest
import torch

from climate.conventions.earth import EARTH_RADIUS
from climate.sample.atmosphere import T2M, Atmosphere, Climate
from climate.sample.geography import land_fraction, orography
from climate.sample.shallow_water import GEOPOTENTIAL, VORTICITY
from climate.sample.write import LAT, LON

START = int(np.datetime64("2006-01-01", "s").astype(np.int64))
SPIN_UP, DAYS = 20, 50
NAMES = ("z", "t", "t2m", "u10", "v10")
WEIGHTS = np.cos(np.deg2rad(LAT)) / np.cos(np.deg2rad(LAT)).mean()


class Run:
    """Weeks of weather after the spin-up, six-hourly, and a twin from a tiny error."""

    def __init__(self) -> None:
        self.model = Atmosphere(31, LAT, LON)
        levels = self.model.start(START, seed=0)
        self.frames, self.spectra, self.errors, self.states = [], [], [], []
        twin = levels
        for hour in range((SPIN_UP + DAYS) * 24):
            now = START + 3600 * hour
            if hour == SPIN_UP * 24:
                twin = tuple(torch.where(x.real > 0, x * (1 + 1e-9), x) for x in levels)
            if hour >= SPIN_UP * 24:
                if hour % 6 == 0:
                    self.frames.append(list(self.model.fields(levels[0]).values()))
                if hour % 24 == 0:
                    self.record(levels, twin)
                if hour < (SPIN_UP + 20) * 24:
                    twin = self.model.hour(twin, now)
            levels = self.model.hour(levels, now)
        self.frames = np.asarray(self.frames, np.float64)

    def record(self, levels, twin) -> None:
        state = levels[0]
        self.states.append(state)
        self.errors.append(float((twin[0] - state)[..., VORTICITY].norm()))
        energy = state[:, 1:, VORTICITY].abs().square().sum(0)
        self.spectra.append(energy / self.model.fluid.minus_laplacian[1:])


@pytest.fixture(scope="module")
def run():
    torch.manual_seed(0)
    return Run()


def weighted_rms(x: np.ndarray) -> np.ndarray:
    return np.sqrt((x**2 * WEIGHTS[:, None]).mean((0, 2, 3)))


def test_every_variable_changes_like_weather(run):
    """Persistence error ÷ climatological spread at 24 h: 0.4 to 0.9."""
    frames = run.frames
    days = frames.reshape(-1, 4, *frames.shape[1:])
    spread = weighted_rms((days - days.mean(0)).reshape(frames.shape))
    ratio = weighted_rms(frames[4:] - frames[:-4]) / spread
    assert dict(zip(NAMES, ratio, strict=True)) == {
        name: pytest.approx(0.65, abs=0.25) for name in NAMES
    }


def test_errors_double_in_one_to_five_days(run):
    errors = np.log2(run.errors[5:20])
    doubling = (len(errors) - 1) / (errors[-1] - errors[0])
    assert 1.0 < doubling < 5.0


def test_no_pile_up_at_the_smallest_scales(run):
    spectrum = torch.stack(run.spectra).mean(0)
    assert bool((spectrum[12:].diff() < 0).all())
    assert float(spectrum[-1] / spectrum.sum()) < 1e-4


def test_values_are_those_of_an_atmosphere(run):
    z, t, t2m, u10, v10 = run.frames.transpose(1, 0, 2, 3)
    assert np.isfinite(run.frames).all()
    assert (z * WEIGHTS[:, None]).mean() == pytest.approx(54500.0, abs=100.0)
    assert z.min() > 40000.0 and z.max() < 62000.0
    for temperature in (t, t2m):
        assert temperature.min() > 220.0 and temperature.max() < 320.0
    assert np.abs(u10).max() < 50.0 and np.abs(v10).max() < 50.0
    assert 2.0 < u10.std() < 8.0 and 2.0 < v10.std() < 8.0
    middle = (np.abs(LAT) > 35) & (np.abs(LAT) < 50)
    assert u10[:, middle].mean() > 3.0


def test_mass_is_not_restored_but_conserved(run):
    mass = torch.stack([state[0, 0, GEOPOTENTIAL].abs() for state in run.states])
    assert float(mass.max()) / math.sqrt(4 * math.pi) < 1e-9 * 54500.0


def test_t2m_has_a_day_over_land_and_none_over_sea(run):
    by_hour = run.frames[:, 2].reshape(-1, 4, 32, 64).mean(0)
    amplitude = np.ptp(by_hour, axis=0)
    land, low = land_fraction(LAT, LON), (np.abs(LAT) < 30)[:, None]
    assert amplitude[(land > 0.9) & low].mean() > 2.0
    assert amplitude[(land > 0.9) & low].mean() > 4 * amplitude[(land < 0.1) & low].mean()


def test_same_seed_same_weather_other_seed_other_weather():
    def day(seed: int) -> torch.Tensor:
        model = Atmosphere(21, LAT, LON)
        levels = model.start(START, seed)
        for hour in range(24):
            levels = model.hour(levels, START + 3600 * hour)
        return levels[0]

    first = day(1)
    assert torch.equal(first, day(1))
    assert not torch.equal(first, day(2))


def test_seasons_swap_the_hemispheres():
    model = Atmosphere(21, LAT, LON)
    summer = START + 196 * 86400
    for seconds, colder in ((START, "north"), (summer, "south")):
        jets = model.fluid.wind(model.target(seconds))[..., 0].mean(0)
        north, south = jets[len(jets) // 2 :].max(), jets[: len(jets) // 2].max()
        assert (north > south) == (colder == "north")
        warmth = model.transform.values(model.target(seconds)[..., T2M:])[..., 0].mean(0)
        half = len(warmth) // 2
        area = model.transform.weights[half:]
        # Antarctica is high ground, so only the middle latitudes are compared.
        middle = (model.transform.latitudes[half:] < math.radians(60)).double() * area
        north_mean = (warmth[half:] * middle).sum()
        south_mean = (warmth[:half].flip(0) * middle).sum()
        assert (north_mean < south_mean) == (colder == "north")


def test_heating_has_no_daily_mean():
    model = Atmosphere(21, LAT, LON)
    total = sum(model.heating(START + 600 * k)[..., T2M] for k in range(144)) / 144
    assert float(total.abs().max()) < 1e-2 * float(model.heating(START)[..., T2M].abs().max())


def test_output_wind_is_a_share_of_the_flow():
    model = Atmosphere(31, LAT, LON, Climate(wind_share=(0.5, 0.5)))
    state = model.start(START, 0)[0]
    flow = model.output.wind(model.fluid.potentials(state), EARTH_RADIUS)
    fields = model.fields(state)
    np.testing.assert_allclose(fields["u10"], 0.5 * flow[..., 0].T, rtol=0, atol=1e-4)
    assert {f.dtype for f in fields.values()} == {np.dtype(np.float32)}


def test_geography_is_plausible():
    land, ground = land_fraction(LAT, LON), orography(LAT, LON)
    assert land.min() >= 0.0 and land.max() <= 1.0
    assert 0.15 < (land * WEIGHTS[:, None]).mean() < 0.45
    assert ground.min() >= 0.0 and 1000.0 < ground.max() < 4000.0
    assert ground[land < 0.05].max() < 200.0


def test_rates_of_damping_are_those_of_the_climate():
    climate = Climate(
        eddy_days=3.0, jet_days=5.0, large_eddy_days=7.0, divergence_days=2.0, growth_days=11.0,
        growth_degrees=(4, 6), growth_orders=(1, 2), temperature_days=(13.0, 17.0),
    )  # fmt: skip
    damping = Atmosphere(12, LAT, LON, climate).damping(START)
    for order, degree in np.ndindex(13, 13):
        eddy = 1 / 5 if order == 0 else 1 / 3
        vorticity = eddy + (1 / 7 if order and degree < 4 else 0)
        vorticity -= 1 / 11 if order in (1, 2) and 4 <= degree <= 6 else 0
        want = [vorticity, 1 / 2, eddy, 1 / 13, 1 / 17]
        want[:3] = [0.0] * 3 if order == degree == 0 else want[:3]
        assert np.allclose(damping.rate[order, degree] * 86400, want)


def test_the_target_of_a_day_is_that_of_its_noon():
    model = Atmosphere(12, LAT, LON)
    today = model.damping(START + 5 * 3600.0)
    assert torch.equal(today.target, model.target(START + 12 * 3600.0))
    assert model.damping(START + 86399.0) is today
    assert model.damping(START + 86400.0) is not today


@pytest.mark.parametrize(("season", "seconds"), [(1, 15 * 86400.0), (-1, 197.62125 * 86400.0)])
def test_targets_are_jets_and_temperatures_of_the_season(season, seconds):
    """Of the middle of January and of half a year later."""
    model = Atmosphere(31, LAT, LON)
    transform, target = model.transform, model.target(seconds)
    degrees = np.rad2deg(transform.latitudes.numpy())
    lon = np.arange(transform.longitudes) * 360.0 / transform.longitudes
    sine, land = np.sin(np.deg2rad(degrees)), land_fraction(degrees, lon).T
    aloft = 290.0 - 42.0 * sine**2 - season * 3.0 * sine + 0 * land
    below = aloft + 8.0 - season * 4.5 * sine * land - 6.5e-3 * orography(degrees, lon).T
    fields = transform.coefficients(torch.from_numpy(np.stack((aloft, below), -1)))
    torch.testing.assert_close(target[..., T2M - 1 :], fields, rtol=0, atol=1e-9)
    jets = -6.0 * np.exp(-((degrees / 15) ** 2))
    for side in (1, -1):
        strength, centre = 36.0 * (1 + 0.12 * season * side), side * 42.0 - 2.0 * season
        jets = jets + strength * np.exp(-(((degrees - centre) / 9.0) ** 2))
    wind = model.fluid.wind(target)[..., 0].mean(0).numpy()
    assert np.abs(wind - jets).max() < 0.5
