"""A stranger's system and network: simulated, trained, loaded, scored and forecast, none edited."""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose
from omegaconf import OmegaConf
from processes import finish

import vgbdm
from physics_systems.data.importing import import_file
from physics_systems.data.simulate import simulate
from physics_systems.data.trajectories import load_trajectories, write
from physics_systems.evaluating import evaluate
from physics_systems.evaluation.protocol import forecast_means
from physics_systems.systems.registered import registered_systems
from physics_systems.training import train
from vgbdm import plugins
from vgbdm.errors import InputError
from vgbdm.registry.build import build
from vgbdm.registry.search_path import searching, with_plugins

REPO = Path(__file__).resolve().parents[2]
CONFIGS = REPO / "configs"
NAMED = ("plugins=[mylab]", "system=van_der_pol")
SHORT = (
    "backend=single", "trainer.total_steps=4", "trainer.validations=1", "batch=8",
    "validation.limit=4", "model.window=10", "model.features=16",
    "system.presets.encoder.width=16", "system.presets.network.width=8",
)  # fmt: skip


def composed(name, *overrides):
    rest, folders = with_plugins(overrides, CONFIGS)
    with searching(folders):
        return compose(name, rest)


def make_stores(folder):
    for split, count in (("train", 12), ("val", 6), ("test", 6)):
        options = (f"split={split}", f"out={folder}", f"n={count}", "system.frames=30")
        cfg = composed("simulate_system", *NAMED, *options, "system.horizon=3")
        made = simulate(build(cfg.system), cfg.n, cfg.seed, split=cfg.split)
        write(made, folder / split)


@pytest.fixture
def run(lab, tmp_path):
    """Stores and a run of van der Pol; the plugin is named no longer, nor imported."""
    make_stores(tmp_path)
    data = (f"data.train={tmp_path}/train", f"data.val={tmp_path}/val")
    train(composed("train_system", *NAMED, *data, *SHORT, f"run_dir={tmp_path}/run"))
    plugins._named.clear()
    for name in [n for n in sys.modules if n.split(".")[0] == "mylab"]:
        del sys.modules[name]
    return tmp_path / "run"


def test_a_strangers_run_is_refused_until_its_plugin_is_named(run, tmp_path):
    scored = (f"runs={run}", f"data.test={tmp_path}/test", f"out={tmp_path}/scores", "members=2")
    for use in (
        lambda: vgbdm.load(run),
        lambda: evaluate(composed("evaluate_system", *scored)),
    ):
        with pytest.raises(InputError, match=r"none of the classes .* give plugins=\[mylab\]$"):
            use()
    assert "mylab" not in sys.modules
    assert OmegaConf.load(run / "config.json").plugins == ["mylab"]

    model = vgbdm.load(run, plugins=["mylab"])
    assert type(model.physics).__module__ == "mylab.systems"
    assert type(model.network).__module__ == "mylab.networks"
    forecast, theta = forecast_means(model, load_trajectories(tmp_path / "test", model.physics, 11))
    assert forecast.shape == (6, 20, 2) and theta.shape == (6, 2) and forecast.isfinite().all()

    evaluate(composed("evaluate_system", "plugins=[mylab]", *scored))
    table = pd.read_csv(tmp_path / "scores" / "scores.csv").set_index("objective")
    assert set(table.index) == {
        "vgbdm", "oracle", "physics_only", "prior_mean", "persistence", "training_mean",
    }  # fmt: skip
    assert table["forecast_mse"].notna().all() and table["chosen"].sum() == 6
    assert table.loc["oracle", "forecast_mse"] < 1e-8 < table.loc["physics_only", "forecast_mse"]


def test_a_module_alone_may_be_named_too(lab):
    assert registered_systems([CONFIGS]).keys() == {
        "lorenz", "pendulum", "reaction_diffusion", "rlc",
    }  # fmt: skip
    cfg = composed("simulate_system", "plugins=[mylab.systems]", "system=van_der_pol", "out=x")
    with pytest.raises(InputError, match=r"_target_=mylab.networks.Sines .* plugins=\[mylab\]$"):
        build(cfg.system)
    assert "van_der_pol" in registered_systems([CONFIGS, *plugins.config_folders()])


def test_a_published_file_is_recognised_where_the_plugin_is_named(lab, tmp_path):
    make_stores(tmp_path)
    cfg = composed("simulate_system", *NAMED, "out=x", "system.frames=30", "system.horizon=3")
    made = simulate(build(cfg.system), 6, 1, split="test")
    arrays = {name: made[name].values for name in ("x", "t")}
    torch.save(arrays | {"params": made["params"].values[:, ::-1].copy()}, tmp_path / "f.pt")
    ours = registered_systems([CONFIGS])
    with pytest.raises(InputError, match="rlc"):
        import_file(tmp_path / "f.pt", tuple(ours.values()))
    all_of_them = registered_systems([CONFIGS, *plugins.config_folders()])
    found = import_file(tmp_path / "f.pt", tuple(all_of_them.values()))
    assert found.attrs["system"] == "van_der_pol"
    assert np.array_equal(found["params"], made["params"])


def test_a_launcher_finds_the_system(site, tmp_path):
    path = os.pathsep.join([*map(str, site), os.environ.get("PYTHONPATH", str(REPO))])
    script = [sys.executable, REPO / "launch" / "simulate_system.py", *NAMED, "n=2"]
    result = finish([*script, f"out={tmp_path}/made"], PYTHONPATH=path)
    assert "2 trajectories" in result.stdout


def test_the_line_says_which_plugin_brings_a_system(lab):
    with pytest.raises(InputError, match=r"by a plugin; .* give plugins=\[mylab\]$"):
        composed("simulate_system", "system=van_der_pol", "out=x")
    with pytest.raises(InputError, match=r"\(registered: mylab\)"):
        composed("simulate_system", "system=van_der_pol", "out=x", "plugins=[yourlab]")
    assert "mylab" not in sys.modules


def test_the_page_shows_the_package_as_it_is():
    page = (REPO / "docs" / "howto" / "extending.md").read_text()
    lab = REPO / "tests" / "plugins" / "mylab"
    blocks = re.findall(r"```(python|yaml|toml)\n(.*?)```", page, re.DOTALL)
    shown = {text for _, text in blocks}
    for name in (
        "mylab/systems.py", "mylab/networks.py", "mylab/configs/system/van_der_pol.yaml",
        "pyproject.toml",
    ):  # fmt: skip
        assert (lab / name).read_text() in shown, name
    assert len((lab / "mylab/systems.py").read_text().splitlines()) <= 40


def test_the_commands_of_the_page_compose(lab):
    page = (REPO / "docs" / "howto" / "extending.md").read_text()
    commands = re.findall(r"^python launch/(\w+)\.py (.*)$", page, re.MULTILINE)
    assert len(commands) == 5
    for name, arguments in commands:
        cfg = composed(name, *arguments.split())
        assert cfg.plugins == ["mylab"] and not OmegaConf.missing_keys(cfg)
