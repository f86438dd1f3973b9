"""Forecasts are read in as large parts as are stored together, or as memory may hold."""

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from refusals import refused
from uneven_forecasts import forecast

from climate.forecasts.access import MEMBER
from climate.forecasts.pieces import Piece
from climate.forecasts.reading import _together, open_forecast

ALL = Piece(slice(2, 8), slice(1, 5), slice(0, 3))


@pytest.fixture
def made(store):
    return forecast(store, 6 * np.arange(8), leads=5, members=2)[0]


def test_small_files_are_read_together(made):
    assert list(made.parts(ALL)) == [(ALL.starts, ALL.leads)]


@pytest.mark.parametrize(
    ("together", "leads", "starts"),
    [((1, 1), [(1, 3), (3, 5)], 1), ((2, 5), [(1, 5)], 2), ((4, 1), [(1, 2), (2, 3)], 4)],
)
def test_parts_are_of_the_budget_or_of_what_is_stored_together(
    made, monkeypatch, together, leads, starts
):
    monkeypatch.setattr("climate.forecasts.reading.JOINED_BYTES", 2 * 2 * 4 * 8 * 16)
    parts = list(replace(made, together=together).parts(ALL))
    assert [(p.start, p.stop) for s, p in parts if s.start == 2][: len(leads)] == leads
    assert {s.stop - s.start for s, _ in parts if s.stop < 8} == {starts}
    covered = {(s, p) for a, b in parts for s in range(a.start, a.stop)
               for p in range(b.start, b.stop)}  # fmt: skip
    assert covered == {(s, p) for s in range(2, 8) for p in range(1, 5)}


def test_a_part_has_the_values_of_the_whole_in_single_precision(made):
    whole = made.read(slice(0, 8), slice(0, 5), "u10")
    assert whole.shape == (8, 2, 5, 8, 16) and whole.dtype == np.float32
    assert np.array_equal(made.read(slice(2, 4), slice(1, 3), "u10"), whole[2:4, :, 1:3])


def test_chunks_that_are_of_another_shape_than_told_are_one_line(made, tmp_path):
    """Of a forecast without members already their axis is what reads it."""
    field = made.dataset["u10"].isel({MEMBER: 0}, drop=True).load()
    field.encoding = {}
    field.to_dataset().to_zarr(tmp_path / "f", zarr_format=3, consolidated=False)
    told = tmp_path / "f" / "u10" / "zarr.json"
    facts = json.loads(told.read_text())
    facts["chunk_grid"]["configuration"]["chunk_shape"][0] = 1
    told.write_text(json.dumps(facts))
    held = xr.open_zarr(tmp_path / "f", chunks=None, consolidated=False)
    damaged = replace(made, dataset=held)
    refused(lambda: damaged.read(slice(0, 8), slice(0, 5), "u10"), "u10: cannot be read")


def test_a_file_is_read_whole_where_it_is_not_too_much(monkeypatch):
    field = xr.DataArray(
        np.zeros((8, 3, 5, 4, 6), np.float32),
        dims=("time", "realization", "lead_time", "lat", "lon"),
    )
    assert _together(field) == (1, 1)
    field.encoding["chunks"] = (1, 1, 2, 4, 6)
    assert _together(field) == (1, 2)
    field.encoding["shards"] = (4, 1, 5, 4, 6)
    assert _together(field) == (4, 5)
    monkeypatch.setattr("climate.forecasts.reading.READ_BYTES", 4 * 4 * 3 * 5 * 4 * 6 - 1)
    assert _together(field) == (1, 2)


def of_others(store, tmp_path, change, **attrs):
    """A forecast as somebody else's NetCDF file, its geopotential changed."""
    made = forecast(store, np.array([288, 300]), leads=2, members=1)[0].dataset
    made = made.isel({MEMBER: 0}, drop=True).astype("float32")
    made["z"] = change(made["z"]).assign_attrs(attrs)
    path = tmp_path / f"{len([*tmp_path.iterdir()])}.nc"
    made.to_netcdf(path)
    return open_forecast(path, store)


FIRST = slice(0, 2), slice(0, 1), "z"


@pytest.mark.parametrize("attrs", [{}, {"units": "m2 s-2"}])
def test_a_unit_that_is_not_said_is_refused(store, tmp_path, attrs):
    """It was scored: of degrees for Kelvin an error of 272 K, without a word."""
    read = of_others(store, tmp_path, lambda z: z - 273.15, **attrs)
    said = f"in {attrs.get('units', 'no unit')}"
    refused(lambda: read.read(*FIRST), said, "is it in another unit?")
    assert abs(of_others(store, tmp_path, lambda z: z, **attrs).read(*FIRST).mean()) < 20


def test_what_was_never_written_is_no_value(store, tmp_path):
    """NetCDF's own fill gave an error of 1e36; a bound that the file declares was passed over."""
    fill = np.array([0, 1]).reshape(-1, 1, 1)
    read = of_others(store, tmp_path, lambda z: z.where(fill == 0, 9.969209968386869e36))
    assert np.isfinite(read.read(*FIRST)).all()
    refused(lambda: read.read(slice(0, 2), slice(1, 2), "z"), "values that are not finite")
    read = of_others(store, tmp_path, lambda z: z, valid_max=np.float32(-1))
    refused(lambda: read.read(*FIRST), "values that are not finite")
