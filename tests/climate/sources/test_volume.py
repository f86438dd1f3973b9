"""What is said of how much will be read is what is read."""

import numpy as np
import pytest
import zarr
from archives import archive, write_zarr, zarr_source
from builders import hours, source, write_folder

from climate.sources.select import parse_selection
from climate.sources.volume import Volume, volume_of

TIMES = hours("2016-01-01", 48)
CHUNKS = {"2m_temperature": {"chunks": (12, 8, 8)}, "geopotential": {"chunks": (6, 1, 16, 8)}}


@pytest.mark.parametrize("version", [2, 3])
def test_the_chunks_and_bytes_of_a_store(tmp_path, monkeypatch, version):
    root = write_zarr(archive(TIMES), tmp_path / "a.zarr", encoding=CHUNKS, zarr_format=version)
    chosen = parse_selection(["2016-01-01T10", "2016-01-02T01"], None, None, 0, None)
    dataset = zarr_source(root).open(chosen)
    told = volume_of(dataset)
    read = {}
    get = zarr.storage.LocalStore.get

    async def noted(self, key, *args, **options):
        found = await get(self, key, *args, **options)
        read[key] = len(found)
        return found

    monkeypatch.setattr(zarr.storage.LocalStore, "get", noted)
    dataset.load()
    assert told.stored and told.chunks == len(read) == 3 * 2 + 2 * 4
    assert told.count == pytest.approx(sum(read.values()), rel=0.2)
    assert told.rate > 0


@pytest.mark.parametrize(
    ("region", "regrid"), [([10, 70, 10, 90], None), ([10, 70, -40, 40], "16x32"), (None, "8x16")]
)
def test_only_the_chunks_of_a_box_are_counted(tmp_path, monkeypatch, region, regrid):
    lat, lon = -90 + 5.625 * (np.arange(32) + 0.5), 5.625 * np.arange(64)
    root = write_zarr(archive(TIMES[:12], lat, lon), tmp_path / "a.zarr", encoding=CHUNKS)
    chosen = parse_selection(None, None, region, 0, regrid)
    dataset = zarr_source(root, ("z", "t2m"), static={}).open(chosen)
    told, read = volume_of(dataset), set()
    get = zarr.storage.LocalStore.get

    async def noted(self, key, *args, **options):
        read.add(key)
        return await get(self, key, *args, **options)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", noted)
    dataset.load()
    assert told.chunks == len(read) <= 64


def test_files_are_counted_decoded(tmp_path):
    told = volume_of(source(write_folder(tmp_path, ("z",), days=2), ("z",)).open())
    assert not told.stored and told.count == 48 * 8 * 16 * 4
    assert "before compression" in str(told)


def test_it_is_said_in_one_line():
    told = str(Volume(30, 3 * 2**30, True, 2**20))
    assert told.startswith("3.00 GiB in 30 chunks; 51.2 minutes") and "\n" not in told
