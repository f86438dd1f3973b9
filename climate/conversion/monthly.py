"""Monthly means: a training store of hours → one of months, kept beside it.

    STORE/monthly    laid out like any training store; its step is a calendar month

Where the store cannot be written they are kept in another folder, that of the run.

Only complete months are taken, and each split keeps the months that lie wholly inside it, so that
no mean reaches over a border.

Shapes: ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import logging
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import xarray as xr

from climate.conventions.calendar import SPLITS, Period
from climate.conventions.wording import period as period_text
from climate.conversion.convert import convert
from climate.store.layout import TrainingStore, open_folder, open_store
from vgbdm.errors import InputError
from vgbdm.storage.files import is_writable, make_writable
from vgbdm.storage.sealing import MANIFEST

log = logging.getLogger(__name__)
MONTHLY_FOLDER = "monthly"
MONTH = np.timedelta64(1, "M")
MEAN_BYTES = 64 * 2**20
"""States held at a time while a mean is taken."""


def open_monthly(
    store: TrainingStore, workers: int | None = None, aside: Path | None = None
) -> TrainingStore:
    """The monthly means of a store: made where they are not there yet.

    Args:
        store: of hourly steps, whole.
        workers: Dask threads; by default as many as cores.
        aside: folder to keep them in where the store is read-only.

    Raises:
        InputError: if a split holds no complete month, the means were made from other contents, or
            they can be kept nowhere.
    """
    origin, folder = store.digest, store.path
    if not _is_made(folder, origin) and not is_writable(folder):
        folder = _writable(store, aside, origin)
    path = folder / MONTHLY_FOLDER
    if not (path / MANIFEST).exists():
        _make(store, path, origin, workers)
    monthly = open_store(path)
    if monthly.provenance.get("derived_from") != origin:
        raise InputError(
            f"{path}: made from other contents of {store.path}; remove it, it will be made again"
        )
    return monthly


def _is_made(folder: Path, origin: str) -> bool:
    """Whether a folder holds the means of a store with that manifest."""
    if not (folder / MONTHLY_FOLDER / MANIFEST).exists():
        return False
    try:
        return open_store(folder / MONTHLY_FOLDER).provenance.get("derived_from") == origin
    except InputError as error:
        log.warning("%s", error)
        return False


def _writable(store: TrainingStore, aside: Path | None, origin: str) -> Path:
    """The folder beside a read-only store."""
    if aside is None:
        raise InputError(
            f"{store.path}: is read-only and holds no monthly means of its content; copy it to a "
            "disk that can be written, and give that as store"
        )
    if not _is_made(aside, origin):
        make_writable(aside, store.path)
    return aside


def _make(store: TrainingStore, path: Path, origin: str, workers: int | None) -> None:
    months, first, last = complete_months(store.times, store.step)
    splits = {
        name: _cut_to_months(store, name, months, store.times[first], store.times[last])
        for name in SPLITS
    }
    convert(
        _dataset(store, months, first, last),
        path,
        splits,
        source={**store.provenance, "derived_from": origin},
        step=MONTH,
        workers=workers,
        odd_maps="keep",  # the store they are made of has them too
    )


def complete_months(
    times: np.ndarray, step: np.timedelta64
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The months of which no step is missing.

    Args:
        times: increasing, whole multiples of ``step`` apart.
        step: between times where none is missing.

    Returns:
        The months (datetime64[M]) and the indices of their first and their last times.
    """
    months, first, counts = np.unique(
        times.astype("datetime64[M]"), return_index=True, return_counts=True
    )
    length = (months + 1).astype("datetime64[s]") - months.astype("datetime64[s]")
    whole = counts * step == length
    if not whole.all():
        left_out = ", ".join(str(month) for month in months[~whole])
        log.info("%d months left out, steps are missing: %s", int((~whole).sum()), left_out)
    return months[whole], first[whole], (first + counts - 1)[whole]


def _cut_to_months(
    store: TrainingStore, split: str, months: np.ndarray, first: np.ndarray, last: np.ndarray
) -> tuple[str, str]:
    """The period of a split cut to complete months.

    Args:
        store: of the split.
        split: its name.
        months: complete ones.
        first: their first times.
        last: their last times.
    """
    start, end = store.splits[split]
    inside = months[(first >= start) & (last <= end)]
    if not len(inside):
        raise InputError(
            f"{store.path}: {split} ({period_text(start, end)}) holds no complete month; convert "
            "with longer periods"
        )
    period: Period = (
        inside[0].astype("datetime64[s]"),
        (inside[-1] + 1).astype("datetime64[s]") - np.timedelta64(1, "s"),
    )
    return str(period[0]), str(period[1])


def _dataset(
    store: TrainingStore, months: np.ndarray, first: np.ndarray, last: np.ndarray
) -> xr.Dataset:
    """The means, lazy: one task per month."""

    def task(start: int, stop: int) -> np.ndarray:
        return mean_state(store, start, stop)[None]

    shape = (1, *store.state.shape[1:])
    means = da.concatenate(
        [
            da.from_delayed(dask.delayed(task, pure=False)(int(a), int(b) + 1), shape, np.float32)
            for a, b in zip(first, last, strict=True)
        ]
    )
    fields = {
        name: (("time", "lat", "lon"), means[:, c], store.channel_attrs[name])
        for c, name in enumerate(store.channels)
    }
    held = open_folder(store.path)
    static = {
        name: (("lat", "lon"), values, dict(held.open(name).attrs))
        for name, values in store.static.items()
    }
    coords = {"time": months.astype("datetime64[ns]"), "lat": store.lat, "lon": store.lon}
    about = {k: store.provenance[k] for k in ("title", "comment") if k in store.provenance}
    return xr.Dataset({**fields, **static}, coords, about)


def mean_state(store: TrainingStore, start: int, stop: int) -> np.ndarray:
    """Mean of the states ``start`` to ``stop`` (C, H, W) float32, summed in float64."""
    block = max(1, MEAN_BYTES // (4 * int(np.prod(store.state.shape[1:]))))
    total = np.zeros(store.state.shape[1:])
    for at in range(start, stop, block):
        total += store.read(at, min(at + block, stop)).sum(0, dtype=np.float64)
    return (total / (stop - start)).astype(np.float32)
