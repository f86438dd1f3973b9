"""The folders of launchers and configs in a checkout and in an installed package."""

from pathlib import Path

import pytest

from vgbdm import resources

REPO = Path(__file__).resolve().parents[2]


def test_in_a_checkout_they_lie_beside_the_package():
    assert resources.checkout() == REPO
    assert resources.configs_folder() == REPO / "configs"
    assert resources.launch_folder() == REPO / "launch"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package folder as a wheel leaves it, beside strangers' folders of the same names."""
    package = tmp_path / "vgbdm"
    for name in ("configs", "launch"):
        (tmp_path / name).mkdir()
        (package / name).mkdir(parents=True)
    monkeypatch.setattr(resources, "_PACKAGE", package)
    return package


def test_in_a_wheel_they_lie_inside_of_it(installed):
    assert resources.checkout() is None
    assert resources.configs_folder() == installed / "configs"
    assert resources.launch_folder() == installed / "launch"
