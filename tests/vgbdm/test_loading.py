"""A run folder gives its model, and nothing that somebody put into it is run."""

import json
import pickle
import subprocess
import sys

import pytest
import torch
from refusals import refused
from runs_era5 import sign
from system_fields import PENDULUM_FIELD as CONFIG
from system_fields import make_field

import vgbdm
from vgbdm.errors import InputError
from vgbdm.fields.latent_field import LatentField
from vgbdm.loading import load, placed, run_folder
from vgbdm.networks import ResidualMLP
from vgbdm.storage.files import write_json
from vgbdm.training import checkpoint
from vgbdm.training.parts import Part


def write_run(run_dir, config=CONFIG, **more):
    """A run with one checkpoint; the field whose weights it has."""
    field = make_field("pendulum", shake=0.1)
    tensors = {"model": field.state_dict(), "exp_avg": {}, **more}
    state = {"step": 3, "rebuild": config, "must_match": {}, "config": {}}
    checkpoint.commit(run_dir, Part(tensors), state, 0.5, 1)
    return field.eval()


def test_a_loaded_model_is_the_one_that_was_trained(tmp_path):
    trained = write_run(tmp_path)
    for place in (tmp_path, tmp_path / "checkpoints" / "step-00000003"):
        model = load(place, kind=LatentField)
        assert not model.training and model.physics == trained.physics
        states = trained.state_dict()
        assert all(torch.equal(v, states[k]) for k, v in model.state_dict().items())
        assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert load(tmp_path, device="meta").mean.device.type == "meta"
    assert vgbdm.load is load


def test_a_device_that_is_not_here_is_refused_by_name(tmp_path):
    for name in ("gpu", "cuda:99", "mps:7"):
        refused(lambda: load(tmp_path, device=name), f"device={name}: ", "such as cpu")  # noqa: B023


@pytest.mark.parametrize(("arguments", "line"), [
    ({"path": None}, "path: want the folder of a run, not NoneType"),
    ({"path": 3}, "path: want the folder of a run, not int"),
    ({"path": b"run"}, "path: want the folder of a run, not bytes"),
    ({"plugins": 3}, r"plugins=3: want a list of packages: plugins=\[mylab.systems\]"),
    ({"plugins": "mylab"}, "plugins=mylab: want a list of packages"),
    ({"device": "gpu"}, "device=gpu: Expected one of cpu"),
])  # fmt: skip
def test_arguments_that_are_none_are_one_line(tmp_path, arguments, line):
    with pytest.raises(InputError, match=line) as caught:
        load(**{"path": tmp_path} | arguments)
    assert "\n" not in str(caught.value)


def test_no_plugins_and_any_device_may_be_said(tmp_path):
    trained = write_run(tmp_path)
    held = load(tmp_path, device=None, plugins=None)
    torch.testing.assert_close(held.state_dict(), trained.state_dict(), check_device=False)


def test_a_model_is_placed_without_being_touched(tmp_path):
    trained = write_run(tmp_path)
    assert placed(trained, "cpu") is trained
    assert placed(trained, "meta").mean.device.type == "meta"
    assert trained.mean.device.type == "cpu"
    trained.network.train()
    assert not any(module.training for module in placed(trained, "cpu").modules())
    assert trained.network.training


def test_averaged_weights_are_preferred(tmp_path):
    field = write_run(tmp_path, ema={})
    name = "network.last.weight"
    averaged = field.state_dict()[name] + 1
    field = write_run(tmp_path, ema={name: averaged})
    assert torch.equal(load(tmp_path).state_dict()[name], averaged)


def test_one_line_of_python_loads_and_importing_is_light(tmp_path):
    write_run(tmp_path)
    code = (
        "import sys, vgbdm; light = 'torch' not in sys.modules\n"
        f"print(light, type(vgbdm.load({str(tmp_path)!r})).__name__, 'climate' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "True LatentField False\n", result.stderr
    with pytest.raises(AttributeError):
        _ = vgbdm.lood


ATTACKS = {
    "torch.load": {"_target_": "torch.load", "f": "TRAP"},
    "open": {"_target_": "builtins.open", "file": "MADE", "mode": "w"},
    "handler": {"_target_": "logging.FileHandler", "filename": "MADE"},
    "system": {"_target_": "os.system", "command": "touch MADE"},
    "walk": {"_target_": "climate.training.run.os.system", "command": "touch MADE"},
    "own": {"_target_": "vgbdm.storage.files.write_json", "path": "MADE", "value": {}},
    "positional": {**CONFIG["encoder"], "_args_": ["MADE"]},
    "resolver": "${oc.env:HOME}",
    "backend": {"_target_": "vgbdm.training.backends.torch.SingleBackend", "clip": 0},
}


class Trap:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code was executed')",))


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("place", ["whole", "encoder", "presets"])
def test_a_run_that_names_anything_else_is_refused(tmp_path, monkeypatch, name, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "TRAP").write_bytes(pickle.dumps(Trap()))
    attack = ATTACKS[name]
    if place == "whole":
        config = attack if isinstance(attack, dict) else {**CONFIG, "window": attack}
    elif place == "encoder":
        config = {**CONFIG, "encoder": attack}
    else:
        config = {**CONFIG, "physics": {**CONFIG["physics"], "presets": {"deep": [attack]}}}
    write_run(tmp_path / "run", config)
    with pytest.raises(InputError) as caught:
        load(tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "MADE").exists()


def test_a_pickle_in_place_of_weights_is_not_read(tmp_path):
    write_run(tmp_path)
    folder = checkpoint.find(tmp_path, "best")
    (folder / "model-00000.safetensors").write_bytes(pickle.dumps(Trap()))
    sign(folder)
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load(tmp_path)


def test_what_is_no_whole_run_of_the_kind_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no best checkpoint; train first"):
        load(tmp_path / "nothing")
    write_run(tmp_path / "run")
    with pytest.raises(InputError, match="holds a LatentField, a model of another task"):
        load(tmp_path / "run", kind=ResidualMLP)
    with pytest.raises(InputError, match="no last2 checkpoint"):
        load(tmp_path / "run", "last2")
    for change, said in (
        ({"window": 11}, "do not fit together"), ({"wndow": 11}, "do not fit together"),
        ({"residual_inputs": ["nonsense"]}, "nonsense"), ({"solver": None, "latents": "x"}, "fit"),
    ):  # fmt: skip
        write_run(tmp_path / "run", {**CONFIG, **change})
        with pytest.raises(InputError, match=said):
            load(tmp_path / "run")
    write_run(tmp_path / "run", None)
    with pytest.raises(InputError, match="does not say how its model is built"):
        load(tmp_path / "run")


ODD = ["w" * 40, "", 0, -1.5, True, None, [], [[]], {}, {"a": 1}]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_a_value_of_another_kind_anywhere_in_a_config_is_one_line(tmp_path, odd):
    """Whatever a part of a model does with it: it is refused, or makes a model all the same."""
    for name in CONFIG.keys() - {"_target_"}:
        run = tmp_path / name
        write_run(run, {**CONFIG, name: odd})
        try:
            load(run)
        except InputError as error:
            assert len(str(error).splitlines()) == 1, name


def test_a_damaged_best_is_said_and_no_other_model_taken(tmp_path):
    write_run(tmp_path)
    checkpoint.commit(tmp_path, Part({"model": {}}), {"step": 4}, None, 1)
    place = tmp_path / "checkpoints" / "step-00000003"
    state = json.loads((place / "state.json").read_text())
    write_json(place / "state.json", {**state, "step": 2})
    for path in (tmp_path, place):
        with pytest.raises(InputError, match=r"state\.json: is damaged"):
            load(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"depth": 10**9}, "depth=1000000000: at most 65536"),
        ({"width": 60000}, "its checkpoint holds"),
        ({"depth": 60000}, "its checkpoint holds"),
    ],
)
def test_a_model_far_larger_than_its_weights_is_not_built(tmp_path, changes, words):
    write_run(tmp_path, {**CONFIG, "network": {**CONFIG["network"], **changes}})
    refused(lambda: load(tmp_path), words, "train it again")


def test_the_folder_of_a_run_is_found_from_it_and_from_its_checkpoints(tmp_path):
    write_run(tmp_path)
    assert run_folder(tmp_path) == tmp_path
    assert run_folder(str(tmp_path / "checkpoints" / "step-00000003")) == tmp_path


def test_a_run_that_was_saved_before_a_class_moved_loads(tmp_path):
    before = {
        **CONFIG,
        "_target_": "vgbdm.latent_field.LatentField",
        "physics": {**CONFIG["physics"], "_target_": "physics_systems.pendulum.Pendulum"},
        "statistics": {**CONFIG["statistics"], "_target_": "vgbdm.latent_field.Statistics"},
        "encoder": {**CONFIG["encoder"], "_target_": "vgbdm.encoders.WindowMLP"},
        "solver": {**CONFIG["solver"], "_target_": "vgbdm.rollout.Solver"},
    }
    for name in ("encoder", "solver"):
        assert CONFIG[name]["_target_"].endswith(before[name]["_target_"].rpartition(".")[2])
    trained = write_run(tmp_path, before)
    loaded = load(tmp_path)
    assert loaded.physics == trained.physics and loaded.solver == trained.solver
