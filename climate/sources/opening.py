"""A config → the lazy dataset that is converted, and what the store says of its origin."""

from __future__ import annotations

from typing import Any

import xarray as xr
from omegaconf import DictConfig, OmegaConf

from climate.sources.select import parse_selection
from vgbdm.registry.build import build


def open_source(cfg: DictConfig) -> tuple[xr.Dataset, dict[str, str]]:
    """Open the config group ``source`` as ``selection`` says; no path is part of the origin.

    Raises:
        InputError: one line, for whatever cannot be taken as it is.
    """
    wanted = OmegaConf.masked_copy(cfg, ["period", "step", "region", "halo", "regrid"])
    options: Any = OmegaConf.to_container(wanted, resolve=True)
    selection = parse_selection(**options)
    origin = {"source": str(cfg.source._target_), **selection.facts()}
    return build(cfg.source).open(selection), origin
