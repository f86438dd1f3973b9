"""Every section that a file cites is there, as is every file that a document links to.

A citation is ``docs/<file>.md#<anchor>``; an anchor is that which GitHub makes of a heading.
"""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
CITATION = re.compile(r"(?<![\w/])docs/([\w./-]+\.md)(?:#([\w-]*))?")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^ {0,3}#{1,6} +(.+?)(?: +#+)? *$")
FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
ABSENT = re.compile(r"\b(?:METHOD|STREAMING|DESIGN)\b|\bshared/[\w./-]*\.md\b")
"""Papers of the workshop this was made in, which the repository has not."""
CITING = (".py", ".md", ".yaml", ".toml")
ALSO_CITING = ("Makefile", ".ci/run")


def anchors(text: str) -> set[str]:
    """GitHub's anchors of the headings of a Markdown text; a second of the same name ends in -1."""
    found: set[str] = set()
    fence = ""
    for line in text.splitlines():
        mark = FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and line.strip().startswith(fence):
            fence = ""
        elif not fence and (heading := HEADING.match(line)):
            name = re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")
            place = 0
            while (anchor := f"{name}-{place}" if place else name) in found:
                place += 1
            found.add(anchor)
    return found


def without_code(text: str) -> str:
    """A Markdown text less what stands in fences or backticks, where a link is none."""
    text = re.sub(r"(?ms)^ {0,3}(```+|~~~+).*?^ {0,3}\1 *$", "", text)
    return re.sub(r"`[^`]*`", "", text)


def broken(text: str, root: Path) -> list[str]:
    """The citations of a text whose document or section is not below ``root``."""
    return [
        match[0]
        for match in CITATION.finditer(text)
        if not _resolves(root / "docs" / match[1], match[2])
    ]


def broken_links(page: Path) -> list[str]:
    """The relative links of a document that lead nowhere."""
    lost = []
    for link in LINK.findall(without_code(page.read_text())):
        if re.match(r"[a-z][a-z+.-]*:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        if not _resolves(target, anchor or None):
            lost.append(link)
    return lost


def _resolves(target: Path, anchor: str | None) -> bool:
    if anchor is None:
        return target.exists()
    return target.is_file() and anchor in _anchors_of(target)


@cache
def _anchors_of(page: Path) -> set[str]:
    return anchors(page.read_text())


@cache
def tracked() -> dict[str, str]:
    """The texts of all files that may cite, by their names in the repository, but for this one."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("no git repository that says which files are its own")
    names = [n for n in listed.stdout.split("\0") if n.endswith(CITING) or n in ALSO_CITING]
    here = Path(__file__).resolve()
    files = {name: REPO / name for name in names if (REPO / name).is_file()}
    return {name: path.read_text() for name, path in files.items() if path.resolve() != here}


def test_every_citation_finds_its_section():
    assert not {name: lost for name, text in tracked().items() if (lost := broken(text, REPO))}
    assert sum(len(CITATION.findall(text)) for text in tracked().values()) > 20


def test_nothing_cites_what_the_repository_has_not():
    found = {name: ABSENT.findall(text) for name, text in tracked().items()}
    assert not {name: cited for name, cited in found.items() if cited}


def test_relative_links_of_documents_lead_somewhere():
    pages = [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md"))]
    assert len(pages) > 1
    assert not {str(p.relative_to(REPO)): lost for p in pages if (lost := broken_links(p))}


def test_a_wrong_citation_is_found(tmp_path):
    page = tmp_path / "docs" / "method.md"
    page.parent.mkdir()
    page.write_text("# Paths\n\n```\n# Gauge\n```\n\n## Grey-box field, `f`\n## Paths\n")
    for right in (
        "method.md",
        "method.md#paths",
        "method.md#paths-1",
        "method.md#grey-box-field-f",
    ):
        assert broken(f"(docs/{right}).", tmp_path) == []
    for wrong in ("method.md#gauge", "method.md#Paths", "method.md#paths-2", "metod.md#paths",
                  "methods.md", "method.md#"):  # fmt: skip
        assert broken(f"(docs/{wrong}).", tmp_path) == [f"docs/{wrong}"]


def test_a_wrong_link_is_found(tmp_path):
    page = tmp_path / "README.md"
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "method.md").write_text("## Paths\n")
    page.write_text(
        "# Top\n[a](docs/method.md#paths) [b](#top) [c](https://a.b) `[d](no.md)` [e](docs)\n"
        "[f](docs/method.md#top) [g](#paths)\n[h](method.md)\n"
    )
    assert broken_links(page) == ["docs/method.md#top", "#paths", "method.md"]


@pytest.mark.parametrize(
    "cited", ["(METHOD §4)", "../shared/DATA.md", "STREAMING.md", "see DESIGN"]
)
def test_a_citation_of_what_is_not_here_is_found(cited):
    assert ABSENT.search(cited)
    assert not ABSENT.search("INIT_METHOD, METHODS, ../shared/data/gfs_winds_5.625deg, methods.md")
