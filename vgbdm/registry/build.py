"""Objects from configs: Hydra's ``_target_``, held to classes that are marked in allowed packages.

A config may come with somebody else's checkpoint, and Hydra would call whatever it names. So every
``_target_`` must be of a package of ours or of a plugin that the caller named (`vgbdm.plugins`),
and marked in the module that defines it (``@buildable`` or ``@model_part``; the latter for what a
checkpoint names). Nothing else in a config may act: no positional arguments, no resolvers. All of
it is looked at before anything it names is imported.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vgbdm import plugins
from vgbdm.errors import InputError

MARKS = ("model_part", "buildable")
"""See `vgbdm.registry.marks`; a checkpoint names parts of models alone."""
KEYS: dict[str, type] = {"_target_": str, "_partial_": bool, "_convert_": str}
"""What a config may tell Hydra, and with which type of value."""
LARGEST_SIZE = 2**16
"""Of the whole numbers in a checkpoint's config: widths, depths, steps, points."""
SPARE = 4
"""Parameters made for one that stays, at most: some are made twice, or replaced."""
SECONDS = ("step_seconds",)
"""Those that are no sizes."""


@functools.cache
def _definitions(file: Path) -> dict[str, str]:
    """Classes and functions at the top of a file: name → mark or "", read off its text."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):  # none, a folder, or no Python
        return {}
    found = {}
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names = [mark.id for mark in node.decorator_list if isinstance(mark, ast.Name)]
            found[node.name] = next((name for name in names if name in MARKS), "")
    return found


def marks_of(module: str) -> dict[str, str]:
    """What a module of ours or of a named plugin marks: name → mark; imports nothing."""
    file = plugins.file_of(module) if plugins.allows(module) else None
    found = _definitions(file) if file is not None else {}
    return {name: mark for name, mark in found.items() if mark}


def _check(node: Any, place: str, marks: Sequence[str]) -> None:
    """Refuse what could do anything but describe marked classes and plain values."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            _check_target(node["_target_"], place, marks)
        for name, child in node.items():
            if str(name).startswith("_") and not isinstance(child, KEYS.get(name, ())):
                raise InputError(f"config {place}: {name}={child} may not stand in a config")
            _check(child, f"{place}.{name}", marks)
    elif isinstance(node, str):
        if "${" in node or node == "???":
            raise InputError(f"config {place}: {node} is no value; give the value itself")
    elif isinstance(node, Sequence):
        for index, child in enumerate(node):
            _check(child, f"{place}[{index}]", marks)


def _check_target(target: Any, place: str, marks: Sequence[str]) -> None:
    """Refuse a name that is not of a marked class of an allowed package; say what to do."""
    module, _, name = target.rpartition(".") if isinstance(target, str) else ("", "", "")
    if marks_of(module).get(name) in marks:
        return
    allowed = ", ".join((*plugins.trusted_packages(), *plugins.named()))
    raise InputError(
        f"config {place}: _target_={target} is none of the classes that may be built here, those "
        f"of {allowed} under @{' or @'.join(marks)}{_remedy(module, name, marks)}"
    )


def _remedy(module: str, name: str, marks: Sequence[str]) -> str:
    """What makes a class one that may be built; nothing where nobody could want it."""
    file = plugins.file_of(module)
    package = module.partition(".")[0]
    if file is None:
        missing = package.isidentifier() and plugins.file_of(package) is None
        return f"; no package {package} is installed here" if missing else ""
    mark = _definitions(file).get(name)
    if mark in marks and not plugins.allows(module):
        return f"; if you trust that package, give plugins=[{plugins.package_of(module)}]"
    if mark is not None and plugins.allows(module) and package not in plugins.trusted_packages():
        return f"; put @{MARKS[0]} of vgbdm.registry.marks above class {name}"
    return ""


def check_parts(config: Mapping[str, Any]) -> None:
    """Refuse, before a training, a model whose checkpoint could not be loaded.

    Args:
        config: that the checkpoint will hold, for `rebuild`.

    Raises:
        InputError: for a class that is not marked as a part of models.
    """
    _check(config, str(config.get("_target_")), MARKS[:1])


def class_of(target: Any, place: str) -> Any:
    """The marked class that a config would build, imported.

    Args:
        target: ``module.Class``.
        place: of the config, for errors.

    Raises:
        InputError: as `build`.
    """
    _check_target(target, place, MARKS)
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _make(config: Mapping[str, Any], marks: Sequence[str]) -> Any:
    """What a plain config describes, still to be called."""
    if "_target_" not in config:
        raise InputError(f"config with {sorted(map(str, config))}: _target_ is missing")
    _check(config, str(config["_target_"]), marks)
    return instantiate(dict(config), _partial_=True, _convert_="all")


def build(config: DictConfig | Mapping[str, Any], *args: Any, **options: Any) -> Any:
    """The object a config describes, with further arguments from the caller.

    Args:
        config: with ``_target_``; nested ones are built first.
        args: positional arguments of the object.
        options: keyword arguments, over those of the config.

    Raises:
        InputError: if the config has no ``_target_``, names a class that is not listed, or holds
            anything else that acts.
    """
    plain: Any = config
    if OmegaConf.is_config(config):
        plain = OmegaConf.to_container(config, resolve=True)
    return _make(plain, MARKS)(*args, **options)


def rebuild(config: Mapping[str, Any], numbers: int = 2**40) -> Any:
    """The untrained model that a checkpoint describes; nothing but parts of models is built.

    Args:
        config: of the checkpoint.
        numbers: that the checkpoint holds; a model of several times as many parameters is refused
            before they are touched.

    Raises:
        InputError: as `build`, and for a model of other sizes than any that was trained.
    """
    _check_sizes(config, "")
    with _at_most(numbers):
        return _make(config, MARKS[:1])()


def _check_sizes(node: Any, name: str) -> None:
    """Refuse a whole number that would be the size of no table, nor the length of any loop."""
    if isinstance(node, Mapping):
        for key, child in node.items():
            _check_sizes(child, str(key))
    elif isinstance(node, list | tuple):
        for child in node:
            _check_sizes(child, name)
    elif isinstance(node, int) and abs(node) > LARGEST_SIZE and name not in SECONDS:
        raise InputError(f"config {name}={node}: at most {LARGEST_SIZE} in a model; train it again")


@contextlib.contextmanager
def _at_most(numbers: int) -> Iterator[None]:
    """Count parameters as modules are given them, which is before they are filled."""
    from torch.nn.modules import module  # this package imports no torch by itself

    held, most = 0, SPARE * numbers

    def count(_: Any, name: str, parameter: Any) -> None:
        nonlocal held
        held += 0 if parameter is None else parameter.numel()
        if held > most:
            raise InputError(
                f"config: describes a model of more than {most} parameters, its checkpoint "
                f"holds {numbers}; train it again"
            )

    hook = module.register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
