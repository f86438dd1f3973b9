"""A model apart from its run: one file, as `load` reads it, and nothing to go on with."""

import json
import shutil

import pytest
import torch
from refusals import refused
from safetensors.torch import load_file
from system_fields import PENDULUM_FIELD, make_field

from vgbdm.errors import InputError
from vgbdm.exporting import export
from vgbdm.loading import load, run_folder
from vgbdm.training import checkpoint
from vgbdm.training.parts import Cut, Part
from vgbdm.training.verify import verify_run

NAME = "network.last.weight"


@pytest.fixture
def run(tmp_path):
    """A run of two ranks, whose last bias only the second has, with an averaged weight; weights."""
    weights = make_field("pendulum", shake=0.1).state_dict()
    own = weights.pop("network.last.bias")
    first = Part({"model": weights, "ema": {NAME: weights[NAME] + 1}}, {}, 0, 2, 7)
    cuts = {"model": {"network.last.bias": Cut(tuple(own.shape), 0)}}
    second = Part({"model": {"network.last.bias": own.flatten()}}, cuts, 1, 2, 7)
    state = {
        "step": 3,
        "rebuild": PENDULUM_FIELD,
        "must_match": {},
        "config": {"seed": 1},
        "waited": 2,
    }
    checkpoint.contribute(tmp_path / "run", second, 3)
    checkpoint.commit(tmp_path / "run", first, state, 0.5, 1)
    return tmp_path / "run", weights | {"network.last.bias": own, NAME: weights[NAME] + 1}


def test_what_is_exported_loads_as_the_run_does(run, tmp_path):
    run_dir, weights = run
    out = export(run_dir, tmp_path / "model")
    assert sorted(p.name for p in out.iterdir()) == [
        "manifest.json", "model.safetensors", "state.json",
    ]  # fmt: skip
    held, ours, theirs = load_file(out / "model.safetensors"), load(out), load(run_dir)
    assert held.keys() == weights.keys()
    for name, value in weights.items():
        assert torch.equal(held[name], value) and held[name].shape == value.shape
        assert torch.equal(ours.state_dict()[name], theirs.state_dict()[name])
    state = json.loads((out / "state.json").read_text())
    assert state.keys() == {"step", "rebuild", "config", "must_match"}
    assert not verify_run(out)
    assert run_folder(out) == out and run_folder(checkpoint.find(run_dir, "best")) == run_dir


def test_a_checkpoint_of_a_run_is_exported_too_and_again(run, tmp_path):
    run_dir, _ = run
    first = export(checkpoint.find(run_dir, "last"), tmp_path / "first")
    shutil.rmtree(run_dir)
    second = export(first, tmp_path / "second")
    for name in ("model.safetensors", "state.json", "manifest.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_damage_is_found(run, tmp_path):
    out = export(run[0], tmp_path / "model")
    content = bytearray((out / "model.safetensors").read_bytes())
    content[-3] ^= 1
    (out / "model.safetensors").write_bytes(content)
    refused(lambda: load(out), "model.safetensors", "is damaged")


def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(run, tmp_path, monkeypatch):
    run_dir, _ = run
    (tmp_path / "there").mkdir()
    refused(lambda: export(run_dir, tmp_path / "there"), "exists")
    refused(lambda: export(tmp_path / "there", tmp_path / "o"), "no best checkpoint")
    checkpoint.commit(tmp_path / "old", Part({"model": {}}), {"step": 1}, 0.5, 1)
    refused(lambda: export(tmp_path / "old", tmp_path / "o"), "does not say how")

    def full(tensors, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vgbdm.exporting.save_file", full)
    with pytest.raises(InputError, match="No space left"):
        export(run_dir, tmp_path / "o")
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".")) == [
        "old", "run", "there",
    ]  # fmt: skip
