"""Of a store behind a server only a certain absence reads as fill values."""

import threading

import numpy as np
import pytest
import zarr
from refusals import refused
from web import FAULTS, serving

from vgbdm.storage import network
from vgbdm.storage.door import open_foreign

CHUNKS = 6


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(network, "FIRST_WAIT", 0.001)


def write(folder, version=2, codec="zstd"):
    group = zarr.create_group(folder / "a.zarr", zarr_format=version, overwrite=True)
    options = {} if codec == "zstd" else {"compressors": codec}
    array = group.create_array(
        "sst", shape=(CHUNKS * 10, 40), chunks=(10, 40), dtype="f4", fill_value=0.0, **options
    )
    array[:] = np.random.default_rng(0).normal(size=array.shape).round(2)
    zarr.consolidate_metadata(folder / "a.zarr")
    return np.asarray(array[:])


def values(url):
    store, _, version = open_foreign(url + "/a.zarr")
    return np.asarray(zarr.open_array(store, path="sst", mode="r", zarr_format=version)[:])


def chunk(version):
    return "/a.zarr/sst/3.0" if version == 2 else "/a.zarr/sst/c/3/0"


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("absent", [403, 404])
def test_a_whole_store_is_read_from_a_server_that_does_not_list(tmp_path, version, absent):
    want = write(tmp_path, version)
    with serving(tmp_path, absent=absent) as web:
        web.together = threading.Barrier(CHUNKS // 2, timeout=300)
        assert np.array_equal(values(web.url), want)
        assert {n for path, n in web.asked.items() if "sst" in path} == {1}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("codec", ["zstd", "blosc"])
def test_faults_that_pass_change_no_value(tmp_path, kind, codec, monkeypatch):
    from numcodecs import Blosc

    if kind == "silence":  # elsewhere a busy machine would be taken for it, and asked once more
        monkeypatch.setattr(network, "SILENCE", 0.3)
    want = write(tmp_path, codec=Blosc() if codec == "blosc" else codec)
    with serving(tmp_path, share=0.4, seed=2, kinds=(kind,)) as web:
        found = network.transfer(web.url, lambda: values(web.url))
        assert np.array_equal(found, want)
        assert web.failed[kind] > 1


@pytest.mark.parametrize("version", [2, 3])
def test_what_a_server_surely_has_not_reads_as_the_fill_value(tmp_path, version):
    want = write(tmp_path, version)
    (tmp_path / chunk(version)[1:]).unlink()
    want[30:40] = 0.0
    with serving(tmp_path) as web:
        assert np.array_equal(values(web.url), want)
        assert web.asked[chunk(version)] == 2
        assert any("no-such-key" in path for path in web.asked)


def test_absent_or_forbidden_is_never_the_fill_value(tmp_path):
    write(tmp_path)
    (tmp_path / chunk(2)[1:]).unlink()
    with serving(tmp_path, absent=403) as web:
        words = web.url + chunk(2), "answers 403", "absent, or forbidden", "source.storage_options"
        refused(lambda: values(web.url), *words)
    write(tmp_path)
    with serving(tmp_path) as web:
        web.answers[chunk(2)] = 403
        refused(lambda: values(web.url), "answers 403", "absent, or forbidden")


def test_404_is_no_absence_where_the_server_says_otherwise_of_what_is_not_there(tmp_path):
    write(tmp_path)
    with serving(tmp_path, absent=403) as web:
        web.answers[chunk(2)] = 404
        refused(lambda: values(web.url), chunk(2), "does not answer 404 for what surely is absent")


def test_404_once_is_no_absence(tmp_path, monkeypatch):
    """As from a cache in front of the server that has not heard of it yet."""
    want = write(tmp_path)
    with serving(tmp_path) as web:
        web.answers[chunk(2)] = 404
        fault = web.fault

        def forget(path):
            if web.asked[chunk(2)] == 1:
                web.answers.clear()
            return fault(path)

        monkeypatch.setattr(web, "fault", forget)
        assert np.array_equal(values(web.url), want)


def test_a_store_that_has_gone_is_no_absence_of_its_chunks(tmp_path):
    write(tmp_path)
    with serving(tmp_path) as web:
        store, _, version = open_foreign(web.url + "/a.zarr")
        array = zarr.open_array(store, path="sst", mode="r", zarr_format=version)
        (tmp_path / "a.zarr").rename(tmp_path / "b.zarr")
        refused(lambda: array[:], "/a.zarr/.zmetadata: was there")


@pytest.mark.parametrize(("status", "said"), [(403, "forbidden"), (404, "absent")])
def test_metadata_that_are_named_must_be_there(tmp_path, status, said):
    write(tmp_path)
    with serving(tmp_path) as web:
        web.answers["/a.zarr/sst/.zarray"] = status
        refused(lambda: values(web.url), "sst/.zarray", ".zmetadata names it", said)


@pytest.mark.parametrize("absent", [403, 404])
def test_where_all_is_denied_or_nothing_is_there(tmp_path, absent):
    with serving(tmp_path, absent=absent) as web:
        if absent == 403:
            refused(lambda: values(web.url), "answers 403", "all of the store is forbidden")
        else:
            with pytest.raises(FileNotFoundError):
                values(web.url)


def test_a_blosc_chunk_that_ends_early_is_not_decoded(tmp_path):
    """The decoder reads on behind its end, and gives numbers."""
    from numcodecs import Blosc

    write(tmp_path, codec=Blosc())
    path = tmp_path / chunk(2)[1:]
    path.write_bytes(path.read_bytes()[:-1])
    with serving(tmp_path) as web:
        refused(lambda: values(web.url), chunk(2), "cannot be read", "bytes of")


def test_shards_are_read_in_parts(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=3)
    array = group.create_array("sst", shape=(60, 40), chunks=(10, 10), shards=(30, 40), dtype="f4")
    array[:] = np.random.default_rng(0).normal(size=array.shape)
    zarr.consolidate_metadata(tmp_path / "a.zarr")
    with serving(tmp_path, share=0.3, seed=3, kinds=("short", "cut", "503")) as web:
        store, _, _ = open_foreign(web.url + "/a.zarr")
        held = zarr.open_array(store, path="sst", mode="r")
        found = network.transfer(web.url, lambda: held[:15, 5:25])
        assert np.array_equal(found, array[:15, 5:25])
