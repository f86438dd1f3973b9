"""Google docstrings → one sentence for each argument."""

from __future__ import annotations

import inspect
import re

SECTIONS = ("Args:", "Attributes:")
ENTRY = re.compile(r"\*{0,2}(\w+)(?: \([^)]*\))?: (.*)")


def sentences_of(docstring: str | None) -> dict[str, str]:
    """Name → what the sections Args and Attributes say of it, on one line.

    Args:
        docstring: of a class or function; None gives nothing.
    """
    found: dict[str, list[str]] = {}
    inside, name = False, ""
    for line in inspect.cleandoc(docstring or "").splitlines():
        if line in SECTIONS:
            inside, name = True, ""
        elif line and not line.startswith(" "):
            inside = False
        elif inside and line.startswith("    "):
            begun = ENTRY.match(line[4:])
            if begun is not None:
                name = begun[1]
                found[name] = [begun[2]]
            elif name and line.strip():
                found[name].append(line.strip())
    return {name: _plain(" ".join(lines)) for name, lines in found.items()}


def summary_of(docstring: str | None) -> str:
    """The first paragraph of a docstring, on one line."""
    paragraph = inspect.cleandoc(docstring or "").partition("\n\n")[0]
    return " ".join(_plain(paragraph).split())


def _plain(text: str) -> str:
    """Without marks of code, and with the words of configs for Python's."""
    bare = text.replace("`", "")
    return re.sub(r"\bNone\b", "null", bare).replace("True", "true").replace("False", "false")
