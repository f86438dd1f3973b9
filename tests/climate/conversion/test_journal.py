"""The records of a conversion: what is kept, what is dropped, what is refused."""

import json

import numpy as np
import pytest
from refusals import refused

from climate.conversion.convert import _check_folder
from climate.conversion.journal import Journal, digest_store, sync_tree
from climate.store.mask import pack
from climate.store.swap import pending, swap_file, swapping
from vgbdm.errors import InputError
from vgbdm.storage.files import aside_of
from vgbdm.storage.sealing import digest_file

FINGERPRINT = {"channels": ["z"], "step": 3600}


@pytest.fixture
def begun(tmp_path):
    (tmp_path / "lat").write_bytes(b"90")
    journal = Journal(tmp_path)
    journal.begin(FINGERPRINT, digest_store(tmp_path), pack(np.ones(3, bool)))
    return journal


def record(journal, index, content=b"state"):
    name = f"state/c/{index}/0/0/0"
    file = journal.store / name
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    facts = {"files": {name: digest_file(file)}, "partial": None, "maps": []}
    journal.record(index).write_text(json.dumps(facts))
    return file


def test_only_the_same_conversion_goes_on(begun):
    begun.check(FINGERPRINT)
    begun.check({"step": 3600})
    refused(lambda: begun.check(FINGERPRINT | {"step": 7200}), "with other step was begun here")
    refused(lambda: begun.check({"channels": ["t"], "step": 1}), "with other channels, step")
    assert begun.mask() == pack(np.ones(3, bool))


def test_a_record_counts_while_its_files_are_as_it_says(begun):
    files = [record(begun, index) for index in range(3)]
    assert sorted(begun.load(begun.store, 3)) == [0, 1, 2]
    files[1].write_bytes(b"other")
    files[2].unlink()
    assert list(begun.load(begun.store, 3)) == [0]
    assert [begun.record(k).exists() for k in range(3)] == [True, False, False]
    assert len(begun.load_all(1)) == 1 and begun.load_all(1, 1) == []


def test_what_else_was_there_must_be_as_it_was(begun):
    assert begun.files() == {"lat": digest_file(begun.store / "lat")}
    begun.check_begun(begun.store)
    (begun.store / "lat").write_bytes(b"91")
    refused(lambda: begun.check_begun(begun.store), "lat: damaged since the conversion was begun")


def test_files_are_pending_from_the_moment_they_move(begun):
    assert not swapping(begun.store) and pending(begun.store) == {}
    swap_file(begun.store).write_text(json.dumps({"time/c/0": ["ab", 2]}))
    assert swapping(begun.store) and pending(begun.store) == {"time/c/0": ["ab", 2]}
    begun.drop()
    assert not swapping(begun.store) and not begun.folder.exists()
    begun.drop()


def test_what_is_written_is_synced_but_for_what_is_written_aside(begun, monkeypatch):
    synced = []
    monkeypatch.setattr("climate.conversion.journal.sync", synced.append)
    tree = begun.store / "state"
    (tree / "c").mkdir(parents=True)
    for path in (tree / "c/0", aside_of(tree / "c/1"), tree / "zarr.json"):
        path.touch()
    sync_tree(tree)
    assert synced == [tree / "c", tree / "c/0", tree / "zarr.json", tree]
    synced.clear()
    begun.drop()
    assert synced == [begun.store] and not begun.folder.exists()
    begun.drop()
    assert synced == [begun.store]


def test_a_store_that_another_finishes_meanwhile_is_finished(tmp_path, monkeypatch):
    """Its manifest comes, and its records go, between the two looks at the folder."""
    (tmp_path / "state").mkdir()

    def finish(path):
        (path / "manifest.json").write_text("{}")
        return False

    monkeypatch.setattr("climate.conversion.convert._is_marked", finish)
    with pytest.raises(InputError, match="already finished"):
        _check_folder(tmp_path)
