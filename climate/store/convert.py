"""A source → the training store: one Dask task per shard.

A shard is read, checked, written, synced and only then counted; the manifest comes last. A
conversion that was stopped leaves no manifest and is run again.

Shapes: ``N`` times of a shard, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr
import zarr
from tqdm import tqdm

from climate.sphere import Grid
from climate.store.calendar import Period, find_gaps, inside, parse_splits, step_seconds
from climate.store.layout import FORMAT, MANIFEST, chunk_shape, codecs
from climate.store.statistics import (
    Binning,
    Partial,
    Statistics,
    binning_of,
    climatology_of,
    has_seasons,
    merge,
    statistics_of,
    summarise,
)
from climate.variables import channel_attributes
from vgbdm.errors import InputError
from vgbdm.training.checkpoint import sync, write_json

log = logging.getLogger(__name__)
MARK = "vgbdm training store"


@dataclass(frozen=True)
class _Shard:
    """One task: which times, and where they go."""

    start: int
    stop: int
    path: Path


@dataclass(frozen=True)
class _Job:
    """What every task needs to know."""

    dataset: xr.Dataset
    channels: tuple[str, ...]
    times: np.ndarray
    training: Period
    binning: Binning
    weights: np.ndarray
    nan_allowance: float
    state: zarr.Array
    filled: zarr.Array


def convert(
    dataset: xr.Dataset,
    store: str | Path,
    splits: Mapping[str, Sequence[object]],
    *,
    source: Mapping[str, Any],
    step: np.timedelta64 | None = None,
    nan_allowance: float = 0.0,
    workers: int | None = None,
    codec: str = "lz4",
) -> None:
    """Write the training store of a dataset.

    Args:
        dataset: lazy, as `climate.sources` says.
        store: folder to make; one left by a stopped conversion is started anew.
        splits: ``train``, ``val``, ``test`` → [start, end], ISO 8601, ends inclusive.
        source: what to say of the origin; no paths, hosts or clocks, it is part of the store.
        step: between times where none is missing; by default the most frequent one.
        nan_allowance: share of missing values per channel and shard that may be filled, by the
            channel's mean over the shard.
        workers: Dask threads; by default as many as cores.
        codec: of the states, see `climate.store.layout.codecs`.

    Raises:
        InputError: one line, for splits, data or a folder that cannot be taken.
    """
    path = Path(store)
    times = dataset["time"].values.astype("datetime64[s]")
    periods = parse_splits(splits, times)
    if step is None:
        values, counts = np.unique(np.diff(times), return_counts=True)
        step = values[counts.argmax()]
    seasons = has_seasons(periods["train"])
    channels = tuple(str(n) for n, v in dataset.data_vars.items() if "time" in v.dims)
    static = tuple(str(n) for n, v in dataset.data_vars.items() if "time" not in v.dims)
    _prepare(path)
    group = zarr.open_group(path, mode="w", attributes=_attributes(dataset))
    shards, state, filled = _create_state(group, path, dataset, channels, len(times), codec)
    _write_coordinates(group, dataset, times, channels, static)
    grid = Grid(dataset["lat"].values, dataset["lon"].values)
    job = _Job(
        dataset[list(channels)],
        channels,
        times,
        periods["train"],
        binning_of(step, seasons),
        grid.area_weights,
        nan_allowance,
        state,
        filled,
    )
    log.info("%d times, %d channels, %d shards", len(times), len(channels), len(shards))
    digests, total = _run(job, shards, workers)
    statistics = statistics_of(total, periods["train"], channels)
    _write_derived(group, statistics, climatology_of(total, job.binning))
    manifest = {
        "format": FORMAT,
        "channels": list(channels),
        "static": list(static),
        "step_seconds": step_seconds(step),
        "splits": {name: [str(a), str(b)] for name, (a, b) in periods.items()},
        "gaps": [[str(a), str(b)] for a, b in find_gaps(times, step)],
        "channel_attrs": {n: channel_attributes(n, dict(dataset[n].attrs)) for n in channels},
        "statistics": statistics.to_json(),
        "climatology_seasons": seasons,
        "shards": digests,
        "provenance": {**source, **{k: str(v) for k, v in dataset.attrs.items()}},
    }
    _sync_tree(path)
    write_json(path / MANIFEST, manifest)


def _prepare(path: Path) -> None:
    """Refuse what is not ours to overwrite; clear what a stopped conversion left."""
    if (path / MANIFEST).exists():
        raise InputError(f"store {path}: already finished; remove it or choose another store=")
    if not path.exists() or not any(path.iterdir()):
        return
    try:
        ours = json.loads((path / "zarr.json").read_text())["attributes"].get("kind") == MARK
    except (OSError, ValueError, KeyError):
        ours = False
    if not ours:
        raise InputError(f"store {path}: holds other files; choose an empty or new folder")
    log.info("starting the stopped conversion of %s anew", path)
    shutil.rmtree(path)


def _attributes(dataset: xr.Dataset) -> dict[str, Any]:
    own = {k: str(v) for k, v in dataset.attrs.items() if k in ("title", "comment", "source")}
    return {"kind": MARK, "Conventions": "CF-1.11", **own}


def _create_state(
    group: zarr.Group,
    path: Path,
    dataset: xr.Dataset,
    channels: tuple[str, ...],
    count: int,
    codec: str,
) -> tuple[list[_Shard], zarr.Array, zarr.Array]:
    """The empty arrays of the states and of the fill mask, and the shards to write."""
    height, width = dataset.sizes["lat"], dataset.sizes["lon"]
    chunks, shards = chunk_shape(len(channels), height, width)
    names = ["time", "channel", "lat", "lon"]
    state = group.create_array(
        "state",
        shape=(count, len(channels), height, width),
        dtype="float32",
        chunks=chunks,
        shards=shards,
        compressors=codecs(codec, len(channels), height, width),
        fill_value=float("nan"),
        dimension_names=names,
        config={"write_empty_chunks": True},
    )
    filled = group.create_array(
        "filled",
        shape=state.shape,
        dtype="bool",
        chunks=chunks,
        shards=shards,
        fill_value=False,
        dimension_names=names,
        attributes={"long_name": "missing in the source, filled with the channel's mean"},
    )
    tasks = [
        _Shard(start, min(start + shards[0], count), path / f"state/c/{k}/0/0/0")
        for k, start in enumerate(range(0, count, shards[0]))
    ]
    return tasks, state, filled


def _write_coordinates(
    group: zarr.Group,
    dataset: xr.Dataset,
    times: np.ndarray,
    channels: tuple[str, ...],
    static: tuple[str, ...],
) -> None:
    def put(name: str, values: np.ndarray, dims: list[str], **attributes: Any) -> None:
        array = group.create_array(
            name, shape=values.shape, dtype=values.dtype, dimension_names=dims,
            attributes=attributes,
        )  # fmt: skip
        array[...] = values

    clock = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}
    put("time", times.astype(np.int64), ["time"], standard_name="time", **clock)
    put("lat", dataset["lat"].values, ["lat"], standard_name="latitude", units="degrees_north")
    put("lon", dataset["lon"].values, ["lon"], standard_name="longitude", units="degrees_east")
    names = np.array(channels, dtype=np.dtypes.StringDType())
    group.create_array("channel", shape=names.shape, dtype=str, dimension_names=["channel"])[
        ...
    ] = names
    for name in static:
        field = dataset[name]
        units = str(field.attrs.get("units", "1"))
        put(name, field.values.astype(np.float32), ["lat", "lon"], units=units)


def _run(job: _Job, shards: list[_Shard], workers: int | None) -> tuple[dict[str, str], Partial]:
    """Write all shards; their digests by file and the merged partial sums."""
    with tqdm(total=len(shards), unit="shard", desc="converting") as bar:

        def task(shard: _Shard) -> tuple[str, Partial | None]:
            result = _write_shard(job, shard)
            bar.update(1)
            return result

        lazy = [dask.delayed(task, pure=False)(shard) for shard in shards]
        results = dask.compute(*lazy, scheduler="threads", num_workers=workers)
    names = [f"state/c/{k}/0/0/0" for k in range(len(shards))]
    digests = {name: digest for name, (digest, _) in zip(names, results, strict=True)}
    return digests, reduce(merge, [part for _, part in results if part is not None])


def _write_shard(job: _Job, shard: _Shard) -> tuple[str, Partial | None]:
    """Read, check, write and sync one shard; its digest and its partial sums."""
    with dask.config.set(scheduler="synchronous"):
        block = job.dataset.isel(time=slice(shard.start, shard.stop)).load()
    values = np.stack([block[name].values for name in job.channels], 1).astype(np.float32)
    missing = ~np.isfinite(values)
    if missing.any():
        _fill(values, missing, job, shard)
        job.filled[shard.start : shard.stop] = missing
    job.state[shard.start : shard.stop] = values
    sync(shard.path)
    sync(shard.path.parent)
    times = job.times[shard.start : shard.stop]
    chosen = inside(times, job.training)
    bins = job.binning.index(times[chosen])
    digest = hashlib.sha256(shard.path.read_bytes()).hexdigest()
    return digest, summarise(values[chosen], bins, job.weights)


def _fill(values: np.ndarray, missing: np.ndarray, job: _Job, shard: _Shard) -> None:
    """Fill missing values with their channel's mean over the shard, as far as that is allowed."""
    for c, name in enumerate(job.channels):
        share = float(missing[:, c].mean())
        if share > job.nan_allowance:
            first = int(np.flatnonzero(missing[:, c].any((1, 2)))[0])
            raise InputError(
                f"variable {name}: {share:.2%} of its values around "
                f"{job.times[shard.start + first]} are missing or not finite, nan_allowance is "
                f"{job.nan_allowance:.2%}; mend the file or allow more"
            )
        if share == 1.0:
            raise InputError(
                f"variable {name}: all its values of {job.times[shard.start]} … "
                f"{job.times[shard.stop - 1]} are missing; leave out the variable or the period"
            )
        if share:
            values[:, c][missing[:, c]] = values[:, c][~missing[:, c]].mean(dtype=np.float64)


def _write_derived(group: zarr.Group, statistics: Statistics, climatology: np.ndarray) -> None:
    """The maps of the training period."""
    shape = statistics.mean_map.shape
    dims = ["channel", "lat", "lon"]
    group.create_array("mean_map", shape=shape, dtype="float32", dimension_names=dims)[...] = (
        statistics.mean_map
    )
    group.create_array(
        "climatology",
        shape=climatology.shape,
        dtype="float32",
        chunks=(min(24, len(climatology)), *shape),
        dimension_names=["bin", *dims],
    )[...] = climatology


def _sync_tree(path: Path) -> None:
    """Everything on disk before the manifest says so."""
    for entry in sorted(path.rglob("*")):
        sync(entry)
    sync(path)
