"""Numbers of pages that come from files of results, each with a mark behind it that names its row.

python benchmarks/marks.py           writes them again, after a benchmark has written its file

A mark is a comment, which no reader sees::

    3465<!-- memory-1.5.csv: work=train, case=as told, peak_mib -->

It names a file in ``benchmarks/results``, what tells its row from the others, and a column. The
number before it is what stands there, to as many decimals as the page shows. How a file was made
stands in ``about.csv`` beside it, and on pages between ``<!-- about FILE -->`` and
``<!-- end of about FILE -->``.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tables import write_between_marks

REPO = Path(__file__).resolve().parent.parent
RESULTS = REPO / "benchmarks" / "results"
PAGES = (REPO / "README.md", *sorted((REPO / "docs").rglob("*.md")))
MARK = re.compile(r"(-?\d+(?:\.(\d+))?)<!-- ([\w.-]+\.csv): (.+?) -->")
ORIGIN = re.compile(r"<!-- (about ([\w.-]+\.csv)) -->")
ABOUT, ABOUT_COLUMNS = "about.csv", ("file", "command", "machine", "date", "commit")


def rows(path: Path) -> list[dict[str, str]]:
    """The lines of a file of results, by column."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def value(results: Path, name: str, place: str) -> float:
    """What stands where a mark points to.

    Args:
        results: folder of the files.
        name: of a file.
        place: ``column=value, …, column``: what the row holds, and where the number is.

    Raises:
        SystemExit: where there is no file, no such column, or not just one such row.
    """
    *told, column = place.split(", ")
    wanted = [part.split("=", 1) for part in told]
    if not (results / name).is_file():
        sys.exit(f"{name}: is not in {results}")
    found = [line for line in rows(results / name) if all(line.get(k) == v for k, v in wanted)]
    if len(found) != 1:
        sys.exit(f"{name}: {place}: {len(found)} rows are such, want one")
    if column not in found[0]:
        sys.exit(f"{name}: {place}: has no column {column}, but {', '.join(found[0])}")
    return float(found[0][column])


def origin(results: Path, name: str) -> str:
    """How a file was made, in a sentence.

    Raises:
        SystemExit: where that is not known.
    """
    found = [line for line in rows(results / ABOUT) if line["file"] == name]
    if not found:
        sys.exit(f"{name}: {results / ABOUT} does not say how it was made")
    line = found[0]
    return f"`{line['command']}` at {line['commit']} on {line['date']} ({line['machine']})"


def marked(text: str, results: Path = RESULTS) -> str:
    """A page's text with every marked number as its file has it."""

    def again(match: re.Match[str]) -> str:
        number = value(results, match[3], match[4])
        return f"{number:.{len(match[2] or '')}f}{match[0][len(match[1]) :]}"

    return MARK.sub(again, text)


def write(page: Path, results: Path = RESULTS) -> None:
    """Numbers and origins of a page, as the files have them."""
    text = page.read_text()
    new = marked(text, results)
    if new != text:
        page.write_text(new)
    for title, name in ORIGIN.findall(text):
        write_between_marks(page, title, origin(results, name))


def remember(out: Path, arguments: Sequence[str]) -> None:
    """Say in ``about.csv`` beside a file how it was made: now, by this program at this commit.

    Args:
        out: the file of results.
        arguments: of the program.
    """
    from systems_table import here

    now, about = here(), out.with_name(ABOUT)
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *arguments])
    machine = f"{now['machine']}, load {now['load']} in the end"
    line = [out.name, command, machine, f"{datetime.now(UTC):%Y-%m-%d}", now["commit"]]
    others = rows(about) if about.is_file() else []
    kept = [[other[k] for k in ABOUT_COLUMNS] for other in others if other["file"] != out.name]
    with about.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([ABOUT_COLUMNS, *sorted([*kept, line])])


def main() -> None:
    """Write every page again."""
    for page in PAGES:
        write(page)


if __name__ == "__main__":
    main()
