"""A region of a training store, with the interface of the whole one.

Shapes: ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import zarr

from climate.regions import Region
from climate.store.boxed import BoxedArray
from climate.store.layout import TrainingStore
from climate.store.reader import ShardedArray
from climate.store.statistics import Climatology, Statistics


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

    def boxed(array: zarr.Array | ShardedArray | BoxedArray) -> BoxedArray:
        assert not isinstance(array, BoxedArray), "only whole stores are cropped"
        return BoxedArray(array, cut.rows, cut.columns)

    def maps(values: np.ndarray) -> np.ndarray:
        return values[..., cut.rows, :][..., cut.columns]

    numbers = store.statistics
    held = {field.name: getattr(numbers, field.name) for field in fields(numbers)}
    statistics = RegionalStatistics(
        **held | {"mean_map": maps(numbers.mean_map)}, store_hash=numbers.hash
    )
    return replace(
        store,
        lat=store.lat[cut.rows],
        lon=cut.lon,
        static={name: maps(values) for name, values in store.static.items()},
        statistics=statistics,
        climatology=Climatology(boxed(store.climatology.array), store.climatology.binning),
        state=boxed(store.state),
        region=region,
        interior=cut.interior,
    )
