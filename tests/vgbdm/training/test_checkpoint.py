"""Checkpoints: round trip, nothing half-written or damaged taken for whole, nothing unpickled."""

import contextlib
import errno
import json
import logging
import os
import pickle
import resource
import shutil
import signal

import pytest
import torch

from vgbdm.errors import InputError
from vgbdm.storage.files import write_json
from vgbdm.training import checkpoint
from vgbdm.training.beginning import start_from
from vgbdm.training.parts import Part, describe, stored

TENSORS = {
    "model": {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(2.5)},
    "exp_avg": {"a.weight": torch.ones(2, 3)},
}
FILES = [
    "exp_avg-00000.safetensors", "index.json", "manifest.json", "model-00000.safetensors",
    "state.json",
]  # fmt: skip


def write(run_dir, step=7):
    return checkpoint.write_checkpoint(run_dir, Part(TENSORS), {"step": step, "best": None})


def commit(run_dir, step, score=None, keep=1):
    checkpoint.commit(run_dir, Part(TENSORS), {"step": step}, score, keep)


def steps(run_dir):
    return sorted(int(f.name[5:]) for f in (run_dir / "checkpoints").glob("step-*"))


def test_round_trip(tmp_path):
    folder = write(tmp_path)
    checkpoint.point(tmp_path, "last", folder, step=7)
    found = checkpoint.find(tmp_path, "last")
    assert found == folder and sorted(p.name for p in folder.iterdir()) == FILES
    assert checkpoint.find_damage(folder) is None
    assert checkpoint.read_state(found)["step"] == 7
    assert sorted(stored(found)) == sorted(TENSORS)
    for name, values in TENSORS.items():
        loaded = checkpoint.read_tensors(found, name)
        assert loaded.keys() == values.keys()
        assert all(torch.equal(loaded[key], values[key]) for key in values)


def test_nothing_yet(tmp_path):
    assert checkpoint.find(tmp_path, "best") is None
    assert checkpoint.find_resumable(tmp_path) is None
    with pytest.raises(InputError, match="no best checkpoint"):
        checkpoint.find_whole(tmp_path, "best")


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_anywhere_is_found(tmp_path, name):
    folder = write(tmp_path)
    path = folder / name
    whole = path.read_bytes()
    for at in range(0, len(whole), 1 + len(whole) // 150):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        assert checkpoint.find_damage(folder), (at, damaged[at])
    path.write_bytes(whole)
    assert checkpoint.find_damage(folder) is None


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("what", ["truncated", "grown", "empty", "missing", "link"])
def test_files_that_are_not_as_they_were_written_are_found(tmp_path, name, what):
    folder = write(tmp_path)
    path = folder / name
    whole = path.read_bytes()
    if what == "missing":
        path.unlink()
    elif what == "link":
        shutil.move(path, tmp_path / name)
        path.symlink_to(tmp_path / name)
    else:
        path.write_bytes({"truncated": whole[:-2], "grown": whole + b"x", "empty": b""}[what])
    wrong = checkpoint.find_damage(folder)
    assert wrong and "\n" not in wrong and str(folder) in wrong


def test_a_manifest_names_no_file_elsewhere(tmp_path):
    folder = write(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("x")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../../secret"] = describe(secret)
    write_json(folder / "manifest.json", manifest)
    assert "is missing" in checkpoint.find_damage(folder)


def test_another_format_is_refused(tmp_path):
    folder = write(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text()) | {"format": 99}
    write_json(folder / "manifest.json", manifest)
    assert "format 99, this version reads" in checkpoint.find_damage(folder)


def test_the_newest_whole_one_before_a_damaged_last_is_gone_on_from(tmp_path, caplog):
    for step in (2, 9, 10):
        commit(tmp_path, step, keep=5)
    assert checkpoint.find_resumable(tmp_path).name == "step-00000010"
    (tmp_path / "checkpoints/step-00000010/model-00000.safetensors").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert checkpoint.find_resumable(tmp_path).name == "step-00000009"
        assert checkpoint.find_resumable(tmp_path, warn=False).name == "step-00000009"
    assert (
        len(caplog.messages) == 1 and "step-00000010/model-00000.safetensors" in caplog.messages[0]
    )
    (tmp_path / "last.json").write_text("{")
    (tmp_path / "checkpoints/step-00000009/state.json").unlink()
    assert checkpoint.find_resumable(tmp_path).name == "step-00000002"
    (tmp_path / "checkpoints/step-00000002/manifest.json").unlink()
    with pytest.raises(InputError, match="none of 3 is whole"):
        checkpoint.find_resumable(tmp_path)


def test_no_other_checkpoint_stands_in_for_a_damaged_best(tmp_path):
    commit(tmp_path, 1, score=0.5)
    commit(tmp_path, 2)
    (tmp_path / "checkpoints/step-00000001/model-00000.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"step-00000001/model.*it is the best checkpoint"):
        checkpoint.find_whole(tmp_path, "best")
    assert checkpoint.find_whole(tmp_path, "last").name == "step-00000002"


class Attack:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code was executed')",))


@pytest.mark.parametrize("content", [b"", b"short", pickle.dumps(Attack())])
def test_files_that_are_no_safetensors_are_refused_and_not_executed(tmp_path, content):
    folder = write(tmp_path)
    (folder / "model-00000.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"model-00000\.safetensors: not a whole safetensors file"):
        checkpoint.read_tensors(folder, "model")


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000])
def test_damaged_states_are_refused(tmp_path, text):
    folder = write(tmp_path)
    (folder / "state.json").write_text(text)
    with pytest.raises(InputError):
        checkpoint.read_state(folder)


@pytest.mark.parametrize(
    "name", ["step-00000099", "../../elsewhere", "/etc", "..", "", ".", None, "step-00000008"]
)
def test_pointers_name_only_checkpoints_of_their_run(tmp_path, name):
    folder = write(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (folder.parent / "step-00000008").symlink_to(tmp_path / "elsewhere")
    write_json(tmp_path / "best.json", {"checkpoint": name})
    with pytest.raises(InputError, match="not there"):
        checkpoint.find(tmp_path, "best")


# --- interrupted writing --------------------------------------------------------------------------


def killed(job, call):
    """Run a job in a child that is killed before its ``call``-th step on disk; whether it was."""
    pid = os.fork()
    if not pid:
        left = call

        def counted(function):
            def step(*args, **options):
                nonlocal left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **options)

            return step

        os.fsync, os.replace = counted(os.fsync), counted(os.replace)
        job()
        os._exit(0)
    return os.waitpid(pid, 0)[1] == signal.SIGKILL


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    commit(tmp_path, 7, score=0.5)
    seen = set()
    for call in range(100):
        run = tmp_path / f"run-{call}"
        shutil.copytree(tmp_path, run, ignore=shutil.ignore_patterns("run-*"))
        done = not killed(lambda run=run: commit(run, 8, score=0.4), call)
        found = checkpoint.find_resumable(run)
        seen.add(found.name)
        assert checkpoint.find_whole(run, "best") and checkpoint.find_whole(run, "last")
        commit(run, 9)  # what was left aside is in nobody's way
        assert not [p.name for p in (run / "checkpoints").iterdir() if p.name.startswith(".")]
        shutil.rmtree(run)
        if done:
            break
    assert call > 10 and seen == {"step-00000007", "step-00000008"}


def test_a_kill_while_a_step_is_written_again_leaves_one_to_go_on_from(tmp_path):
    commit(tmp_path, 7)
    commit(tmp_path, 8)
    for call in range(100):
        run = tmp_path / f"run-{call}"
        shutil.copytree(tmp_path, run, ignore=shutil.ignore_patterns("run-*"))
        done = not killed(lambda run=run: commit(run, 8), call)
        assert checkpoint.find_resumable(run) is not None
        if done:
            break
    assert done


@contextlib.contextmanager
def largest_file(size):
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def assert_only_the_first_stands(run_dir):
    assert [p.name for p in (run_dir / "checkpoints").iterdir()] == ["step-00000007"]
    assert checkpoint.find_whole(run_dir, "last").name == "step-00000007"
    commit(run_dir, 8)
    assert checkpoint.find_whole(run_dir, "last").name == "step-00000008"


def test_a_file_that_the_disk_does_not_take_is_one_clear_line(tmp_path):
    commit(tmp_path, 7)
    large = {"model": {"a": torch.zeros(1000)}}
    with largest_file(2000), pytest.raises(InputError, match="step 8 cannot be written") as caught:
        checkpoint.commit(tmp_path, Part(large), {"step": 8}, None, 1)
    assert "\n" not in str(caught.value)
    assert_only_the_first_stands(tmp_path)


@pytest.mark.parametrize("call", range(6))
def test_a_disk_that_is_full_at_any_moment_is_one_clear_line(tmp_path, monkeypatch, call):
    commit(tmp_path, 7)
    calls = 0

    def full(handle):
        nonlocal calls
        calls += 1
        if calls > call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        commit(tmp_path, 8)
    monkeypatch.undo()
    assert_only_the_first_stands(tmp_path)


# --- what is kept ---------------------------------------------------------------------------------


def test_those_before_last_and_the_named_ones_are_kept(tmp_path):
    for step in range(6):
        commit(tmp_path, step, score=1.0 if step == 1 else None, keep=2)
    assert steps(tmp_path) == [1, 3, 4, 5]


def test_a_future_that_did_not_happen_is_dropped(tmp_path):
    for step in (1, 2, 5, 6):
        commit(tmp_path, step, keep=9)
    commit(tmp_path, 3, keep=9)
    assert steps(tmp_path) == [1, 2, 3]


def test_a_run_starts_from_the_best_weights_of_another(tmp_path):
    model = torch.nn.Linear(3, 2)
    tensors = {"model": {name: torch.ones_like(p) for name, p in model.named_parameters()}}
    facts = {"model": {"width": 3}, "statistics": "abc", "seed": 1}
    with pytest.raises(InputError, match="no best checkpoint"):
        start_from(model, tmp_path, {"model": {"width": 3}})
    checkpoint.commit(tmp_path, Part(tensors), {"step": 1, "must_match": facts}, 0.5, 1)
    start_from(model, tmp_path, {"model": {"width": 3}, "statistics": "abc"})
    assert all(bool((p == 1).all()) for p in model.parameters())
    for name, value in (("model", {"width": 4}), ("statistics", "xyz")):
        with pytest.raises(InputError, match=f"its {name} is another one"):
            start_from(model, tmp_path, {name: value})
    tensors["ema"] = {"weight": torch.full((2, 3), 2.0)}
    checkpoint.commit(tmp_path, Part(tensors), {"step": 2, "must_match": facts}, 0.4, 1)
    start_from(model, tmp_path, {})
    assert bool((model.weight == 2).all()) and bool((model.bias == 1).all())
