"""The store as a task needs it: of hours or of months, whole or a region."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from climate.conventions.calendar import as_step, is_monthly
from climate.conversion.monthly import open_monthly
from climate.grids.regions import Region
from climate.store.crop import crop
from climate.store.layout import TrainingStore, open_store
from vgbdm.errors import InputError


def open_view(
    path: str | Path,
    step: np.timedelta64,
    region: Region | None = None,
    aside: Path | None = None,
) -> TrainingStore:
    """A store for models of some step and region; monthly means are made where they are needed.

    Args:
        path: of the converted store.
        step: of the model.
        region: that it sees; None: the globe.
        aside: folder to keep the monthly means in where the store is read-only.

    Raises:
        InputError: one line, where the store has no such view.
    """
    store = open_store(path)
    if region is None and not store.grid.is_global:
        raise InputError(
            f"store {path}: holds a box, {store.lat[0]:g} to {store.lat[-1]:g} north and "
            f"{store.lon[0]:g} to {store.lon[-1]:g} east; take task=regional and a region inside it"
        )
    if is_monthly(step) and not is_monthly(store.step):
        store = open_monthly(store, aside=aside)
    return crop(store, region) if region else store


class SeesStore(Protocol):
    """What a trained model says of the store it was trained on."""

    @property
    def step_seconds(self) -> int:
        """Its step."""

    @property
    def region(self) -> Region | None:
        """Its box; None: the globe."""


def open_for_model(path: str | Path, model: SeesStore, aside: Path | None = None) -> TrainingStore:
    """The store as a trained model saw it: its step and its region with the halo.

    Monthly means of a read-only store are kept in the folder ``aside``.
    """
    return open_view(path, as_step(model.step_seconds), model.region, aside)
