"""Tables of pages, between marks."""

import sys
from pathlib import Path


def write_between_marks(page: Path, title: str, text: str) -> None:
    """Replace what lies between ``<!-- TITLE -->`` and ``<!-- end of TITLE -->``.

    Raises:
        SystemExit: if the marks are not there.
    """
    first, last = f"<!-- {title} -->", f"<!-- end of {title} -->"
    old = page.read_text()
    if first not in old or last not in old:
        sys.exit(f"{page}: the marks {first} and {last} are missing")
    head, rest = old.split(first)
    page.write_text(f"{head}{first}\n{text}\n{last}{rest.split(last)[1]}")
