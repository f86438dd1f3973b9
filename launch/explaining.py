"""What to say of arguments that Hydra cannot take: which one, why, and what to give instead."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import TypeGuard

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, Node
from omegaconf.errors import GrammarParseError

from vgbdm.options.nearest import one_of

KEY = re.compile(r"(\+\+|\+|~)?[A-Za-z_][\w./@:-]*")
"""What may stand before the ``=`` of an argument."""
TEXT = re.compile(r"[^\[\]{},:\s][^\[\]{},:]*")
"""One text in a list or a mapping."""
NO_REFERENCE = re.compile(r"(?<!\\)\$\{(?![A-Za-z_.][\w.:,]*\w\})")
"""What begins as one option's value in another's, and is none."""
WAYS = "another option's value is ${OPTION}, an environment variable's ${oc.env:NAME}"
"""How a value refers to another."""


def explain(error: Exception, config_name: str, overrides: Sequence[str]) -> str:
    """One line for an error of Hydra's ``compose``, which must be set up as it was then.

    Args:
        error: that ``compose`` raised.
        config_name: of the launcher.
        overrides: that it was given.
    """
    return " ".join(_explain(error, config_name, overrides).splitlines())


def _explain(error: Exception, config_name: str, overrides: Sequence[str]) -> str:
    odd = [o for o in overrides if not KEY.fullmatch(o.partition("=")[0])]
    if odd or isinstance(error, OverrideParseException):
        return how_to_quote([*odd, getattr(error, "override", "")][0])
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"argument {group}={name}: no such choice{one_of(name, error.options)}"
    first = str(error).partition("\n")[0]
    guilty = next((o for o in overrides if _is_named(o, first)), None)
    if guilty is None:
        return f"{first or type(error).__name__}; --help lists what there is"
    key, _, value = guilty.lstrip("+~").partition("=")
    if isinstance(error.__cause__, GrammarParseError):
        plain = quoted(key, value.strip("\"'"))
        return f"argument {guilty}: ${{ begins no reference; {WAYS}; as text it is {plain}"
    if first.startswith("Ambiguous value"):
        listed = shlex.quote(f"{key}=[{value}]")
        return (
            f"argument {guilty}: not readable as one value; {listed} is a list, --multirun makes "
            f"a run of each; or quote the value: {quoted(key, value)}"
        )
    if first.startswith("Could not append") or "more than once" in first:
        return f"argument {guilty}: {key} is there already; give it without +: {key}={value}"
    if first.startswith("Could not delete"):
        return f"argument {guilty}: options cannot be taken away; give {key}= another value"
    groups = chosen(config_name)
    if key in groups:
        none = "" if groups[key] else "; for none leave it out"
        choices = one_of(value, choices_of(key))
        return f"argument {guilty}: {key} takes the name of a choice{choices}{none}"
    above = next((o for o in overrides if key.startswith(f"{o.partition('=')[0]}.")), "")
    if above and above.partition("=")[0] not in groups:
        return f"argument {guilty}: does nothing beside {above}; give one of them"
    return unknown_key(key, config_name, overrides)


def _is_named(override: str, line: str) -> bool:
    """Whether a line of Hydra's is of this argument."""
    key = override.lstrip("+~").partition("=")[0]
    quoted_names = re.findall(r"'([^']*)'", line)
    if line.startswith("Config group override"):  # names nothing, and is of what is no text
        return _is_other_than_text(override)
    value = override.partition("=")[2]
    named = key in quoted_names or ("${" in value and value in quoted_names)
    return override in line or named or line.startswith(f"{key} appears")


def _is_other_than_text(override: str) -> bool:
    """Whether an argument chooses from a group by what can be no name."""
    parsed = OverridesParser.create().parse_override(override)
    groups = GlobalHydra.instance().config_loader().list_groups("")
    return (parsed.key_or_group in ("", *groups)) and not isinstance(parsed.value(), str | list)


def how_to_quote(override: str) -> str:
    """What to say of an argument that Hydra cannot read."""
    key, equals, value = override.partition("=")
    if not equals:
        return f"argument {override!r}: want key=value; --help lists the keys"
    if not KEY.fullmatch(key):
        return f"argument {override}: {key!r} is no key; want key=value, --help lists the keys"
    if value.startswith(('"', "'")):
        return f"argument {override}: not readable; close its quotes"
    if value.startswith(("[", "{")):
        inside = TEXT.sub(lambda found: _quoted_text(found[0]), value)
        if _is_readable(f"{key}={inside}"):
            told = shlex.quote(f"{key}={inside}")
            return f"argument {override}: not readable; quote the texts in it: {told}"
        if value.count("[") != value.count("]") or value.count("{") != value.count("}"):
            return f"argument {override}: not readable; close its brackets"
    return f"argument {override}: not readable; quote the value: {quoted(key, value)}"


def quoted(key: str, value: str) -> str:
    """An argument with its value as a text, as a shell takes it."""
    value = NO_REFERENCE.sub(r"\\${", value.replace('"', '\\"'))
    return shlex.quote(f'{key}="{value}"')


def _quoted_text(text: str) -> str:
    """The text in quotes, where it cannot be read without."""
    bare = text.rstrip()
    return text if _is_readable(f"key={bare}") else f'"{bare}"{text[len(bare) :]}'


def _is_readable(override: str) -> bool:
    """Whether Hydra can read an argument."""
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def unknown_key(key: str, config_name: str, overrides: Sequence[str]) -> str:
    """What to say of a key that the config does not have."""
    groups = chosen(config_name)
    known = compose_choices(config_name, overrides, groups)
    node, path = deepest(known, key)
    here = [f"{path}.{name}" if path else str(name) for name in node] if _is_mapping(node) else []
    if path == key:
        return f"argument {key}: takes no choice; give its parts: {', '.join(here)}"
    others = choices_with(key, groups)
    if others:
        return f"argument {key}: only {' or '.join(others)} has it; give that too"
    if node._is_interpolation():
        source = str(node._value())[2:-1]
        return f"argument {key}: {path} is taken from {source}; give {source}{key[len(path) :]}=…"
    if _is_mapping(node) and not here:
        return f"argument {key}: {path} is empty; what is new in it is given with +: +{key}=…"
    if not here:
        return f"argument {key}: no such option; {path} is one value, without parts"
    listed = here if path else sorted({*here, *groups})
    return f"argument {key}: no such option{one_of(key, listed, [*dotted(known), *groups])}"


def missing_keys(cfg: DictConfig) -> list[str]:
    """The keys whose values must be given, and are not; whatever refers to them."""
    return [key for key in dotted(cfg) if deepest(cfg, key)[0]._is_missing()]


def chosen(config_name: str) -> dict[str, str | None]:
    """The groups of a launcher, and what is chosen from each where nothing is said."""
    cfg = compose(config_name, return_hydra_config=True)
    choices = cfg.hydra.runtime.choices
    return {str(g): choices[g] for g in choices if not str(g).startswith("hydra/")}


def choices_of(group: str) -> list[str]:
    """What there is to choose from in a group, own and strangers'."""
    return list(GlobalHydra.instance().config_loader().get_group_options(group))


def compose_choices(
    config_name: str, overrides: Iterable[str], groups: Iterable[str]
) -> DictConfig:
    """The config with the choices that arguments make, where they can be made."""
    made = [o for o in overrides if o.lstrip("+~").partition("=")[0] in groups]
    try:
        return compose(config_name, made)
    except (HydraException, ValueError):
        return compose(config_name)


def choices_with(key: str, groups: Iterable[str]) -> list[str]:
    """Every choice of a group, such as ``task=regional``, that brings such a key."""
    files = GlobalHydra.instance().config_loader().repository
    found = []
    for group in groups:
        for choice in choices_of(group):
            held = files.load_config(f"{group}/{choice}")
            inside = "" if held.header.get("package") == "_global_" else f"{group}."
            below = key.removeprefix(inside)
            if key.startswith(inside) and deepest(held.config, below)[1] == below:
                found.append(f"{group}={choice}")
    return found


def deepest(cfg: DictConfig, key: str) -> tuple[Node, str]:
    """The node as far down a key as there is one, and its own key."""
    node: Node = cfg
    path: list[str] = []
    for name in key.split("."):
        held = node._get_node(name, validate_access=False) if _is_mapping(node) else None
        if held is None:
            break
        path.append(name)
        node = held
    return node, ".".join(path)


def _is_mapping(node: Node) -> TypeGuard[DictConfig]:
    special = node._is_none() or node._is_interpolation() or node._is_missing()
    return isinstance(node, DictConfig) and not special


def dotted(node: DictConfig, path: str = "") -> list[str]:
    """The keys of all that is in a config."""
    keys = []
    for name in node:
        key = f"{path}{name}"
        held = node._get_node(name)
        keys.append(key)
        if _is_mapping(held):
            keys += dotted(held, f"{key}.")
    return keys
