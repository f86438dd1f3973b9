"""What README and docs tell a reader to do exists, and every page can be found."""

import re
import tomllib
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
DOCS = REPO / "docs"
PAGES = [REPO / "README.md", *sorted(DOCS.rglob("*.md"))]
CODE = re.compile(r"^```(?:\{code-cell\} )?\w*\n(.*?)^```$|`([^`\n]+)`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([\w/.-]+\.md)\)")
TREE = re.compile(r"^```\{toctree\}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"(?:^!?|-m |--module )vgbdm ([a-z][\w-]*)", re.MULTILINE)
TARGET = re.compile(r"^make ([a-z][\w-]*)", re.MULTILINE)


def code(page: Path) -> str:
    """What stands in fences and backticks, a line each."""
    return "\n".join(fence or inline for fence, inline in CODE.findall(page.read_text()))


def commands() -> set[str]:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    return set(project["entry-points"]["vgbdm.commands"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_every_command_that_is_told_is_there(page):
    text = code(page)
    targets = re.findall(r"^([\w-]+):", (REPO / "Makefile").read_text(), re.MULTILINE)
    assert set(COMMAND.findall(text)) <= commands()
    assert set(TARGET.findall(text)) <= set(targets)
    for script in re.findall(r"python ((?:launch|benchmarks)/\w+\.py)", text):
        assert (REPO / script).is_file(), script


def test_the_readme_tells_the_main_job_in_little_room():
    assert len((REPO / "README.md").read_text().splitlines()) <= 120
    text = code(REPO / "README.md")
    told = set(COMMAND.findall(text))
    assert {"convert-era5", "train-era5", "forecast-era5", "evaluate-era5"} <= told
    assert set(TARGET.findall(text)) >= {"demo", "test"}


def branches(page: Path) -> list[Path]:
    """The pages that the table of contents of a page names."""
    lines = [line for tree in TREE.findall(page.read_text()) for line in tree.splitlines()]
    named = [line.split("<")[-1].rstrip(">") for line in lines if not line.startswith(":")]
    return [(page.parent / f"{name}.md").resolve() for name in named if name]


def test_the_index_leads_to_every_page():
    found, left = set(), [DOCS / "index.md"]
    while left:
        page = left.pop()
        found.add(page)
        left += branches(page)
    assert found == set(PAGES[1:])


def test_a_section_says_what_each_of_its_pages_is_for():
    for page in [DOCS / "index.md", *DOCS.glob("*/index.md")]:
        linked = {(page.parent / link).resolve() for link in LINK.findall(page.read_text())}
        assert set(branches(page)) <= linked, page


def test_benchmarks_write_between_marks_of_their_page(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(REPO / "benchmarks"))
    from tables import write_between_marks

    page = tmp_path / "benchmarks.md"
    page.write_text((REPO / "docs" / "benchmarks.md").read_text())
    titles = ("data table", "scaling table", "weather real", "systems table")
    for title in titles:
        write_between_marks(page, title, f"new {title}")
    text = page.read_text()
    assert [text.count(f"-->\nnew {title}\n<!-- end of {title} -->") for title in titles] == [1] * 4
    with pytest.raises(SystemExit, match="are missing"):
        write_between_marks(page, "weather other", "")
