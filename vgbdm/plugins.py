"""What packages bring: commands, domains, and classes that configs may name.

A package registers itself by entry points, which are read here without importing what they name.
The groups: ``vgbdm.plugins`` (packages whose ``@buildable`` and ``@model_part`` classes are known
by name), ``vgbdm.commands`` (subcommands of ``vgbdm``) and ``vgbdm.domains`` (back ends of the
Python functions). Classes of other packages are built once a caller has named the package.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from vgbdm.errors import InputError

OWN = "vgbdm"
"""This distribution, and the package that it is called after."""
PLUGINS, COMMANDS, DOMAINS = "vgbdm.plugins", "vgbdm.commands", "vgbdm.domains"
"""The groups."""
PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
"""Of a checkout; there is none beside an installed package."""

_named: dict[str, None] = {}  # in the order in which they were named


@functools.cache
def _project(path: Path) -> dict[str, dict[str, str]] | None:
    """Group → name → value of a checkout's own entry points; None where it is no checkout."""
    try:
        project = tomllib.loads(path.read_text()).get("project", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None
    return project.get("entry-points", {}) if project.get("name") == OWN else None


def _own(group: str) -> dict[str, str]:
    """This distribution's own entry points of a group."""
    project = _project(PROJECT)
    if project is not None:
        return dict(project.get(group, {}))
    return _installed(tuple(sys.path)).get(group, {}).copy()


@functools.cache
def _installed(path: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Group → name → value of the installed distribution's own entry points."""
    try:
        points = importlib.metadata.distribution(OWN).entry_points
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f"{Path(__file__).parent}: this package has neither its pyproject.toml nor what pip "
            f"writes of it; install it: pip install {OWN}"
        ) from None
    groups: dict[str, dict[str, str]] = {}
    for point in points:
        groups.setdefault(point.group, {})[point.name] = point.value
    return groups


def registered(group: str) -> dict[str, str]:
    """The entry points of a group: name → ``module`` or ``module:attribute``; imports nothing.

    Where two packages use one name, ours is taken, else the one found first.

    Args:
        group: such as ``vgbdm.commands``.

    Raises:
        InputError: if this package itself was not installed.
    """
    found = _own(group)
    for point in importlib.metadata.entry_points(group=group):
        distribution = getattr(point, "dist", None)
        if distribution is None or distribution.name != OWN:
            found.setdefault(point.name, point.value)
    return found


def trusted_packages() -> tuple[str, ...]:
    """The packages of this distribution: ``vgbdm`` and those that it registers as plugins."""
    return (OWN, *_own(PLUGINS).values())


def use(names: Iterable[str]) -> None:
    """Let classes of these packages or modules be built, from now on in this process.

    Nothing is imported yet. A package stands for all modules in it. What is built must be marked,
    see `vgbdm.listed`.

    Args:
        names: dotted, such as ``mylab.systems``; registered or not, but to be found by Python.

    Raises:
        InputError: for a name that is none, or that Python does not find.
    """
    listed = isinstance(names, Iterable) and not isinstance(names, str)
    if not listed or not all(isinstance(name, str) for name in names):
        raise InputError(f"plugins={names}: want a list of packages: plugins=[mylab.systems]")
    for name in names:
        if file_of(name) is None:
            known = ", ".join(sorted(set(registered(PLUGINS)) - set(trusted_packages())))
            raise InputError(
                f"plugins=[{name}]: no such package or module is installed here (registered: "
                f"{known or 'none'}); install it with pip, or put its folder into PYTHONPATH"
            )
    _named.update(dict.fromkeys(names))


def named() -> tuple[str, ...]:
    """What `use` was told, in that order."""
    return tuple(_named)


def allows(module: str) -> bool:
    """Whether marked classes of a module may be built: it is ours, or in a package that was named.

    Args:
        module: dotted.
    """
    parents = _parents(module)
    return not {*trusted_packages(), *_named}.isdisjoint(parents)


def package_of(module: str) -> str:
    """The registered plugin that a module is of, to be named; the module where there is none."""
    parents = _parents(module)
    values = set(registered(PLUGINS).values())
    return next((parent for parent in parents if parent in values), module)


def _parents(module: str) -> list[str]:
    """``a.b.c`` → ``a``, ``a.b``, ``a.b.c``."""
    parts = module.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def file_of(module: str) -> Path | None:
    """The source file of a module, or the folder of a package without ``__init__``; else None.

    Neither the module nor its parents are imported.
    """
    package, *inner = module.split(".")
    if not all(part.isidentifier() for part in (package, *inner)):
        return None
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None or (spec.submodule_search_locations is None and inner):
        return None
    if not inner and spec.has_location and spec.origin is not None:
        return Path(spec.origin)
    for folder in spec.submodule_search_locations or ():
        place = Path(folder, *inner)
        files = (place.with_suffix(".py"), place / "__init__.py") if inner else ()
        try:
            for file in files:
                if file.is_file():
                    return file
            if place.is_dir():
                return place
        except OSError:  # a name that no file can have
            return None
    return None


def configs_of(module: str) -> list[Path]:
    """The folders ``configs`` next to a module and its parents, the nearest first."""
    found = []
    for parent in reversed(_parents(module)):
        file = file_of(parent)
        if file is not None:
            folder = (file if file.is_dir() else file.parent) / "configs"
            found += [folder] if folder.is_dir() else []
    return found


def config_folders() -> tuple[Path, ...]:
    """Those of the plugins that were named."""
    return tuple(dict.fromkeys(folder for name in _named for folder in configs_of(name)))
