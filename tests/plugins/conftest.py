"""The package of a stranger, as if it was installed."""

import importlib
import sys
import tomllib
from pathlib import Path

import pytest

from vgbdm import plugins

LAB = Path(__file__).resolve().parent / "mylab"


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Folders for Python's path: the package, and what pip writes of it."""

    project = tomllib.loads((LAB / "pyproject.toml").read_text())["project"]
    about = tmp_path_factory.mktemp("site") / "mylab-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mylab\nVersion: 1.0\n")
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    ]
    (about / "entry_points.txt").write_text("\n".join(lines))
    return [LAB, about.parent]


@pytest.fixture
def lab(site, monkeypatch):
    """The package is installed, not named, and not imported; afterwards it is gone."""

    def forget():
        for name in [n for n in sys.modules if n.split(".")[0] == "mylab"]:
            del sys.modules[name]

    forget()
    monkeypatch.setattr(plugins, "_named", {})
    for folder in site:
        monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    yield LAB
    forget()
