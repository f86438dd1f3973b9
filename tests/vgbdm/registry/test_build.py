"""Configs build the classes that are listed, and nothing else."""

import functools
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from vgbdm import plugins
from vgbdm.errors import InputError
from vgbdm.paths.bridge import BridgePath
from vgbdm.registry.build import build, check_parts, marks_of, rebuild

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
BRIDGE = {"_target_": "vgbdm.paths.bridge.BridgePath", "sigma": 0.3, "margin": 0.1}
REPO = CONFIGS.parent
MARKED = {
    f"{module}.{name}": mark
    for package in plugins.trusted_packages()
    for file in sorted((REPO / package).rglob("*.py"))
    for module in [".".join(file.relative_to(REPO).with_suffix("").parts)]
    for name, mark in marks_of(module).items()
}


def test_build_makes_the_object_with_further_arguments():
    path = build({"_target_": "vgbdm.paths.bridge.BridgePath", "sigma": 0.3}, margin=0.1)
    assert isinstance(path, BridgePath)
    assert (path.sigma, path.margin) == (0.3, 0.1)
    assert isinstance(build({**BRIDGE, "_partial_": True}), BridgePath)
    nested = {
        "_target_": "vgbdm.training.schedules.Constant",
        "value": {**BRIDGE, "_partial_": True},
    }
    assert isinstance(build(nested).value, functools.partial)


FOREIGN = [
    "torch.load", "builtins.open", "builtins.eval", "logging.FileHandler", "os.system", "os.getcwd",
    "shutil.rmtree", "functools.partial", "hydra.utils.get_class", "subprocess.Popen",
    # attributes of our modules
    "climate.training.run.os.system", "climate.conversion.convert.os.system",
    "vgbdm.report.page.Path.unlink",
    "vgbdm.training.checkpoint.shutil.rmtree", "vgbdm.training.checkpoint.os.remove",
    "vgbdm.registry.build.importlib.import_module", "vgbdm.registry.build.instantiate",
    "vgbdm.paths.path.torch.load",
    "vgbdm.paths.bridge.BridgePath.__class__", "vgbdm.paths.bridge.BridgePath.__init__.__globals__",
    # our functions, and classes that no config needs
    "vgbdm.registry.build.build", "vgbdm.training.checkpoint.write_checkpoint",
    "climate.training.run.train",
    "climate.conversion.journal.Journal", "vgbdm.training.writer.Writer",
    "vgbdm.training.loop.Trainer",
    # near misses
    "vgbdmx.paths.bridge.BridgePath", "vgbdm.paths.bridge.BridgePath ", "vgbdm", "", ".paths",
    "vgbdm..paths",
    "VGBDM.paths.bridge.BridgePath", "vgbdm/paths", 7, None, True,
    ["vgbdm.paths.bridge.BridgePath"], {"a": 1},
    f"vgbdm.{'p' * 300}.BridgePath",
]  # fmt: skip


@pytest.mark.parametrize("target", FOREIGN, ids=str)
@pytest.mark.parametrize("make", [build, rebuild])
def test_foreign_targets_are_refused_wherever_they_stand(target, make):
    bad = {"_target_": target, "f": "x"}
    for config in (
        bad, {**BRIDGE, "sigma": bad}, {**BRIDGE, "margin": [1, [bad]]},
        {**BRIDGE, "sigma": {"a": {**BRIDGE, "_partial_": True, "margin": bad}}},
    ):  # fmt: skip
        with pytest.raises(InputError, match="none of the classes"):
            make(config)


@pytest.mark.parametrize(
    "extra",
    [
        {"_args_": ["x"]}, {"_recursive_": False}, {"_partial_": "true"}, {"_partial_": {"a": 1}},
        {"_convert_": {"_target_": "os.getcwd"}}, {"_mode_": 1}, {"__class__": 1},
        {"sigma": {"_args_": [1]}}, {"sigma": [{"_recursive_": False}]},
    ],
    ids=str,
)  # fmt: skip
def test_other_ways_to_act_are_refused(extra):
    for make in (build, rebuild):
        with pytest.raises(InputError, match=r"may not stand in a config|none of the classes"):
            make({**BRIDGE, **extra})


@pytest.mark.parametrize(
    "value", ["${oc.env:HOME}", "a ${oc.env:HOME}", "${oc.decode:'1'}", "${sigma}", "???"]
)
def test_resolvers_in_loaded_configs_are_refused(value, monkeypatch):
    monkeypatch.setenv("HOME", "/nowhere")
    for config in ({**BRIDGE, "sigma": value}, {**BRIDGE, "sigma": [{"a": value}]}):
        for make in (build, rebuild):
            with pytest.raises(InputError, match="is no value"):
                make(config)


def test_a_composed_config_is_resolved_first():
    config = OmegaConf.create({"path": {**BRIDGE, "sigma": "${width}"}, "width": 0.7})
    assert build(config.path).sigma == 0.7


def test_a_checkpoint_names_parts_of_models_alone():
    assert isinstance(rebuild(BRIDGE), BridgePath)
    others = [name for name, mark in MARKED.items() if mark == "buildable"]
    assert len(others) > 15
    for name in others:
        with pytest.raises(InputError, match=r"under @model_part$"):
            rebuild({"_target_": name})


def test_nothing_is_imported_before_all_is_checked():
    code = """
import sys
from vgbdm.registry.build import build
from vgbdm.errors import InputError

try:
    build({"_target_": "vgbdm.paths.bridge.BridgePath", "a": {"_target_": "climate.training.os"}})
except InputError:
    print("vgbdm.paths.bridge" in sys.modules, "climate.training.run" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "False False\n", result.stderr


def test_a_config_without_target_is_refused():
    with pytest.raises(InputError, match="_target_ is missing"):
        build({"sigma": 1})


def test_every_target_in_the_configs_is_listed():
    named = {
        name
        for path in CONFIGS.rglob("*.yaml")
        for name in re.findall(r"_target_:\s*([\w.]+)", path.read_text())
    }
    assert len(named) > 30 and named <= MARKED.keys()


@pytest.mark.parametrize("name", MARKED)
def test_what_is_marked_is_a_class_under_its_own_name(name):
    module, _, attribute = name.rpartition(".")
    made = getattr(importlib.import_module(module), attribute)
    assert f"{made.__module__}.{made.__qualname__}" == name
    assert inspect.isclass(made) or name == "vgbdm.training.backends.choice.automatic"


@pytest.fixture
def strange(tmp_path, monkeypatch):
    """A package of somebody else's, on Python's path."""
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "__init__.py").write_text("")
    (tmp_path / "strange" / "parts.py").write_text(
        "from vgbdm.registry.marks import buildable, model_part\n\n\n"
        "@model_part\nclass Part: ...\n\n\n@buildable\nclass Tool: ...\n\n\nclass Plain: ...\n"
    )
    monkeypatch.setattr(plugins, "_named", {})
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("strange", "strange.parts"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("make", [build, rebuild])
def test_a_plugin_is_built_only_after_it_was_named(strange, make):
    config = {"_target_": "strange.parts.Part"}
    with pytest.raises(InputError, match=r"if you trust .* give plugins=\[strange.parts\]$"):
        make(config)
    assert "strange" not in sys.modules
    plugins.use(["strange"])
    assert type(make(config)).__name__ == "Part"


def test_the_line_says_which_mark_is_missing(strange):
    plugins.use(["strange"])
    build({"_target_": "strange.parts.Tool"})
    with pytest.raises(InputError, match=r"strange under @model_part; put @model_part .* Tool$"):
        check_parts({**BRIDGE, "sigma": [{"_target_": "strange.parts.Tool"}]})
    with pytest.raises(InputError, match=r"put @model_part of vgbdm.registry.marks .* Plain$"):
        build({"_target_": "strange.parts.Plain"})
    with pytest.raises(InputError, match=r"no package nowhere is installed here$"):
        build({"_target_": "nowhere.parts.Part"})
    check_parts({**BRIDGE, "sigma": {"_target_": "strange.parts.Part"}})
