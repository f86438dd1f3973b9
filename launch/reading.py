"""What a launcher can be told: its config as far as it is told, and the groups of its choices."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

from explaining import choices_of, dotted, explain
from hydra import compose, initialize_config_dir
from hydra.core.default_element import ConfigDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from vgbdm.errors import InputError
from vgbdm.resources import configs_folder


@contextmanager
def at_configs() -> Iterator[None]:
    """Hydra at the folder of the configs, for ``compose``."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(configs_folder()), version_base="1.3"):
        yield


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
    """

    config_name: str
    cfg: DictConfig
    chosen: dict[str, str | None]
    names: dict[str, list[str]]

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
    with at_configs():
        try:
            cfg = compose(config_name, list(overrides), return_hydra_config=True)
        except (HydraException, ValueError) as error:
            raise InputError(explain(error, config_name, overrides)) from None
        choices = cfg.hydra.runtime.choices
        made = {str(g): choices[g] for g in choices if not str(g).startswith("hydra/")}
        plain = OmegaConf.masked_copy(cfg, [name for name in cfg if name != "hydra"])
        return Told(config_name, plain, made, {group: choices_of(group) for group in made})


def read_choices(group: str, names: Iterable[str]) -> list[Choice]:
    """What the files of a group's choices say."""
    with at_configs():
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
