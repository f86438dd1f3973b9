"""Packages that only some uses need."""

import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest
from refusals import refused

from vgbdm.extras import EXTRAS, need

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())


def test_the_extras_are_those_of_the_distribution():
    declared = PROJECT["project"]["optional-dependencies"]
    named = {
        extra: tuple(sorted(re.split(r"[\[<>= ]", line)[0] for line in lines))
        for extra, lines in declared.items()
    }
    named.pop("dev")
    named.pop("docs")  # of a checkout: nothing in the packages asks for it
    assert named == EXTRAS
    assert declared["dev"][0] == f"vgbdm[{','.join([*EXTRAS, 'docs'])}]"


def test_a_package_that_is_there_is_not_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "cfgrib", raising=False)
    need("cfgrib", "nothing")
    assert "cfgrib" not in sys.modules


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("tensorboard", "training: needs tensorboard, which is not installed; "
                        "pip install 'vgbdm[train]'"),
        ("matplotlib", "pip install 'vgbdm[report]'"),
        ("s3fs", "pip install 'vgbdm[cloud]'"),
    ],
)  # fmt: skip
def test_one_that_is_missing_is_one_line_with_the_command(monkeypatch, package, line):
    monkeypatch.setitem(sys.modules, package, None)
    refused(lambda: need(package, "training"), line)


@pytest.mark.parametrize("missing", ["matplotlib", "jinja2"])
@pytest.mark.parametrize("package", ["climate.report", "physics_systems.report"])
def test_reports_ask_before_they_are_imported(monkeypatch, package, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, package, raising=False)
    refused(lambda: importlib.import_module(package), f"a report: needs {missing}")
