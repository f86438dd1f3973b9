"""What is to be converted, checked, and the arrays of a store that are not shards.

Shapes: ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from climate.conventions.calendar import (
    Period,
    find_gaps,
    inside,
    parse_splits,
    step_seconds,
    usual_step,
)
from climate.conversion.climatology import write_climatology
from climate.conversion.shards import Job, create_arrays
from climate.grids.grid import Grid
from climate.store.layout import chunk_shape
from climate.store.statistics import Binning, binning_of, has_seasons
from climate.store.windows import BOX, WEATHERBENCH2, Window
from vgbdm.storage.door import open_array
from vgbdm.storage.sealing import SEAL_FORMAT

MARK = "vgbdm training store"

SAID = ("title", "comment", "source", "regridding")
"""Attributes of the dataset that the store has too."""
MEANS = ("mean_map", "climatology")
"""Arrays made from all shards."""


@dataclass(frozen=True)
class Request:
    """A dataset and what to make of it, checked.

    Attributes:
        dataset: lazy, as `climate.sources` says.
        times: datetime64[s].
        splits: name → period.
        step: between times where none is missing.
        channels: in the order of the state.
        static: names of static fields.
        nan_allowance: share of missing values per channel and shard that may be filled.
        source: what to say of the origin.
        codec: of the states, see `climate.store.layout.codecs`.
        mask: (C, H, W) points that are masked, or may be; None: none.
        settled: whether they are masked in the store, and so must be missing at all times.
        bins: of the climatology, where a store has one; None: those of its step.
        window: over which its days are smoothed, where it has seasons.
    """

    dataset: xr.Dataset
    times: np.ndarray
    splits: dict[str, Period]
    step: np.timedelta64
    channels: tuple[str, ...]
    static: tuple[str, ...]
    nan_allowance: float
    source: Mapping[str, Any]
    codec: str
    mask: np.ndarray | None = None
    settled: bool = False
    bins: int | None = None
    window: Window = WEATHERBENCH2

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return len(self.channels), self.dataset.sizes["lat"], self.dataset.sizes["lon"]

    @property
    def seasons(self) -> bool:
        """Whether the climatology has seasons."""
        return has_seasons(self.splits["train"])

    @property
    def binning(self) -> Binning:
        """Of the climatology."""
        return binning_of(self.step, self.seasons, self.bins, self.window)

    def fingerprint(self) -> dict[str, Any]:
        """What may not change between the parts of a conversion."""
        window = self.binning.window
        axes = {
            "times": self.times.astype("<i8"),
            "latitudes": self.dataset["lat"].values.astype("<f8"),
            "longitudes": self.dataset["lon"].values.astype("<f8"),
        }
        return {
            **{name: hashlib.sha256(axis.tobytes()).hexdigest() for name, axis in axes.items()},
            "format": SEAL_FORMAT,
            "channels": list(self.channels),
            "static fields": list(self.static),
            "splits": periods_to_json(self.splits),
            "step": step_seconds(self.step),
            # what was begun before there was a choice has the box
            "climatology": window.name if window not in (None, BOX) else None,
            "chunks": chunk_shape(*self.shape),
            "nan_allowance": self.nan_allowance,
            "codec": self.codec,
            "units": [str(self.dataset[n].attrs.get("source_units")) for n in self.channels],
            "source": {**self.source, **{k: str(v) for k, v in self.dataset.attrs.items()}},
        }

    def job(self, out: Path, records: Path) -> Job:
        """The job that writes all of the dataset."""
        grid = Grid(self.dataset["lat"].values, self.dataset["lon"].values)
        return Job(
            dataset=self.dataset[list(self.channels)],
            offset=0,
            earlier=None,
            channels=self.channels,
            times=self.times,
            step=self.step,
            steps=chunk_shape(*self.shape)[1][0],
            share=chunk_shape(*self.shape)[1][1],
            training=self.splits["train"],
            weights=grid.area_weights,
            nan_allowance=self.nan_allowance,
            planned=self.mask,
            mask=self.mask,
            settled=self.settled,
            out=out.resolve(),
            records=records.resolve(),
        )


def read_request(
    dataset: xr.Dataset,
    splits: Mapping[str, Sequence[object]],
    source: Mapping[str, Any],
    step: np.timedelta64 | None = None,
    nan_allowance: float = 0.0,
    times: np.ndarray | None = None,
    codec: str = "lz4",
    window: Window = WEATHERBENCH2,
) -> Request:
    """Check what is wanted; see `convert`. ``times`` are the dataset's if not given."""
    if times is None:
        times = dataset["time"].values.astype("datetime64[s]")
    periods = parse_splits(splits, times)
    if step is None:
        step = usual_step(times)
    return Request(
        dataset=dataset,
        times=times,
        splits=periods,
        step=step,
        channels=tuple(str(n) for n, v in dataset.data_vars.items() if "time" in v.dims),
        static=tuple(str(n) for n, v in dataset.data_vars.items() if "time" not in v.dims),
        nan_allowance=nan_allowance,
        source=source,
        codec=codec,
        window=window,
    )


def create_group(request: Request, path: Path) -> zarr.Group:
    """The group with its empty states, coordinates and static fields."""
    own = {k: str(v) for k, v in request.dataset.attrs.items() if k in SAID}
    about: dict[str, Any] = {"kind": MARK, "Conventions": "CF-1.11", **own}
    group = zarr.open_group(path, mode="a", attributes=about)
    create_arrays(group, request.shape, request.times, request.codec)

    def put(name: str, values: np.ndarray, dims: list[str], **attributes: Any) -> None:
        array = group.create_array(
            name, shape=values.shape, dtype=values.dtype, dimension_names=dims,
            attributes=attributes,
        )  # fmt: skip
        array[...] = values

    data = request.dataset
    put("lat", data["lat"].values, ["lat"], standard_name="latitude", units="degrees_north")
    put("lon", data["lon"].values, ["lon"], standard_name="longitude", units="degrees_east")
    names = np.array(request.channels, dtype=np.dtypes.StringDType())
    group.create_array("channel", shape=names.shape, dtype=str, dimension_names=["channel"])[
        ...
    ] = names
    for name in request.static:
        units = str(data[name].attrs.get("units", "1"))
        put(name, data[name].values.astype(np.float32), ["lat", "lon"], units=units)
    return group


def write_derived(request: Request, group: zarr.Group, path: Path) -> tuple[np.ndarray, list[str]]:
    """What follows from all shards: climatology, mean map, and the mask where there is one.

    Args:
        request: of the store.
        group: to write to.
        path: of the store that is read.

    Returns:
        The mean map (C, H, W), and the names of the arrays.
    """
    index = np.flatnonzero(inside(request.times, request.splits["train"]))
    state = open_array(path, "state", "r")
    start, stop = int(index[0]), int(index[-1]) + 1
    mean_map = write_climatology(group, state, request.times, start, stop, request.binning)
    if request.mask is None:
        return mean_map, [*MEANS]
    group.create_array(
        "mask",
        shape=request.mask.shape,
        dtype="bool",
        dimension_names=["channel", "lat", "lon"],
        attributes={"long_name": "no value at any time"},
        overwrite=True,
    )[...] = request.mask
    return mean_map, [*MEANS, "mask"]


def periods_to_json(splits: Mapping[str, Period]) -> dict[str, list[str]]:
    """Splits as the manifest holds them."""
    return {name: [str(a), str(b)] for name, (a, b) in splits.items()}


def gaps_to_json(times: np.ndarray, step: np.timedelta64) -> list[list[str]]:
    """Gaps as the manifest holds them."""
    return [[str(a), str(b)] for a, b in find_gaps(times, step)]
