"""The store as a task needs it: of hours or of months, whole or a region."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from climate.regions import Region
from climate.store.calendar import as_step, is_monthly
from climate.store.crop import crop
from climate.store.forecasts import open_dataset
from climate.store.layout import TrainingStore, open_store
from climate.store.monthly import open_monthly
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


def open_for_model(path: str | Path, model: Any, aside: Path | None = None) -> TrainingStore:
    """The store as a trained model saw it: its step and its region with the halo.

    Monthly means of a read-only store are kept in the folder ``aside``.
    """
    return open_view(path, as_step(model.step_seconds), model.region, aside)


def open_for_forecast(
    path: str | Path, forecast: str | Path, aside: Path | None = None
) -> TrainingStore:
    """The truth of a forecast dataset: its step, and its region without a halo.

    What the forecast does not say is taken as the whole store's; that it fits is checked later,
    by `climate.verification.scorecard.open_forecast`. Monthly means of a read-only store are kept
    in the folder ``aside``.
    """
    try:
        with open_dataset(forecast) as dataset:
            leads = dataset["lead_time"].values[:1].astype("timedelta64[s]").astype(np.int64)
            name, box = dataset.attrs.get("region"), dataset.attrs.get("region_box")
        region = None
        if box is not None:
            south, north, west, east = map(float, box)
            region = Region(str(name), south, north, west, east, halo=0)
        step = as_step(int(leads[0]))
    except InputError:
        raise
    except (ValueError, TypeError, LookupError):
        return open_store(path)
    return open_view(path, step, region, aside)
