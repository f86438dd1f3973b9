"""Configs are found in ours, in those of plugins and in folders that are given."""

import pytest
from hydra import compose

from vgbdm import plugins
from vgbdm.errors import InputError
from vgbdm.registry.search_path import config_dirs, searching, with_plugins


@pytest.fixture
def own(tmp_path):
    """Configs of ours."""
    (tmp_path / "own" / "system").mkdir(parents=True)
    (tmp_path / "own" / "run.yaml").write_text("defaults: [system: ours]\nplugins: []\n")
    (tmp_path / "own" / "system" / "ours.yaml").write_text("a: 1\n")
    return tmp_path / "own"


@pytest.fixture(autouse=True)
def strange(tmp_path, monkeypatch):
    """A plugin with a config of its own, in a folder whose name wants quotes."""
    place = tmp_path / "it's, here"
    (place / "strange" / "configs" / "system").mkdir(parents=True)
    (place / "strange" / "__init__.py").write_text("raise SystemError('imported')")
    (place / "strange" / "configs" / "system" / "theirs.yaml").write_text("a: 2\n")
    monkeypatch.setattr(plugins, "_named", {})
    monkeypatch.syspath_prepend(place)
    return place / "strange" / "configs"


def a_of(own, *overrides):
    rest, folders = with_plugins(overrides, own)
    with searching(folders):
        return compose("run", rest).system.a


def test_a_plugin_brings_its_configs(own):
    assert a_of(own) == 1
    assert a_of(own, "plugins=[strange]", "system=theirs") == 2
    assert plugins.named() == ("strange",)


@pytest.mark.parametrize("words", [["--config-dir", "{}"], ["--config-dir={}"], ["-cd", "{}"]])
def test_a_folder_of_configs_may_be_given(own, strange, words):
    given = config_dirs(["system=theirs", *(word.format(strange) for word in words)])
    assert a_of(own, *given) == 2
    assert plugins.named() == ()


def test_hydras_own_search_path_is_the_same(own, strange):
    quoted = str(strange).replace("'", "\\'")
    for value in (f"'{quoted}'", f"'file://{quoted}'"):
        assert a_of(own, f"hydra.searchpath=[{value}]", "system=theirs") == 2


def test_a_config_that_would_never_be_found_is_refused(own, strange):
    (strange / "system" / "ours.yaml").write_text("a: 3\n")
    with pytest.raises(InputError, match="same name and is found first; rename it"):
        with_plugins(["plugins=[strange]"], own)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("hydra.searchpath=[/nowhere/at/all]", "/nowhere/at/all is no folder"),
        ("hydra.searchpath=[pkg://strange.configs]", "is no folder"),
        ("hydra.searchpath=x", r"want a list: hydra.searchpath=\[…\]"),
        ("plugins=strange", r"want a list: plugins=\[…\]"),
        ("plugins=null", "want a list"),
        ("plugins=[7]", "want a list of packages"),
        ("plugins=[elsewhere]", "no such package or module"),
    ],
)
def test_what_cannot_be_searched_is_one_line(own, override, words):
    with pytest.raises(InputError, match=words):
        with_plugins([override], own)


def test_a_config_dir_without_a_folder_is_refused():
    for words in (["--config-dir"], ["a=1", "--config-dir="]):
        with pytest.raises(InputError, match="want a folder of configs"):
            config_dirs(words)
    assert config_dirs(["a=1", "b"]) == ["a=1", "b"]
