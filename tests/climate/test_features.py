"""Calendar and position features against dates anyone can check."""

import numpy as np
import torch

from climate.features import CalendarFeatures, MonthFeatures, position_features
from climate.grid import Grid

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


def test_months_go_round_the_year_and_do_not_know_the_hour():
    dates = ["2016-01-01T00:00", "2016-04-01T00:00", "2016-07-01T00:00", "2017-01-01T18:00"]
    seconds = torch.from_numpy(np.array(dates, "datetime64[s]").astype(np.int64))
    months = MonthFeatures(GRID)(seconds)
    assert months.shape == (4, 2, 32, 64)
    want = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
    assert torch.allclose(months[:, :, 3, 5], want, atol=0.03)
    assert bool((months == months[..., :1, :1]).all())
