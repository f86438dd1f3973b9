"""The last line of a launcher: what to do next."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def command(name: str, *arguments: str) -> str:
    """How another launcher is started from where this one was, such as ``train_era5``."""
    if any(Path(word).name == "vgbdm" for word in sys.orig_argv[1:4]):
        return " ".join(["vgbdm", name.replace("_", "-"), *map(quoted, arguments)])
    script = Path(sys.argv[0]).with_name(f"{name}.py")
    here = Path.cwd()
    shown = script.relative_to(here) if script.is_absolute() and here in script.parents else script
    return " ".join(["python", shlex.quote(str(shown)), *map(quoted, arguments)])


def quoted(argument: str) -> str:
    """An argument as a shell takes it; capitals that stand for something are left as they are."""
    return argument if argument.isupper() else shlex.quote(argument)


def then(what: str) -> None:
    """Say what to do next."""
    print(f"next: {what}", flush=True)
