"""The lines that the code refuses input with, read off the code, as a table of a page.

A page gets them where it says ``<!-- messages -->``.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from sphinx.application import Sphinx

REPO = Path(__file__).resolve().parents[2]
ROOMS = ("launch", "vgbdm", "climate", "physics_systems")
MARK = "<!-- messages -->"
VALUE = "…"
"""What stands for a name, a path or a number of the case at hand."""


def text_of(node: ast.expr) -> str | None:
    """The text that an expression makes, its values as `VALUE`; None: it is made elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [text_of(part) for part in node.values]
        return "".join(VALUE if part is None else part for part in parts)
    return None


def messages_of(path: Path) -> Iterator[str]:
    """The lines that a file makes an `InputError` of."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        if node.func.id == "InputError" and node.args:
            text = text_of(node.args[0])
            if text and any(c.isalpha() for c in text.replace(VALUE, "")):
                yield " ".join(text.split())


def collect() -> dict[str, list[str]]:
    """Room, such as ``climate.store`` → its lines, each once, sorted."""
    found: dict[str, set[str]] = defaultdict(set)
    for room in ROOMS:
        for path in (REPO / room).rglob("*.py"):
            inside = path.relative_to(REPO).with_suffix("").parts
            found[".".join(inside[:2]) if room != "launch" else room].update(messages_of(path))
    return {room: sorted(lines) for room, lines in sorted(found.items()) if lines}


def table(lines: list[str]) -> str:
    """A table of lines, what is to be done beside what is said."""
    rows = ["| what is said | what to do |", "|---|---|"]
    for line in lines:
        said, _, remedy = line.partition("; ")
        rows.append(f"| {_plain(said)} | {_plain(remedy)} |")
    return "\n".join(rows)


def _plain(text: str) -> str:
    """A text as Markdown that shows it as it is."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>()#+-!|$~&:@" else c for c in text)


def page() -> str:
    """All rooms, a heading and a table each."""
    return "\n\n".join(f"### {room}\n\n{table(lines)}" for room, lines in collect().items())


def fill(app: Sphinx, name: str, content: list[str]) -> None:
    """Put the lines where a page asks for them."""
    if MARK in content[0]:
        content[0] = content[0].replace(MARK, page())


def setup(app: Sphinx) -> dict[str, bool]:
    """Of Sphinx's extensions."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True}
