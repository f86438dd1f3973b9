"""Data that would run when they are decoded are refused at each way in, and nothing runs."""

import shutil

import numpy as np
import pytest
from archives import archive, write_zarr, zarr_source
from builders import hours, make_store
from forecasters import Oracle
from gadgets import PICKLED, edit_3, ran, runs, write_2  # noqa: F401
from refusals import refused
from seals import reseal

from climate.conversion.verify import describe_store
from climate.forecasts.reading import open_forecast
from climate.forecasts.truth import open_for_forecast
from climate.forecasts.writing import write_forecast
from climate.sources.select import Selection
from climate.store.layout import open_store
from climate.training.initial_wind import InitialWinds
from vgbdm.storage.sealing import seal_folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    base = tmp_path_factory.mktemp("made")
    store = make_store(base)
    write_forecast(Oracle(store), store, base / "forecast", lead=np.timedelta64(12 * 3600, "s"))
    return base


@pytest.fixture
def copied(made, tmp_path):
    for name in ("store", "forecast"):
        shutil.copytree(made / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("name", ["lat", "time", "mean_map", "climatology", "state"])
def test_a_store(copied, ran, name):  # noqa: F811
    store = copied / "store"
    edit_3(store / name, codecs=PICKLED)
    refused(lambda: describe_store(store), f"{name}/zarr.json", "is damaged")
    reseal(store)
    refused(lambda: describe_store(store), f"{name}/zarr.json", "codec 'numcodecs.pickle'")
    write_2(store / name)
    assert runs(store / name, ran), "the gadget is none"
    reseal(store)
    refused(lambda: open_store(store), f"holds no array {name}")
    assert not ran


@pytest.mark.parametrize("name", ["lat", "time", "z", "lead_time"])
@pytest.mark.parametrize("whose", ["ours", "another"])
def test_a_forecast(copied, ran, name, whose):  # noqa: F811
    store, forecast = open_store(copied / "store"), copied / "forecast"
    edit_3(forecast / name, codecs=PICKLED)
    if whose == "ours":
        reseal(forecast)
    else:
        (forecast / "manifest.json").unlink()
    for read in (open_forecast, lambda f, s: open_for_forecast(s.path, f)):
        words = f"{name}/zarr.json", "codec 'numcodecs.pickle'"
        refused(lambda read=read: read(forecast, store), *words)
    assert not ran


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["lat", "time", "z"])
def test_a_forecast_in_version_2(copied, ran, name):  # noqa: F811
    import xarray as xr

    with xr.open_zarr(copied / "forecast", consolidated=False) as dataset:
        plain = dataset.load().drop_encoding()
    plain.to_zarr(copied / "other", zarr_format=2, consolidated=False)
    open_forecast(copied / "other", open_store(copied / "store"))
    write_2(copied / "other" / name)
    assert runs(copied / "other" / name, ran), "the gadget is none"
    refused(lambda: open_forecast(copied / "other", open_store(copied / "store")), name, "'|O'")
    assert not ran


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.parametrize("name", ["time", "latitude", "geopotential"])
def test_a_source(tmp_path, ran, name, consolidated):  # noqa: F811
    import json

    data = archive(hours("2016-01-01", 48))
    root = write_zarr(data, tmp_path / "s", zarr_format=2, consolidated=consolidated)
    zarr_source(root).open(Selection())
    write_2(tmp_path / "s" / name, data[name].shape)
    assert runs(tmp_path / "s" / name, ran), "the gadget is none"
    if consolidated:
        place = tmp_path / "s/.zmetadata"
        facts = json.loads(place.read_text())
        facts["metadata"][f"{name}/.zarray"] = json.loads(
            (tmp_path / "s" / name / ".zarray").read_text()
        )
        place.write_text(json.dumps(facts))
    refused(lambda: zarr_source(root).open(Selection()), root, "'|O'", "only numbers are read")
    assert not ran


def test_initial_winds(tmp_path, ran):  # noqa: F811
    import zarr

    group = zarr.open_group(tmp_path / "w", mode="w")
    group.create_array("fits", shape=(4, 2), dtype="f4")[...] = 1
    edit_3(tmp_path / "w/fits", codecs=PICKLED)
    seal_folder(tmp_path / "w", "initial winds", {})
    refused(lambda: InitialWinds(tmp_path / "w"), "codec 'numcodecs.pickle'", "remove it")
    assert not ran
