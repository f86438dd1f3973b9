"""The rows that every model must beat, on numbers that are all unlike."""

import numpy as np
import pytest

from climate.grids.area import Area
from climate.verification.trivial import damped_persistence, fit_trivial, lagged_frames, persistence

HOUR = np.timedelta64(3600, "s")
SIX = 6 * HOUR


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(2, 3, shape)


def test_persistence_repeats_what_is_known():
    known, truth = numbers(0, 4, 5), numbers(1, 6, 4, 5)
    got = persistence(known, truth) + truth
    assert all(got[k] == pytest.approx(known) for k in range(6))


def test_damped_persistence_is_climatology_and_what_is_left_of_the_anomaly():
    initial, start, truth = numbers(0, 4, 5), numbers(1, 4, 5), numbers(4, 6, 4, 5)
    valid, damping = numbers(2, 6, 4, 5), numbers(3, 6)
    got = damped_persistence(initial - start, truth - valid, damping) + truth
    assert got[4] == pytest.approx(valid[4] + damping[4] * (initial - start))


@pytest.mark.parametrize(
    ("hours", "want"),
    [(6, [3, 2, 1, 0, 3]), (12, [1, 0, 1, 0, 1]), (24, [0] * 5), (5, None), (36, None)],
)
def test_yesterday_is_the_latest_state_at_that_hour(hours, want):
    found = lagged_frames(hours * HOUR, 5)
    assert want is None if found is None else found.tolist() == want


@pytest.mark.parametrize("window_bytes", [1, 2**26])
def test_damping_and_spread_are_those_of_training_s_anomalies(store, monkeypatch, window_bytes):
    monkeypatch.setattr("climate.forecasts.pieces.WINDOW_BYTES", window_bytes)
    rows, columns = slice(1, 6), [14, 15, 0, 1, 2]
    area = Area.of(store.lat[rows], store.lon[columns], store.lat, store.lon)
    fit = fit_trivial(store, area, 6 * HOUR, 3)
    anomaly = (store.read(0, 288) - store.climatology.at(store.times[:288])).astype(np.float64)
    anomaly = anomaly[:, :, rows][..., columns]
    weights = np.cos(np.deg2rad(store.lat[rows]))[:, None]
    now = anomaly[: 288 - 18]
    for k in range(3):
        then = anomaly[6 * (k + 1) :][: len(now)]
        want = (now * then * weights).sum((0, 2, 3)) / (now**2 * weights).sum((0, 2, 3))
        assert fit.damping[k] == pytest.approx(want, rel=1e-4)
    assert fit.spread == pytest.approx(np.sqrt((now**2).mean(0)), rel=1e-4)
    none = fit_trivial(store, area, 6 * HOUR, 200)
    assert not none.damping.any() and none.damping.shape == (200, 3)


def test_yesterday_is_the_latest_state_at_the_hour_of_the_day():
    assert lagged_frames(SIX, 6).tolist() == [3, 2, 1, 0, 3, 2]
    assert lagged_frames(4 * SIX, 2).tolist() == [0, 0]
    assert lagged_frames(np.timedelta64(5 * 3600, "s"), 2) is None


def test_errors_of_trivial_forecasts_by_hand():
    """Initial state 3, climatology 1 there and 2 at the leads, truth 7."""
    initial, truth = np.full((2, 2), 3.0), np.full((2, 2, 2), 7.0)
    assert np.array_equal(persistence(initial, truth), np.full((2, 2, 2), -4.0))
    damped = damped_persistence(initial - 1.0, truth - 2.0, np.array([0.5, 0.0]))
    assert (damped + truth)[:, 0, 0].tolist() == [3.0, 2.0]
