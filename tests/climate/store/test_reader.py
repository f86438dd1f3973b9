"""The reader of shards agrees with zarr-python and lets no flipped bit pass."""

import numpy as np
import pytest
import zarr
from left import Left
from seals import seal_states

from climate.store.layout import codecs
from climate.store.reader import ShardedArray
from vgbdm.errors import InputError
from vgbdm.storage.sealed import Sealed
from vgbdm.storage.sealing import read_manifest, seal_folder

SHAPES = {
    "steps": ((3, 4, 5, 6), (9, 4, 5, 6)),
    "maps": ((1, 1, 5, 6), (4, 3, 5, 6)),
}


def write(path, layout, codec):
    """20 states of 4 channels; shards and chunks do not divide them."""
    chunks, shards = SHAPES[layout]
    values = np.random.default_rng(0).standard_normal((20, 4, 5, 6)).astype(np.float32)
    array = zarr.create_array(
        path, shape=values.shape, chunks=chunks, shards=shards, dtype="f4",
        compressors=codecs(codec, 4, 5, 6), config={"write_empty_chunks": True},
    )  # fmt: skip
    array[...] = values
    chunk, shard = SHAPES[layout]
    seal_states(path.parent, (shard[0] // chunk[0], shard[1] // chunk[1]))
    return values


def opened(path) -> ShardedArray:
    """The array of a sealed folder."""
    return ShardedArray(
        Sealed(path.parent, read_manifest(path.parent, "test", ""), "mend"), path.name
    )


@pytest.mark.parametrize("codec", ["lz4", "none"])
@pytest.mark.parametrize("layout", SHAPES)
def test_any_span_is_what_was_written(tmp_path, layout, codec):
    values = write(tmp_path / "a", layout, codec)
    array = opened(tmp_path / "a")
    for start in range(20):
        for stop in range(start + 1, 21):
            out = np.full((stop - start, 4, 5, 6), 7, np.float32)
            assert np.array_equal(array.read(start, stop, out), values[start:stop])
    assert np.array_equal(array[3], values[3])
    assert np.array_equal(array[2:15:3], values[2:15:3])
    assert np.array_equal(array[-1], values[-1])


@pytest.mark.parametrize("layout", SHAPES)
def test_channels_are_read_alone(tmp_path, layout):
    values = write(tmp_path / "a", layout, "none")
    for low, high in ((0, 1), (2, 3), (1, 4), (3, 4), (0, 4)):
        for start, stop in ((0, 20), (3, 6), (7, 8), (8, 13)):
            array = opened(tmp_path / "a")
            out = np.full((stop - start, high - low, 5, 6), 7, np.float32)
            wanted = values[start:stop, low:high]
            assert np.array_equal(array.read(start, stop, out, slice(low, high)), wanted)
            assert np.array_equal(array.read(start, stop, channels=slice(low, high)), wanted)
    array = opened(tmp_path / "a")
    array.read(0, 20)
    everything, array.bytes_read = array.bytes_read, 0
    array.read(0, 20, channels=slice(1, 2))
    assert array.bytes_read < 0.5 * everything or layout == "steps"


@pytest.mark.parametrize("codec", ["lz4", "none"])
@pytest.mark.parametrize("layout", SHAPES)
def test_every_flipped_bit_is_noticed(tmp_path, layout, codec):
    write(tmp_path / "a", layout, codec)
    array = opened(tmp_path / "a")
    file = tmp_path / "a/c/0/0/0/0"
    whole, last = bytearray(file.read_bytes()), SHAPES[layout][1][0]
    rng = np.random.default_rng(1)
    for at in rng.choice(len(whole), 60, replace=False):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(rng.integers(8))
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match="checksum"):
            array.read(0, last)
    file.write_bytes(whole)
    array.read(0, last)


@pytest.mark.parametrize("kept", [0, 3, 300, -1])
def test_truncated_and_missing_files_are_noticed(tmp_path, kept):
    write(tmp_path / "a", "maps", "lz4")
    file = tmp_path / "a/c/1/0/0/0"
    file.write_bytes(file.read_bytes()[:kept])
    array = opened(tmp_path / "a")
    with pytest.raises((OSError, ValueError)):
        array.read(0, 20)
    file.unlink()
    with pytest.raises(OSError, match="No such file"):
        array.read(0, 20)


def test_chunks_that_were_never_written_are_noticed(tmp_path):
    values = write(tmp_path / "a", "maps", "none")
    chunks, shards = SHAPES["maps"]
    array = zarr.create_array(
        tmp_path / "b", shape=values.shape, chunks=chunks, shards=shards, dtype="f4",
        compressors=codecs("none", 4, 5, 6),
    )  # fmt: skip
    array[:3] = values[:3] + 1
    seal_states(tmp_path, (shards[0] // chunks[0], shards[1] // chunks[1]))
    assert opened(tmp_path / "b").read(0, 3).shape == (3, 4, 5, 6)
    with pytest.raises(ValueError, match="missing"):
        opened(tmp_path / "b").read(2, 4)


def test_files_are_closed_whatever_happens(tmp_path):
    write(tmp_path / "a", "maps", "lz4")
    (tmp_path / "a/c/2/0/0/0").unlink()
    left = Left(tmp_path)
    array = opened(tmp_path / "a")
    for _ in range(5):
        with pytest.raises(OSError):
            array.read(0, 20)
    assert not left.files()


@pytest.mark.parametrize(
    "options", [{"shards": None}, {"dtype": "f8"}, {"compressors": None}, {"chunks": (1, 1, 5, 3)}]
)
def test_other_layouts_are_refused(tmp_path, options):
    settings = {"compressors": codecs("none", 4, 5, 6), "dtype": "f4", "shards": (4, 4, 5, 6)}
    settings |= {"chunks": (1, 1, 5, 6)} | options
    zarr.create_array(tmp_path / "a", shape=(8, 4, 5, 6), **settings)
    seal_folder(tmp_path, "test", {})
    with pytest.raises(InputError, match="convert again"):
        opened(tmp_path / "a")


def test_other_codecs_are_refused():
    with pytest.raises(InputError, match="lz4 or none"):
        codecs("zip", 1, 1, 1)


@pytest.mark.parametrize("codec", ["lz4", "none"])
def test_chunks_of_some_channels_may_reach_beyond_the_last(tmp_path, monkeypatch, codec):
    monkeypatch.setitem(SHAPES, "groups", ((2, 3, 5, 6), (4, 6, 5, 6)))
    values = write(tmp_path / "a", "groups", codec)
    array = opened(tmp_path / "a")
    for start, stop in ((0, 20), (1, 4), (7, 8), (3, 18)):
        out = np.full((stop - start, 4, 5, 6), 7, np.float32)
        assert np.array_equal(array.read(start, stop, out), values[start:stop])
        assert np.array_equal(array[start:stop], values[start:stop])
