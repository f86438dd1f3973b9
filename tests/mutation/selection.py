"""Which tests mirror a module."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

PACKAGES = ("vgbdm", "climate", "physics_systems")
SLOW = ("launch", "fake_device", "fuzz", "mutation", "support")
"""Folders of tests that mirror no one module, or are too long to run for each fault."""
MOST = 6
"""Files of tests for one module."""


def _lines_of(path: Path) -> str:
    """Those that import something."""
    return "\n".join(re.findall(r"^\s*(?:from|import) .*", path.read_text(), re.MULTILINE))


@functools.cache
def _texts(root: Path) -> dict[Path, str]:
    """The imports of all files of tests that mirror modules."""
    tests = root / "tests"
    found = sorted(tests.rglob("test_*.py"))
    return {p: _lines_of(p) for p in found if p.relative_to(tests).parts[0] not in SLOW}


@functools.cache
def _modules(root: Path) -> dict[Path, str]:
    """The imports of all files of the packages."""
    return {p: _lines_of(p) for name in PACKAGES for p in sorted((root / name).rglob("*.py"))}


def _imports(path: Path) -> re.Pattern[str]:
    """What a text has in it that imports a module, by its path from the root."""
    dotted = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    package, _, name = dotted.rpartition(".")
    return re.compile(
        rf"^\s*(from {re.escape(dotted)} import|import {re.escape(dotted)}\b"
        rf"|from {re.escape(package)} import [^\n]*\b{re.escape(name)}\b)",
        re.MULTILINE,
    )


def _remoteness(root: Path, imported: re.Pattern[str]) -> Callable[[Path], tuple[bool, bool]]:
    """How far a file of tests is from what is imported so: those of its users come first."""
    users = [p.relative_to(root) for p, text in _modules(root).items() if imported.search(text)]
    names, through = {f"test_{user.stem}" for user in users}, [_imports(user) for user in users]
    texts = _texts(root)
    return lambda p: (p.stem not in names, not any(user.search(texts[p]) for user in through))


def mirrors(root: Path, module: str) -> list[str]:
    """The files of tests of a module: first by its name, then those that import it, the near first.

    Args:
        root: of the repository.
        module: path from there.

    Returns:
        Paths from there, at most `MOST`; where none names the module, all of the mirrored folder,
        or of the nearest one above that has tests, first those of modules that import it.
    """
    path = Path(module)
    imported = _imports(path)
    folder = root / "tests" / path.parent
    texts = _texts(root)
    named = [p for p in texts if p.parent == folder and p.stem == f"test_{path.stem}"]
    users = [p for p in texts if p not in named and imported.search(texts[p])]
    users.sort(key=lambda p: (p.parent != folder, folder not in p.parents, p))
    chosen = (named + users)[:MOST]
    while not chosen and folder != root:
        chosen = [p for p in texts if p.parent == folder]
        chosen.sort(key=_remoteness(root, imported))
        folder = folder.parent
    return [str(p.relative_to(root)) for p in chosen]
