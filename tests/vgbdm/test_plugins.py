"""Entry points are read, packages named, and nothing is imported by it."""

import importlib
import sys

import pytest

from vgbdm import plugins
from vgbdm.errors import InputError

OURS = """
[project]
name = "vgbdm"
[project.entry-points."vgbdm.commands"]
train = "vgbdm.launch.train"
[project.entry-points."vgbdm.plugins"]
ours = "ours"
"""


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    """No plugin is named when a test begins, or after it."""
    monkeypatch.setattr(plugins, "_named", {})


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """An installed package ``strange`` whose import fails, with entry points of its own."""
    root = tmp_path / "site"
    inner = root / "strange" / "deep"
    inner.mkdir(parents=True)
    (root / "strange" / "__init__.py").write_text("raise SystemError('imported')")
    (inner / "parts.py").write_text("raise SystemError('imported')")
    (root / "strange" / "configs").mkdir()
    (inner / "configs").mkdir()
    (root / "alone.py").write_text("raise SystemError('imported')")
    about = root / "strange-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[vgbdm.commands]\ntrain = strange.run:main\nsing = strange.song:main\n"
        "[vgbdm.plugins]\nstrange = strange\n"
    )
    monkeypatch.syspath_prepend(root)
    importlib.invalidate_caches()
    yield root
    assert not {"strange", "strange.deep", "strange.deep.parts", "alone"} & sys.modules.keys()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A checkout's pyproject.toml in place of ours."""
    path = tmp_path / "pyproject.toml"
    path.write_text(OURS)
    monkeypatch.setattr(plugins, "PROJECT", path)
    return path


def test_own_entry_points_come_from_the_checkout_and_go_before_those_of_strangers(
    stranger, project
):
    assert plugins.registered("vgbdm.commands") == {
        "train": "vgbdm.launch.train",
        "sing": "strange.song:main",
    }
    assert plugins.registered("vgbdm.plugins") == {"ours": "ours", "strange": "strange"}
    assert plugins.registered("vgbdm.nothing") == {}


def test_only_packages_of_the_own_distribution_are_trusted(stranger, project):
    assert plugins.trusted_packages() == ("vgbdm", "ours")


@pytest.mark.parametrize("text", [OURS.replace('"vgbdm"\n', '"other"\n', 1), "= no TOML", None])
def test_without_a_checkout_the_installed_metadata_count(stranger, project, text):
    project.unlink() if text is None else project.write_text(text)
    plugins._project.cache_clear()
    about = stranger / "vgbdm-9.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: vgbdm\nVersion: 9\n")
    (about / "entry_points.txt").write_text("[vgbdm.plugins]\ninner = inner\n")
    importlib.invalidate_caches()
    assert plugins.trusted_packages() == ("vgbdm", "inner")
    assert plugins.registered("vgbdm.plugins") == {"inner": "inner", "strange": "strange"}


def test_without_either_the_line_says_to_install(project, monkeypatch):
    project.unlink()
    plugins._project.cache_clear()
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(InputError, match="pip install vgbdm"):
        plugins.trusted_packages()


def test_this_repository_registers_its_packages():
    assert plugins.trusted_packages() == ("vgbdm", "climate", "physics_systems")
    assert plugins.registered("vgbdm.domains").keys() >= {"weather", "systems"}


def test_a_package_is_allowed_once_it_is_named(stranger):
    assert plugins.allows("climate.models") and plugins.allows("vgbdm")
    assert not plugins.allows("strange") and not plugins.allows("climates.models")
    plugins.use(["strange.deep", "alone"])
    assert plugins.named() == ("strange.deep", "alone")
    assert plugins.allows("strange.deep.parts") and plugins.allows("alone")
    assert not plugins.allows("strange") and not plugins.allows("strange.deeper")


@pytest.mark.parametrize(
    "names", [["nowhere"], ["strange.nowhere"], ["alone.parts"], ["strange/deep"], [""], ["a..b"],
              ["strange." + "p" * 300]],
)  # fmt: skip
def test_what_python_does_not_find_is_refused(stranger, names):
    with pytest.raises(InputError, match=r"registered: strange\); install it"):
        plugins.use(names)
    assert plugins.named() == ()


@pytest.mark.parametrize("names", ["strange", [7], [None]])
def test_names_are_a_list_of_texts(stranger, names):
    with pytest.raises(InputError, match="want a list of packages"):
        plugins.use(names)


def test_files_are_found_without_importing(stranger):
    assert plugins.file_of("strange") == stranger / "strange" / "__init__.py"
    assert plugins.file_of("strange.deep") == stranger / "strange" / "deep"
    assert plugins.file_of("strange.deep.parts") == stranger / "strange" / "deep" / "parts.py"
    assert plugins.file_of("alone") == stranger / "alone.py"
    assert plugins.file_of("sys") is None and plugins.file_of("nowhere.at.all") is None


def test_configs_lie_next_to_the_named_module_and_its_parents(stranger):
    assert plugins.config_folders() == ()
    plugins.use(["strange.deep.parts", "strange"])
    assert plugins.config_folders() == (
        stranger / "strange" / "deep" / "configs",
        stranger / "strange" / "configs",
    )
