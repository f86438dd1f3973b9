"""Stores behind a server: read lazily, through faults, and on from where its going ended it."""

import pickle

import numpy as np
import pytest
import zarr
from archives import FIELDS, STATIC, weatherbench_2, write_zarr, zarr_source
from builders import FINE_LAT, FINE_LON, contents, hours, warm
from refusals import refused
from web import serving

from climate.conversion.convert import convert
from climate.sources.select import parse_selection
from vgbdm.storage import network

TIMES = hours("2016-01-01", 120, 6)
SPLITS = {
    "train": ["2016-01-01", "2016-01-20"],
    "val": ["2016-01-21", "2016-01-25"],
    "test": ["2016-01-26", "2016-01-30"],
}
WINDS = {f"{a}10": {"name": f"10m_{a}_component_of_wind"} for a in "uv"}
NAMES = ("z", "z8", "t2m", "u10", "v10")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds a store as WeatherBench 2 lays it out."""
    base = tmp_path_factory.mktemp("bucket")
    write_zarr(weatherbench_2(TIMES), base / "era5.zarr", zarr_format=2, consolidated=True)
    return base


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(network, "FIRST_WAIT", 0.001)


def source(address):
    return zarr_source(f"{address}/era5.zarr", NAMES, fields=FIELDS | WINDS, static=STATIC)


def convert_from(address, store, **options):
    options = {"source": {}, "scheduler": "threads", "workers": 3} | options
    convert(source(address).open(), store, SPLITS, **options)


@pytest.fixture(scope="module")
def straight(folder, tmp_path_factory):
    """The store that is made without a server."""
    place = tmp_path_factory.mktemp("straight") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("climate.store.layout.SHARD_STEPS", 24)
        convert_from(folder, place)
    return contents(place)


@pytest.mark.parametrize("absent", [403, 404])
def test_only_what_is_asked_for_is_asked_for(folder, absent):
    with serving(folder, absent=absent) as web:
        chosen = parse_selection(["2016-01-11", "2016-01-12"], None, None, 0, None)
        dataset = source(web.url).open(chosen)
        before = set(web.asked)
        values = pickle.loads(pickle.dumps(dataset))["t2m"].values
        assert np.array_equal(values, warm(TIMES, 3)[40:48])
        asked = {path for path in set(web.asked) - before if path[-1].isdigit()}
        assert asked == {"/era5.zarr/2m_temperature/2.0.0"}


@pytest.mark.parametrize(("key", "decodes"), [("units", True), ("history", False)])
def test_metadata_that_are_older_where_nothing_is_listed(tmp_path, caplog, key, decodes):
    """Prose that differs is no reason; the remedy of another unit works."""
    root = tmp_path / "era5.zarr"
    write_zarr(weatherbench_2(TIMES[:8]), root, zarr_format=2, consolidated=True)
    told = (root / ".zmetadata").read_bytes()
    group = zarr.open_group(root, mode="r+", use_consolidated=False)
    group["2m_temperature"].attrs[key] = "degC"
    (root / ".zmetadata").write_bytes(told)
    with serving(tmp_path) as web:
        if decodes:
            words = "no consolidated metadata that can be used", "zarr.consolidate_metadata"
            refused(source(web.url).open, *words)
            assert 'older than its arrays (2m_temperature: its units is "K"' in caplog.text
            zarr.consolidate_metadata(root, zarr_format=2)
        assert source(web.url).open()["t2m"].attrs["source_units"] == ("degC" if decodes else "K")


@pytest.mark.parametrize(("absent", "seed"), [(403, 1), (404, 2)])
def test_a_conversion_through_faults_gives_the_same_bytes(
    folder, straight, tmp_path, monkeypatch, absent, seed
):
    monkeypatch.setattr("climate.store.layout.SHARD_STEPS", 24)
    monkeypatch.setattr(network, "SILENCE", 0.3)
    with serving(folder, absent=absent, share=0.2, seed=seed) as web:
        convert_from(web.url, tmp_path / "store")
        assert len(web.failed) == len({"500", "503", "429", "silence", "short", "cut", "closed"})
    assert contents(tmp_path / "store") == straight


def test_a_conversion_goes_on_once_its_server_is_back(folder, straight, tmp_path, monkeypatch):
    monkeypatch.setattr("climate.store.layout.SHARD_STEPS", 24)
    monkeypatch.setattr(network, "KNOWN", 0.01)
    monkeypatch.setattr(network, "UNKNOWN", 0.01)
    with serving(folder) as web:
        dataset = source(web.url).open()
        web.left = 26
        words = web.url, "does not answer", "source.root", "same command again"
        refused(lambda: convert(dataset, tmp_path / "store", SPLITS, source={}, workers=1), *words)
        web.stop()
        refused(lambda: convert_from(web.url, tmp_path / "store"), *words)
        done = {int(at.stem) for at in (tmp_path / "store/.conversion/shards").iterdir()}
        assert 0 < len(done) < 5
        web.left = float("inf")
        web.asked.clear()
        web.start()
        convert_from(web.url, tmp_path / "store", workers=1)
        undone = {*range(5)} - done
        steps = [step for k in undone for step in range(24 * k, 24 * k + 24)]
        left = {f"/era5.zarr/2m_temperature/{step // 20}.0.0" for step in steps}
        assert {path for path in web.asked if "2m_temperature" in path and path[-1] == "0"} == left
    assert contents(tmp_path / "store") == straight


def test_what_is_regridded_goes_on_once_its_server_is_back_and_by_no_other_grid(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("climate.store.layout.SHARD_STEPS", 24)
    monkeypatch.setattr(network, "KNOWN", 0.01)
    content = weatherbench_2(TIMES, FINE_LAT, FINE_LON)
    write_zarr(content, tmp_path / "era5.zarr", zarr_format=2, consolidated=True)
    box = [-60, 60, -90, 110]

    def convert_to(grid, address, store):
        dataset = source(address).open(parse_selection(None, None, box, 0, grid))
        convert(dataset, tmp_path / store, SPLITS, source={}, workers=1)

    convert_to("8x16", tmp_path, "straight")
    with serving(tmp_path, absent=403) as web:
        dataset = source(web.url).open(parse_selection(None, None, box, 0, "8x16"))
        web.left = 26
        refused(
            lambda: convert(dataset, tmp_path / "store", SPLITS, source={}, workers=1),
            "does not answer",
        )
        assert 0 < len(list((tmp_path / "store/.conversion/shards").iterdir())) < 5
        web.left = float("inf")
        refused(lambda: convert_to("16x32", web.url, "store"), "with other", "latitudes")
        convert_to("8x16", web.url, "store")
    assert contents(tmp_path / "store") == contents(tmp_path / "straight")


def test_an_absent_chunk_is_refused_by_its_times_and_a_denied_one_by_its_address(folder):
    with serving(folder) as web:
        web.answers["/era5.zarr/2m_temperature/1.0.0"] = 404
        load = source(web.url).open()["t2m"].load
        refused(load, "2m_temperature/1.0.0 of 2016-01-06T00:00 … 2016-01-10T18:00 is absent")
        web.answers["/era5.zarr/2m_temperature/1.0.0"] = 403
        refused(source(web.url).open()["t2m"].load, f"{web.url}/era5.zarr/2m_temperature/1.0.0")


def test_a_store_without_consolidated_metadata(folder, tmp_path):
    content = weatherbench_2(TIMES[:20])
    write_zarr(content, tmp_path / "era5.zarr", zarr_format=2, consolidated=False)
    with serving(tmp_path) as web:
        refused(source(web.url).open, web.url, "consolidate_metadata")


def test_what_is_no_store_or_wants_an_account(tmp_path):
    with serving(tmp_path) as web:
        refused(source(web.url).open, "era5.zarr", "not a Zarr store", "source.root")
        web.absent = 403
        refused(source(web.url).open, "era5.zarr", "answers 403", "source.storage_options")
