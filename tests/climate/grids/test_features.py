"""Calendar and position features against dates anyone can check."""

import math

import numpy as np
import pytest
import torch

from climate.conventions.cycles import WHOLE
from climate.grids.features import (
    CalendarFeatures,
    MonthFeatures,
    mean_declination,
    position_features,
)
from climate.grids.grid import Grid

GRID = Grid(-90 + 5.625 * (np.arange(32) + 0.5), np.arange(64) * 5.625)


def features(*dates: str) -> torch.Tensor:
    seconds = np.array(dates, "datetime64[s]").astype(np.int64)
    return CalendarFeatures(GRID)(torch.from_numpy(seconds))


def test_the_sun_stands_highest_at_local_noon():
    zenith = features("2016-03-20T00:00", "2016-03-20T12:00")[:, 4]
    equator = zenith[:, 16]
    assert GRID.lon[equator[0].argmax()] == 180.0
    assert GRID.lon[equator[1].argmax()] == 0.0
    assert equator.max() > 0.99


@pytest.mark.parametrize(
    ("hour", "noon"), [(3, 135.0), (6, 90.0), (9, 45.0), (15, 315.0), (21, 225.0)]
)
def test_noon_moves_to_the_west(hour, noon):
    """At 6 UTC it is noon at 90 E, where the hour angle is 0; an hour later 15° to the west."""
    sine, cosine, zenith = features(f"2016-03-20T{hour:02}:00")[0, 2:, 16]
    column = int(np.flatnonzero(GRID.lon == noon)[0])
    assert int(zenith.argmax()) == column
    assert float(cosine[column]) == pytest.approx(1, abs=1e-5)
    angle = np.deg2rad(15.0 * hour + GRID.lon - 180.0)
    assert np.allclose(sine, np.sin(angle), atol=1e-5)
    assert np.allclose(cosine, np.cos(angle), atol=1e-5)


@pytest.mark.parametrize("date", ["2016-02-03T05:00", "2015-08-20T16:30", "2019-11-11T22:00"])
def test_the_sun_stands_where_the_almanac_formula_puts_it(date):
    seconds = int(np.datetime64(date, "s").astype(np.int64))
    day, hour = seconds / 86400 % 365.2425, seconds % 86400 / 3600
    declination = -np.deg2rad(23.44) * np.cos(2 * np.pi * (day + 10) / 365.2425)
    lat, turn = np.deg2rad(GRID.lat)[:, None], np.deg2rad(15 * (hour - 12) + GRID.lon)
    want = np.sin(lat) * np.sin(declination) + np.cos(lat) * np.cos(declination) * np.cos(turn)
    found = features(date)[0]
    assert np.allclose(found[4], want, atol=2e-5)
    season = 2 * np.pi * day / 365.2425
    assert np.allclose(found[0], np.sin(season), atol=1e-5)
    assert np.allclose(found[1], np.cos(season), atol=1e-5)


def test_midsummer_sun_does_not_set_in_the_arctic_and_is_absent_in_the_antarctic():
    zenith = features("2016-06-21T00:00")[0, 4]
    assert bool((zenith[-3:] > 0).all())
    assert bool((zenith[:3] < 0).all())


def test_day_and_year_are_different_cycles():
    """Published code took both from the hour: half a year apart, only the season changes."""
    january, july, evening = features("2016-01-01T00:00", "2016-07-02T00:00", "2016-01-01T18:00")
    assert float((january[1] - july[1]).abs().min()) > 1.9
    assert torch.allclose(january[2:4], july[2:4], atol=1e-5)
    assert torch.allclose(january[:2], evening[:2], atol=0.02)
    assert float((january[2] - evening[2]).abs().max()) > 1


def test_leap_days_do_not_shift_the_seasons():
    before, after = features("2015-12-31T00:00", "2016-12-31T00:00")
    assert torch.allclose(before[:2], after[:2], atol=0.02)


def test_positions_lie_on_the_unit_sphere():
    position = position_features(GRID)
    assert position.shape == (3, 32, 64)
    assert torch.allclose(position.square().sum(0), torch.ones(32, 64), atol=1e-6)
    phi, lam = math.radians(GRID.lat[21]), math.radians(GRID.lon[11])
    want = [math.cos(phi) * math.cos(lam), math.cos(phi) * math.sin(lam), math.sin(phi)]
    assert position[:, 21, 11].tolist() == pytest.approx(want, abs=1e-6)


def test_months_go_round_the_year_and_do_not_know_the_hour():
    dates = ["2016-01-01T00:00", "2016-04-01T00:00", "2016-07-01T00:00", "2017-01-01T18:00"]
    seconds = torch.from_numpy(np.array(dates, "datetime64[s]").astype(np.int64))
    months = MonthFeatures(GRID)(seconds)
    assert months.shape == (4, 2, 32, 64)
    want = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
    assert torch.allclose(months[:, :, 3, 5], want, atol=0.03)
    assert bool((months == months[..., :1, :1]).all())


SPRING = ((0.2256, 0.3121),)
"""24 March to 24 April."""


def some_features(season, day) -> torch.Tensor:
    calendar = CalendarFeatures(GRID, {"season": season, "day": day})
    dates = ["2016-04-08T06:00", "2016-10-09T06:00"]
    seconds = torch.from_numpy(np.array(dates, "datetime64[s]").astype(np.int64))
    found = calendar(seconds) if calendar.count else torch.zeros(2, 0, 32, 64)
    assert calendar.count == found.shape[1]
    return found


def test_a_season_that_is_not_covered_is_in_no_feature():
    both = features("2016-04-08T06:00", "2016-10-09T06:00")
    april, october = some_features(SPRING, WHOLE)
    assert torch.equal(april, october)
    assert torch.equal(april[:2], both[0, 2:4])
    assert torch.allclose(april[2], both[0, 4], atol=0.01)  # the sun of mid-training
    assert float((both[0, 4] - both[1, 4]).abs().max()) > 0.2


def test_what_is_not_covered_is_left_out():
    everything = features("2016-04-08T06:00", "2016-10-09T06:00")
    assert torch.equal(some_features(WHOLE, WHOLE), everything)
    assert torch.equal(some_features(WHOLE, ((0.0, 0.25),)), everything[:, :2])
    assert some_features(SPRING, ((0.0, 0.25),)).shape[1] == 0


def test_the_sun_of_a_period_stands_where_it_stood_on_average():
    assert math.degrees(mean_declination(((0.0, 1.0),))) == pytest.approx(0, abs=0.01)
    june = 171.5 / 365.2425
    assert math.degrees(mean_declination(((june, june + 1e-3),))) == pytest.approx(23.4, abs=0.1)
    two = mean_declination(((june, june + 0.02), (june + 0.5, june + 0.51)))
    assert math.degrees(two) == pytest.approx(23.4 / 3, abs=0.2)


def test_months_that_are_not_covered_are_left_out():
    assert MonthFeatures(GRID, {"month": ((0.0, 0.4),)}).count == 0
    assert MonthFeatures(GRID, {"month": WHOLE}).count == 2
