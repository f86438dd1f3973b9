"""A region or a latitude band of a training store, with the interface of the whole one.

Shapes: ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import zarr

from climate.grids.regions import SLACK, Region
from climate.store.boxed import BoxedArray
from climate.store.layout import TrainingStore
from climate.store.mask import check_left
from climate.store.reader import ShardedArray
from climate.store.statistics import Climatology, Statistics
from vgbdm.errors import InputError


@dataclass(frozen=True)
class RegionalStatistics(Statistics):
    """The numbers of a whole store with the mean map of a region.

    Means and deviations stay those of the whole store, and so does the hash: it says which store
    and training period a model or a forecast is made from, whatever its region.
    """

    store_hash: str = ""

    @property
    def hash(self) -> str:
        """Of the whole store."""
        return self.store_hash


def crop(store: TrainingStore, region: Region) -> TrainingStore:
    """The store as if it held only a region and its halo; nothing outside of them is given out.

    Raises:
        InputError: if the region does not fit the store's grid.
    """
    cut = region.cut(store.lat, store.lon)
    part = _part(store, cut.rows, cut.columns)
    part = replace(part, lon=cut.lon, region=region, interior=cut.interior)
    if part.mask is not None:
        what, mask = f"region={region.name}", part.without_halo(part.mask)
        check_left(what, part.channels, mask, "choose another region, or a store without it")
    return part


def band(store: TrainingStore, south: float, north: float) -> TrainingStore:
    """The store as if it held only the latitudes between two, ends included, all around.

    It is read and streamed like any other, with less memory. No model takes its grid, which is
    neither the globe nor a box.

    Raises:
        InputError: if no row lies there.
    """
    inside = np.flatnonzero((store.lat >= south - SLACK) & (store.lat <= north + SLACK))
    if not len(inside):
        raise InputError(
            f"store {store.path}: no row from {south:g} to {north:g} north; its rows are "
            f"{store.lat[1] - store.lat[0]:g} degrees apart"
        )
    return _part(store, slice(int(inside[0]), int(inside[-1]) + 1), np.arange(len(store.lon)))


def _part(store: TrainingStore, rows: slice, columns: np.ndarray) -> TrainingStore:
    """Some rows and columns of all that a store holds."""

    def boxed(array: zarr.Array | ShardedArray | BoxedArray) -> BoxedArray:
        assert not isinstance(array, BoxedArray), "only whole stores are cropped"
        return BoxedArray(array, rows, columns)

    def maps(values: np.ndarray) -> np.ndarray:
        return values[..., rows, :][..., columns]

    numbers = store.statistics
    held = {field.name: getattr(numbers, field.name) for field in fields(numbers)}
    statistics = RegionalStatistics(
        **held | {"mean_map": maps(numbers.mean_map), "change": None}, store_hash=numbers.hash
    )
    return replace(
        store,
        lat=store.lat[rows],
        lon=store.lon[columns],
        static={name: maps(values) for name, values in store.static.items()},
        statistics=statistics,
        climatology=Climatology(boxed(store.climatology.array), store.climatology.binning),
        state=boxed(store.state),
        mask=None if store.mask is None or not maps(store.mask).any() else maps(store.mask),
    )
