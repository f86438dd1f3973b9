"""Which version and commit made something."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import setuptools

from vgbdm import __version__, origin

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def anew(monkeypatch):
    """Nothing is known yet, and this process belongs to a hook of git's."""
    monkeypatch.setenv("GIT_DIR", "/none")
    monkeypatch.setenv("GIT_INDEX_FILE", "/none")
    origin.commit.cache_clear()
    yield monkeypatch
    origin.commit.cache_clear()


def git(folder, *arguments):
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    command = ["git", "-C", folder, *who, *arguments]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env={"HOME": str(folder)}
    ).stdout.strip()


def test_a_checkout_tells_its_commit_and_whether_files_were_changed(anew, tmp_path):
    anew.setattr(origin, "checkout", lambda: tmp_path)
    git(tmp_path, "init", "--quiet")
    (tmp_path / "a.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "a")
    git(tmp_path, "tag", "v1")
    head = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "untracked").write_text("1")
    assert origin.software() == f"vgbdm {__version__} (commit {head})"
    origin.commit.cache_clear()
    (tmp_path / "a.py").write_text("2")
    assert origin.commit() == f"{head}-dirty"


def test_an_export_inside_of_another_repository_tells_no_commit(anew, tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "export").mkdir()
    anew.setattr(origin, "checkout", lambda: tmp_path / "export")
    assert origin.software() == f"vgbdm {__version__}"


def test_without_git_nothing_is_told(anew, tmp_path):
    (tmp_path / ".git").mkdir()
    anew.setattr(origin, "checkout", lambda: tmp_path)
    anew.setenv("PATH", "")
    assert origin.commit() is None


@pytest.mark.parametrize(("noted", "told"), [(None, None), ("6ae1f0e\n", "6ae1f0e"), ("", None)])
@pytest.mark.parametrize("unpacked", [True, False])  # sources of an archive, or a wheel
def test_what_was_built_tells_what_the_build_noted(anew, tmp_path, noted, told, unpacked):
    anew.setattr(origin, "checkout", lambda: tmp_path if unpacked else None)
    anew.setattr(origin, "PACKAGE", tmp_path)
    if noted is not None:
        (tmp_path / origin.BUILT_FROM).write_text(noted)
    assert origin.commit() == told


@pytest.fixture
def builder(anew, tmp_path):
    """setup.py, with what it gives to setuptools, and a folder for what it builds."""
    given = {}
    anew.setattr(setuptools, "setup", given.update)
    anew.setattr(sys, "path", sys.path[:])
    made = runpy.run_path(str(REPO / "setup.py"))
    (tmp_path / "vgbdm").mkdir()
    anew.setitem(made["note_commit"].__globals__, "commit", lambda: "6ae1f0e")
    for command in given["cmdclass"].values():
        for step in ("run", "make_release_tree"):
            anew.setattr(command.__base__, step, lambda *_: None, raising=False)
    return given["cmdclass"], tmp_path / "vgbdm"


@pytest.mark.parametrize("editable", [True, False])
def test_a_build_notes_its_commit_but_not_in_a_checkout(builder, editable):
    commands, package = builder
    build = commands["build_py"](setuptools.Distribution())
    build.build_lib, build.editable_mode = str(package.parent), editable
    (package / origin.BUILT_FROM).write_text("stale")
    build.run()
    assert (package / origin.BUILT_FROM).read_text() == ("stale" if editable else "6ae1f0e\n")


def test_sources_note_the_commit_that_they_leave_behind(builder):
    commands, package = builder
    commands["sdist"](setuptools.Distribution()).make_release_tree(str(package.parent), [])
    assert (package / origin.BUILT_FROM).read_text() == "6ae1f0e\n"


def test_a_build_that_knows_no_commit_leaves_none_of_an_earlier_one(builder, anew):
    commands, package = builder
    step = commands["sdist"].make_release_tree
    anew.setitem(step.__globals__["note_commit"].__globals__, "commit", lambda: None)
    (package / origin.BUILT_FROM).write_text("stale")
    step(commands["sdist"](setuptools.Distribution()), str(package.parent), [])
    assert not (package / origin.BUILT_FROM).exists()
