"""Objects from configs: Hydra's ``_target_``, held to this project's own classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vgbdm.errors import InputError

PACKAGES = ("vgbdm", "climate", "physics_systems")
"""A config may name nothing outside of these: it may come with somebody else's checkpoint."""


def _check(node: Any, place: str) -> None:
    if isinstance(node, Mapping):
        target = node.get("_target_")
        if target is not None and str(target).split(".")[0] not in PACKAGES:
            raise InputError(
                f"config {place}: _target_={target} is not a class of {', '.join(PACKAGES)}"
            )
        for name, child in node.items():
            _check(child, f"{place}.{name}")
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for index, child in enumerate(node):
            _check(child, f"{place}[{index}]")


def build(config: DictConfig | Mapping[str, Any], *args: Any, **options: Any) -> Any:
    """The object a config describes, with further arguments from the caller.

    Args:
        config: with ``_target_``; nested ones are built first.
        args: positional arguments of the object.
        options: keyword arguments, over those of the config.

    Raises:
        InputError: if the config has no ``_target_`` or names something outside the project.
    """
    plain = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    assert isinstance(plain, Mapping)
    if "_target_" not in plain:
        raise InputError(f"config with {sorted(map(str, plain))}: _target_ is missing")
    _check(plain, str(plain["_target_"]))
    make = instantiate(dict(plain), _partial_=True, _convert_="all")
    return make(*args, **options)
