"""Scorecard and comparison against numpy, on errors that are nowhere alike."""

import numpy as np
import pytest
from uneven_forecasts import forecast

from climate.grids.area import Area
from climate.verification.comparison import _better, compare
from climate.verification.draws import NormalDraws
from climate.verification.pairs import zonal_spectrum
from climate.verification.scorecard import score
from climate.verification.shapes import Shapes
from climate.verification.trivial import fit_trivial

SIX = np.timedelta64(6 * 3600, "s")
STARTS = np.array([361, 380, 401, 444])


def area_mean(store, fields):
    weights = np.cos(np.deg2rad(store.lat))
    return np.average(fields.mean(-1), axis=-1, weights=weights)


def truth_of(store, starts=STARTS, leads=3):
    states = store.read(0, len(store.times)).astype(np.float64)
    frames = starts[:, None] + 6 * np.arange(1, leads + 1)
    climate = store.climatology.at(store.times[frames.ravel()]).astype(np.float64)
    return states[starts], states[frames], climate.reshape(*frames.shape, *states.shape[1:])


def drawn_about(mean, std, row, store, key, members):
    """Members (N, M, S, C, H, W) about means (N, S, C, H, W); ``key`` of a start and a lead."""
    draws, drawn = NormalDraws(0, members, mean[0, 0, 0].size), []
    for n, s, c in np.ndindex(mean.shape[:3]):
        drawn.append(draws.of_map(f"{row} {store.channels[c]}", key(n, s))[0])
    numbers = np.moveaxis(np.reshape(drawn, (*mean.shape[:3], members, *mean.shape[3:])), 3, 1)
    return mean[:, None] + np.broadcast_to(std, mean.shape)[:, None] * numbers


def numbers_of(store, predicted, truth, climate, drawn=None):
    """Scores (S, C) of members (N, M, S, C, H, W), the long way; of a mean with those drawn."""
    mean, count = predicted.mean(1), predicted.shape[1]
    square = area_mean(store, (mean - truth) ** 2)
    ahead, there = mean - climate, truth - climate
    product, own, other = (area_mean(store, x).mean(0) for x in (ahead * there, ahead**2, there**2))
    near = np.abs(predicted - truth[:, None]).mean(1)
    crps, spread = near, np.full(near.shape, np.nan)
    if count > 1:
        apart = np.abs(predicted[:, :, None] - predicted[:, None]).sum((1, 2))
        crps = near - apart / (2 * count * (count - 1))
        spread = (count + 1) / count * predicted.var(1, ddof=1)
    if drawn is not None:
        count, near = drawn.shape[1], np.abs(drawn - truth[:, None]).mean(1)
        apart = np.abs(drawn[:, :, None] - drawn[:, None]).sum((1, 2))
        crps, spread = near - apart / (2 * count * (count - 1)), drawn.var(1, ddof=1)
    return {
        "rmse_root_of_mean": np.sqrt(square.mean(0)),
        "rmse_mean_of_roots": np.sqrt(square).mean(0),
        "bias": area_mean(store, mean - truth).mean(0),
        "acc": product / np.sqrt(np.maximum(own * other, 1e-30)),
        "crps": area_mean(store, crps).mean(0),
        "spread_skill": np.sqrt(area_mean(store, spread).mean(0) / square.mean(0)),
    }


@pytest.mark.parametrize("members", [1, 3])
def test_every_score_of_every_row_is_that_of_numpy(store, members):
    made, errors = forecast(store, STARTS, members=members)
    dress, dress_errors = forecast(store, members=2)
    result = score(made, store, dress)
    now, truth, climate = truth_of(store)
    fit = fit_trivial(store, made.area, SIX, 3)
    start = store.climatology.at(store.times[STARTS]).astype(np.float64)
    damped = climate + fit.damping[:, :, None, None] * (now - start)[:, None]
    held = np.broadcast_to(now[:, None], truth.shape)
    width = np.sqrt((dress_errors.mean(1) ** 2).mean((0, -1)))[..., None]
    ours = truth[:, None] + errors
    seconds, six = store.times[STARTS].astype("M8[s]").astype(int), 21600
    count = members if members > 1 else 16
    dressed = drawn_about(ours.mean(1), width, "model_dressed", store,
                          lambda n, s: (seconds[n], s), count)  # fmt: skip
    usual = drawn_about(climate, fit.spread, "climatology", store,
                        lambda n, s: (seconds[n] + six * (s + 1),), count)  # fmt: skip
    wanted = {
        "model": numbers_of(store, ours, truth, climate),
        "model_dressed": numbers_of(store, ours.mean(1, keepdims=True), truth, climate, dressed),
        "persistence": numbers_of(store, held[:, None], truth, climate),
        "damped_persistence": numbers_of(store, damped[:, None], truth, climate),
        "climatology": numbers_of(store, climate[:, None], truth, climate, usual),
    }
    table = result.scorecard.set_index(["row", "variable", "lead_hours"])
    assert list(result.scorecard["row"].unique()) == list(wanted)
    for row, scores in wanted.items():
        for name, values in scores.items():
            for s, hour in enumerate((6, 12, 18)):
                for c, channel in enumerate(store.channels):
                    got, want = table[name][row, channel, hour], values[s, c]
                    if row == "climatology" and name == "acc":
                        want = np.nan
                    assert got == pytest.approx(want, rel=2e-4, abs=1e-6, nan_ok=True), (row, name)
    assert set(table["n_starts"]) == {4}


def test_differences_are_those_of_both_scores_over_common_starts_and_leads(store):
    (a, errors), (b, others) = (
        forecast(store, STARTS, members=1),
        forecast(store, STARTS[1:], leads=2, members=2, factor=1.5),
    )
    table = compare(a, b, store).table.set_index(["variable", "lead_hours", "score"])
    _, truth, climate = truth_of(store, STARTS[1:], 2)
    first, second = (
        numbers_of(store, truth[:, None] + e, truth, climate) for e in (errors[1:, :, :2], others)
    )
    first["mse"], second["mse"] = (x["rmse_root_of_mean"] ** 2 for x in (first, second))
    assert sorted(set(table.index.get_level_values("lead_hours"))) == [6, 12]
    for (channel, hour, name), line in table.iterrows():
        place = hour // 6 - 1, store.channels.index(channel)
        assert line["a"] == pytest.approx(first[name][place], rel=2e-4)
        assert line["b"] == pytest.approx(second[name][place], rel=2e-4)
        assert line["difference"] == pytest.approx(line["a"] - line["b"])
    assert set(table["n_starts"]) == {3} and set(table["better"]) == {""}


@pytest.mark.parametrize(
    ("low", "high", "of_errors", "of_skill"),
    [(0.1, 0.9, "b", "a"), (-0.9, -0.1, "a", "b"), (-0.1, 0.1, "", ""), (0.0, 0.2, "", ""),
     (-0.2, 0.0, "", ""), (np.nan, np.nan, "", "")],
)  # fmt: skip
def test_the_better_one_is_named_where_the_interval_leaves_out_zero(low, high, of_errors, of_skill):
    assert _better(low, high, higher=False) == of_errors
    assert _better(low, high, higher=True) == of_skill


def test_spectra_and_ranks_are_means_over_starts_and_members():
    """In two batches of unlike sizes, as one."""
    lat, lon = np.array([-60.0, 0.0, 30.0]), 45.0 * np.arange(8)
    area = Area.of(lat, lon, lat, lon)
    rng = np.random.default_rng(4)
    members, truth = rng.normal(size=(3, 2, 2, 3, 8)), rng.normal(size=(3, 2, 3, 8))
    shapes, others = Shapes([6, 12]), Shapes([6, 12])
    for n, held in enumerate((shapes, shapes, others)):
        held.add("z", 0, members[n], truth[n], area)
        held.add_truth("z", slice(0, 2), zonal_spectrum(truth[n], area))
    shapes.merge(others)
    weights = np.cos(np.deg2rad(lat)) / np.cos(np.deg2rad(lat)).sum()

    def power(fields):
        waves = np.abs(np.fft.fft(fields) / 8) ** 2
        both = np.concatenate(
            (waves[..., :1], waves[..., 1:4] + waves[..., :4:-1], waves[..., 4:5]), -1
        )
        return np.einsum("...hk,h->...k", both, weights)

    table = shapes.spectra_table().set_index(["row", "lead_hours"])["power"].sort_index()
    for s, hour in enumerate((6, 12)):
        rows = {
            "model": members[:, :, s],
            "truth": truth[:, s],
            "model_mean": members[:, :, s].mean(1),
        }
        for row, fields in rows.items():
            own = power(fields).reshape(-1, 5).mean(0)
            assert table[row, hour].to_numpy() == pytest.approx(own)
    below = (members < truth[:, None]).sum(1)
    point = np.broadcast_to(weights[:, None] / 8, (3, 8))
    held = shapes.ranks_table().set_index(["lead_hours", "rank"])["share"]
    for s, hour in enumerate((6, 12)):
        want = [(point * (below[:, s] == k)).sum((1, 2)).mean() for k in range(3)]
        assert held[hour].to_numpy() == pytest.approx(want)
    alone = Shapes([6, 12])
    alone.add("z", 0, members[0, :1], truth[0], area)
    alone.add_truth("z", slice(0, 2), zonal_spectrum(truth[0], area))
    assert set(alone.spectra_table()["row"]) == {"model", "truth"} and not len(alone.ranks_table())
