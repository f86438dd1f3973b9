"""A stranger's path, objective, network and source of data: used by name, refused unnamed."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from builders import LAT, LON, SPLITS, waves
from hydra import compose

import vgbdm
from climate.conversion.convert import convert
from climate.sources.opening import open_source
from climate.store.layout import open_store
from physics_systems.data.simulate import simulate
from vgbdm import plugins
from vgbdm.errors import InputError
from vgbdm.options.check import check
from vgbdm.registry.build import build
from vgbdm.registry.search_path import searching, with_plugins

REPO = Path(__file__).resolve().parents[2]
CONFIGS = REPO / "configs"
PAGE = (REPO / "docs" / "howto" / "extending.md").read_text()
LAB = REPO / "tests" / "plugins" / "mylab" / "mylab"
NAMED = "plugins=[mylab]"
SYSTEM = {"frames": 30, "horizon": 3.0, "prior": {"k": [1.0, 0.2], "f": [0.0, 0.2]},
          "ranges": {"k": [0.8, 1.2], "f": [-0.2, 0.2], "mu": [0.5, 1.5]}}  # fmt: skip
SHORT = (
    "trainer.total_steps=4", "trainer.validations=1", "batch=8", "model.window=10",
    "model.features=16", "system.presets.encoder.width=16", "system.presets.network.width=8",
)  # fmt: skip


def composed(name, *overrides):
    rest, folders = with_plugins(overrides, CONFIGS)
    with searching(folders):
        return compose(name, rest)


def forget():
    """The plugin is as if it had never been named."""
    plugins._named.clear()
    for name in [n for n in sys.modules if n.split(".")[0] == "mylab"]:
        del sys.modules[name]


@pytest.fixture
def data(lab):
    from mylab.systems import VanDerPol

    return simulate(VanDerPol(**SYSTEM), 12, 1, split="train")


@pytest.fixture
def run(data, tmp_path):
    """A run of their system, network, path and objective, all from Python; then forgotten."""
    from mylab.systems import VanDerPol

    made = vgbdm.fit(
        VanDerPol(**SYSTEM), data[["x", "t"]], objective="cautious", minutes=None,
        run_dir=tmp_path / "run", options=[*SHORT, "path=smooth_step"], plugins=["mylab"],
    )  # fmt: skip
    forget()
    return made


def test_their_system_path_network_and_objective_train_and_are_loaded_scored_and_forecast(
    run, data
):
    config = json.loads((run / "config.json").read_text())
    assert config["path"]["_target_"] == "mylab.paths.SmoothStep"
    assert config["objective"]["_target_"] == "mylab.objectives.CautiousMatching"
    assert config["model"]["network"]["_target_"] == "mylab.networks.Sines"
    assert config["plugins"] == ["mylab"]

    x, t = data["x"].values, data["t"].values
    for use in (
        lambda: vgbdm.forecast(run, x, t=t, leads=5),
        lambda: vgbdm.infer(run, x, t),
        lambda: vgbdm.evaluate(run, data),
    ):
        with pytest.raises(InputError, match=r"none of the classes .* give plugins=\[mylab\]$"):
            use()
    assert "mylab" not in sys.modules

    model = vgbdm.load(run, plugins=["mylab"])
    ahead = vgbdm.forecast(model, x, t=t, leads=5, members=3)
    assert dict(ahead["ensemble"].sizes) == {
        "realization": 3, "trajectory": 12, "time": 5, "component": 2,
    }  # fmt: skip
    assert ahead["component"].values.tolist() == ["X", "Y"]
    assert np.isfinite(ahead["x"]).all() and np.isfinite(ahead["ensemble"]).all()
    assert vgbdm.infer(model, x, t)["parameter"].values.tolist() == ["k", "f"]
    scores = vgbdm.evaluate(run, data, members=2).set_index("row")
    assert scores.loc["model", "objective"] == "cautious"
    assert scores.loc["oracle", "forecast_mse"] < 1e-8


def test_the_path_says_the_derivatives_that_it_has(lab):
    path = build(composed("train_system", NAMED, "path=smooth_step", "data.train=a", "data.val=b")
                 .path)  # fmt: skip
    numbers = torch.Generator().manual_seed(1)
    a, b = torch.randn((2, 4, 1, 3), dtype=torch.float64, generator=numbers)
    length, s = torch.full((4,), 0.5, dtype=torch.float64), torch.linspace(0.1, 0.9, 4).double()
    at, step = path(a, b, length, s), 1e-6
    late, early = (path(a, b, length, s + side * step / 0.5) for side in (1, -1))
    torch.testing.assert_close((late.state - early.state) / (2 * step), at.velocity)
    torch.testing.assert_close((late.velocity - early.velocity) / (2 * step), at.acceleration)


@pytest.mark.parametrize(("group", "choice"), [
    ("path", "smooth_step"), ("objective", "cautious"), ("system", "van_der_pol"),
])  # fmt: skip
def test_a_part_is_refused_where_its_plugin_is_not_named(lab, group, choice):
    with pytest.raises(InputError, match=r"by a plugin; .* give plugins=\[mylab\]$"):
        composed("train_system", f"{group}={choice}", "data.train=a", "data.val=b")


@pytest.mark.parametrize(("option", "line"), [
    ("path._target_=mylab.paths.SmoothStep", r"mylab.paths.SmoothStep.* give plugins=\[mylab\]"),
    ("objective._target_=mylab.objectives.CautiousMatching", r"Cautious.* give plugins=\[mylab\]"),
])  # fmt: skip
def test_a_class_is_refused_where_its_plugin_is_not_named(lab, option, line):
    cfg = composed("train_system", f"++{option}", "data.train=a", "data.val=b", "path=linear")
    with pytest.raises(InputError, match=line):
        check("train_system", cfg)
    assert "mylab" not in sys.modules


@pytest.fixture
def archive(tmp_path):
    """Twenty hourly days of two winds."""
    times = np.arange(np.datetime64("2016-01-01T00", "s"), np.datetime64("2016-01-21T00", "s"),
                      np.timedelta64(3600, "s"))  # fmt: skip
    fields = {name: waves(times, k) for k, name in enumerate(("u10", "v10"))}
    np.savez(tmp_path / "winds.npz", time=times, lat=LAT, lon=LON, **fields)
    return tmp_path / "winds.npz"


def converting(archive, *more):
    return composed(
        "convert_era5", *more, "store=s", f"source.root={archive}", "variables=[v10,u10]",
        *(f"split.{name}=[{','.join(ends)}]" for name, ends in SPLITS.items()),
    )  # fmt: skip


def test_their_source_is_converted_as_ours_are(lab, archive, tmp_path):
    cfg = converting(archive, NAMED, "source=numpy_archive", "step=6h")
    check("convert_era5", cfg)
    dataset, origin = open_source(cfg)
    assert origin["source"] == "mylab.sources.NumpyArchive"
    convert(dataset, tmp_path / "store", SPLITS, source=origin)
    store = open_store(tmp_path / "store")
    assert list(store.channels) == ["v10", "u10"] and len(store.times) == 80
    states = xr.open_zarr(tmp_path / "store", consolidated=False)["state"]
    held = np.load(archive)
    np.testing.assert_array_equal(states.sel(channel="u10"), held["u10"][::6])
    np.testing.assert_array_equal(states.sel(channel="v10"), held["v10"][::6])


def test_their_source_is_refused_where_the_plugin_is_not_named(lab, archive):
    with pytest.raises(InputError, match=r"by a plugin; .* give plugins=\[mylab\]$"):
        converting(archive, "source=numpy_archive")
    cfg = converting(archive, NAMED, "source=numpy_archive")
    forget()
    with pytest.raises(InputError, match=r"NumpyArchive.* give plugins=\[mylab\]"):
        open_source(cfg)
    assert "mylab" not in sys.modules


def test_the_page_shows_the_parts_as_they_are():
    shown = {text for _, text in re.findall(r"```(python|yaml)\n(.*?)```", PAGE, re.DOTALL)}
    for name in ("paths", "objectives", "sources"):
        assert (LAB / f"{name}.py").read_text() in shown, name
    for name in ("path/smooth_step", "objective/cautious", "source/numpy_archive"):
        assert (LAB / "configs" / f"{name}.yaml").read_text() in shown, name


def test_the_commands_of_parts_compose(lab):
    commands = re.findall(r"^vgbdm ([\w-]+) (.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 2
    for name, arguments in commands:
        cfg = composed(name.replace("-", "_"), *arguments.split())
        check(name.replace("-", "_"), cfg)


def test_the_example_of_the_page_runs(lab, data, tmp_path, monkeypatch):
    found = re.search(r"```python mylab\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {"x": data["x"].values, "t": data["t"].values, "truth": data, "minutes": None,
             "options": list(SHORT)}  # fmt: skip
    exec(compile(found[1], "docs/howto/extending.md: mylab", "exec"), names)
    assert names["ahead"]["ensemble"].shape == (8, 12, 20, 2)
    assert names["scores"]["row"][0] == "model"
