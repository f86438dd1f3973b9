"""Scores against loops by hand, trivial rows, and the verdict of the demo."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from climate.forecast import write_forecast
from climate.models.trivial import damped_persistence, fit_damping, persistence
from climate.verification.scorecard import (
    COLUMNS,
    check_against_trivial,
    format_table,
    open_forecast,
    score,
)
from climate.verification.scores import SCORES
from climate.verification.statistics import MeanStatistics, pair_statistics

SIX = np.timedelta64(6 * 3600, "s")
LAT = np.array([-60.0, 0.0, 60.0])


def random_pairs():
    generator = np.random.default_rng(0)
    shape = (5, 2, 3, 3, 4)
    return (generator.normal(size=shape).astype(np.float32) for _ in range(3))


def test_scores_are_those_of_a_loop_by_hand():
    forecast, truth, climatology = random_pairs()
    weights = np.cos(np.deg2rad(LAT)) / np.cos(np.deg2rad(LAT)).mean()
    total = MeanStatistics()
    for part in (slice(0, 2), slice(2, 5)):
        pairs = (forecast[part], truth[part], climatology[part], weights)
        total.add(pair_statistics(*pairs))
    scores = {name: compute(total.means()) for name, compute in SCORES.items()}
    for s in range(2):
        for c in range(3):
            squares, errors, ab, aa, bb = [], [], 0.0, 0.0, 0.0
            for n in range(5):
                f, t, k = (x[n, s, c].astype(np.float64) for x in (forecast, truth, climatology))
                w = np.array([0.5, 1.0, 0.5])[:, None] / 2.0 / 4.0
                squares.append((w * (f - t) ** 2).sum())
                errors.append((w * (f - t)).sum())
                ab += (w * (f - k) * (t - k)).sum()
                aa += (w * (f - k) ** 2).sum()
                bb += (w * (t - k) ** 2).sum()
            assert scores["rmse_mean_of_roots"][s, c] == pytest.approx(np.sqrt(squares).mean())
            assert scores["rmse_root_of_mean"][s, c] == pytest.approx(np.sqrt(np.mean(squares)))
            assert scores["acc"][s, c] == pytest.approx(ab / np.sqrt(aa * bb))
            assert scores["bias"][s, c] == pytest.approx(np.mean(errors))


class Oracle:
    """Forecasts from the store itself, plus a constant."""

    step_seconds, history = 21600, 3

    def __init__(self, store, offset):
        self.channels, self.statistics_hash = store.channels, store.statistics.hash
        self.store, self.offset = store, offset

    def to(self, device):
        return self

    def eval(self):
        return self

    def forecast(self, states, times, steps):
        import torch

        index = np.searchsorted(self.store.times.astype(np.int64), times.numpy())
        frames = index[:, None] + 6 * np.arange(1, steps + 1)
        return torch.from_numpy(self.store.read(0, 480)[frames]) + self.offset


@pytest.fixture
def scorecard(store, tmp_path):
    write_forecast(Oracle(store, 0.5), store, tmp_path / "out", lead=7 * SIX)
    return score(open_forecast(tmp_path / "out", store), store)


def test_the_scorecard_has_a_row_for_each_row_variable_and_lead(store, scorecard):
    assert tuple(scorecard.columns) == COLUMNS
    assert len(scorecard) == 4 * 3 * 7
    assert set(scorecard["n_starts"]) == {len(store.anchors("test", SIX, 3, 7))}
    assert sorted(scorecard["lead_hours"].unique()) == [6, 12, 18, 24, 30, 36, 42]


def test_a_constant_error_is_its_rmse_and_bias(scorecard):
    model = scorecard[scorecard["row"] == "model"]
    assert np.allclose(model["rmse_mean_of_roots"], 0.5, atol=1e-4)
    assert np.allclose(model["rmse_root_of_mean"], 0.5, atol=1e-4)
    assert np.allclose(model["bias"], 0.5, atol=1e-4)


def test_trivial_rows_agree_with_their_definitions(store, scorecard):
    starts, states = store.anchors("test", SIX, 3, 7), store.read(0, 480).astype(np.float64)
    area = np.cos(np.deg2rad(store.lat))[:, None] / np.cos(np.deg2rad(store.lat)).mean()
    table = scorecard.set_index(["row", "variable", "lead_hours"])["rmse_root_of_mean"]
    error = states[starts + 24, 1] - states[starts, 1]
    assert table["persistence", "u10", 24] == pytest.approx(np.sqrt((error**2 * area).mean()))
    climatology = store.climatology.at(store.times[starts + 24])[:, 1]
    error = states[starts + 24, 1] - climatology
    assert table["climatology", "u10", 24] == pytest.approx(np.sqrt((error**2 * area).mean()))
    acc = scorecard[scorecard["row"] == "climatology"]["acc"]
    assert acc.isna().all()


def test_damping_is_the_least_squares_fit_on_the_training_period(store):
    damping = fit_damping(store, SIX, 7)
    anchors = store.anchors("train", SIX, 0, 7)
    anomaly = store.read(0, 480) - store.climatology.at(store.times)
    area = np.cos(np.deg2rad(store.lat))[:, None]
    now, later = anomaly[anchors, 2], anomaly[anchors + 18, 2]
    assert damping[2, 2] == pytest.approx((area * now * later).sum() / (area * now * now).sum())
    assert damping.shape == (7, 3)


def test_trivial_forecasts_by_hand():
    initial = np.full((1, 1, 2, 2), 3.0)
    start, valid = np.full((1, 1, 2, 2), 1.0), np.full((1, 2, 1, 2, 2), 2.0)
    assert np.array_equal(persistence(initial, 2), np.full((1, 2, 1, 2, 2), 3.0))
    damped = damped_persistence(initial, start, valid, np.array([[0.5], [0.0]]))
    assert damped[0, :, 0, 0, 0].tolist() == [3.0, 2.0]


def test_the_verdict_names_what_is_not_beaten(scorecard):
    assert check_against_trivial(scorecard, (6, 24)) == []
    worse = scorecard.copy()
    own = (worse["row"] == "model") & (worse["variable"] == "u10") & (worse["lead_hours"] == 24)
    worse.loc[own, "rmse_root_of_mean"] = 1e6
    failures = check_against_trivial(worse, (6, 24))
    assert len(failures) == 2
    assert all(line.startswith("u10 at 24 h: model 1e+06") for line in failures)
    missing = worse.copy()
    missing.loc[own, "rmse_root_of_mean"] = np.nan
    assert len(check_against_trivial(missing, (6, 24))) == 2


def test_the_table_shows_every_row(scorecard):
    text = format_table(scorecard)
    for word in ("u10", "damped_persistence", "42", "–"):
        assert word in text


def test_the_report_stands_alone(store, scorecard, tmp_path):
    from climate.report import write_report

    run_dir = tmp_path / "run"
    run_dir.mkdir()
    steps = pd.DataFrame({"step": [1, 2], "loss": [1.0, 0.5]})
    steps.to_csv(run_dir / "log.csv", index=False)
    pd.DataFrame({"step": [2], "score": [0.8]}).to_csv(run_dir / "validation.csv", index=False)
    (run_dir / "config.json").write_text('{"step": "6h"}')
    forecast = open_forecast(tmp_path / "out", store)
    page = write_report(scorecard, forecast, store, tmp_path, run_dir).read_text()
    assert page.count("data:image/png;base64,") == 1 + 3 + 1
    for word in ("damped persistence", "Training", "6h", store.climatology.rule):
        assert word in page
    for link in ("http://", "https://", "<script"):
        assert link not in page


def test_forecasts_read_back_unchanged(store, scorecard, tmp_path):
    dataset = xr.open_zarr(tmp_path / "out", consolidated=False)
    forecast = open_forecast(tmp_path / "out", store)
    values = forecast.read(2, 4, ("v10", "z"))
    assert np.array_equal(values[1, 3, 0], dataset["v10"].values[3, 3])
