"""A cropped store reads like a store of the box, and nothing outside of it."""

import numpy as np
import pytest
from builders import FINE_LAT, FINE_LON, make_fine_store

from climate.grids.area import Area
from climate.grids.regions import parse_region
from climate.models.domain import Domain
from climate.store.crop import crop
from climate.stream.batches import WindowStream, read_windows
from climate.verification.trivial import fit_trivial
from vgbdm.registry.build import rebuild

SIX = np.timedelta64(6 * 3600, "s")
BOX = [-35, 50, 340, 60]
"""Crosses Greenwich."""
ROWS, COLUMNS = slice(3, 14), np.array([29, 30, 31, 0, 1, 2, 3, 4, 5, 6, 7])
"""The box and a halo of 2 on the grid of 11.25°."""


@pytest.fixture(scope="module")
def boxed(fine_store):
    return crop(fine_store, parse_region(BOX, 2))


def test_states_statics_and_maps_are_those_of_the_box(fine_store, boxed):
    whole = fine_store.read(0, 80)[..., ROWS, :][..., COLUMNS]
    assert np.array_equal(boxed.read(0, 80), whole)
    assert boxed.state.shape == whole.shape
    assert np.array_equal(boxed.lat, FINE_LAT[ROWS])
    assert np.allclose(boxed.lon, np.arange(-3, 8) * 11.25)
    assert np.array_equal(boxed.lon % 360, FINE_LON[COLUMNS])
    assert boxed.interior == (slice(2, 9), slice(2, 9))
    assert boxed.without_halo(whole).shape[-2:] == (7, 7)
    land = fine_store.static["lsm"][ROWS][:, COLUMNS]
    assert np.array_equal(boxed.static["lsm"], land)
    times = boxed.times[[3, 50]]
    climatology = fine_store.climatology.at(times)[..., ROWS, :][..., COLUMNS]
    assert np.array_equal(boxed.climatology.at(times), climatology)


def test_standardisation_stays_that_of_the_store_and_so_does_its_hash(fine_store, boxed):
    assert np.array_equal(boxed.statistics.std, fine_store.statistics.std)
    assert boxed.statistics.mean_map.shape == (3, 11, 11)
    assert boxed.statistics.hash == fine_store.statistics.hash


def test_windows_and_batches_are_cut(boxed):
    anchors = boxed.anchors("train", SIX, 3, 1)
    windows = read_windows(boxed, anchors[:4], stride=1, history=3, ahead=1)
    assert windows.shape == (4, 5, 3, 11, 11)
    with WindowStream(boxed, "train", step=SIX, history=3, global_batch=8) as stream:
        batch = next(stream)
    start = int(np.searchsorted(boxed.times.astype(int), int(batch.times[0])))
    assert np.array_equal(batch.states[0].numpy(), boxed.read(start - 3, start + 2))


def test_area_weights_are_the_box_s(boxed):
    assert np.allclose(boxed.grid.area_weights.mean(), 1)
    ratio = boxed.grid.area_weights / np.cos(np.deg2rad(boxed.lat))
    assert np.allclose(ratio, ratio[0])
    area = Area.of(boxed.lat, boxed.lon, boxed.lat, boxed.lon)
    assert fit_trivial(boxed, area, SIX, 2).damping.shape == (2, 3)


def test_a_domain_remembers_its_region(boxed):
    domain = Domain.from_store(boxed, SIX, [["u10", "v10"]], 3)
    again = rebuild(domain.describe())
    assert again == domain
    assert again.region == parse_region(BOX, 2)
    assert again.grid.halo == 2


def test_what_lies_outside_cannot_be_read_through_a_box(tmp_path, boxed):
    def spoil(values):
        outside = np.ones(values.shape[1:], bool)
        outside[np.ix_(range(3, 14), COLUMNS)] = False
        values[60:, outside] += 25

    spoilt = crop(make_fine_store(tmp_path, spoil, odd_maps="keep"), parse_region(BOX, 2))
    assert np.array_equal(spoilt.read(0, 80), boxed.read(0, 80))
    assert spoilt.statistics.hash == boxed.statistics.hash
