"""The systems that have a config: ours, and those of plugins that were named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from physics_systems.systems.system import System
from vgbdm.errors import InputError
from vgbdm.registry.build import class_of


def registered_systems(folders: Sequence[Path]) -> dict[str, type[System]]:
    """Name of a config → class of its system, as ``system=NAME`` would choose it.

    Args:
        folders: of configs, with a folder ``system`` in each that has any.

    Raises:
        InputError: for a config that names no class of a system.
    """
    found: dict[str, type[System]] = {}
    for folder in folders:
        for file in sorted((folder / "system").glob("*.yaml")):
            config: Any = OmegaConf.load(file)
            target = config.get("_target_")
            kind = class_of(target, str(file))
            if not (isinstance(kind, type) and issubclass(kind, System)):
                raise InputError(f"{file}: _target_={target} is no System")
            found.setdefault(file.stem, kind)
    return found
