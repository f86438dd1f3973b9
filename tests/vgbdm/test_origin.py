"""Which version and commit made something."""

import subprocess
from importlib import metadata

import pytest

from vgbdm import __version__, origin


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


@pytest.mark.parametrize(
    ("noted", "told"),
    [
        (None, None),
        ('{"url": "file:///x", "dir_info": {}}', None),
        ('{"url": "https://x", "vcs_info": {"vcs": "git", "commit_id": "6ae1f0e"}}', "6ae1f0e"),
    ],
)
def test_an_installed_package_tells_what_pip_noted(anew, tmp_path, noted, told):
    anew.setattr(origin, "checkout", lambda: None)
    folder = tmp_path / "vgbdm-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: vgbdm")
    if noted is not None:
        (folder / "direct_url.json").write_text(noted)
    anew.setattr(metadata, "distribution", lambda _: metadata.PathDistribution(folder))
    assert origin.commit() == told


def test_a_package_that_nobody_installed_tells_none(anew):
    anew.setattr(origin, "checkout", lambda: None)

    def missing(_):
        raise metadata.PackageNotFoundError

    anew.setattr(metadata, "distribution", missing)
    assert origin.commit() is None
