"""Checkpoints: round trip, nothing half-written taken for whole, nothing unpickled."""

import pickle

import pytest
import torch

from vgbdm.errors import InputError
from vgbdm.training import checkpoint

TENSORS = {
    "model": {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(2.5)},
    "exp_avg": {"a.weight": torch.ones(2, 3)},
}


def write(run_dir, step=7):
    return checkpoint.write_checkpoint(run_dir, TENSORS, {"step": step, "best": None})


def test_round_trip(tmp_path):
    folder = write(tmp_path)
    checkpoint.point(tmp_path, "last", folder, step=7)
    found = checkpoint.find(tmp_path, "last")
    assert found == folder
    assert checkpoint.read_state(found)["step"] == 7
    for name, values in TENSORS.items():
        loaded = checkpoint.read_tensors(found, name)
        assert loaded.keys() == values.keys()
        assert all(torch.equal(loaded[key], values[key]) for key in values)


def test_nothing_yet(tmp_path):
    assert checkpoint.find(tmp_path, "best") is None


def test_a_crash_while_writing_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    checkpoint.point(tmp_path, "last", write(tmp_path), step=7)

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, step=8)
    assert [f.name for f in (tmp_path / "checkpoints").glob("step-*")] == ["step-00000007"]
    assert checkpoint.read_state(checkpoint.find(tmp_path, "last"))["step"] == 7
    monkeypatch.undo()
    assert checkpoint.read_state(write(tmp_path, step=8))["step"] == 8


class Attack:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code was executed')",))


@pytest.mark.parametrize("content", [b"", b"short", pickle.dumps(Attack())])
def test_files_that_are_no_safetensors_are_refused_and_not_executed(tmp_path, content):
    folder = write(tmp_path)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"model\.safetensors: not a whole safetensors file"):
        checkpoint.read_tensors(folder, "model")


def test_truncated_tensors_are_refused(tmp_path):
    folder = write(tmp_path)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="not a whole"):
        checkpoint.read_tensors(folder, "model")


@pytest.mark.parametrize("text", ["{", "[1]", '{"format": 99}'])
def test_damaged_or_foreign_states_are_refused(tmp_path, text):
    folder = write(tmp_path)
    (folder / "state.json").write_text(text)
    with pytest.raises(InputError):
        checkpoint.read_state(folder)


@pytest.mark.parametrize("name", ["step-00000099", "../../elsewhere"])
def test_pointers_name_only_what_is_there(tmp_path, name):
    write(tmp_path)
    checkpoint.write_json(tmp_path / "best.json", {"checkpoint": name})
    with pytest.raises(InputError, match="not there"):
        checkpoint.find(tmp_path, "best")


def test_only_the_last_ones_and_the_named_ones_are_kept(tmp_path):
    folders = [write(tmp_path, step) for step in range(5)]
    checkpoint.point(tmp_path, "best", folders[1])
    checkpoint.point(tmp_path, "last", folders[4])
    checkpoint.keep_last(tmp_path, 2)
    left = sorted(f.name for f in (tmp_path / "checkpoints").glob("step-*"))
    assert left == [folders[1].name, folders[3].name, folders[4].name]


def test_a_run_starts_from_the_best_weights_of_another(tmp_path):
    model = torch.nn.Linear(3, 2)
    tensors = {"model": {name: torch.ones_like(p) for name, p in model.named_parameters()}}
    facts = {"model": {"width": 3}, "statistics": "abc", "seed": 1}
    with pytest.raises(InputError, match="no best checkpoint"):
        checkpoint.start_from(model, tmp_path, {"model": {"width": 3}})
    folder = checkpoint.write_checkpoint(tmp_path, tensors, {"step": 1, "must_match": facts})
    checkpoint.point(tmp_path, "best", folder, step=1)
    checkpoint.start_from(model, tmp_path, {"model": {"width": 3}, "statistics": "abc"})
    assert all(bool((p == 1).all()) for p in model.parameters())
    for name, value in (("model", {"width": 4}), ("statistics", "xyz")):
        with pytest.raises(InputError, match=f"its {name} is another one"):
            checkpoint.start_from(model, tmp_path, {name: value})
