"""The examples of README and docs run as they stand, on small data."""

import functools
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from system_fields import dataset, trajectories

import vgbdm
from vgbdm import api

REPO = Path(__file__).resolve().parent.parent
PAGES = [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python *([\w-]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
RUN = {
    ("README", "weather"), ("README", "system"), ("python", "lorenz"), ("python", "weather"),
    ("extending", "mylab"),  # by tests/plugins
}  # fmt: skip
"""Page and name of each example that a test runs."""
SHORT = [
    "model.window=10", "model.features=16", "batch=8", "trainer.total_steps=2",
    "trainer.validations=1", "system.presets.encoder.width=16",
]  # fmt: skip


def example(name, page="python"):
    (path,) = (path for path in PAGES if path.stem == page)
    (text,) = (text for found, text in BLOCK.findall(path.read_text()) if found == name)
    assert len([line for line in text.splitlines() if line]) <= 10
    return compile(text, f"{path.name}: {name}", "exec")


def test_every_block_of_python_is_run_by_a_test_or_is_a_file_of_one():
    lab = REPO / "tests" / "plugins" / "mylab" / "mylab"
    files = {path.read_text() for path in lab.glob("*.py")}
    named = set()
    for page in PAGES:
        for name, text in BLOCK.findall(page.read_text()):
            assert name or text in files, f"{page.name}: no test runs this:\n{text}"
            named |= {(page.stem, name)} if name else set()
    assert named == RUN


def test_the_example_of_weather_in_the_readme_runs(tmp_path, monkeypatch):
    from builders import make_store
    from runs import CONFIGS

    from climate.training.run import train

    monkeypatch.chdir(tmp_path)
    make_store(tmp_path / "demo", ("z", "t2m", "u10", "v10"))
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        train(compose("train_era5", [
            "store=demo/store", "run_dir=demo/run", "size=tiny", "backend=single", "batch=4",
            "trainer.total_steps=1", "trainer.validations=1", "validation.starts=1",
            "validation.lead=6h", "stream.lanes=4",
        ]))  # fmt: skip
    names = {}
    exec(example("weather", "README"), names)
    assert names["forecast"].sizes["lead_time"] == 7
    assert names["forecast"]["t2m"].notnull().all()


def test_the_example_of_a_system_in_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    short = functools.partial(api.fit, options=SHORT)
    monkeypatch.setattr(vgbdm, "fit", lambda *given, minutes, **more: short(
        *given, **more, minutes=None  # no clock in tests
    ))  # fmt: skip
    data = trajectories("lorenz", 12)
    names = {"x": data.x.numpy(), "t": data.t.numpy()}
    exec(example("system", "README"), names)
    assert names["run"] == Path("runs/mine") and "theta_low" in capsys.readouterr().out


def test_the_example_of_lorenz_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = trajectories("lorenz", 12)
    given = {"x": data.x.numpy(), "t": data.t.numpy(), "minutes": None, "options": SHORT}
    names = given | {"truth": dataset("lorenz", 12)}
    exec(example("lorenz"), names)
    assert names["ahead"]["ensemble"].shape == (8, 12, 20, 3)
    assert names["scores"]["row"].tolist() == ["model", "persistence"]
    assert set(names["theta"]) == {"theta", "theta_low", "theta_high"}


@pytest.fixture
def model(store):
    from weather import make_model, shake

    from climate.models.domain import Domain

    six = np.timedelta64(6 * 3600, "s")
    domain = Domain.from_store(store, six, [("u10", "v10")], 3)
    made = make_model(physics=False, alter=lambda _: domain)
    shake(made)
    return made


def test_the_example_of_weather_runs(store, model):
    names = {"run": model, "store": store.path}
    exec(example("weather"), names)
    ahead, same = names["ahead"], names["same"]
    assert ahead["time"].values[-1] == store.times[-1].astype("M8[ns]")
    for name in store.channels:
        np.testing.assert_array_equal(ahead[name], same[name])
    assert set(names["scores"]["row"]) == {"model", "persistence", "climatology"}


QUIET = """
import logging, signal, sys, threading
signals = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
import vgbdm
assert "torch" not in sys.modules
import torch
threads = torch.get_num_threads(), threading.active_count()
vgbdm.forecast, vgbdm.fit
import climate.api, physics_systems.api, vgbdm.report.page, matplotlib
from matplotlib import rcsetup
assert matplotlib.rcParams._get("backend") is rcsetup._auto_backend_sentinel
assert not logging.getLogger().handlers
assert (torch.get_num_threads(), threading.active_count()) == threads
assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == signals
"""


def test_importing_sets_no_global_state():
    made = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
