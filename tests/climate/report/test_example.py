"""One forecast as it is shown: what is read of it, and what is kept."""

from types import SimpleNamespace

import numpy as np
import pytest

from climate.grids.area import Area
from climate.report import example
from climate.report.example import choose, nearest, one_forecast

UNITS = {"z": "m2 s-2", "t2m": "K"}
LAT, LON = np.arange(3.0), np.arange(4.0)
AREA = Area(LAT, LON, np.arange(3), np.arange(4), True)
MEMBERS = np.random.default_rng(0).normal(size=(2, 2, 5, 3, 4)).astype(np.float32)
STATES = np.random.default_rng(1).normal(size=(60, 2, 3, 4))
KEPT = np.ones((3, 4), bool)
KEPT[1, 2] = False
STORE = SimpleNamespace(
    channels=tuple(UNITS), static={}, stride=lambda step: 6, times=np.arange(60) * 3600
    + np.datetime64("2016-01-01", "s"), read=lambda start, stop: STATES[start:stop],
    frames=lambda starts, ahead: starts[:, None] + ahead,
)  # fmt: skip


def forecast(count=2, together=2):
    """Three starts, of which only the middle one may be read, a few leads at a time."""
    read = []

    def of(starts, leads, name):
        assert starts == slice(1, 2)
        read.append((name, leads))
        return MEMBERS[None, list(UNITS).index(name)][:, :count, leads]

    def parts(piece):
        for lead in range(0, piece.leads.stop, together):
            yield piece.starts, slice(lead, min(lead + together, piece.leads.stop))

    return SimpleNamespace(
        starts=np.array([5, 9, 20]), hours=[6, 12, 18, 24, 30], leads=5, area=AREA, step="six",
        members=count, mirrored=False, read=of, seen=read, parts=parts,
        scored=lambda store: dict(enumerate(UNITS)),
        area_of=lambda store, c: SimpleNamespace(kept=None if c == 0 else KEPT),
    )  # fmt: skip


@pytest.mark.parametrize("together", [1, 2, 5])
def test_the_middle_start_is_read_once_and_kept_where_it_is_shown(together):
    made = forecast(together=together)
    chosen = choose(made, STORE, 1)
    assert len(made.seen) == 2 * -(-5 // together)
    assert (chosen.lead, chosen.point) == (3, (1, 2))
    for c, name in enumerate(UNITS):
        own = MEMBERS[c, :, 3] if c == 0 else np.where(KEPT, MEMBERS[c, :, 3], np.nan)
        assert np.array_equal(chosen.members[name], own, equal_nan=True)
        assert np.array_equal(chosen.truth[name], STATES[9 + 24, c])
        assert np.array_equal(chosen.line[name], STATES[9 + 6 * np.arange(1, 6), c, 1, 2])
    assert np.array_equal(chosen.plumes["z"], MEMBERS[0, :, :, 1, 2])
    assert np.isnan(chosen.plumes["t2m"]).all()  # masked there
    assert list(chosen.moving) == chosen.frames == [0, 1, 2, 3, 4]
    for lead, (own, truth) in chosen.moving.items():
        assert np.allclose(own, MEMBERS[0, :, lead].mean(0))
        assert np.array_equal(truth, STATES[9 + 6 * (lead + 1), 0])


def test_an_animation_of_many_leads_takes_some_and_of_large_fields_each_other_point(monkeypatch):
    monkeypatch.setattr(example, "FRAMES", 3)
    monkeypatch.setattr(example, "FRAME_ROWS", 2)
    chosen = choose(forecast(), STORE, 1)
    assert list(chosen.moving) == [0, 2, 4] and chosen.moving[0][0].shape == (2, 2)


@pytest.mark.parametrize("count", [1, 2])
def test_maps_are_of_the_middle_start_a_day_ahead(monkeypatch, count):
    seen = {"maps": [], "stamps": [], "animation": []}
    for name, found in seen.items():
        monkeypatch.setattr(example.maps, name, lambda *told, f=found: f.append(told) or b"")
    monkeypatch.setattr(example, "draw", lambda make: b"")
    words, *parts = one_forecast(forecast(count), STORE, UNITS)
    assert words.words.startswith("Maps are of the forecast from 2016-01-01 09:00, 24 h ahead.")
    assert len(seen["maps"]) == 2 and len(seen["stamps"]) == (2 if count > 1 else 0)
    for (panels, ground), (c, name) in zip(seen["maps"], enumerate(UNITS), strict=True):
        assert ground.area is AREA and ground.land is None and ground.units == UNITS[name]
        kinds = ["state", "state", "difference", "spread"][: 2 + count]
        assert [panel.kind for panel in panels] == kinds
        own = MEMBERS[c, :count, 3] if c == 0 else np.where(KEPT, MEMBERS[c, :count, 3], np.nan)
        want = [own.mean(0), STATES[33, c], own.mean(0) - STATES[33, c]]
        want += [own.std(0, ddof=1)] if count > 1 else []
        for panel, field in zip(panels, want, strict=True):
            assert np.allclose(panel.field, field, rtol=1e-5, atol=1e-6, equal_nan=True)
    ((own, truth, titles, _),) = seen["animation"]
    assert own.shape == truth.shape == (5, 3, 4)
    assert titles[3] == "z (m² s⁻²), from 2016-01-01 09:00, 24 h"
    assert parts[-1].folded.startswith("Play: z from 2016-01-01 09:00, 6 to 30 h")
    assert all(part.alt and part.caption for part in parts)
    assert len(parts) == 2 + 1 + (3 if count > 1 else 0)


def test_plumes_are_where_most_readers_know_the_weather():
    lat, lon = np.arange(-90.0, 91, 30), np.arange(0.0, 360, 30)
    assert nearest(Area(lat, lon, lat, lon, True)) == (5, 0)
    box = np.arange(-40.0, -9, 10), np.arange(340.0, 371, 10) % 360
    assert nearest(Area(*box, *box, False)) == (2, 2)
