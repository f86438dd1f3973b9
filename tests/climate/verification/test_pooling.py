"""Forecasts of several periods as one scorecard."""

import shutil

import numpy as np
import pytest
from forecasters import Oracle
from refusals import refused

from climate.forecasts.reading import open_forecast
from climate.forecasts.writing import write_forecast
from climate.report.pages import write_report
from climate.verification.days import DaySums, assign_days, assign_periods
from climate.verification.intervals import Intervals, autocovariance, draw_days, widening
from climate.verification.pooling import in_order
from climate.verification.published import format_beside
from climate.verification.scorecard import score

SIX, DAY = np.timedelta64(6, "h").astype("m8[s]"), np.timedelta64(1, "D")


@pytest.fixture(scope="module")
def paths(store, tmp_path_factory):
    """Forecasts of the test period, off by a half, and of validation, off by one; others."""
    base = tmp_path_factory.mktemp("periods")
    for name, off, split, leads in (
        ("test", 0.5, "test", 2), ("val", 1.0, "val", 2), ("longer", 1.0, "val", 3),
    ):  # fmt: skip
        write_forecast(Oracle(store, off), store, base / name, lead=leads * SIX, split=split)
    return base


def opened(paths, store, *names):
    return [open_forecast(paths / name, store) for name in names]


def test_means_are_over_all_starts_in_any_order(paths, store):
    test, val = opened(paths, store, "test", "val")
    pooled, turned = score([test, val], store), score([val, test], store)
    assert pooled.scorecard.equals(turned.scorecard) and pooled.rules == turned.rules
    counts = len(val.starts), len(test.starts)
    model = pooled.scorecard[pooled.scorecard["row"] == "model"]
    assert set(model["n_starts"]) == {sum(counts)}
    square = (counts[0] * 1.0 + counts[1] * 0.25) / sum(counts)
    assert np.allclose(model["rmse_root_of_mean"], np.sqrt(square), atol=1e-4)
    assert np.allclose(model["bias"], (counts[0] + 0.5 * counts[1]) / sum(counts), atol=1e-4)
    assert pooled.rules["periods"].count("starts)") == 2
    alone = [score(each, store).scorecard.set_index("row") for each in (val, test)]
    both = pooled.scorecard.set_index("row")
    for row in ("persistence", "climatology"):
        mses = [card.loc[row, "rmse_root_of_mean"].to_numpy() ** 2 for card in alone]
        want = np.sqrt(np.average(mses, axis=0, weights=counts))
        assert np.allclose(both.loc[row, "rmse_root_of_mean"], want)
    assert "periods" not in score(test, store).rules


def test_spectra_are_over_all_starts(paths, store):
    test, val = opened(paths, store, "test", "val")
    both, *alone = (score(which, store).spectra["power"] for which in ([val, test], val, test))
    counts = len(val.starts), len(test.starts)
    assert np.allclose(both, np.average(alone, axis=0, weights=counts))


def test_its_report_says_so_and_published_rows_do_not_stand_beside(paths, store, tmp_path):
    forecasts = opened(paths, store, "val", "test")
    result = score(forecasts, store)
    page = write_report(result, forecasts[0], store, tmp_path, None).read_text()
    starts = sum(len(each.starts) for each in forecasts)
    assert f"{starts} starts" in page and "Periods pooled: " in page
    assert "not comparable" in format_beside(result.scorecard, forecasts[0], store)


def test_what_differs_in_more_than_its_period_is_refused(paths, store, tmp_path):
    test, longer = opened(paths, store, "test", "longer")
    refused(
        lambda: score([test, longer], store), "leads (3, 2) differ; pool periods that one model"
    )
    again = open_forecast(shutil.copytree(paths / "test", tmp_path / "again"), store)
    refused(lambda: in_order([test, again], store), "their periods overlap", "a start counts once")
    refused(lambda: in_order([], store), "names none")
    for forecast, name in ((test, "one"), (again, "another")):
        forecast.dataset.attrs["model_hash"] = name
    refused(lambda: in_order([test, again], store), "their models differ")


def test_days_are_as_long_in_all_periods():
    begin = np.datetime64("2018-01-01T18", "s")
    long, short = (begin + np.arange(days * 4) * SIX for days in (1500, 40))
    of_long, of_short = assign_periods([long, short])
    assert of_long[-1] == 749 and of_short[-1] == 19  # of two days each
    assert np.array_equal(assign_periods([short])[0], assign_days(short))
    sparse = [begin + np.arange(9) * 2 * DAY, begin + np.arange(3) * 4 * DAY]
    assert [days.tolist() for days in assign_periods(sparse)] == [[*range(9)], [0, 2, 4]]


def test_rows_stay_in_their_period():
    """Of two periods of 30 and 50 days, in rows of about 20: both are drawn whole in the mean."""
    draws = draw_days((30, 50), 20.0, 0).astype(float)
    assert (draws.sum(1) == 80).all()
    assert np.allclose(draws.mean(0), 1, atol=0.12)
    together = draws - draws.mean(0)
    linked = (together.T @ together) / len(draws)
    assert linked[29, 0] > 0.3 and linked[79, 30] > 0.3  # round the end of their own
    assert linked[29, 30] < 0 and linked[79, 0] < 0


def test_pairs_of_days_are_of_one_period():
    series = np.array([1.0, 2, 3, 10, 20])
    assert np.allclose(autocovariance(series, 2, (3, 2)) * 5, [514, 2 + 6 + 200, 3])
    assert np.allclose(autocovariance(series, 2, (5,)), autocovariance(series, 2))


def series_of(memory, days, trials, seed):
    """A day's errors (days, trials) that are remembered for so many days."""
    noise = np.random.default_rng(seed).normal(size=(days, trials))
    keep, series = np.exp(-1 / memory), noise.copy()
    for t in range(1, days):
        series[t] = keep * series[t - 1] + np.sqrt(1 - keep**2) * noise[t]
    return series


@pytest.mark.parametrize(("periods", "memory"), [((60, 60, 60), 1.0), ((90, 30), 0.5)])
def test_pooled_intervals_cover_what_they_say(periods, memory):
    parts = []
    for k, days in enumerate(periods):
        sums = DaySums(days, 1500)
        sums.add(np.arange(days), {"x": series_of(memory, days, 1500, k)})
        parts.append(sums)
    pooled = DaySums.pool(parts)
    assert pooled.periods == periods and pooled.count == sum(periods)
    low, high = Intervals(0).of({"x": lambda means: means[0]["x"]}, [pooled])["x"]
    given = np.isfinite(low)
    assert given.mean() > 0.9
    assert 0.93 <= ((low < 0) & (high > 0))[given].mean() <= 0.97


def test_two_short_periods_have_an_interval_where_one_has_none():
    parts = []
    for k in (0, 1):
        sums = DaySums(20, 2)
        sums.add(np.arange(20), {"x": np.random.default_rng(k).normal(size=(20, 2))})
        parts.append(sums)
    for sums, given in ((parts[0], False), (DaySums.pool(parts), True)):
        low, _ = Intervals(0).of({"x": lambda means: means[0]["x"]}, [sums])["x"]
        assert np.isfinite(low).all() == given


def test_a_row_that_a_period_lacks_counts_those_of_the_others():
    full, empty = DaySums(3, 1), DaySums(2, 1)
    full.add(np.arange(3), {"x": np.ones((3, 1))})
    pooled = DaySums.pool([full, empty])
    assert pooled.count == 3 and pooled.means()["x"].tolist() == [1.0]
    assert pooled.of_leads([0]).periods == (3, 2)


def test_the_factor_of_one_period_is_that_of_before():
    series = series_of(2.0, 100, 1, 5)[:, 0]
    assert widening(series, 4.0, 25, (100,)) == pytest.approx(widening(series, 4.0, 25))
    assert widening(series, 4.0, 25, (50, 50)) != pytest.approx(widening(series, 4.0, 25), rel=1e-4)
