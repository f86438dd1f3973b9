"""A forecast is scored as it was written, or not at all."""

import shutil

import numpy as np
import pytest
import xarray as xr
from builders import make_store
from forecasters import Oracle
from refusals import refused
from seals import manifest_of

from climate.forecasts.reading import check_finite, open_forecast
from climate.forecasts.writing import write_forecast
from climate.store.layout import open_store
from vgbdm.storage.sealing import verify_folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    base = tmp_path_factory.mktemp("made")
    store = make_store(base)
    write_forecast(Oracle(store), store, base / "f", lead=np.timedelta64(12 * 3600, "s"), batch=8)
    return store, base / "f"


@pytest.fixture
def forecast(made, tmp_path):
    shutil.copytree(made[1], tmp_path / "f")
    return tmp_path / "f"


def read_all(forecast, store):
    held = open_forecast(forecast, store)
    return [
        held.read(slice(0, len(held.starts)), slice(0, held.leads), name) for name in store.channels
    ]


def test_it_records_the_store_it_was_made_from(made, forecast):
    assert manifest_of(forecast)["store"] == made[0].digest
    with xr.open_zarr(forecast, consolidated=False) as dataset:
        assert dataset.attrs["store_digest"] == open_store(made[0].path).digest
    assert verify_folder(forecast) == []
    assert all(np.isfinite(part).all() for part in read_all(forecast, made[0]))


@pytest.mark.parametrize("name", ["z/c/0/0/0/0", "v10/c/1/0/0/0", "lat/c/0", "time/c/0",
                                  "z/zarr.json", "zarr.json", "lead_time/c/0"])  # fmt: skip
def test_a_flipped_bit_and_a_missing_file_are_named(made, forecast, name):
    path, rng = forecast / name, np.random.default_rng(0)
    whole = path.read_bytes()
    for at in rng.choice(len(whole), 4, replace=False):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        refused(lambda: read_all(forecast, made[0]), name, "is damaged")
    path.unlink()
    refused(lambda: read_all(forecast, made[0]), name, "is missing", "make it again")
    assert verify_folder(forecast) == [f"{name}: missing"]


def test_a_chunk_that_is_missing_in_somebody_elses_is_noticed(made, forecast):
    (forecast / "manifest.json").unlink()
    (forecast / "z/c/0/0/0/0").unlink()
    refused(lambda: read_all(forecast, made[0]), "z", "2016-01-16", "not finite")


def test_values_that_are_not_finite_are_refused_unless_masked():
    values, times = (
        np.zeros((3, 1, 2, 4, 5), np.float32),
        np.datetime64("2016-01-01") + np.arange(3),
    )
    mask = np.zeros((4, 5), bool)
    mask[1, 2] = True
    values[1, 0, 1, 1, 2] = np.nan
    check_finite(values, mask, "f: z", times)
    refused(lambda: check_finite(values, None, "f: z", times), "f: z", "2016-01-02", "not finite")
    values[2, 0, 1, 0, 0] = np.inf
    refused(lambda: check_finite(values, mask, "f: z", times), "2016-01-03")


def test_other_dimensions_end_in_one_line(made, forecast, tmp_path):
    with xr.open_zarr(forecast, consolidated=False) as dataset:
        other = dataset.assign(
            u10=dataset["u10"].rename(time="start").drop_vars("start", errors="ignore")
        )
        other.load().to_zarr(tmp_path / "o", zarr_format=3, consolidated=False)
    refused(lambda: open_forecast(tmp_path / "o", made[0]), "u10", "start", "want time, lead_time")


@pytest.mark.parametrize("variable", ["lat", "lead_time", "time"])
def test_a_forecast_without_its_coordinates_ends_in_one_line(made, forecast, tmp_path, variable):
    with xr.open_zarr(forecast, consolidated=False) as dataset:
        dataset.drop_vars(variable).to_zarr(tmp_path / "o", zarr_format=3, consolidated=False)
    refused(lambda: open_forecast(tmp_path / "o", made[0]), f"forecast={tmp_path / 'o'}")
