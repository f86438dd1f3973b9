"""Objects from configs: Hydra's ``_target_``, held to a list of this project's own classes.

A config may come with somebody else's checkpoint, and Hydra would call whatever it names. So every
``_target_`` must be marked in the module that defines it (``@buildable`` or ``@model_part``; the
latter for what comes out of a checkpoint), and nothing else in a config may act: no positional
arguments, no resolvers. All of it is looked at before anything it names is imported.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vgbdm.errors import InputError

PACKAGES = ("vgbdm", "climate", "physics_systems")
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
def marks_of(module: str) -> dict[str, str]:
    """What a module of this project marks as listed: name → mark, read off its text."""
    package, *inner = module.split(".")
    if package not in PACKAGES or not inner or not all(part.isidentifier() for part in inner):
        return {}
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    file = Path(spec.origin).parent.joinpath(*inner).with_suffix(".py")
    try:
        text = file.read_bytes()
    except OSError:  # none, or a name that no file can have
        return {}
    return {
        node.name: mark.id
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        for mark in node.decorator_list
        if isinstance(mark, ast.Name) and mark.id in MARKS
    }


def _is_listed(target: Any, marks: Sequence[str]) -> bool:
    """Whether a name is that of a marked class; imports nothing."""
    if not isinstance(target, str):
        return False
    module, _, name = target.rpartition(".")
    return marks_of(module).get(name) in marks


def _check(node: Any, place: str, marks: Sequence[str]) -> None:
    """Refuse what could do anything but describe listed classes and plain values."""
    if isinstance(node, Mapping):
        if "_target_" in node and not _is_listed(node["_target_"], marks):
            raise InputError(
                f"config {place}: _target_={node['_target_']} is none of the classes that may be "
                f"built here: those of {', '.join(PACKAGES)} under @{' or @'.join(marks)}"
            )
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
