"""Which version and commit of this code runs; what it writes says so."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

from vgbdm.resources import checkout
from vgbdm.version import __version__

SECONDS = 10
"""That git may take."""
PACKAGE = Path(__file__).resolve().parent
BUILT_FROM = "built_from.txt"
"""In the built package: its commit; a checkout has no such file."""


def software() -> str:
    """Name, version and, where it is known, commit: ``vgbdm 0.1.0 (commit 6ae1f0e…)``."""
    known = commit()
    return f"vgbdm {__version__}" + (f" (commit {known})" if known else "")


@functools.cache
def commit() -> str | None:
    """The commit of the checkout, or that the package was built from; None: not known.

    It ends in ``-dirty`` where tracked files of the checkout were changed.
    """
    root = checkout()
    if root is None or not (root / ".git").exists():  # a repository further up is another one
        return _built_from()
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        told = subprocess.run(
            [*command, "--exclude=*"], env=own, capture_output=True, text=True, timeout=SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip() or None


def _built_from() -> str | None:
    """As the build of a wheel or of an archive of sources has noted it, see setup.py."""
    try:
        return (PACKAGE / BUILT_FROM).read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None
