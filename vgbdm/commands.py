"""The command ``vgbdm``: the launchers, and strangers' commands, as subcommands.

vgbdm train-era5 store=STORE run_dir=RUN
torchrun --nproc-per-node 2 -m vgbdm train-era5 store=STORE run_dir=RUN
deepspeed --num_accelerators 2 --module vgbdm train-era5 store=STORE run_dir=RUN

Commands are the entry points of the group ``vgbdm.commands``.
"""

from __future__ import annotations

import ast
import importlib
import os
import runpy
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import TextIO

from vgbdm.errors import InputError
from vgbdm.options.nearest import nearest
from vgbdm.origin import software
from vgbdm.plugins import COMMANDS, registered
from vgbdm.resources import launch_folder

OWN = "vgbdm.launch."
"""Before the name of a launcher, which is run by its path; what others name is called."""
BY_LAUNCHERS = ("--local_rank", "--local-rank")
"""What `deepspeed` puts before all arguments."""
WIDTH = 100
USAGE = """\
usage: vgbdm COMMAND [key=value …]
       vgbdm COMMAND --help     what it takes
       vgbdm --version
"""
ON_MANY = """
Trainings on two processes:
  torchrun --nproc-per-node 2 -m vgbdm train-era5 …
  deepspeed --num_accelerators 2 --module vgbdm train-era5 …"""


def main() -> None:
    """Run the command line's subcommand; exits 2 where there is none of its name."""
    arguments = [a for a in sys.argv[1:] if not a.startswith(BY_LAUNCHERS)]
    try:
        commands = registered(COMMANDS)
        if not arguments or arguments[0] in ("--help", "-h"):
            say(sys.stdout, describe(commands))
        elif arguments[0] == "--version":
            say(sys.stdout, software())
        else:
            run(find(arguments[0], commands), arguments)
    except InputError as error:
        say(sys.stderr, f"error: {error}")
        sys.exit(2)


def say(stream: TextIO, text: str) -> None:
    """Write a text, on the first rank alone."""
    if os.environ.get("RANK", "0") == "0":
        stream.write(f"{text}\n")


def find(name: str, commands: Mapping[str, str]) -> str:
    """What an entry point of this name leads to.

    Raises:
        InputError: if there is none; it names the nearest.
    """
    if name in commands:
        return commands[name]
    meant = nearest(name.replace("_", "-"), list(commands)) or ";"
    raise InputError(f"command {name}: there is none{meant} vgbdm --help lists them")


def run(place: str, arguments: Sequence[str]) -> None:
    """Run a launcher as ``python launch/NAME.py …`` would, or call what a stranger registered.

    Args:
        place: of an entry point.
        arguments: of the command line, the command first.
    """
    if place.startswith(OWN):
        script = launch_folder() / f"{place.removeprefix(OWN)}.py"
        sys.argv = [str(script), *arguments[1:]]
        sys.path.insert(0, str(script.parent))
        runpy.run_path(str(script), run_name="__main__")
        return
    module, _, name = place.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"command {arguments[0]}: {place} cannot be imported ({error}); mend the package that "
            "registers it"
        ) from None
    sys.argv = [f"vgbdm {arguments[0]}", *arguments[1:]]
    function()


def describe(commands: Mapping[str, str]) -> str:
    """All commands with what they do, for a terminal."""
    width = min(WIDTH, shutil.get_terminal_size().columns)
    indent = " " * (4 + max(map(len, commands)))
    lines = [
        textwrap.fill(f"  {name}".ljust(len(indent)) + summary(place), width,
                      subsequent_indent=indent)
        for name, place in commands.items()
    ]  # fmt: skip
    return "\n".join([USAGE, *lines, ON_MANY])


def summary(place: str) -> str:
    """The first sentence of a launcher's docstring; nothing is imported."""
    if not place.startswith(OWN):
        return f"of {place.partition(':')[0]}"
    script = launch_folder() / f"{place.removeprefix(OWN)}.py"
    told = ast.get_docstring(ast.parse(script.read_text())) or ""
    return told.partition("\n")[0]
