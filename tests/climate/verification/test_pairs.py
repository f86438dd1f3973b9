"""Statistics and scores against loops by hand and exact answers."""

import numpy as np
import pytest
from normals import normal_crps

from climate.grids.area import Area
from climate.verification.days import DaySums
from climate.verification.pairs import pair_statistics, rank_histogram, zonal_spectrum
from climate.verification.scores import SCORES

LAT, LON = np.array([-60.0, 0.0, 60.0]), np.array([0.0, 90.0, 180.0, 270.0])
AREA = Area.of(LAT, LON, LAT, LON)
WEIGHT = np.array([0.5, 1.0, 0.5])[:, None] / 2.0 / 4.0


def random_pairs(members):
    generator = np.random.default_rng(0)
    forecast = generator.normal(size=(5, members, 2, 3, 4)).astype(np.float32)
    truth, climatology = (generator.normal(size=(5, 2, 3, 4)).astype(np.float32) for _ in range(2))
    return forecast, truth, climatology


def scores_of(forecast, truth, climatology):
    total = DaySums(1, truth.shape[1])
    for part in (slice(0, 2), slice(2, 5)):
        for lead in range(truth.shape[1]):
            errors = np.moveaxis(forecast[part, :, lead] - truth[part, None, lead], 1, 0)
            statistics = pair_statistics(errors, (truth - climatology)[part, lead], AREA)
            column = {name: values[:, None] for name, values in statistics.items()}
            total.add(np.zeros(len(errors[0]), int), column, lead)
    return {name: compute(total.means()) for name, compute in SCORES.items()}


def test_scores_of_one_forecast_are_those_of_a_loop_by_hand():
    forecast, truth, climatology = random_pairs(1)
    scores = scores_of(forecast, truth, climatology)
    for s in range(2):
        squares, errors, absolute, ab, aa, bb = [], [], [], 0.0, 0.0, 0.0
        for n in range(5):
            f, t, k = (
                x.astype(np.float64) for x in (forecast[n, 0, s], truth[n, s], climatology[n, s])
            )
            squares.append((WEIGHT * (f - t) ** 2).sum())
            errors.append((WEIGHT * (f - t)).sum())
            absolute.append((WEIGHT * np.abs(f - t)).sum())
            ab += (WEIGHT * (f - k) * (t - k)).sum()
            aa += (WEIGHT * (f - k) ** 2).sum()
            bb += (WEIGHT * (t - k) ** 2).sum()
        assert scores["rmse_mean_of_roots"][s] == pytest.approx(np.sqrt(squares).mean())
        assert scores["rmse_root_of_mean"][s] == pytest.approx(np.sqrt(np.mean(squares)))
        assert scores["acc"][s] == pytest.approx(ab / np.sqrt(aa * bb))
        assert scores["bias"][s] == pytest.approx(np.mean(errors))
        assert scores["crps"][s] == pytest.approx(np.mean(absolute))
        assert np.isnan(scores["spread_skill"][s])


def test_scores_of_an_ensemble_are_those_of_a_loop_by_hand():
    forecast, truth, climatology = random_pairs(4)
    scores = scores_of(forecast, truth, climatology)
    members = forecast.astype(np.float64)
    for s in range(2):
        crps, variance, square = 0.0, 0.0, 0.0
        for n in range(5):
            x, y = members[n, :, s], truth[n, s].astype(np.float64)
            near = np.abs(x - y).mean(0)
            apart = np.abs(x[:, None] - x[None]).sum((0, 1)) / (4 * 3)
            crps += (WEIGHT * (near - apart / 2)).sum() / 5
            variance += (WEIGHT * ((x - x.mean(0)) ** 2).sum(0) / 3).sum() / 5
            square += (WEIGHT * (x.mean(0) - y) ** 2).sum() / 5
        assert scores["crps"][s] == pytest.approx(crps, rel=1e-6)
        assert scores["rmse_root_of_mean"][s] == pytest.approx(np.sqrt(square), rel=1e-6)
        assert scores["spread_skill"][s] == pytest.approx(np.sqrt(5 / 4 * variance / square))


def test_large_values_lose_no_digits():
    """Geopotential is 5e4 and its errors 1e2: the mean is taken off before anything is squared."""
    forecast, truth, climatology = random_pairs(4)
    plain = scores_of(forecast.round(1), truth.round(1), climatology.round(1))
    shift = np.float64(2**16)
    moved = scores_of(
        *(x.round(1).astype(np.float64) + shift for x in (forecast, truth, climatology))
    )
    for name in ("rmse_root_of_mean", "crps", "spread_skill", "acc"):
        assert moved[name] == pytest.approx(plain[name], rel=1e-6)


def test_a_large_ensemble_scores_like_the_normal_it_is_drawn_from():
    generator = np.random.default_rng(1)
    truth, climatology = np.full((1, 1, 3, 4), 0.5), np.zeros((1, 1, 3, 4))
    members = generator.normal(0.0, 2.0, (1, 4000, 1, 3, 4))
    exact = normal_crps(-0.5, 2.0)
    errors = np.moveaxis(members[0] - truth, 1, 0).reshape(4000, 1, 3, 4)
    found = pair_statistics(errors, (truth - climatology)[0], AREA)["crps"]
    assert found[0] == pytest.approx(exact, abs=0.03)


@pytest.mark.parametrize("width", [16, 15])
def test_the_spectrum_of_one_wave_is_one_line_and_sums_to_the_mean_square(width):
    lat, lon = np.array([-60.0, 0.0, 60.0]), np.arange(width) * 360.0 / width
    area = Area.of(lat, lon, lat, lon)
    lam = np.deg2rad(lon)
    for k in (1, 3, 7):
        power = zonal_spectrum(np.broadcast_to(2 * np.sin(k * lam + 0.3), (3, width)), area)
        assert power[k] == pytest.approx(2.0)
        assert np.delete(power, k).max() < 1e-12
    field = np.random.default_rng(0).normal(size=(2, 3, width))
    assert zonal_spectrum(field, area).sum(-1) == pytest.approx(area.mean(field**2))


def test_ranks_by_hand_and_ties_shared():
    members = np.array([1.0, 2.0, 3.0])[:, None, None, None] * np.ones((3, 1, 3, 4))
    truth = np.full((1, 3, 4), 2.5)
    assert rank_histogram(members, truth, AREA)[0].tolist() == pytest.approx([0, 0, 1, 0])
    truth[0, 1] = 0.0  # the equator: half of the area
    assert rank_histogram(members, truth, AREA)[0].tolist() == pytest.approx([0.5, 0, 0.5, 0])
    truth[:] = 2.0  # equals a member: rank 1 or 2
    assert rank_histogram(members, truth, AREA)[0].tolist() == pytest.approx([0, 0.5, 0.5, 0])
    truth[:] = 9.0
    assert rank_histogram(members, truth, AREA)[0].tolist() == pytest.approx([0, 0, 0, 1])


def test_ranks_of_many_members_are_counted_to_the_last():
    members = np.zeros((300, 1, 3, 4))
    assert rank_histogram(members, np.ones((1, 3, 4)), AREA)[0, 300] == pytest.approx(1)
    assert rank_histogram(members, members[0], AREA)[0] == pytest.approx(np.full(301, 1 / 301))


def test_a_box_is_found_in_its_grid_also_across_the_first_meridian():
    lat, lon = -90 + 22.5 * (np.arange(8) + 0.5), 22.5 * np.arange(16)
    box = Area.of(lat[4:7], np.array([-22.5, 0.0, 22.5]), lat, lon)
    assert box.columns.tolist() == [15, 0, 1]
    field = np.arange(8 * 16).reshape(8, 16)
    assert np.array_equal(box.cut(field), field[4:7][:, [15, 0, 1]])
    assert not box.is_circle
    assert box.weights.sum() == pytest.approx(1)
    whole = Area.of(lat, lon, lat, lon)
    assert whole.whole and whole.is_circle
    assert Area.of(lat + 1, lon, lat, lon) is None
