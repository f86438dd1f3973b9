"""The pages of `--help` and of `--cfg`, as text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import yaml
from explaining import missing_keys
from omegaconf import DictConfig, OmegaConf
from reading import Choice, Told, read_choices

from vgbdm.errors import InputError
from vgbdm.options.nearest import one_of
from vgbdm.options.option import REQUIRED, Option
from vgbdm.storage.masking import mask

LEFT = 26
"""Columns of names; what is said of them begins after it, or below."""
HUGE = re.compile(r"^(\d+) … (?:2147483647|9223372036854775807)$")
"""A range whose end is that of a machine's whole numbers."""
UNSET = "\N{WHITE MEDIUM SQUARE}"
"""Stands for a value that must be given, while those that refer to it are resolved."""


def overview(about: str, told: Told, options: Sequence[Option], width: int) -> str:
    """What a launcher does, what it must be told, what it often is, and what else there is.

    Args:
        about: what its file says.
        told: its config.
        options: all of them.
        width: of the page, in columns.
    """
    required = [option for option in options if option.default is REQUIRED]
    common = [option for option in options if option.common and option not in required]
    told_already = {option.key for option in (*required, *common)} | set(told.blocks())
    rest = [o.key for o in options if "." not in o.key and o.key not in told_already]
    lines = [part for line in about.splitlines() for part in _wrapped(line, width) or [""]]
    lines += [""]
    lines += _wrapped(
        "Arguments are key=value. --help NAME says all of a group or an option; --cfg prints the "
        "config as it is with the arguments given; --multirun makes a run of each of the values in "
        "seed=1,2,3.",
        width,
    )
    for title, chosen in (("must be given", required), ("often given", common)):
        if chosen:
            lines += ["", f"{title}:", *(line for o in chosen for line in row(o, width))]
    lines += ["", "groups:"] if told.blocks() else []
    for name in told.blocks():
        if name in told.chosen:
            left = f"{name}={told.chosen[name] or 'null'}"
            lines += _columns(left, " | ".join(told.names[name]), width)
        else:
            parts = dict.fromkeys(
                o.key.split(".")[1] for o in options if o.key.startswith(f"{name}.")
            )
            lines += _columns(f"{name}.", ", ".join(parts), width)
    if rest:
        lines += ["", *_wrapped(f"others: {', '.join(rest)}", width)]
    return "\n".join(lines)


def page(name: str, told: Told, options: Sequence[Option], width: int) -> str:
    """All of one group, or of one option.

    Args:
        name: of a group, a mapping or an option.
        told: the config of a launcher.
        options: all of them.
        width: of the page, in columns.

    Raises:
        InputError: where there is nothing of that name; with the nearest.
    """
    choices = read_choices(told, name)
    made = next((choice for choice in choices if choice.name == told.chosen.get(name)), None)
    about = set(made.keys) if made is not None else set()
    inside = [o for o in options if o.key.startswith(f"{name}.") or o.key in about]
    held = inside if choices else inside or [o for o in options if o.key == name]
    if not held and not choices:
        listed = told.blocks()
        known = [option.key for option in options]
        raise InputError(f"--help {name}: no such group or option{one_of(name, listed, known)}")
    lines = _choices(name, choices, told.chosen.get(name), width)
    if held and choices:
        lines += ["", f"options of {name}={told.chosen[name]}:"]
    lines += [line for option in held for line in row(option, width)]
    return "\n".join(lines)


def _choices(name: str, choices: Iterable[Choice], chosen: str | None, width: int) -> list[str]:
    lines = []
    for choice in choices:
        mark = "*" if choice.name == chosen else " "
        lines += _columns(f"{mark} {name}={choice.name}", choice.sentence, width)
    return lines


def row(option: Option, width: int) -> list[str]:
    """The lines of an option: its key and default, what it is, and what it may be."""
    default = "…" if option.default is REQUIRED else shown(option.default)
    return _columns(f"{option.key}={default}", described(option), width)


def described(option: Option) -> str:
    """What an option is for, and in brackets its type, range, unit, choices, and what it needs."""
    null = ["null"] if option.nullable and "null" not in option.choices else []
    kind = " | ".join([*option.choices, *null]) if option.choices else option.kind
    bounds = HUGE.sub(r"≥ \1", option.bounds)
    only = f"only with {option.only}" if option.only else ""
    wanted = ", ".join(filter(None, (f"{kind} {bounds}".strip(), option.unit, only)))
    return f"{option.sentence.rstrip('.')} ({wanted})" if option.sentence else f"({wanted})"


def shown(value: Any) -> str:
    """A default as it would be told."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list | tuple):
        text = yaml.safe_dump(_plain(value), default_flow_style=True, width=10**6, sort_keys=False)
        return text.strip()
    return str(value) if isinstance(value, str | int | float) else "its own"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(held) for key, held in value.items()}
    return [_plain(held) for held in value] if isinstance(value, list | tuple) else value


def _columns(left: str, right: str, width: int) -> list[str]:
    """A name, and beside it what is said; below it where the name is too long."""
    beside = textwrap.wrap(right, max(20, width - LEFT - 2)) or [""]
    if len(left) + 2 > LEFT:
        left_lines = textwrap.wrap(left, width - 2, subsequent_indent="    ")
        return [f"  {line}" for line in left_lines] + [f"  {'':{LEFT}}{line}" for line in beside]
    rest = [f"  {'':{LEFT}}{line}" for line in beside[1:]]
    return [f"  {left:{LEFT}}{beside[0]}".rstrip(), *rest]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="    ")


def composed(cfg: DictConfig) -> str:
    """A config as YAML: resolved, secrets masked, ``???`` where a value must be given.

    Args:
        cfg: composed; it is changed.
    """
    for key in missing_keys(cfg):
        OmegaConf.update(cfg, key, UNSET)
    plain = mask(OmegaConf.to_container(cfg, resolve=True))
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
    return text.replace(f'"{UNSET}"', "???").replace(UNSET, "???")
