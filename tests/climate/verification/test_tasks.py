"""Whoever works, and however the work is divided, scores are the same."""

import numpy as np
import pandas as pd
import pytest
from forecasters import Calibrated

from climate.forecasts.reading import open_forecast
from climate.forecasts.writing import write_forecast
from climate.verification.comparison import compare
from climate.verification.scorecard import score
from vgbdm.tasks import Dask

SIX = np.timedelta64(6 * 3600, "s")
ALONE = Dask("synchronous")


@pytest.fixture(scope="module")
def opened(store, tmp_path_factory):
    """An ensemble of the test period and one of validation."""
    folder = tmp_path_factory.mktemp("forecasts")
    for split in ("test", "val"):
        path = folder / split
        write_forecast(Calibrated(store), store, path, lead=3 * SIX, members=3, split=split)
    return [open_forecast(folder / split, store) for split in ("test", "val")]


@pytest.fixture(scope="module")
def alone(store, opened):
    return score(opened[0], store, opened[1], dask=ALONE)


def same(one, other):
    """To the rounding of sums of rows, which are in single precision."""
    for name in ("scorecard", "spectra", "ranks"):
        found, want = getattr(one, name), getattr(other, name)
        pd.testing.assert_frame_equal(found, want, rtol=1e-6, atol=1e-8)
    assert one.rules == other.rules


@pytest.mark.parametrize("states", [3, 20, 50])
def test_scores_are_the_same_however_starts_leads_and_channels_are_divided(
    store, opened, alone, monkeypatch, states
):
    budget = states * 8 * int(np.prod(store.state.shape[1:]))
    monkeypatch.setattr("climate.forecasts.pieces.WINDOW_BYTES", budget)
    monkeypatch.setattr("climate.forecasts.reading.JOINED_BYTES", budget)
    monkeypatch.setattr(type(store), "is_big", states == 20)
    short = [forecast.select(np.arange(12), 3) for forecast in opened]
    monkeypatch.setattr("climate.forecasts.pieces.FEWEST_STARTS", 4)
    parts = score(short[0], store, opened[1], dask=Dask("threads", 3))
    monkeypatch.undo()
    same(parts, score(short[0], store, opened[1], dask=ALONE))


def test_a_difference_is_the_same_whoever_compares(store, opened, monkeypatch):
    first, second = (opened[0].select(np.arange(20), leads) for leads in (2, 3))
    want = compare(first, second, store, dask=ALONE)
    monkeypatch.setattr("climate.forecasts.pieces.FEWEST_STARTS", 3)
    found = compare(first, second, store, dask=Dask("threads", 3))
    pd.testing.assert_frame_equal(found.table, want.table, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_a_cluster_scores_as_this_process_does(store, opened, alone):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        same(score(opened[0], store, opened[1], dask=Dask(cluster.scheduler_address)), alone)
