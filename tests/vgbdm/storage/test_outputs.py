"""What appears whole or not at all."""

from pathlib import Path

import pytest
from refusals import refused

from vgbdm.storage import outputs
from vgbdm.storage.files import aside_of
from vgbdm.storage.outputs import appearing, check_free, scratch


def make(out, text="whole"):
    with appearing(out) as aside:
        aside.mkdir()
        (aside / "file").write_text(text)


def test_nothing_is_left_of_what_failed_and_another_try_works(tmp_path):
    with pytest.raises(OSError, match="full"), appearing(tmp_path / "out") as aside:
        aside.mkdir()
        raise OSError(28, "full")
    assert not list(tmp_path.iterdir())
    make(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    refused(lambda: check_free(tmp_path / "out"), "exists; remove it")


def test_leftovers_of_the_dead_go_and_nobody_elses(tmp_path):
    ours, others = aside_of(tmp_path / "out"), aside_of(tmp_path / "out.b")
    for left in (ours, others):
        left.mkdir()
        (left / "file").touch()
    make(tmp_path / "out")
    assert not ours.exists() and others.exists()


def test_what_has_come_there_meanwhile_is_not_written_over(tmp_path):
    def late():
        with appearing(tmp_path / "out") as aside:
            aside.mkdir()
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "theirs").touch()

    refused(late, "something has come there")
    assert (tmp_path / "out" / "theirs").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_ranks_can_agree_on_the_folder(tmp_path):
    with scratch(tmp_path / "run", 77) as (folder, _):
        assert folder == aside_of(tmp_path / "run", 77) and folder.is_dir()
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    refused(lambda: make(tmp_path / "file" / "out"), "is there already, and no folder")
    refused(lambda: make(Path("/proc/nothing/out")), "/proc/nothing")


def test_a_folder_that_threads_still_write_in_is_removed_again_and_again(tmp_path, monkeypatch):
    tried, remove = [], outputs.shutil.rmtree

    def late(folder, **options):
        tried.append(folder)
        if len(tried) > 2:
            remove(folder, **options)

    monkeypatch.setattr(outputs.shutil, "rmtree", late)
    monkeypatch.setattr(outputs, "PAUSE", 0.0)
    with scratch(tmp_path / "run") as (folder, _):
        (folder / "file").touch()
    assert tried == [folder] * 3 and not folder.exists()
