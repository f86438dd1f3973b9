"""The page of all options, and that the one in the repository is up to date."""

import runpy
from pathlib import Path

import pytest
from catalog import launchers
from reading import read_told

from vgbdm.options.option import REQUIRED, options_of

DOCS = Path(__file__).resolve().parents[2] / "docs"


pytestmark = pytest.mark.slow  # composes every choice of every group


@pytest.fixture(scope="module")
def text():
    return runpy.run_path(str(DOCS / "options_page.py"))["reference"]()


def test_the_page_in_the_repository_is_the_one_of_the_schema(text):
    assert (DOCS / "reference" / "options.md").read_text() == text, "make docs-options"


def test_every_option_of_every_launcher_is_on_it(text):
    for launcher in launchers().values():
        assert f"`{launcher.command}`" in text
        for option in options_of(launcher.config_name, read_told(launcher.config_name).cfg):
            assert f"`{option.key}`" in text
            if option.default is REQUIRED:
                assert f"**`{option.key}`**" in text


def test_every_choice_of_every_group_is_on_it(text):
    for launcher in launchers().values():
        for group, names in read_told(launcher.config_name).names.items():
            for name in names:
                assert f"\n### {group}={name}\n" in text
    assert "`model.fit.degree`" in text, "that climode alone has"
