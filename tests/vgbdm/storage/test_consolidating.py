"""Metadata of arrays in their group's: put in, taken out, byte by byte."""

import json

import numpy as np
import pytest
import xarray as xr
import zarr

from vgbdm.storage.consolidating import begin, consolidate, is_consolidated, separate


@pytest.fixture(params=["as zarr has it", "with an empty place"])
def folder(tmp_path, request):
    """A group of two arrays; some versions of zarr leave an empty place in new ones."""
    group = zarr.create_group(tmp_path / "store", attributes={"kind": "made up"})
    for name in ("b", "a"):
        group.create_array(name, data=np.arange(3.0), dimension_names=["x"])
    path = tmp_path / "store" / "zarr.json"
    facts = json.loads(path.read_bytes())
    facts.pop("consolidated_metadata", None)
    if request.param == "with an empty place":
        facts["consolidated_metadata"] = None
    path.write_bytes(json.dumps(facts, indent=2).encode())
    return tmp_path / "store"


def test_a_group_is_as_it_began_when_the_metadata_are_taken_out(folder):
    begin(folder)
    begun = (folder / "zarr.json").read_bytes()
    assert "consolidated_metadata" not in json.loads(begun)
    assert not is_consolidated(folder)
    consolidate(folder)
    assert is_consolidated(folder)
    whole = (folder / "zarr.json").read_bytes()
    consolidate(folder)
    assert (folder / "zarr.json").read_bytes() == whole
    separate(folder)
    assert (folder / "zarr.json").read_bytes() == begun


def test_a_group_without_them_is_left_alone(folder):
    """Also one that was begun before, with an empty place: its digest is of that."""
    begun = (folder / "zarr.json").read_bytes()
    assert not is_consolidated(folder)
    separate(folder)
    assert (folder / "zarr.json").read_bytes() == begun


def test_xarray_and_zarr_read_the_arrays_by_them(folder, recwarn):
    consolidate(folder)
    assert set(zarr.open_consolidated(folder).array_keys()) == {"a", "b"}
    read = xr.open_zarr(folder)
    assert np.array_equal(read["a"], np.arange(3.0))
    assert not [str(w.message) for w in recwarn if "consolidated" in str(w.message).lower()]
