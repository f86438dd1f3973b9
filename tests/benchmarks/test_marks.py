"""Marked numbers of pages are those of their files of results."""

import re
import shutil
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "benchmarks"))

import marks  # noqa: E402

NUMBER = re.compile(r"^\W*\d[\d.]*(<!--.*?-->)?")
TABLE = re.compile(r"<!-- end of about [\w.-]+ -->.*?\n(\|.*?)\n\n", re.DOTALL)
ANY = re.compile(r"<!-- [\w.-]+\.csv: ")
MARKED = [page for page in marks.PAGES if ANY.search(page.read_text())]
PAGES = [page for page in marks.PAGES if "<!-- about " in page.read_text()]


@pytest.fixture
def results(tmp_path):
    """A copy of the files of results."""
    return Path(shutil.copytree(marks.RESULTS, tmp_path / "results"))


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("page", MARKED, ids=lambda page: page.stem)
def test_every_mark_leads_to_its_row_and_stands_behind_its_number(page):
    text = page.read_text()
    assert len(marks.MARK.findall(text)) == len(ANY.findall(text)) > 0
    assert marks.marked(text) == text
    for title, name in marks.ORIGIN.findall(text):
        between = text.split(f"<!-- {title} -->\n")[1].split(f"\n<!-- end of {title} -->")[0]
        assert between == marks.origin(marks.RESULTS, name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_table_made_of_a_file_has_no_number_without_a_mark(page):
    tables = TABLE.findall(page.read_text())
    assert tables
    for table in tables:
        cells = [c.strip() for line in table.splitlines()[2:] for c in line.split("|")[2:-1]]
        numbers = [found for cell in cells if (found := NUMBER.match(cell))]
        assert len(numbers) >= 10 and all(found[1] for found in numbers)


def test_every_file_of_results_is_shown_and_says_how_it_was_made():
    shown = {name for page in PAGES for _, name in marks.ORIGIN.findall(page.read_text())}
    files = {path.name for path in marks.RESULTS.glob("*.csv")} - {marks.ABOUT}
    whole = ("systems", "weather-")  # pages have their tables whole, with how they were made
    assert {name for name in files if not name.startswith(whole)} == shown


def test_a_new_figure_is_written_as_the_page_shows_it(tmp_path, results):
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- about memory-1.5.csv -->\n<!-- end of about memory-1.5.csv -->\n"
        "a 7<!-- memory-1.5.csv: work=train, case=as told, peak_mib --> MiB, "
        "0.00<!-- plan-1.5.csv: kind=ratio, saved_mib -->, "
        "-1.5<!-- plan-1.5.csv: kind=ratio, step_s -->"
    )
    change(results / "memory-1.5.csv", "3465", "3465.6")
    change(results / marks.ABOUT, "1e1734c", "abcdef0")
    marks.write(page, results)
    _, line, _, text = page.read_text().splitlines()
    assert line.startswith("`python benchmarks/memory.py out=") and " at abcdef0 on 2026" in line
    assert re.sub("<!--.*?-->", "", text) == "a 3466 MiB, 0.97, 1.0"
    again = page.read_text()
    marks.write(page, results)
    assert page.read_text() == again


@pytest.mark.parametrize(
    ("name", "place", "told"),
    [
        ("none.csv", "kind=ratio, saved_mib", "is not in"),
        ("plan-1.5.csv", "kind=guess, saved_mib", "0 rows"),
        ("plan-1.5.csv", "colour=red, saved_mib", "0 rows"),
        ("plan-1.5.csv", "grid=1.5, saved_mib", "3 rows"),
        ("plan-1.5.csv", "kind=ratio, colour", "no column colour, but grid, "),
    ],
)
def test_a_mark_that_leads_nowhere_is_refused(name, place, told, results):
    with pytest.raises(SystemExit, match=told):
        marks.marked(f"1<!-- {name}: {place} -->", results)
    with pytest.raises(SystemExit, match="does not say how"):
        marks.origin(results, f"other-{name}")


def test_a_file_says_how_it_was_made_and_the_others_are_kept(results, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/plan.py"])
    marks.remember(results / "plan-1.5.csv", ["out=x.csv", "batch=4"])
    told = marks.origin(results, "plan-1.5.csv")
    assert told.startswith("`python benchmarks/plan.py out=x.csv batch=4` at ")
    assert "cores, load " in told and "8727059" not in told
    kept = "memory-1.5.csv"
    assert marks.origin(results, kept) == marks.origin(marks.RESULTS, kept)
    marks.remember(results / "first.csv", [])
    assert marks.origin(results, "first.csv").startswith("`python benchmarks/plan.py` at ")
