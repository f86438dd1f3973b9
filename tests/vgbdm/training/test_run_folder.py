"""A run's folder: one training at a time, and a start that failed is in nobody's way."""

import json
import os
import stat

import pytest
from refusals import refused
from tiny import make_trainer

from vgbdm.errors import InputError, RunError
from vgbdm.storage.files import aside_of
from vgbdm.training import checkpoint
from vgbdm.training.backends.torch import SingleBackend
from vgbdm.training.faults import starting
from vgbdm.training.run_folder import check_run_dir, owned, prepare_run_dir
from vgbdm.training.status import Status


@pytest.fixture
def backend():
    return SingleBackend(precision="fp32", clip=1.0, accumulation=1)


def test_a_second_training_is_refused_and_touches_nothing(tmp_path, backend):
    run_dir = tmp_path / "run"
    with owned(run_dir, backend, False):
        make_trainer(run_dir).fit()
        before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
        for resume in (True, False):
            refused(lambda r=resume: owned(run_dir, backend, r).__enter__(), "locked by process")
        after = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
        assert after.keys() == before.keys() and after[run_dir / "status.json"]
        changed = [path.name for path in after if after[path] != before[path]]
        assert set(changed) <= {".lock"}
    with owned(run_dir, backend, True):
        pass
    assert not (run_dir / ".lock").exists()


class OtherRank(SingleBackend):
    """Rank 1 of two, to which rank 0 has told whether it failed."""

    def __init__(self, heard):
        super().__init__(precision="fp32", clip=1.0, accumulation=1)
        self.rank, self.world_size, self.heard = 1, 2, heard

    def totals(self, *numbers):
        return [self.heard, 0.0]


def test_only_the_first_rank_locks_and_the_others_are_refused_with_it(tmp_path):
    with owned(tmp_path / "run", OtherRank(0.0), False):
        assert not (tmp_path / "run").exists()
    refused(
        lambda: owned(tmp_path / "run", OtherRank(1.0), False).__enter__(), "rank 0 cannot begin"
    )


def test_a_start_that_failed_is_in_nobodys_way(tmp_path, backend):
    run_dir = tmp_path / "run"
    with pytest.raises(InputError), owned(run_dir, backend, False), starting(Status(run_dir)):
        raise InputError("a typo")
    assert json.loads((run_dir / "status.json").read_text())["state"] == "failed"
    for name in ("error-rank0.log", "error-rank12.log", "hang-rank1.txt", "config.json"):
        (run_dir / name).touch()
    (run_dir / "log.csv").write_text("step\n")
    left = aside_of(run_dir / "state.json")
    left.touch()
    with owned(run_dir, backend, False):
        names = {path.name for path in run_dir.iterdir()}
        assert not names & {"error-rank0.log", "hang-rank1.txt", left.name}
        make_trainer(run_dir).fit()
    with pytest.raises(InputError, match="is not empty; add resume=true"):
        check_run_dir(run_dir, False)


def test_what_nobody_has_foreseen_fails_the_start_too(tmp_path, backend):
    with pytest.raises(RunError) as caught, starting(Status(tmp_path)):
        raise KeyError("nobody")
    assert caught.value.folder == tmp_path and caught.value.speaks
    assert json.loads((tmp_path / "status.json").read_text())["cause"] == "KeyError: 'nobody'"


@pytest.mark.parametrize("held", ["notes.txt", "last.json", "checkpoints/step-00000003"])
def test_what_is_not_of_a_failed_start_is_not_written_over(tmp_path, held):
    (tmp_path / held).mkdir(parents=True)
    refused(lambda: prepare_run_dir(tmp_path, False), "is not empty")


def test_a_file_in_place_of_the_run_folder_is_named(tmp_path, backend):
    (tmp_path / "file").write_text("kept")
    for resume in (False, True):
        refused(
            lambda r=resume: owned(tmp_path / "file", backend, r).__enter__(),
            f"{tmp_path}/file", "choose another",
        )  # fmt: skip
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_all_files_follow_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        make_trainer(tmp_path / "run").fit()
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".safetensors", ".json", ".csv"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~mask}


def test_no_value_under_storage_options_is_written_and_all_of_its_names(tmp_path):
    names = ("auth", "pwd", "bearer", "connection_string", "anything")
    options = {"source": {"storage_options": dict.fromkeys(names, "hunter22")}}
    make_trainer(tmp_path, told=options).fit()
    texts = {path: path.read_text() for path in tmp_path.rglob("*.json")}
    assert not any("hunter22" in text for text in texts.values())
    written = json.loads(texts[tmp_path / "config.json"])["source"]["storage_options"]
    assert written == dict.fromkeys(names, "***")


def test_no_link_is_followed_by_what_a_run_writes(tmp_path):
    """Somebody who may write in the folder gains nothing by links under the names of its files."""
    run_dir, victim = tmp_path / "run", tmp_path / "victim"
    run_dir.mkdir()
    victim.write_text("kept")
    names = (".status.json.tmp", "status.json", "config.json", "log.tmp", "hang-rank0.txt")
    for name in names:
        (run_dir / name).symlink_to(victim)
    trainer = make_trainer(run_dir, score=lambda _: {"score": float("nan")})
    with pytest.raises(RunError):
        trainer.fit()
    make_trainer(run_dir).fit()
    assert victim.read_text() == "kept"
    assert checkpoint.find_whole(run_dir, "last")
