"""Folders for what cannot be kept in a read-only one."""

import errno
from pathlib import Path

import pytest
from refusals import refused

from vgbdm.storage import files
from vgbdm.storage.files import make_writable


def test_a_folder_is_made_where_it_can_be_written(tmp_path):
    make_writable(tmp_path / "a" / "b", tmp_path)
    make_writable(tmp_path / "a" / "b", tmp_path)
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("error", [PermissionError(), OSError(errno.EROFS, "Read-only")])
def test_one_that_cannot_be_made_is_refused_in_a_line(tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(Path, "mkdir", fail)
    words = "store is read-only, and so is /run/derived", "choose a folder that can be written"
    refused(lambda: make_writable(Path("/run/derived"), Path("store")), *words)


def test_one_that_is_there_and_cannot_be_written_is_refused_too(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "is_writable", lambda folder: False)
    refused(lambda: make_writable(tmp_path, Path("store")), "store is read-only")


def test_other_errors_of_the_disk_are_not_taken_for_one(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(OSError, match="No space"):
        make_writable(tmp_path / "a", tmp_path)
