"""What a launcher can be told: its config as far as it is told, and the groups of its choices."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlparse

from arguments import check_arguments
from explaining import (
    choices_of,
    choices_with,
    chosen,
    compose_choices,
    deepest,
    dotted,
    explain,
)
from hydra import compose
from hydra.core.default_element import ConfigDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from vgbdm.errors import InputError
from vgbdm.options.option import Option, options_of
from vgbdm.registry.search_path import searching, with_plugins
from vgbdm.resources import configs_folder


def compose_told(config_name: str, overrides: Sequence[str], whole: bool = False) -> DictConfig:
    """The config of arguments, also of those that the schema knows and the config does not say.

    Args:
        config_name: of the launcher.
        overrides: the arguments.
        whole: with Hydra's own part.

    Raises:
        InputError: where it cannot be; with what to give instead.
    """
    check_arguments(overrides)
    overrides, folders = with_plugins(overrides, configs_folder())
    with searching(folders):
        return _compose(config_name, overrides, whole)


def _compose(config_name: str, overrides: Sequence[str], whole: bool) -> DictConfig:
    try:
        return compose(config_name, list(overrides), return_hydra_config=whole)
    except (HydraException, ValueError) as error:
        added = _add_unsaid(config_name, overrides) if "Could not override" in str(error) else None
        try:
            if added is not None:
                return compose(config_name, added, return_hydra_config=whole)
        except (HydraException, ValueError) as other:
            raise InputError(explain(other, config_name, overrides)) from None
        raise InputError(explain(error, config_name, overrides)) from None


def _add_unsaid(config_name: str, overrides: Sequence[str]) -> list[str] | None:
    """The same with + where the schema alone knows an option, and no choice has it; else None."""
    groups = chosen(config_name)
    known = compose_choices(config_name, overrides, groups)
    unsaid = {option.key for option in options_of(config_name, known)} - {*dotted(known)}
    new = {key for o in overrides if (key := o.partition("=")[0]) in unsaid}
    new = {key for key in new if not deepest(known, key)[0]._is_interpolation()}
    new -= {key for key in new if choices_with(key, groups)}
    return [f"+{o}" if o.partition("=")[0] in new else o for o in overrides] if new else None


@dataclass(frozen=True)
class Choice:
    """One of a group.

    Attributes:
        name: such as gbdm.
        sentence: that its file begins with.
        keys: that its file says something of, dotted.
    """

    name: str
    sentence: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """A launcher's config with some arguments.

    Attributes:
        config_name: of the launcher.
        cfg: composed.
        chosen: group → choice; None where none is made.
        names: group → of all that there are.
        folders: that hold them.
    """

    config_name: str
    cfg: DictConfig
    chosen: dict[str, str | None]
    names: dict[str, list[str]]
    folders: list[Path]

    def blocks(self) -> list[str]:
        """Names of groups, and of mappings of options."""
        held = [str(name) for name in self.cfg if _is_mapping(self.cfg, str(name))]
        return sorted({*self.chosen, *held})


def _is_mapping(cfg: DictConfig, name: str) -> bool:
    node = cfg._get_node(name)
    return isinstance(node, DictConfig) and not node._is_none() and not node._is_missing()


def read_told(config_name: str, overrides: Sequence[str] = ()) -> Told:
    """The config of a launcher with arguments.

    Raises:
        InputError: where it cannot be composed of them.
    """
    cfg = compose_told(config_name, overrides, whole=True)
    choices = cfg.hydra.runtime.choices
    made = {str(g): choices[g] for g in choices if not str(g).startswith("hydra/")}
    plain = OmegaConf.masked_copy(cfg, [name for name in cfg if name != "hydra"])
    folders = with_plugins(overrides, configs_folder())[1]
    with searching(folders):
        return Told(config_name, plain, made, {g: choices_of(g) for g in made}, folders)


def read_options(told: Told) -> list[Option]:
    """Every option of a launcher; of one that is a group, the names of its choices."""
    options = options_of(told.config_name, told.cfg)
    return [
        replace(o, choices=tuple(told.names[o.key]), nullable=False) if o.key in told.names else o
        for o in options
    ]


def read_choices(told: Told, group: str) -> list[Choice]:
    """What the files of a group's choices say; of what is no group, nothing."""
    names = told.names.get(group, ())
    with searching(told.folders):
        return [
            Choice(name, _first_sentence(group, name), tuple(_keys(group, name))) for name in names
        ]


def _first_sentence(group: str, name: str) -> str:
    """Of the comment that a choice's file begins with."""
    held = GlobalHydra.instance().config_loader().repository.load_config(f"{group}/{name}")
    path = Path(urlparse(held.path).path, group, f"{name}.yaml")
    comments = itertools.takewhile(lambda line: line.startswith("#"), path.read_text().splitlines())
    said = " ".join(line.lstrip("# ") for line in comments if not line.startswith("# @package"))
    return said.partition(". ")[0].rstrip(".")


def _keys(group: str, name: str) -> Iterator[str]:
    """The keys of a choice's file and of the files that it goes on from."""
    held = GlobalHydra.instance().config_loader().repository.load_config(f"{group}/{name}")
    for default in held.defaults_list or ():
        if isinstance(default, ConfigDefault) and not default.is_self():
            yield from _keys(group, str(default.path))
    inside = "" if held.header.get("package") == "_global_" else f"{group}."
    yield from (f"{inside}{key}" for key in dotted(held.config))
