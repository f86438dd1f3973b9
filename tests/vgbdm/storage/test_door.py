"""Metadata that may not be decoded are refused before anything is."""

import json

import numcodecs
import numpy as np
import pytest
import xarray as xr
import zarr
from gadgets import PICKLED, edit_3, ran, runs, write_2  # noqa: F401
from refusals import refused

from vgbdm.errors import InputError
from vgbdm.storage.datasets import open_group, open_netcdf
from vgbdm.storage.door import check_metadata, open_array, open_foreign


def metadata(tmp_path, version, **options):
    array = zarr.create_array(
        tmp_path / "a", shape=(4, 6), chunks=(2, 3), dtype="f4", zarr_format=version, **options
    )
    return json.loads(
        (tmp_path / "a" / ("zarr.json" if version == 3 else ".zarray")).read_text()
    ), array


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compressors": None},
        {"shards": (4, 6)},
        {"dtype": "i2"},
        {"dtype": "M8[ns]"},
        {"dtype": "U5"},
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_numbers_are_usually_written_with_is_taken(tmp_path, options):
    for version in (2, 3):
        if version == 2 and "shards" in options:
            continue
        settings = {"shape": (4, 6), "chunks": (2, 3), "dtype": "f4"} | options
        zarr.create_array(tmp_path / str(version), zarr_format=version, **settings)
        name = "zarr.json" if version == 3 else ".zarray"
        check_metadata(json.loads((tmp_path / str(version) / name).read_text()), "a", "no")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dtype": "|O"}, "holds '|O'"),
        ({"dtype": [["a", "<f4"]]}, "no type of numbers"),
        ({"dtype": "<U99999999"}, "no type of numbers"),
        ({"compressor": {"id": "pickle"}}, "codec 'pickle'"),
        ({"filters": [{"id": "msgpack2"}]}, "codec 'msgpack2'"),
        ({"shape": [10**11], "chunks": [10**6]}, "100000000000 values in a line"),
        ({"chunks": [10**6, 10**6]}, "bytes are the most"),
        ({"shape": [-1, 3]}, "its shape"),
        ({"shape": [True, 3]}, "its shape"),
        ({"chunks": [2]}, "do not divide"),
        ({"chunks": [0, 2]}, "its shape"),
        ({"compressor": "pickle"}, "no metadata"),
        ({"filters": 3}, "no metadata"),
    ],
)
def test_metadata_of_version_2_that_are_refused(tmp_path, changes, words):
    facts, _ = metadata(tmp_path, 2)
    refused(lambda: check_metadata(facts | changes, "S/a", "write it anew"), "S/a", words, "anew")
    inline = {"zarr_consolidated_format": 1, "metadata": {"lat/.zarray": facts | changes}}
    refused(lambda: check_metadata(inline, "S", "write it anew"), "S: lat/.zarray", words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"codecs": PICKLED}, "codec 'numcodecs.pickle'"),
        ({"codecs": ["vlen-bytes"]}, "codec 'vlen-bytes'"),
        ({"data_type": "variable_length_bytes"}, "no type of numbers"),
        ({"data_type": {"name": "structured", "configuration": {}}}, "no type of numbers"),
        ({"codecs": [{"configuration": {}}]}, "no metadata"),
        ({"chunk_grid": {}}, "no metadata"),
    ],
)
def test_metadata_of_version_3_that_are_refused(tmp_path, changes, words):
    facts, _ = metadata(tmp_path, 3, shards=(4, 6))
    check_metadata(facts, "S/a", "no")
    refused(lambda: check_metadata(facts | changes, "S/a", "write it anew"), "S/a", words, "anew")
    inner = json.loads(json.dumps(facts))
    inner["codecs"][0]["configuration"]["codecs"] = PICKLED
    refused(lambda: check_metadata(inner, "S/a", ""), "codec 'numcodecs.pickle'")
    group = {"node_type": "group", "consolidated_metadata": {"metadata": {"lat": facts | changes}}}
    refused(lambda: check_metadata(group, "S", ""), "S: lat", words)


def write_group(path, **options):
    data = xr.Dataset({"x": (("time", "lat"), np.ones((3, 8)))}, {"lat": np.arange(8.0)})
    data.to_zarr(path, **options)
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"filters": ("vlen-utf8",), "compressor": "pickle"}],
    ids=["filter", "compressor"],
)
def test_a_gadget_in_a_store_of_others_does_not_run(tmp_path, ran, options, consolidated):  # noqa: F811
    path = write_group(tmp_path / "s", zarr_format=2, consolidated=False)
    write_2(path / "lat", **options)
    assert runs(path / "lat", ran), "the gadget is none"
    if consolidated:
        held = {str(p.relative_to(path)): json.loads(p.read_text()) for p in path.rglob(".z*")}
        facts = {"zarr_consolidated_format": 1, "metadata": held}
        (path / ".zmetadata").write_text(json.dumps(facts))
    refused(lambda: open_group(path, "forecast", ""), str(path), "'|O'", "only numbers are read")
    assert not ran


def test_a_group_of_others_is_read(tmp_path):
    path = write_group(tmp_path / "s", zarr_format=3, consolidated=False)
    with open_group(path, "forecast", "") as dataset:
        assert float(dataset["x"].sum()) == 24
    assert open_foreign(str(path))[1:] == ("", 3)


@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_an_attribute_may_be_called_shape(tmp_path, consolidated):
    path = write_group(tmp_path / "s", zarr_format=2, consolidated=False)
    held = zarr.open_group(path)
    held["x"].attrs["shape"] = "square"
    held.attrs["shape"] = [1, 2]
    if consolidated:
        zarr.consolidate_metadata(path)
    with open_group(path, "forecast", "") as dataset:
        assert float(dataset["x"].sum()) == 24 and dataset["x"].attrs["shape"] == "square"


def test_an_array_called_as_attributes_are_is_held_against_the_list(tmp_path):
    facts, _ = metadata(tmp_path, 3)
    facts["codecs"] = [{"name": "pickle"}]
    group = {"consolidated_metadata": {"metadata": {"a/.zattrs": facts, ".zattrs": facts}}}
    refused(lambda: check_metadata(group, "s", "no"), "'pickle' is not on the list")


NOISE = np.random.default_rng(0).integers(0, 2**32, (8, 8, 100), "u4")
OLD = {"zarr_format": 2, "compressors": [numcodecs.Blosc("lz4")]}
NEW = {"zarr_format": 3, "compressors": [zarr.codecs.BloscCodec(cname="lz4")]}
DOTS = {"name": "default", "separator": "."}
FIRST = {"shape": (8, 8, 100), "index_location": "start"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.parametrize(
    ("name", "options", "chunk"),
    [
        ("a", OLD, "0.0.0"), ("a", NEW, "c/0/0/0"), ("0", OLD, "0.0.0"), ("b/c", OLD, "0.0.0"),
        ("a", NEW | {"chunk_key_encoding": DOTS}, "c.0.0.0"),
        ("a", NEW | {"shards": FIRST}, "c/0/0/0"), ("a", NEW | {"shards": (8, 8, 100)}, "c/0/0/0"),
        ("a", OLD | {"filters": [numcodecs.Delta("<u4")]}, "0.0.0"),
    ],
)  # fmt: skip
def test_a_chunk_that_is_cut_off_is_no_numbers_from_memory(
    tmp_path, name, options, chunk, consolidated
):
    """Where blosc cannot make it smaller its decoder copies, also from behind its end."""
    path = tmp_path / "s"
    settings = {"shape": NOISE.shape, "dtype": "u4", "chunks": (4, 8, 100)}
    settings |= {key: value for key, value in options.items() if key != "zarr_format"}
    group = zarr.open_group(path, mode="w", zarr_format=options["zarr_format"])
    group.create_array(name, **settings)[:] = NOISE
    if consolidated:
        zarr.consolidate_metadata(path)
    file = path / name / chunk
    whole = file.read_bytes()

    def read(rows=slice(None)):
        store, _, _ = open_foreign(str(path))
        return zarr.open_group(store, mode="r", use_consolidated=consolidated)[name][rows]

    assert np.array_equal(read(), NOISE) and np.array_equal(read(slice(1)), NOISE[:1])
    for length in (len(whole) - 1, len(whole) // 2, 12):
        file.write_bytes(whole[:length])
        for rows in (slice(None), slice(0, 8, 7)):
            with pytest.raises((InputError, ValueError)) as error:
                read(rows)
            guarded = "shards" in options and options["shards"] != FIRST  # by its index's checksum
            assert guarded or "fetch it again" in str(error.value)


def test_an_array_that_is_being_written_passes_the_door_too(tmp_path, ran):  # noqa: F811
    metadata(tmp_path, 3)
    assert open_array(tmp_path, "a").shape == (4, 6)
    edit_3(tmp_path / "a", codecs=PICKLED)
    refused(lambda: open_array(tmp_path, "a"), "a/zarr.json", "codec 'numcodecs.pickle'")
    refused(lambda: open_array(tmp_path, "../a"), "no file inside")
    refused(lambda: open_array(tmp_path, "b"), "cannot be read")


def test_a_folder_is_no_netcdf_file(tmp_path):
    path = write_group(tmp_path / "s.nc", zarr_format=2, consolidated=True)
    refused(lambda: open_netcdf(path, "fetch it"), "s.nc", "no regular file", "fetch it")
