"""A store behind HTTP and in S3 → training store → three training steps → forecast."""

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import convert_era5
import forecast_era5
import fsspec
import numpy as np
import pytest
import train_era5
import xarray as xr
from archives import weatherbench_2, write_zarr
from builders import contents, hours
from entry import compose_config
from ports import free_port
from refusals import refused
from web import serving

from vgbdm.storage import network

pytestmark = pytest.mark.slow
TIMES = hours("2016-01-01", 120, 6)
SPLIT = [
    "split.train=[2016-01-01,2016-01-20]", "split.val=[2016-01-21,2016-01-25]",
    "split.test=[2016-01-26,2016-01-30]",
]  # fmt: skip
TRAINING = [
    "size=tiny", "backend=single", "batch=4", "trainer.total_steps=3", "trainer.validations=1",
    "validation.starts=1", "validation.lead=6h", "stream.lanes=4",
]  # fmt: skip
KEYS = {"AWS_ACCESS_KEY_ID": "made-up", "AWS_SECRET_ACCESS_KEY": "made-up"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds a store as WeatherBench 2 lays it out."""
    base = tmp_path_factory.mktemp("bucket")
    write_zarr(weatherbench_2(TIMES), base / "era5.zarr", zarr_format=2, consolidated=True)
    return base


@pytest.fixture(scope="module")
def straight(folder, tmp_path_factory):
    """The training store that is made without a server."""
    place = tmp_path_factory.mktemp("straight") / "store"
    convert(folder, place)
    return contents(place)


def convert(address, store, *options):
    words = ["source=weatherbench2", f"source.root={address}/era5.zarr", f"store={store}"]
    convert_era5.main(compose_config("convert_era5", [*words, *SPLIT, *options]))


def train_and_forecast(base, monkeypatch):
    """The forecast made of three steps."""
    monkeypatch.chdir(base)
    told = ["store=store", "run_dir=run"]
    train_era5.main(compose_config("train_era5", [*told, *TRAINING]))
    forecast_era5.main(compose_config("forecast_era5", [*told, "out=forecast", "leads=12h"]))
    with xr.open_zarr(base / "forecast", consolidated=False) as forecast:
        return forecast.load()


def check(forecast):
    assert set(forecast.data_vars) >= {"z", "t", "t2m", "u10", "v10"}
    assert all(np.isfinite(forecast[name]).all() for name in ("z", "t2m", "u10"))
    assert forecast.sizes["lat"] == 8 and forecast.sizes["lead_time"] == 2


@pytest.mark.parametrize("absent", [403, 404])
def test_from_a_server_that_lists_nothing_and_fails(
    folder, straight, tmp_path, monkeypatch, absent
):
    monkeypatch.setattr(network, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(network, "SILENCE", 0.3)
    with serving(folder, absent=absent, share=0.2, seed=absent) as web:
        convert(web.url, tmp_path / "store")
        assert sum(web.failed.values()) > 3
    assert contents(tmp_path / "store") == straight
    if absent == 404:
        check(train_and_forecast(tmp_path, monkeypatch))


@contextmanager
def s3(port: int):
    """A process that answers as S3 does."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 300
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def test_from_s3(folder, straight, tmp_path, monkeypatch):
    pytest.importorskip("moto.server")
    for key, value in KEYS.items():
        monkeypatch.setitem(os.environ, key, value)
    port = free_port()
    with s3(port) as endpoint:
        told = [f"+source.storage_options.endpoint_url={endpoint}"]
        system = fsspec.filesystem("s3", endpoint_url=endpoint, skip_instance_cache=True)
        system.mkdir("bucket")
        system.put(str(folder / "era5.zarr"), "bucket/era5.zarr", recursive=True)
        convert("s3://bucket", tmp_path / "store", *told)
        line = refused(lambda: convert("s3://other", tmp_path / "none", *told), "s3://other")
        assert "not a Zarr store" in line
        system.rm("bucket/era5.zarr/2m_temperature/1.0.0")
        words = "2m_temperature/1.0.0 of 2016-01-06T00:00 … 2016-01-10T18:00 is absent"
        refused(lambda: convert("s3://bucket", tmp_path / "lost", *told), words)
    monkeypatch.setattr(network, "UNKNOWN", 0.1)
    refused(
        lambda: convert("s3://bucket", tmp_path / "gone", *told),
        "s3://bucket/era5.zarr", "does not answer", "source.storage_options",
    )  # fmt: skip
    assert contents(tmp_path / "store") == straight
    check(train_and_forecast(tmp_path, monkeypatch))
