"""Where Hydra looks for configs: in ours, then in those of named plugins and of given folders."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from vgbdm import plugins
from vgbdm.errors import InputError

SEARCHED, NAMED = "hydra.searchpath", "plugins"
OPTIONS = ("--config-dir", "-cd")
SCHEME = "file://"
WORD = re.compile(r"[\w-]+")
"""A name of a config."""
DEPTHS = ("*", "*/*", "*/*/*")
"""Of configs in a folder: of launchers, of groups, of groups inside those."""


def config_dirs(arguments: Sequence[str]) -> list[str]:
    """The same arguments with ``--config-dir DIR`` as Hydra's override of its search path.

    Raises:
        InputError: if the folder is missing.
    """
    rest, folders, given = [], [], iter(arguments)
    for argument in given:
        name, equals, value = argument.partition("=")
        if name not in OPTIONS:
            rest.append(argument)
            continue
        folder = value if equals else next(given, "")
        if not folder:
            raise InputError(f"argument {name}: want a folder of configs: {name}=DIR")
        folders.append(folder)
    return [*rest, _override(folders)] if folders else rest


def with_plugins(overrides: Sequence[str], own: Path) -> tuple[list[str], list[Path]]:
    """Overrides and the folders in which their configs are found; the plugins are named by it.

    Args:
        overrides: of the command line: ``plugins=[…]`` and ``hydra.searchpath=[…]`` among them.
        own: the folder that is searched first.

    Returns:
        The overrides without ``hydra.searchpath``; the folders in their order, ``own`` first.

    Raises:
        InputError: for a plugin that is not installed, a config of one that is not named, a folder
            that is not there, and a config that has the name of an earlier one, which would never
            be found.
    """
    plugins.use(_values(overrides, NAMED))
    folders = [*plugins.config_folders(), *map(_folder, _values(overrides, SEARCHED))]
    _refuse_same_names([own, *folders])
    _refuse_unnamed(overrides, [own, *folders])
    rest = [o for o in overrides if o.lstrip("+").partition("=")[0] != SEARCHED]
    return rest, list(dict.fromkeys([own, *folders]))


@contextmanager
def searching(folders: Sequence[Path]) -> Iterator[None]:
    """Hydra at folders of configs, the first of a name counts; for ``compose``."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(folders[0]), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        assert isinstance(loader, ConfigLoaderImpl)
        path = loader.get_search_path()
        for folder in folders[1:]:
            path.prepend("plugins", f"{SCHEME}{folder}", "schema")  # that must be last
        loader.repository.initialize_sources(path)
        yield


def _override(folders: Any) -> str:
    quoted = ("'" + str(folder).replace("'", "\\'") + "'" for folder in folders)
    return f"{SEARCHED}=[{','.join(quoted)}]"


def _values(overrides: Sequence[str], key: str) -> list[Any]:
    """All items of the lists that a key is given."""
    found: list[Any] = []
    for override in overrides:
        if override.lstrip("+").partition("=")[0] != key:
            continue
        try:
            value: Any = OverridesParser.create().parse_override(override).value()
        except HydraException:  # composing says what is wrong with it
            continue
        if not isinstance(value, list):
            raise InputError(f"{key}={value}: want a list: {key}=[…]")
        found += [getattr(item, "text", item) for item in value]
    return found


def _folder(name: Any) -> Path:
    """A folder of configs that is there."""
    folder = Path(str(name).removeprefix(SCHEME)).expanduser().absolute()
    if not folder.is_dir():
        raise InputError(f"{SEARCHED}: {name} is no folder; give one that holds configs")
    return folder


def _refuse_same_names(folders: Sequence[Path]) -> None:
    seen: dict[Path, Path] = {}
    for folder in dict.fromkeys(folders):
        for file in sorted(f for depth in DEPTHS for f in folder.glob(f"{depth}.yaml")):
            first = seen.setdefault(file.relative_to(folder), file)
            if first != file:
                raise InputError(f"{file}: {first} has the same name and is found first; rename it")


def _refuse_unnamed(overrides: Sequence[str], folders: Sequence[Path]) -> None:
    """Say which registered plugin brings a choice that nothing searched has."""
    for override in overrides:
        group, _, name = override.lstrip("+").partition("=")
        choice = Path(group, f"{name}.yaml")
        if not WORD.fullmatch(name) or not any((folder / group).is_dir() for folder in folders):
            continue
        if any((folder / choice).is_file() for folder in folders):
            continue
        for plugin in sorted(set(plugins.registered(plugins.PLUGINS).values())):
            if any((folder / choice).is_file() for folder in plugins.configs_of(plugin)):
                raise InputError(
                    f"{override}: is brought by a plugin; if you trust it, give plugins=[{plugin}]"
                )
