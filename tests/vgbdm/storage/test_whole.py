"""What a store gives is all of it by what was asked, and by what its metadata and headers say."""

import json

import numpy as np
import pytest
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.core.buffer.cpu import Buffer

from vgbdm.storage.network import CutShortError
from vgbdm.storage.whole import Lengths

FILE = bytes(range(100))


def array(*codecs):
    """Metadata of Zarr 3, with chunks of 8 × 4."""
    grid = {"configuration": {"chunk_shape": [8, 4]}}
    return json.dumps({"shape": [16, 8], "chunk_grid": grid, "codecs": list(codecs)}).encode()


def given(lengths, key, content, part=None):
    """What is taken of what a store gives; its message where it is too little."""
    try:
        return lengths.whole(key, Buffer.from_bytes(content), part).to_bytes()
    except CutShortError as error:
        return str(error)


@pytest.mark.parametrize(
    ("part", "want"),
    [(RangeByteRequest(10, 30), FILE[10:30]), (SuffixByteRequest(20), FILE[-20:])],
)
def test_of_a_part_there_is_as_much_as_was_asked_also_where_all_is_given(part, want):
    """Some servers give the whole file."""
    assert given(Lengths(), "a/c/0", want, part) == want
    assert given(Lengths(), "a/c/0", FILE, part) == want
    assert given(Lengths(), "a/c/0", want[:-1], part) == "19 bytes of 20"


@pytest.mark.parametrize("name", ["blosc", "numcodecs.blosc"])
def test_a_blosc_chunk_has_the_bytes_of_its_header(name):
    lengths, chunk = Lengths(), bytes(12) + (50).to_bytes(4, "little") + bytes(34)
    lengths.note("g/a/zarr.json", array({"name": "bytes"}, {"name": name}))
    assert given(lengths, "g/a/c/0/0", chunk) == chunk
    assert given(lengths, "g/a/c/0/0", chunk[:49]) == "49 bytes of 50"
    assert given(lengths, "g/a/c/0/0", chunk[:9]) == "9 bytes of 16"
    assert given(lengths, "g/ab/c/0/0", chunk[:9]) == chunk[:9]
    assert given(lengths, "g/a/zarr.json", b"{}") == b"{}"


def test_later_metadata_of_an_array_count():
    lengths, packed = Lengths(), json.loads(array({"name": "blosc"}))
    inline = {"consolidated_metadata": {"metadata": {"a": packed}}}
    lengths.note("g/zarr.json", json.dumps(inline).encode())
    assert lengths.blosc == {"g/a"}
    lengths.note("g/a/zarr.json", array({"name": "zstd"}))
    assert not lengths.blosc and given(lengths, "g/a/c/0", FILE) == FILE


def test_of_version_2_the_last_that_packs_counts():
    for facts, found in (
        ({"compressor": {"id": "blosc"}, "filters": [{"id": "delta"}]}, {"a"}),
        ({"compressor": None, "filters": [{"id": "delta"}, {"id": "blosc"}]}, {"a"}),
        ({"compressor": {"id": "zlib"}, "filters": [{"id": "blosc"}]}, set()),
        ({"compressor": None, "filters": None}, set()),
    ):
        lengths = Lengths()
        told = {"metadata": {"a/.zarray": {"shape": [1], **facts}, "a/.zattrs": {"shape": 1}}}
        lengths.note(".zmetadata", json.dumps(told).encode())
        assert lengths.blosc == found


@pytest.mark.parametrize(("endian", "judged"), [("little", True), ("big", False)])
def test_a_shard_that_begins_with_its_index_reaches_as_far_as_that_says(endian, judged):
    index = np.array([[36, 10], [2**64 - 1, 2**64 - 1]], "<u8").tobytes()
    shard = index + bytes(4) + bytes(10)
    about = {"chunk_shape": [4, 4], "index_location": "start",
             "index_codecs": [{"name": "bytes", "configuration": {"endian": endian}}]}  # fmt: skip
    lengths = Lengths()
    lengths.note("a/zarr.json", array({"name": "sharding_indexed", "configuration": about}))
    assert given(lengths, "a/c/0/0", shard) == shard
    for length in (45, 20):
        cut = shard[:length]
        said = f"{length} bytes of {46 if length > 32 else 32}"
        assert given(lengths, "a/c/0/0", cut) == (said if judged else cut)


def test_metadata_that_are_none_are_left_to_the_door():
    lengths = Lengths()
    for codec in (1, None, {"name": "sharding_indexed", "configuration": 3}, {}):
        lengths.note("a/zarr.json", array(codec))
    lengths.note("a/zarr.json", b"[" * 10)
    assert not lengths.blosc and not lengths.shards
