"""Which tests mirror a module."""

from __future__ import annotations

import functools
import re
from pathlib import Path

SLOW = ("launch", "fake_device", "fuzz", "mutation", "support")
"""Folders of tests that mirror no one module, or are too long to run for each fault."""
MOST = 6
"""Files of tests for one module."""


@functools.cache
def _texts(root: Path) -> dict[Path, str]:
    """Of all files of tests that mirror modules."""
    tests = root / "tests"
    found = sorted(tests.rglob("test_*.py"))
    return {p: p.read_text() for p in found if p.relative_to(tests).parts[0] not in SLOW}


def mirrors(root: Path, module: str) -> list[str]:
    """The files of tests of a module: first by its name, then those that import it, the near first.

    Args:
        root: of the repository.
        module: path from there.

    Returns:
        Paths from there, at most `MOST`; where none names the module, all of the mirrored folder,
        or of the nearest one above that has tests.
    """
    path = Path(module)
    dotted = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    package, _, name = dotted.rpartition(".")
    imported = re.compile(
        rf"^\s*(from {re.escape(dotted)} import|import {re.escape(dotted)}\b"
        rf"|from {re.escape(package)} import [^\n]*\b{re.escape(name)}\b)",
        re.MULTILINE,
    )
    folder = root / "tests" / path.parent
    texts = _texts(root)
    named = [p for p in texts if p.parent == folder and p.stem == f"test_{path.stem}"]
    users = [p for p in texts if p not in named and imported.search(texts[p])]
    users.sort(key=lambda p: (p.parent != folder, folder not in p.parents, p))
    chosen = (named + users)[:MOST]
    while not chosen and folder != root:
        chosen = [p for p in texts if p.parent == folder]
        folder = folder.parent
    return [str(p.relative_to(root)) for p in chosen]
