"""Levels of one variable are read together, and never handed out for other times."""

import itertools

import builders
import numpy as np
import pytest
from archives import archive, cf_source, write_zarr, zarr_source
from builders import LAT, LON, hours
from refusals import refused

from climate.sources import series
from climate.sources.series import SeriesArray

TIMES = hours("2016-01-01", 24)
LEVEL = {"z": 1, "z8": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_zarr(archive(TIMES), tmp_path_factory.mktemp("fields") / "a.zarr")


@pytest.fixture
def taken(monkeypatch):
    take, asked = SeriesArray.take, []
    monkeypatch.setattr(
        SeriesArray, "take", lambda self, index: asked.append(index.tolist()) or take(self, index)
    )
    return asked


def waves(name, start, stop):
    return builders.waves(TIMES[start:stop], LEVEL[name])


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(LEVEL)))
def test_what_is_kept_of_some_times_is_not_given_for_others(root, taken, first, second):
    dataset = zarr_source(root, ("z", "z8")).open()
    asked = ((first, 0, 5), (second, 5, 10), (first, 5, 10), (first, 5, 10), (second, 0, 5))
    for name, start, stop in asked:
        got = dataset[name].isel(time=slice(start, stop)).values
        assert np.array_equal(got, waves(name, start, stop)), (name, start)
    assert [index[0] for index in taken] == [0, 5, 5, 0]


def test_both_levels_of_the_same_times_are_read_once(root, taken):
    dataset = zarr_source(root, ("z", "z8")).open()
    for start in (0, 6):
        for name in LEVEL:
            got = dataset[name].isel(time=slice(start, start + 6)).values
            assert np.array_equal(got, waves(name, start, start + 6))
    assert len(taken) == 2


@pytest.mark.parametrize("piece", [1, 3 * 4 * 8 * 16 * 3, 2**30])
def test_pieces_do_not_change_what_is_read(root, monkeypatch, piece):
    monkeypatch.setattr(series, "PIECE_BYTES", piece)
    dataset = zarr_source(root, ("z8",)).open()
    order = [3, 4, 5, 20, 21, 2, 9]
    assert np.array_equal(dataset["z8"].isel(time=order).values, builders.waves(TIMES[order], 2))


def test_files_of_grids_ten_degrees_apart_are_refused(tmp_path):
    """With rows at the poles and without: as many, and up to 11 degrees apart."""
    first, second = archive(TIMES[:12]), archive(TIMES[12:], np.linspace(-90, 90, 8), LON)
    for name, part in (("a", first), ("b", second)):
        part[["2m_temperature"]].to_netcdf(tmp_path / f"{name}.nc")
    refused(lambda: cf_source(tmp_path, ("t2m",)).open(), "its lat differ from those of")
    assert len(LAT) == 8


def two_files(folder, change=0.0, **attributes):
    """Hours 0 to 11 and 11 to 23, so that one comes twice."""
    first, second = (archive(part)[["2m_temperature"]] for part in (TIMES[:12], TIMES[11:]))
    second["2m_temperature"] = second["2m_temperature"] + np.float32(change)
    second["2m_temperature"].attrs = {"units": "K", **attributes}
    for name, part in (("a", first), ("b", second)):
        part.to_netcdf(folder / f"{name}.nc")
    return cf_source(folder, ("t2m",))


@pytest.mark.parametrize("unit", ["K", "degC"])
def test_a_time_that_comes_twice_alike_is_taken_once(tmp_path, unit):
    change = 0.0 if unit == "K" else -273.15
    dataset = two_files(tmp_path, change, units=unit).open()
    assert np.array_equal(dataset["time"], TIMES)
    assert np.allclose(dataset["t2m"].values, builders.warm(TIMES, 3), rtol=1e-6)


@pytest.mark.parametrize(("unit", "change"), [("K", 1e-4), ("K", 5.0), ("degC", -273.1)])
def test_a_time_that_comes_twice_with_other_values_is_refused(tmp_path, unit, change):
    words = "2016-01-01 11:00 comes twice with different values"
    refused(lambda: two_files(tmp_path, change, units=unit).open(), "b.nc", words)
