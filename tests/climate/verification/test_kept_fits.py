"""Trivial rows are fitted once for a store, an area, a step and leads."""

import logging

import numpy as np
import pytest
from refusals import refused
from uneven_forecasts import forecast

from climate.conversion.verify import verify_derived
from climate.grids.area import Area
from climate.verification import kept_fits as module
from climate.verification.kept_fits import trivial_fit
from climate.verification.scorecard import score
from climate.verification.trivial import TrivialFit, fit_trivial

SIX = np.timedelta64(6 * 3600, "s")


@pytest.fixture
def fitted(monkeypatch):
    """What is fitted, in order: leads and rows; the fits are numbers of no training period."""
    found = []

    def fit(store, area, step, leads, dask):
        found.append((leads, len(area.lat)))
        numbers = np.random.default_rng(len(found))
        shape = len(store.channels), len(area.lat), len(area.lon)
        return TrivialFit(numbers.random((leads, shape[0])), numbers.random(shape))

    monkeypatch.setattr(module, "fit_trivial", fit)
    return found


def areas(store):
    whole, some = slice(0, 8), slice(2, 5)
    return [Area.of(store.lat[rows], store.lon, store.lat, store.lon) for rows in (whole, some)]


def test_a_fit_is_read_where_it_is_kept(store, tmp_path, fitted):
    whole, some = areas(store)
    first = trivial_fit(store, whole, SIX, 3, tmp_path)
    again = trivial_fit(store, whole, SIX, 3, tmp_path)
    assert np.array_equal(first.damping, again.damping)
    assert np.array_equal(first.spread, again.spread)
    assert fitted == [(3, 8)]
    for other in ((some, SIX, 3), (whole, SIX, 4), (whole, 2 * SIX, 3)):
        trivial_fit(store, *other, tmp_path)
    assert fitted == [(3, 8), (3, 3), (4, 8), (3, 8)]
    trivial_fit(store, whole, SIX, 3)
    assert len(fitted) == 5


def test_another_training_period_has_another_fit(store, fine_store, tmp_path, fitted):
    for held in (store, fine_store, store):
        trivial_fit(held, Area.of(held.lat, held.lon, held.lat, held.lon), SIX, 3, tmp_path)
    assert len(fitted) == 2


def test_a_damaged_fit_is_named(store, tmp_path, fitted):
    area = areas(store)[0]
    trivial_fit(store, area, SIX, 3, tmp_path)
    assert verify_derived(tmp_path) == []
    path = next(tmp_path.glob("trivial-*/damping/c/0/0"))
    path.write_bytes(path.read_bytes()[:-1])
    refused(lambda: trivial_fit(store, area, SIX, 3, tmp_path), str(path), "remove it, to fit")
    assert "damping/c/0/0" in verify_derived(tmp_path)[0]


def test_what_cannot_be_kept_is_fitted_all_the_same(store, tmp_path, fitted, caplog):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        fit = trivial_fit(store, areas(store)[0], SIX, 3, tmp_path / "file")
    assert fit.damping.shape == (3, 3) and "not kept" in caplog.text


def test_a_scorecard_is_the_same_with_a_fit_that_was_kept(store, tmp_path, monkeypatch):
    made, _ = forecast(store, np.array([361, 380]), members=1)
    first = score(made, store, kept=tmp_path).scorecard
    monkeypatch.setattr(module, "fit_trivial", lambda *_: pytest.fail("fitted again"))
    second = score(made, store, kept=tmp_path).scorecard
    assert first.equals(second)
    kept = trivial_fit(store, made.area, SIX, 3, tmp_path)
    fresh = fit_trivial(store, made.area, SIX, 3)
    assert np.array_equal(kept.damping, fresh.damping)
    assert np.array_equal(kept.spread, fresh.spread)
