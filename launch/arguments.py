"""What no launcher takes: arguments given twice, Hydra's own, references that lead nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterable

from explaining import WAYS, deepest, dotted
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    InterpolationToMissingValueError,
    OmegaConfBaseException,
    UnsupportedInterpolationType,
)

from vgbdm.errors import InputError
from vgbdm.options.nearest import one_of
from vgbdm.registry.search_path import SEARCHED

REFERENCE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")
"""Another option's value in a value."""
VARIABLE = re.compile(r"Environment variable '([^']*)' not found")
ABSENT = re.compile(r"Interpolation key '([^']*)' not found")


def check_arguments(overrides: Iterable[str]) -> None:
    """Refuse arguments that would do nothing: a key's first value of two, and Hydra's own keys.

    Raises:
        InputError: for the first of them.
    """
    seen: dict[str, str] = {}
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key == SEARCHED:  # given twice, both are searched
            continue
        if key.startswith(("hydra.", "hydra/")):
            raise InputError(
                f"argument {override}: does nothing here, leave it out; of Hydra's own keys only "
                f"{SEARCHED}=[DIR] is read"
            )
        if key in seen:
            raise InputError(
                f"argument {override}: {key} is given twice, before as {seen[key]}; give it once"
            )
        seen[key] = override


def check_references(cfg: DictConfig, overrides: Iterable[str]) -> None:
    """Refuse arguments whose values refer to what is not there.

    Raises:
        InputError: with what may have been meant.
    """
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if "${" not in value:
            continue
        try:
            node = OmegaConf.select(cfg, key)
            if OmegaConf.is_config(node):
                OmegaConf.to_container(node, resolve=True)
        except InterpolationToMissingValueError:  # it is asked for
            continue
        except OmegaConfBaseException as error:
            line = _unknown_option(value, cfg) or _explain(error)
            raise InputError(f"argument {override}: {line}") from None


def check_resolved(cfg: DictConfig) -> None:
    """Refuse a config in which something refers to what is not there; nothing is missing in it.

    Raises:
        InputError: with the key of what refers to it.
    """
    try:
        OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        key = str(error.full_key)
        told = deepest(cfg, key)[0]._value()
        raise InputError(f"{key}: {told} is not there to take it from; give {key}=…") from None


def _unknown_option(value: str, cfg: DictConfig) -> str:
    """What to say of an option that a value refers to and that is not there; empty for none."""
    for name in REFERENCE.findall(value):
        if deepest(cfg, name)[1] != name:
            near = one_of(name, list(map(str, cfg)), dotted(cfg))
            return f"there is no option {name} to refer to{near}"
    return ""


def _explain(error: OmegaConfBaseException) -> str:
    """What is wrong with a reference, and how one is written."""
    first = str(error).partition("\n")[0]
    if variable := VARIABLE.search(first):
        return (
            f"there is no environment variable {variable[1]}; set it, or say what stands for it: "
            f"${{oc.env:{variable[1]},VALUE}}"
        )
    if isinstance(error, UnsupportedInterpolationType):
        return f"{first.rpartition(' ')[2]} is no kind of reference; {WAYS}"
    if first.startswith("Recursive"):
        return "its value is taken from itself; give it one"
    if key := ABSENT.search(first):
        return f"there is no option {key[1]} to refer to; {WAYS}"
    return f"it refers to nothing; {WAYS}"
