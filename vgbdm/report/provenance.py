"""Where a page comes from: the command that made it, and when."""

from __future__ import annotations

import datetime
import shlex
import sys
from pathlib import Path

from vgbdm.origin import software
from vgbdm.resources import launch_folder
from vgbdm.storage.masking import mask_text


def command_line() -> str:
    """The launcher this process is and its arguments, secrets masked; empty for another program."""
    name = Path(sys.argv[0]).name
    if not (name.endswith(".py") and (launch_folder() / name).is_file()):
        return ""
    return mask_text(f"python launch/{name} {shlex.join(sys.argv[1:])}")


def provenance(told: dict[str, str]) -> dict[str, str]:
    """What is told, and the command, the software and the date of this page.

    Args:
        told: by name, such as that of the run and of its data.
    """
    now = datetime.datetime.now(datetime.UTC)
    return {
        **{name: mask_text(words) for name, words in told.items()},
        "command": command_line(),
        "software": software(),
        "page made": f"{now:%Y-%m-%d %H:%M} UTC",
    }
