"""The reference page of all options, as Markdown, from the schema: docs/reference/options.md.

PYTHONPATH=launch python docs/options_page.py > docs/reference/options.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from catalog import Launcher, launchers
from pages import described, shown
from reading import Told, read_choices, read_options, read_told

from vgbdm.options.option import REQUIRED, Option

TOP = """\
# Options

Made from the schema by `make docs-options`; what it says is what the launchers check. Arguments are
`key=value`, of every launcher `--help` shows the same, and `--cfg` the config as it is with the
arguments given. **Bold** keys must be given.
"""


def reference() -> str:
    """The page."""
    by_config: dict[str, list[Launcher]] = {}
    for launcher in launchers().values():
        by_config.setdefault(launcher.config_name, []).append(launcher)
    groups: dict[str, str] = {}
    parts = [TOP]
    for config_name, others in by_config.items():
        alike = sorted(others, key=lambda launcher: launcher.name != config_name)
        told = read_told(config_name)
        options = read_options(told)
        of_groups = {key for g in told.names for key in _keys_of(g, told)}
        own = [option for option in options if option.key not in of_groups]
        names = " and ".join(f"`{launcher.command}`" for launcher in alike)
        parts.append(f"## {names}\n\n{_first(alike)}\n")
        if told.names:
            linked = (
                f"[`{g}`](#{g.replace('/', '')})={told.chosen[g] or 'null'}"
                for g in sorted(told.names)
            )
            parts.append(f"Groups: {', '.join(linked)}.\n")
        parts.append(_table(own))
        for group in told.names:
            if group not in groups:
                groups[group] = _group(group, told)
    parts.append("# Groups\n")
    return "\n".join([*parts, *(groups[name] for name in sorted(groups))])


def _first(alike: Sequence[Launcher]) -> str:
    """What the files of launchers begin with."""
    return " ".join(launcher.about.partition("\n\n")[0].replace("\n", " ") for launcher in alike)


def _keys_of(group: str, told: Told) -> set[str]:
    """What the chosen file of a group is about."""
    made = told.chosen[group]
    return {key for one in read_choices(told, group) if one.name == made for key in one.keys}


def _group(group: str, told: Told) -> str:
    """The section of a group: its choices, each with the options that it brings."""
    parts = [f"## {group}\n"]
    for choice in read_choices(told, group):
        chosen = choice.name == told.chosen[group]
        made = told if chosen else read_told(told.config_name, [f"{group}={choice.name}"])
        options = read_options(made)
        inside = tuple(f"{key}." for key in choice.keys)
        parts.append(f"### {group}={choice.name}\n\n{choice.sentence}.\n")
        about = [o for o in options if o.key in choice.keys or o.key.startswith(inside)]
        if about:
            parts.append(_table(about))
    return "\n".join(parts)


def _table(options: Iterable[Option]) -> str:
    lines = ["| key | default | |", "| --- | --- | --- |"]
    for option in options:
        required = option.default is REQUIRED
        key = f"**`{option.key}`**" if required else f"`{option.key}`"
        default = "" if required else f"`{shown(option.default)}`"
        said = described(option).replace("|", "\\|")
        lines.append(f"| {key} | {default} | {said} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
