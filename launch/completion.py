"""Completion of the launchers' arguments by bash, for `vgbdm NAME` and for launch/NAME.py.

eval "$(vgbdm completion)"                       in ~/.bashrc, or by hand
eval "$(python launch/completion.py)"            the same where vgbdm is no command
"""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from catalog import Launcher, launchers

from vgbdm.errors import InputError

if TYPE_CHECKING:
    from reading import Told

STARTERS = ("python", "python3", "torchrun", "deepspeed")
"""Commands whose arguments may be the path of a launcher."""
FLAGS = ("--help", "--cfg", "--multirun")
SCRIPT = """\
_vgbdm() {{
    local line
    COMPREPLY=()
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(
        {python} {file} --complete "$COMP_WORDBREAKS" "${{COMP_LINE:0:COMP_POINT}}" 2>/dev/null)
    [[ ${{COMPREPLY[0]-}} == *[=.] ]] && compopt -o nospace 2>/dev/null
    return 0
}}
complete -o bashdefault -o default -F _vgbdm {names}
"""


def script() -> str:
    """What bash evaluates."""
    names = ["vgbdm", *STARTERS, *(f"{name}.py" for name in launchers())]
    python, file = (shlex.quote(text) for text in (sys.executable, str(Path(__file__).resolve())))
    return SCRIPT.format(python=python, file=file, names=" ".join(names))


def complete(line: str, breaks: str) -> list[str]:
    """What may stand at the end of a line, from the last break of words on; sorted.

    Args:
        line: as far as the cursor.
        breaks: characters that end a word for bash; it completes what comes after the last one.
    """
    *before, current = split(line)
    found = [text for text in candidates(before, current) if text.startswith(current)]
    begun = max((current.rfind(char) for char in breaks), default=-1) + 1
    return sorted({text[begun:] for text in found})


def split(line: str) -> list[str]:
    """The words of a line; the last one may be begun, or empty."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    words = []
    try:
        words += lexer
    except ValueError:  # a quote that is still open
        return [*words, lexer.token.lstrip("\"'")]
    return words if words and not line[-1].isspace() else [*words, ""]


def candidates(before: Sequence[str], current: str) -> list[str]:
    """All that may be meant by a word, of which ``current`` is there, after others."""
    launcher, words = find(before)
    if launcher is None:
        return commands() if words is not None and not words else []
    if current.startswith("-"):
        return list(FLAGS)
    told = as_far_as_told(launcher.config_name, [word for word in words if "=" in word])
    if words and words[-1] in ("--help", "-h"):
        return told.blocks()
    key, equals, _ = current.partition("=")
    return [f"{key}={value}" for value in values(told, key)] if equals else keys(told, current)


def as_far_as_told(config_name: str, overrides: Sequence[str]) -> Told:
    """The config of arguments; where it cannot be composed, of those that bring configs."""
    from reading import read_told

    from vgbdm.registry.search_path import NAMED, SEARCHED

    searched = [o for o in overrides if o.partition("=")[0] in (NAMED, SEARCHED)]
    for given in (overrides, searched):
        with contextlib.suppress(InputError):
            return read_told(config_name, given)
    return read_told(config_name)


def values(told: Told, key: str) -> list[str]:
    """What may be told of a key, where that is one of a few names."""
    from reading import read_options

    if key in told.names:
        return told.names[key]
    for option in read_options(told):
        if option.key == key:
            return ["false", "true"] if option.kind == "yes or no" else list(option.choices)
    return []


def keys(told: Told, begun: str) -> list[str]:
    """Groups and keys that begin so, as far as the next dot."""
    from explaining import dotted

    depth = begun.count(".") + 1
    known = [key for key in dotted(told.cfg) if not key.rpartition(".")[2].startswith("_")]
    inner = {".".join(key.split(".")[:depth]) for key in known if key.count(".") >= depth}
    leaves = {key for key in known if key.count(".") == depth - 1} - inner
    groups = set(told.names) if depth == 1 else set()
    return [*(f"{key}=" for key in leaves | groups), *(f"{key}." for key in inner)]


def find(words: Sequence[str]) -> tuple[Launcher | None, Sequence[str] | None]:
    """The launcher that words start, and those after its name.

    Without a launcher: the words after ``vgbdm``, or None where it is not meant.
    """
    known = launchers()
    for place, word in enumerate(words):
        path = Path(word)
        if path.suffix == ".py" and path.stem in known:
            return known[path.stem], words[place + 1 :]
        module = place and words[place - 1] in ("-m", "--module")
        if path.name == "vgbdm" and (not place or module):
            name = "".join(words[place + 1 : place + 2]).replace("-", "_")
            return known.get(name), words[place + 2 if name in known else place + 1 :]
    return None, None


def commands() -> list[str]:
    """The subcommands of `vgbdm`."""
    from vgbdm.plugins import COMMANDS, registered

    return [*registered(COMMANDS), "--help"]


def main() -> None:
    """Print the script, or what may stand in the place of a word."""
    if sys.argv[1:2] == ["--complete"]:
        breaks, line = sys.argv[2:]
        print("".join(f"{found}\n" for found in complete(line, breaks)), end="")
    elif any(argument in ("--help", "-h") for argument in sys.argv[1:]):
        print((__doc__ or "").strip())
    elif sys.argv[1:]:
        print("error: completion takes no arguments; --help says its use", file=sys.stderr)
        sys.exit(2)
    else:
        print(script(), end="")


if __name__ == "__main__":
    main()
