"""Pieces of forecasts cover all of them once, and hold no more than the budget."""

from dataclasses import replace

import numpy as np
import pytest

from climate.forecasts import pieces as module
from climate.forecasts.pieces import Truth, pieces, read_window
from climate.grids.area import Area

SIX = np.timedelta64(6 * 3600, "s")


@pytest.fixture
def truth(store):
    """Ten days of hourly starts, one of them missing, and those that begin two days later."""
    starts = np.delete(np.arange(24, 264), slice(100, 148))
    area = Area.of(store.lat, store.lon, store.lat, store.lon)
    return Truth(store, starts, SIX, 9, area, past=3)


def state_bytes(store):
    return 8 * int(np.prod(store.state.shape[1:]))


@pytest.mark.parametrize("states", [1, 12, 40, 10_000])
@pytest.mark.parametrize("together", [1, 16])
def test_pieces_cover_every_start_lead_and_channel_once(truth, monkeypatch, states, together):
    monkeypatch.setattr(module, "WINDOW_BYTES", states * state_bytes(truth.store))
    seen = np.zeros((len(truth.starts), truth.leads, 3), int)
    for piece in pieces(truth, together):
        seen[piece.starts, piece.leads, piece.channels] += 1
        held = len(np.unique(truth.frames(piece.starts, piece.leads)))
        assert held <= max(states, 2 + truth.past + 1)  # not less than a start and a lead
    assert (seen == 1).all()


def test_starts_that_are_stored_together_stay_so_where_they_fit(truth):
    inner = {piece.starts.start for piece in pieces(truth, 16)}
    assert len(inner) > 1 and all(start % 16 == 0 for start in inner)


def test_large_states_are_taken_a_channel_at_a_time(truth, monkeypatch):
    assert {(p.channels.start, p.channels.stop) for p in pieces(truth)} == {(0, 3)}
    monkeypatch.setattr(type(truth.store), "is_big", True)
    apart = {(p.channels.start, p.channels.stop) for p in pieces(truth)}
    assert apart == {(0, 1), (1, 2), (2, 3)}


@pytest.mark.parametrize("joined", [1, 2**25])
@pytest.mark.parametrize("box", [False, True])
def test_a_window_holds_each_state_and_anomaly_at_its_place(truth, monkeypatch, joined, box):
    monkeypatch.setattr(module, "JOINED_BYTES", joined)
    store = truth.store
    if box:
        rows, columns = slice(2, 6), [14, 15, 0, 1]
        area = Area.of(store.lat[rows], store.lon[columns], store.lat, store.lon)
        truth = replace(truth, area=area)
    piece = module.Piece(slice(90, 110), slice(2, 5), slice(1, 3))
    window = read_window(truth, piece)
    states = truth.area.cut(store.read(0, len(store.times))[:, 1:3])
    climatology = truth.area.cut(store.climatology.at(store.times)[:, 1:3])
    starts = truth.starts[90:110]
    assert np.array_equal(window.states[window.initial], states[starts])
    for k, lead in enumerate((3, 4, 5)):
        valid = starts + 6 * lead
        assert np.array_equal(window.states[window.valid[:, k]], states[valid])
        anomalies = (states - climatology)[valid]
        assert np.array_equal(window.anomalies[window.valid[:, k]], anomalies)
    for k, back in enumerate((18, 12, 6)):
        assert np.array_equal(window.states[window.places[:, k]], states[starts - back])


def test_starts_far_apart_keep_their_leads_together(truth, monkeypatch):
    """Daily starts of nine leads, stored by sixteen: the states of four starts fit."""
    daily = replace(truth, starts=24 * np.arange(1, 11), past=0)
    monkeypatch.setattr(module, "WINDOW_BYTES", 24 * state_bytes(truth.store))
    found = pieces(daily, 16)
    assert {(p.leads.start, p.leads.stop) for p in found} == {(0, 9)}
    assert [p.count for p in found] == [4, 4, 2]
