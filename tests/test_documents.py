"""What README and docs tell a reader to do exists, and every page can be found."""

import re
import tomllib
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
PAGES = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]
CODE = re.compile(r"^```\w*\n(.*?)^```$|`([^`\n]+)`", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"(?:^|-m |--module )vgbdm ([a-z][\w-]*)", re.MULTILINE)
TARGET = re.compile(r"^make ([a-z][\w-]*)", re.MULTILINE)


def code(page: Path) -> str:
    """What stands in fences and backticks, a line each."""
    return "\n".join(fence or inline for fence, inline in CODE.findall(page.read_text()))


def commands() -> set[str]:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    return set(project["entry-points"]["vgbdm.commands"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_that_is_told_is_there(page):
    text = code(page)
    targets = re.findall(r"^([\w-]+):", (REPO / "Makefile").read_text(), re.MULTILINE)
    assert set(COMMAND.findall(text)) <= commands()
    assert set(TARGET.findall(text)) <= set(targets)
    for script in re.findall(r"python ((?:launch|benchmarks)/\w+\.py)", text):
        assert (REPO / script).is_file(), script


def test_the_readme_tells_the_main_job_in_little_room():
    assert len((REPO / "README.md").read_text().splitlines()) <= 150
    text = code(REPO / "README.md")
    told = set(COMMAND.findall(text))
    assert {"convert-era5", "train-era5", "forecast-era5", "evaluate-era5"} <= told
    assert set(TARGET.findall(text)) >= {"demo", "test"}


def test_the_index_leads_to_every_page():
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", (REPO / "docs" / "index.md").read_text()))
    there = {page.name for page in PAGES[1:]} - {"index.md"}
    assert there <= linked


def test_benchmarks_write_between_marks_of_their_page(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(REPO / "benchmarks"))
    from tables import write_between_marks

    page = tmp_path / "benchmarks.md"
    page.write_text((REPO / "docs" / "benchmarks.md").read_text())
    titles = ("data table", "scaling table", "weather real", "weather sample", "systems table")
    for title in titles:
        write_between_marks(page, title, f"new {title}")
    text = page.read_text()
    assert [text.count(f"-->\nnew {title}\n<!-- end of {title} -->") for title in titles] == [1] * 5
    with pytest.raises(SystemExit, match="are missing"):
        write_between_marks(page, "weather other", "")
