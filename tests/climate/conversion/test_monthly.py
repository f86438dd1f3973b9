"""Monthly means: exact, complete months only, no leak over the splits, and never stale."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from disks import refuse_writing
from seals import rewrite

from climate.conventions.calendar import is_monthly
from climate.conversion.monthly import MONTH, complete_months, mean_state, open_monthly
from climate.grids.grid import Grid
from climate.store.layout import open_store
from climate.stream.views import open_view
from vgbdm.errors import InputError
from vgbdm.storage.sealing import MANIFEST

HOUR = np.timedelta64(3600, "s")


@pytest.fixture(scope="module")
def monthly(years):
    return open_monthly(years)


def states_of(years, month: str) -> np.ndarray:
    return years.read(0, len(years.times))[years.times.astype("M8[M]") == np.datetime64(month)]


@pytest.mark.parametrize(("month", "days"), [("2014-02", 28), ("2016-02", 29), ("2016-12", 31)])
def test_means_are_those_of_numpy(years, monthly, month, days):
    own = states_of(years, month)
    assert len(own) == 4 * days
    index = int(np.flatnonzero(monthly.times.astype("M8[M]") == np.datetime64(month))[0])
    want = own.mean(0, dtype=np.float64).astype(np.float32)
    assert np.array_equal(monthly.read(index, index + 1)[0], want)


def test_a_month_with_a_missing_step_is_left_out_and_counted_in_a_line(years, monthly, caplog):
    assert len(states_of(years, "2015-05")) == 123
    with caplog.at_level(logging.INFO):
        months, first, last = complete_months(years.times, years.step)
    assert [r.message for r in caplog.records] == ["1 months left out, steps are missing: 2015-05"]
    assert len(months) == len(monthly.times) == 47
    assert np.array_equal(months.astype("M8[s]"), monthly.times)
    assert (years.times[first] == monthly.times).all()
    assert (years.times[last] + years.step).astype("M8[M]").tolist() == (months + 1).tolist()


def test_a_half_month_at_either_end_is_left_out():
    times = np.arange("2016-01-15", "2016-04-20", 6 * HOUR, dtype="M8[s]")
    months, _, _ = complete_months(times, 6 * HOUR)
    assert months.astype(str).tolist() == ["2016-02", "2016-03"]


def test_pieces_do_not_change_a_mean(years, monkeypatch):
    whole = mean_state(years, 5, 400)
    monkeypatch.setattr("climate.conversion.monthly.MEAN_BYTES", 4 * 3 * 8 * 16 * 7)
    assert np.allclose(mean_state(years, 5, 400), whole, rtol=1e-6)


def test_splits_are_cut_to_complete_months(monthly):
    assert {name: (str(a), str(b)) for name, (a, b) in monthly.splits.items()} == {
        "train": ("2014-02-01T00:00:00", "2016-03-31T23:59:59"),
        "val": ("2016-04-01T00:00:00", "2016-12-31T23:59:59"),
        "test": ("2017-01-01T00:00:00", "2017-10-31T23:59:59"),
    }


def test_statistics_and_climatology_come_from_training_months_alone(monthly):
    months = monthly.times.astype("M8[M]")
    inside = (months >= np.datetime64("2014-02")) & (months <= np.datetime64("2016-03"))
    training = monthly.read(0, len(months))[inside].astype(np.float64)
    area = Grid(monthly.lat, monthly.lon).area_weights[:, None]
    assert monthly.statistics.count == inside.sum() == 25
    assert np.allclose(monthly.statistics.mean, (training * area).mean((0, 2, 3)), rtol=1e-12)
    march = training[months[inside].astype(int) % 12 == 2].mean(0)
    want = monthly.climatology.at(np.array(["2017-03-01", "2014-03-01"], "M8[s]"))
    assert np.allclose(want[0], march, atol=1e-5)
    assert np.array_equal(want[0], want[1])
    assert monthly.climatology.rule == "mean of the training period per month of the year"


def test_months_that_training_lacks_take_the_mean_of_the_others(tmp_path):
    from builders import YEARS, make_years

    store = make_years(tmp_path, YEARS | {"train": ["2015-11", "2016-03"]})
    monthly = open_monthly(store)
    june, mean = monthly.climatology.at(np.array(["2017-06"], "M8[s]"))[0], monthly.statistics
    assert np.allclose(june, mean.mean_map, atol=1e-4)


def test_windows_are_counted_in_months_and_cross_no_gap(monthly):
    assert is_monthly(monthly.step)
    assert monthly.stride(2 * MONTH) == 2
    anchors = monthly.anchors("train", MONTH, 3, 1)
    months = monthly.times.astype("M8[M]")
    for anchor in anchors:
        assert (np.diff(months[anchor - 3 : anchor + 2]) == MONTH).all()
    assert len(anchors) == (15 - 4) + (10 - 4)
    test = monthly.anchors("test", MONTH, 3, 6)
    assert str(months[test[0]]), str(months[test[-1]]) == ("2017-01", "2017-04")
    with pytest.raises(InputError, match="not a multiple of the store's step, 1 month"):
        monthly.stride(6 * HOUR)


def test_static_fields_and_units_are_kept(years, monthly):
    assert np.array_equal(monthly.static["orography"], years.static["orography"])
    own = xr.open_zarr(years.path, consolidated=False)["orography"].attrs
    assert xr.open_zarr(monthly.path, consolidated=False)["orography"].attrs == own


def test_means_are_made_once_and_refused_when_the_store_has_changed(years, monthly):
    assert monthly.path == years.path / "monthly"
    before = (monthly.path / MANIFEST).stat().st_mtime_ns
    assert open_view(years.path, MONTH).statistics.hash == monthly.statistics.hash
    assert (monthly.path / MANIFEST).stat().st_mtime_ns == before
    text = (years.path / MANIFEST).read_text()
    rewrite(years.path, provenance={"source": "another"})
    try:
        with pytest.raises(InputError, match="monthly: made from other contents"):
            open_view(years.path, MONTH)
    finally:
        (years.path / MANIFEST).write_text(text)


def test_a_store_of_months_is_its_own_monthly_view(monthly):
    assert open_view(monthly.path, MONTH).path == monthly.path


def test_periods_without_a_complete_month_are_refused(store):
    with pytest.raises(InputError, match=r"train .* holds no complete month; convert with longer"):
        open_monthly(open_store(store.path))
    assert not (store.path / "monthly").exists()


def test_means_of_a_read_only_store_are_kept_aside(years, monthly, tmp_path, monkeypatch):
    """One whose own means are of other contents, which cannot be removed there."""
    text, aside = (years.path / MANIFEST).read_text(), tmp_path / "run" / "derived"
    rewrite(years.path, provenance={"source": "another"})
    try:
        refuse_writing(monkeypatch, years.path)
        with pytest.raises(InputError, match="is read-only and holds no monthly means"):
            open_monthly(open_store(years.path))
        made = open_view(years.path, MONTH, aside=aside)
        assert made.path == aside / "monthly"
        assert np.array_equal(made.read(0, 3), monthly.read(0, 3))
        stamp = (made.path / MANIFEST).stat().st_mtime_ns
        assert open_view(years.path, MONTH, aside=aside).path == made.path
        assert (made.path / MANIFEST).stat().st_mtime_ns == stamp
    finally:
        (years.path / MANIFEST).write_text(text)
    assert open_view(years.path, MONTH, aside=aside).path == monthly.path


def test_states_of_a_mean_are_read_in_blocks_of_64_mib_at_most():
    class Large:
        """A state of 10 MiB, whose read states are their own numbers."""

        state, sizes = SimpleNamespace(shape=(100, 5, 512, 1024)), []

        def read(self, start, stop):
            self.sizes.append(stop - start)
            numbers = np.arange(start, stop, dtype=np.float32).reshape(-1, 1, 1, 1)
            return np.broadcast_to(numbers, (stop - start, 5, 1, 1))

    store = Large()
    assert (mean_state(store, 3, 20) == 11.0).all()
    assert store.sizes == [6, 6, 5]


def test_means_that_were_stopped_half_made_are_made_again(tmp_path, monkeypatch):
    (tmp_path / "monthly").mkdir()
    made, done = [], SimpleNamespace(provenance={"derived_from": "d"})
    monkeypatch.setattr(
        "climate.conversion.monthly._make", lambda store, path, *_: made.append(path)
    )
    monkeypatch.setattr("climate.conversion.monthly.open_store", lambda path: done)
    assert open_monthly(SimpleNamespace(digest="d", path=tmp_path)) is done
    assert made == [tmp_path / "monthly"]
