"""Members drawn of a normal distribution: against its closed form, and whether they are even."""

from dataclasses import replace

import numpy as np
import pytest
from normals import normal_crps

from climate.grids.area import Area
from climate.report.words import EVEN, rank_word
from climate.verification import draws as drawn
from climate.verification.draws import NormalDraws
from climate.verification.pairs import pair_statistics, rank_histogram

LAT, LON = -90 + 22.5 * (np.arange(8) + 0.5), 22.5 * np.arange(16)
AREA = Area.of(LAT, LON, LAT, LON)
MEMBERS, MAPS = 16, 100
KEYS = [(3600 * k, 4) for k in range(MAPS)]


@pytest.fixture(scope="module")
def draws():
    return NormalDraws(3, MEMBERS, 128)


def numbers_of(draws, purpose, keys):
    """Standard normal members (M, B, H, W)."""
    return np.stack([draws.of_map(purpose, k)[0].reshape(-1, 8, 16) for k in keys], 1)


def even(maps=MAPS):
    """Errors of calibrated forecasts, of standard deviation 1."""
    return np.random.default_rng(1).standard_normal((maps, 8, 16)).astype(np.float32)


@pytest.mark.parametrize("std", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("error", [-2.0, 0.0, 0.7])
def test_the_closed_form_is_the_integral_that_defines_the_score(error, std):
    from scipy.stats import norm

    x = np.linspace(-60, 60, 240_001)
    step = np.where(x > 0, 1.0, np.where(x < 0, 0.0, 0.5))
    integral = np.trapezoid((norm.cdf((x - error) / std) - step) ** 2, x)
    assert normal_crps(error, std) == pytest.approx(integral, abs=5e-4 * std)


@pytest.mark.parametrize("members", [2, 16])
@pytest.mark.parametrize(("error", "std"), [(-2.0, 1.0), (0.0, 0.5), (0.7, 4.0)])
def test_the_score_approaches_the_closed_form_within_its_standard_error(members, error, std):
    errors = np.full((MAPS, 8, 16), error, np.float32)
    held, width = NormalDraws(3, members, 128), np.full((8, 1), std)
    scores, _ = held.statistics("u10", width, errors, KEYS, AREA)
    found, allowed = scores["crps"], scores["crps"].std(ddof=1) / np.sqrt(MAPS)
    assert 0 < allowed < 0.05 * std
    assert found.mean() == pytest.approx(normal_crps(error, std), abs=4 * allowed)
    squares = scores["spread_square"]
    assert squares.mean() == pytest.approx(std**2, abs=4 * squares.std(ddof=1) / np.sqrt(MAPS))


def test_members_are_scored_as_those_of_an_ensemble(draws):
    error, std = even(5), np.linspace(0.5, 2.0, 8, dtype=np.float32)[:, None]
    members = std * numbers_of(draws, "u10", KEYS[:5]) + error
    scores, ranks = draws.statistics("u10", std, error, KEYS[:5], AREA)
    ensemble = pair_statistics(members, error, AREA)
    assert scores["crps"] == pytest.approx(ensemble["crps"], rel=1e-5)
    of_mean = (MEMBERS + 1) / MEMBERS  # there the mean is that of the members
    assert scores["spread_square"] * of_mean == pytest.approx(ensemble["spread_square"], rel=1e-5)
    assert np.allclose(ranks, rank_histogram(members, np.zeros_like(error), AREA))


def test_ranks_are_even_where_the_width_is_right_and_say_where_it_is_not(draws):
    error, words = even(), {1.0: EVEN, 0.5: "too narrow", 2.0: "too wide"}
    for width, word in words.items():
        _, ranks = draws.statistics("u10", np.full((8, 1), width), error, KEYS, AREA)
        assert ranks.shape == (MAPS, MEMBERS + 1) and np.allclose(ranks.sum(1), 1.0)
        shares, outer = ranks.mean(0) * (MEMBERS + 1), [0, MEMBERS]
        assert rank_word(shares) == word
        if word == EVEN:  # points weigh cos φ, so that fewer count
            count = MAPS / (AREA.point_weights**2 * np.ones(16)).sum()
            assert np.abs(shares - 1).max() < 4 * np.sqrt(MEMBERS / count)
        else:
            assert (shares[outer] > 2).all() if width < 1 else (shares[outer] < 0.5).all()


def test_maps_draw_by_what_they_are_of_and_by_nothing_else(draws):
    own = draws.of_map("model_dressed u10", (0, 0))[0]
    again = NormalDraws(3, MEMBERS, 128)
    others = [
        again.of_map("model_dressed u10", (0, 1)),
        again.of_map("model_dressed u10", (6, 0)),
        again.of_map("model_dressed v10", (0, 0)),
        NormalDraws(4, MEMBERS, 128).of_map("model_dressed u10", (0, 0)),
    ]
    assert np.array_equal(own, again.of_map("model_dressed u10", (0, 0))[0])
    assert not any(np.array_equal(own, other[0]) for other in others)


def test_points_and_members_are_independent(draws):
    numbers = numbers_of(draws, "u10", KEYS).astype(np.float64)
    assert np.corrcoef(numbers.reshape(MEMBERS, -1))[~np.eye(MEMBERS, dtype=bool)] == (
        pytest.approx(0, abs=5 / np.sqrt(128 * MAPS))
    )
    for near in (numbers[..., 1:] * numbers[..., :-1], numbers[..., 1:, :] * numbers[..., :-1, :]):
        assert near.mean() == pytest.approx(0, abs=4 / np.sqrt(near.size))


def test_maps_reach_to_the_last_set_and_no_further(monkeypatch):
    monkeypatch.setattr(drawn, "PLACES", 2)
    held = NormalDraws(0, 4, 128)
    maps = [held.of_map("x", (k,))[0] for k in range(40)]
    assert len({one.tobytes() for one in maps}) == 2 and {one.shape for one in maps} == {(4, 128)}


def test_without_width_it_is_the_absolute_error_and_a_tie_has_all_ranks(draws):
    error = np.zeros((1, 8, 16), np.float32)
    error[0, :, ::2] = -3.0
    scores, ranks = draws.statistics("x", np.zeros((8, 16)), error, [(0,)], AREA)
    assert scores["crps"] == pytest.approx([1.5]) and scores["spread_square"].tolist() == [0.0]
    shares = [0.5 / 17] * 16 + [0.5 / 17 + 0.5]
    assert ranks[0].tolist() == pytest.approx(shares)


def test_masked_points_do_not_count(draws):
    kept = np.zeros((8, 16), bool)
    kept[2, :4] = True
    error = np.where(kept, even(3), 0)
    std = np.where(kept, 1.0, 9.0)
    scores, ranks = draws.statistics("x", std, error, KEYS[:3], replace(AREA, kept=kept))
    members = numbers_of(draws, "x", KEYS[:3])[:, :, 2, :4] + error[:, 2, :4]
    apart = np.abs(members[:, None] - members).sum((0, 1)) / (2 * MEMBERS * (MEMBERS - 1))
    assert scores["crps"] == pytest.approx((np.abs(members).mean(0) - apart).mean(-1), rel=1e-5)
    assert scores["spread_square"] == pytest.approx(members.var(0, ddof=1).mean(-1), rel=1e-5)
    below = (members < 0).sum(0)
    want = [[(below[b] == r).mean() for r in range(MEMBERS + 1)] for b in range(3)]
    assert np.allclose(ranks, want)
