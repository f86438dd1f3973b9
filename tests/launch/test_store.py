"""``launch/store.py`` looks at whatever was written here."""

import importlib
import sys

import numpy as np
import pytest
from builders import make_store
from forecasters import Oracle
from omegaconf import OmegaConf
from refusals import refused
from system_fields import dataset
from tiny import make_trainer

from climate.forecasts.writing import write_forecast
from physics_systems.data.trajectories import write

launcher = importlib.import_module("store")


def verify(path, capsys) -> tuple[int, str]:
    """The exit code and what is said, but for what to do next."""
    code, said, _ = verify_and_then(path, capsys)
    return code, said


def verify_and_then(path, capsys) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        launcher.main(OmegaConf.create({"action": "verify", "store": str(path)}))
    *said, then = capsys.readouterr().out.splitlines()
    assert then.startswith("next: ")
    return ended.value.code, "\n".join(said), then.removeprefix("next: ")


def flip(path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def make(kind, base):
    """Something whole, a file of it, and how that is called."""
    if kind == "run":
        make_trainer(base / "run").fit()
        folder = base / "run/checkpoints/step-00000006"
        return base / "run", folder / "model-00000.safetensors"
    if kind == "trajectories":
        write(dataset("lorenz"), base / "t")
        return base / "t", base / "t/x/c/0/0/0"
    store = make_store(base)
    if kind == "store":
        return store.path, store.path / "orography/c/0/0"
    write_forecast(Oracle(store), store, base / "f", lead=np.timedelta64(6 * 3600, "s"))
    return base / "f", base / "f/z/c/0/0/0/0"


@pytest.mark.parametrize("kind", ["store", "forecast", "trajectories", "run"])
def test_every_kind_is_verified(tmp_path, capsys, kind):
    path, file = make(kind, tmp_path)
    capsys.readouterr()
    assert verify(path, capsys) == (0, f"{path}: whole")
    whole = file.read_bytes()
    flip(file)
    code, line = verify(path, capsys)
    assert code == 1 and file.name in line
    file.unlink()
    code, line = verify(path, capsys)
    assert code == 1 and "missing" in line
    file.write_bytes(whole)
    assert verify(path, capsys)[0] == 0


@pytest.mark.parametrize(
    ("kind", "use", "mending"),
    [
        ("store", "train_era5.py store=PATH run_dir=RUN", "store.py repair PATH source="),
        ("forecast", "evaluate_era5.py forecast=PATH store=STORE out=SCORES", "make it again"),
        ("trajectories", "train_system.py system=SYSTEM data.train=PATH", "make it again"),
        ("run", 'model = vgbdm.load("PATH")', "resume=true"),
    ],
)
def test_what_is_looked_at_is_said_to_be_used_or_mended(
    kind, use, mending, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(sys, "argv", ["launch/store.py"])
    path, file = make(kind, tmp_path)
    capsys.readouterr()
    assert use.replace("PATH", str(path)) in verify_and_then(path, capsys)[2]
    flip(file)
    assert mending.replace("PATH", str(path)) in verify_and_then(path, capsys)[2]


def test_after_all_else_a_store_is_to_be_verified(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["launch/store.py"])
    path = make_store(tmp_path).path
    for action in ("info", "upgrade"):
        launcher.main(
            OmegaConf.create({"action": action, "store": str(path), "force_unlock": False})
        )
        told = capsys.readouterr().out.splitlines()[-1]
        assert told == f"next: python launch/store.py verify {path}"


def test_the_state_and_the_pointers_of_a_run_are_looked_at(tmp_path, capsys):
    path, _ = make("run", tmp_path)
    flip(path / "checkpoints/step-00000006/state.json")
    assert "state.json" in verify(path, capsys)[1]
    (path / "last.json").write_text('{"checkpoint": "../../up"}')
    assert "last.json" in verify(path, capsys)[1]
    assert verify(path / "checkpoints/step-00000006", capsys)[0] == 1


def test_a_damaged_manifest_is_one_line(tmp_path, capsys):
    path, _ = make("trajectories", tmp_path)
    flip(path / "manifest.json")
    refused(lambda: launcher.damages(path), "manifest.json")


def test_what_was_not_written_here_is_refused(tmp_path):
    refused(lambda: launcher.damages(tmp_path), str(tmp_path), "no manifest.json")
