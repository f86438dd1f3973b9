"""The examples of docs/python.md run as they stand, on small data."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from systems import dataset, trajectories

REPO = Path(__file__).resolve().parent.parent
PAGE = (REPO / "docs" / "python.md").read_text()


def example(name):
    found = re.search(rf"```python {name}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    assert len([line for line in found[1].splitlines() if line]) <= 10
    return compile(found[1], f"docs/python.md: {name}", "exec")


def test_the_example_of_lorenz_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = trajectories("lorenz", 12)
    options = [
        "model.window=10", "model.features=16", "batch=8", "trainer.total_steps=2",
        "trainer.validations=1", "system.presets.encoder.width=16",
    ]  # fmt: skip
    given = {"x": data.x.numpy(), "t": data.t.numpy(), "minutes": None, "options": options}
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
