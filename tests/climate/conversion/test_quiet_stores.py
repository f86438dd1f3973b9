"""xarray opens what is written here without a warning, also after an append, a kill or a repair."""

import json
import warnings

import pytest
import xarray as xr
from builders import ABOUT, SPLITS, contents, convert_files, hours, source, write_folder
from builders import write_variable as write
from seals import reseal

from climate.conversion import convert as module
from climate.conversion.append import append
from climate.conversion.verify import find_damaged_shards, repair
from climate.store.layout import open_store
from vgbdm.storage.consolidating import GROUP, consolidate, is_consolidated, separate

LATER = hours("2016-01-21", 24)


def opened(path):
    """The dataset, where nothing warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "The codec `vlen-utf8`")  # of zarr 3.1.0, by all texts
        return xr.open_zarr(path)


@pytest.fixture
def made(tmp_path):
    root = write_folder(tmp_path / "files")
    convert_files(root, tmp_path / "store")
    return root, tmp_path / "store"


def add_a_day(root, path):
    for name in ("z", "u10", "v10"):
        write(root, name, LATER, file="2017")
    append(source(root).open(), path, SPLITS, source=ABOUT, scheduler="synchronous")


def test_a_store_shows_all_that_it_holds(made):
    with opened(made[1]) as data, xr.open_zarr(made[1], consolidated=False) as each:
        assert {"state", "climatology", "mean_map", "orography", "lat"} <= set(data.variables)
        xr.testing.assert_identical(data.drop_vars("channel"), each.drop_vars("channel"))


def test_an_appended_store_shows_its_new_times(made):
    add_a_day(*made)
    with opened(made[1]) as data:
        assert data.sizes["time"] == 504 and data["time"].values[-1] == LATER[-1]
    assert not list(find_damaged_shards(made[1])) and is_consolidated(made[1])


def test_a_store_of_before_opens_and_is_appended_to(made):
    separate(made[1])
    assert not is_consolidated(made[1])
    reseal(made[1])
    assert len(open_store(made[1]).times) == 480
    add_a_day(*made)
    assert len(open_store(made[1]).times) == 504 and not is_consolidated(made[1])
    (made[1] / GROUP).write_bytes(b"x")
    assert repair(made[1], source(made[0]).open(), ABOUT) == [GROUP]


def test_a_kill_before_the_manifest_leaves_what_can_be_gone_on_with(made, tmp_path, monkeypatch):
    def die(*_):
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_manifest", die)
        with pytest.raises(RuntimeError):
            convert_files(made[0], tmp_path / "other")
    assert is_consolidated(tmp_path / "other")
    convert_files(made[0], tmp_path / "other")
    assert contents(tmp_path / "other") == contents(made[1])


def test_damaged_metadata_of_the_group_are_mended(made):
    before = contents(made[1])
    for names in ((GROUP,), (GROUP, "mean_map/zarr.json")):
        for name in names:
            (made[1] / name).write_bytes(b"x")
        assert sorted(repair(made[1], source(made[0]).open(), ABOUT)) == sorted(names)
        assert contents(made[1]) == before


def test_the_same_arrays_make_the_same_bytes(made):
    before = (made[1] / GROUP).read_bytes()
    consolidate(made[1])
    assert (made[1] / GROUP).read_bytes() == before
    separate(made[1])
    assert "consolidated_metadata" not in json.loads((made[1] / GROUP).read_text())
    consolidate(made[1])
    assert (made[1] / GROUP).read_bytes() == before
