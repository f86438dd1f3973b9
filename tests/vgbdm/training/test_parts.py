"""Parts of a checkpoint: whole again whoever wrote them, killed at every stage, and damaged."""

import itertools
import json
import os
import shutil
import signal
import threading
from pathlib import Path

import pytest
import torch
from runs_era5 import sign
from safetensors.torch import save_file
from tiny import alike, make_trainer, record

from vgbdm.errors import InputError
from vgbdm.storage.files import write_json
from vgbdm.training import checkpoint, parts
from vgbdm.training.backends.fragments import Copies, Fragment, share_out
from vgbdm.training.parts import GivenUpError, Index, Part, describe, read_index, stored

WHOLE = {
    "model": {"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.tensor(2.5),
              "none": torch.empty(0, 2)},
    "exp_avg": {"a.weight": torch.randn(3, 4), "b": torch.tensor(1.0), "none": torch.empty(0, 2)},
}  # fmt: skip


def parts_of(ranks):
    """What so many ranks hold of `WHOLE`; the first a buffer besides."""
    made = []
    for rank in range(ranks):
        tensors, cuts = {}, {}
        for kind, named in WHOLE.items():
            own = [Fragment(n, x, slice(0, x.numel()), 0) for n, x in named.items()]
            copies = Copies({n: x.shape for n, x in named.items()})
            taken = copies.take(kind, share_out(own, rank, ranks), lambda flat: flat)
            tensors[kind], cuts[kind] = taken
        if not rank:
            tensors["model"]["unit"] = torch.ones(2)
        made.append(Part(tensors, cuts, rank, ranks, token=5))
    return made


def write(run_dir, ranks=3, step=7, given_up=lambda: False):
    """All ranks one after the other, rank 0 last."""
    first, *others = parts_of(ranks)
    for part in others:
        checkpoint.contribute(run_dir, part, step)
    checkpoint.commit(run_dir, first, {"step": step}, 0.5, 1, given_up)
    return checkpoint.folder_of(run_dir, step)


def check(folder):
    assert checkpoint.find_damage(folder) is None
    held = stored(folder)
    assert held.keys() == WHOLE.keys() and held["model"].keys() == {*WHOLE["model"], "unit"}
    for kind, named in WHOLE.items():
        assert all(torch.equal(held[kind][name], x) for name, x in named.items())
        assert all(held[kind].shapes[name] == x.shape for name, x in named.items())


@pytest.mark.parametrize("ranks", [1, 2, 3, 20])
def test_parts_of_any_number_of_ranks_are_whole_again(tmp_path, ranks):
    folder = write(tmp_path, ranks)
    check(folder)
    index = read_index(folder)
    assert len(index.parts) == 2 * ranks
    assert index.parts["model-00000.safetensors"] == describe(folder / "model-00000.safetensors")
    names = {p.name for p in folder.iterdir()} - index.parts.keys()
    assert names == {"index.json", "state.json", "manifest.json"}


def test_rank_0_waits_for_the_others(tmp_path):
    first, second = parts_of(2)
    thread = threading.Thread(target=checkpoint.commit, args=(tmp_path, first, {"step": 7}, 0.5, 1))
    thread.start()
    thread.join(0.15)
    assert thread.is_alive() and not checkpoint.folder_of(tmp_path, 7).exists()
    checkpoint.contribute(tmp_path, second, 7)
    thread.join()
    check(checkpoint.folder_of(tmp_path, 7))


def test_rank_0_gives_up_and_leaves_nothing(tmp_path):
    write(tmp_path, step=6)
    first, second, _ = parts_of(3)
    checkpoint.contribute(tmp_path, second, 7)
    asked = itertools.count()
    with pytest.raises(GivenUpError):
        checkpoint.commit(tmp_path, first, {"step": 7}, 0.1, 1, lambda: next(asked) > 1)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000006"]
    assert checkpoint.find_whole(tmp_path, "best").name == "step-00000006"


def test_who_writes_into_a_folder_that_rank_0_removed_gives_up_too(tmp_path, monkeypatch):
    def gone(tensors, path):
        shutil.rmtree(Path(path).parent)
        raise FileNotFoundError(path)

    monkeypatch.setattr(parts, "save_file", gone)
    with pytest.raises(GivenUpError):
        checkpoint.contribute(tmp_path, parts_of(2)[1], 7)


def test_a_disk_that_is_full_for_one_rank_is_one_line(tmp_path, monkeypatch):
    def full(tensors, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parts, "save_file", full)
    with pytest.raises(InputError, match=r"step 7 cannot be written .*No space left"):
        checkpoint.contribute(tmp_path, parts_of(2)[1], 7)


def killed(job, call):
    """Run a job in a child that is killed before its ``call``-th step on disk; whether it was."""
    pid = os.fork()
    if not pid:
        steps = itertools.count()

        def counted(function):
            def step(*args, **options):
                if next(steps) == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **options)

            return step

        os.fsync, os.replace, os.unlink = map(counted, (os.fsync, os.replace, os.unlink))
        job()
        os._exit(0)
    return os.waitpid(pid, 0)[1] == signal.SIGKILL


def test_a_kill_at_any_stage_of_any_rank_leaves_a_whole_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # what a disk keeps is not seen here
    write(tmp_path / "first", step=6)
    seen = set()
    for call in range(100):
        run = shutil.copytree(tmp_path / "first", tmp_path / "run")
        done = not killed(lambda run=run: write(run, ranks=2, step=7), call)
        found = checkpoint.find_resumable(run)
        seen.add(found.name)
        check(found)
        check(checkpoint.find_whole(run, "best"))
        check(write(run, ranks=2, step=8))
        assert not list((run / "checkpoints").glob(".*"))
        shutil.rmtree(run)
        if done:
            break
    assert call > 30 and seen == {"step-00000006", "step-00000007"}


# --- reading --------------------------------------------------------------------------------------


def as_format_2(folder):
    """A checkpoint as 47f9d50 wrote it: a file of whole tensors a kind."""
    kinds = {kind: {n: x.clone() for n, x in held.items()} for kind, held in stored(folder).items()}
    for name in ("index.json", *read_index(folder).parts):
        (folder / name).unlink()
    for kind, named in kinds.items():
        save_file(named, folder / f"{kind}.safetensors")
    (folder / "manifest.json").unlink()
    files = {path.name: describe(path) for path in sorted(folder.iterdir())}
    write_json(folder / "manifest.json", {"format": 2, "files": files})


def test_a_checkpoint_of_format_2_is_read(tmp_path):
    folder = write(tmp_path)
    as_format_2(folder)
    check(folder)
    assert checkpoint.find_resumable(tmp_path) == checkpoint.find_whole(tmp_path, "best") == folder
    assert checkpoint.read_weights(folder).keys() == {*WHOLE["model"], "unit"}
    (folder / "exp_avg.safetensors").write_bytes(b"")
    assert "exp_avg.safetensors: is damaged" in checkpoint.find_damage(folder)


def test_a_run_of_format_2_goes_on_as_if_nothing_had_been(tmp_path):
    whole, part = make_trainer(tmp_path / "whole"), make_trainer(tmp_path / "part", total_steps=3)
    whole.fit()
    part.fit()
    as_format_2(checkpoint.find(tmp_path / "part", "last"))
    again = make_trainer(tmp_path / "part", told={"trainer": {"total_steps": 6}})
    again.fit()
    assert alike(record(whole), record(again))
    check_index = read_index(checkpoint.find(tmp_path / "part", "last"))
    assert check_index.tensors.keys() == {"model", "exp_avg", "exp_avg_sq"}


def damaged(change):
    """An index after a change."""
    index = {
        "parts": {"m-00000.safetensors": {}, "m-00001.safetensors": {}},
        "tensors": {"m": {"a": {"shape": [2, 3], "pieces": [["m-00000.safetensors", 0, 4],
                                                            ["m-00001.safetensors", 4, 2]]}}},
    }  # fmt: skip
    change(index, index["tensors"]["m"]["a"])
    return index


@pytest.mark.parametrize(
    "change",
    [
        lambda index, entry: index.pop("parts"),
        lambda index, entry: index.update(tensors=[]),
        lambda index, entry: index["parts"].update({"../else.safetensors": {}}),
        lambda index, entry: index["parts"].pop("m-00001.safetensors"),
        lambda index, entry: entry.update(shape=[2, 2]),
        lambda index, entry: entry.update(shape=[-2, -3]),
        lambda index, entry: entry.update(shape="six"),
        lambda index, entry: entry.update(pieces=[]),
        lambda index, entry: entry["pieces"][1].__setitem__(1, 3),
        lambda index, entry: entry["pieces"][1].__setitem__(2, 1),
        lambda index, entry: entry["pieces"].pop(),
    ],
)
def test_an_index_that_cannot_be_is_refused(tmp_path, change):
    write_json(tmp_path / "index.json", damaged(lambda index, entry: None))
    assert isinstance(read_index(tmp_path), Index)
    write_json(tmp_path / "index.json", damaged(change))
    with pytest.raises(InputError, match=r"index\.json: is damaged"):
        read_index(tmp_path)


def test_pieces_that_are_not_what_the_index_says_are_refused(tmp_path):
    folder = write(tmp_path)
    index = json.loads((folder / "index.json").read_text())
    entry = index["tensors"]["model"]["a.weight"]
    file = entry["pieces"][0][0]
    save_file({"a.weight": torch.zeros(100)}, folder / file)
    sign(folder)
    assert checkpoint.find_damage(folder) is None
    with pytest.raises(InputError, match=r"a\.weight is not what index\.json says"):
        stored(folder)["model"]["a.weight"]
    save_file({"other": torch.zeros(2)}, folder / file)
    with pytest.raises(InputError, match=file):
        stored(folder)["model"]["a.weight"]


def test_an_index_that_the_manifest_does_not_name_is_damage(tmp_path):
    folder = write(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    for wrong in (manifest | {"format": 2}, {**manifest, "files": {
        "state.json": manifest["files"]["state.json"]
    }}):  # fmt: skip
        write_json(folder / "manifest.json", wrong)
        assert "manifest.json: is damaged" in checkpoint.find_damage(folder)
