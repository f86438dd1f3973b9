"""Which version and commit of this code runs; what it writes says so."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from importlib import metadata

from vgbdm.resources import checkout
from vgbdm.version import __version__

SECONDS = 10
"""That git may take."""


def software() -> str:
    """Name, version and, where it is known, commit: ``vgbdm 0.1.0 (commit 6ae1f0e…)``."""
    known = commit()
    return f"vgbdm {__version__}" + (f" (commit {known})" if known else "")


@functools.cache
def commit() -> str | None:
    """The commit of the checkout, or that an installed package was built from; None: not known.

    It ends in ``-dirty`` where tracked files of the checkout were changed.
    """
    root = checkout()
    if root is None:
        return _installed_commit()
    if not (root / ".git").exists():
        return None  # a repository further up is another one
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        told = subprocess.run(
            [*command, "--exclude=*"], env=own, capture_output=True, text=True, timeout=SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip() or None


def _installed_commit() -> str | None:
    """As pip notes it where it installed from a repository (PEP 610)."""
    try:
        noted = metadata.distribution("vgbdm").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    known = json.loads(noted or "{}").get("vcs_info", {}).get("commit_id")
    return str(known) if known else None
