"""A source → the training store: one Dask task per shard, never half-written.

Every shard is written, synced, digested and then recorded; the manifest comes last. The same
command continues a conversion that was stopped, and ends with the same bytes. What is new for a
finished store is appended (`climate.store.append`).

Shapes: ``C`` channels, ``H`` latitudes, ``W`` longitudes.
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

import numpy as np
import xarray as xr
import zarr

from climate.grid import Grid
from climate.store.calendar import Period, find_gaps, inside, parse_splits, step_seconds, usual_step
from climate.store.climatology import write_climatology
from climate.store.constants import check_variation
from climate.store.journal import LOG, Journal, digest_store, say, sync_tree
from climate.store.layout import KIND, chunk_shape
from climate.store.lock import LOCK, locked
from climate.store.plan import make_plan
from climate.store.shards import Job, create_arrays
from climate.store.statistics import (
    Binning,
    Partial,
    Statistics,
    binning_of,
    has_seasons,
    statistics_of,
)
from climate.store.tasks import thread_count, write_shards
from climate.variables import channel_attributes
from vgbdm.confine import read_bytes
from vgbdm.door import open_array
from vgbdm.errors import InputError
from vgbdm.sealing import FORMAT, MANIFEST, describe_arrays, digest_tree, write_manifest

log = logging.getLogger(__name__)
MARK = "vgbdm training store"


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
        return binning_of(self.step, self.seasons)

    def fingerprint(self) -> dict[str, Any]:
        """What may not change between the parts of a conversion."""
        axes = {
            "times": self.times.astype("<i8"),
            "latitudes": self.dataset["lat"].values.astype("<f8"),
            "longitudes": self.dataset["lon"].values.astype("<f8"),
        }
        return {
            **{name: hashlib.sha256(axis.tobytes()).hexdigest() for name, axis in axes.items()},
            "format": FORMAT,
            "channels": list(self.channels),
            "static fields": list(self.static),
            "splits": periods_to_json(self.splits),
            "step": step_seconds(self.step),
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
    )


def convert(
    dataset: xr.Dataset,
    store: str | Path,
    splits: Mapping[str, Sequence[object]],
    *,
    source: Mapping[str, Any],
    step: np.timedelta64 | None = None,
    nan_allowance: float = 0.0,
    scheduler: str = "threads",
    workers: int | None = None,
    restart: bool = False,
    force_unlock: bool = False,
    codec: str = "lz4",
) -> None:
    """Write the training store of a dataset, or continue where that was stopped.

    Args:
        dataset: lazy, as `climate.sources` says.
        store: folder to make.
        splits: ``train``, ``val``, ``test`` → [start, end], ISO 8601, ends inclusive.
        source: what to say of the origin; no paths, hosts or clocks, it is part of the store.
        step: between times where none is missing; by default the most frequent one.
        nan_allowance: share of missing values per channel and shard that may be filled, by the
            channel's mean over the shard.
        scheduler: ``threads``, ``synchronous`` or the address of a ``dask.distributed`` cluster.
        workers: threads here; by default as many as cores.
        restart: drop what a stopped conversion left, instead of continuing it.
        force_unlock: take the lock of a process on another host.
        codec: of the states, see `climate.store.layout.codecs`.

    Raises:
        InputError: one line, for splits, data or a folder that cannot be taken.
    """
    path = Path(store)
    request = read_request(dataset, splits, source, step, nan_allowance, codec=codec)
    thread_count(scheduler, workers)
    _check_folder(path)
    with locked(path, force_unlock):
        journal = Journal(path)
        if (path / MANIFEST).exists():
            _tidy(journal)
            return
        if restart or not journal.plan.exists():
            _clear(journal)
            _begin(request, journal)
        _finish(request, journal, scheduler, workers)


def _check_folder(path: Path) -> None:
    """Refuse what is not ours to overwrite."""
    if (path / MANIFEST).exists() and not Journal(path).folder.exists():
        raise InputError(
            f"store {path}: already finished; remove it, choose another store=, or give "
            "append=true to add later times"
        )
    ours = {LOCK, LOG}
    if not path.exists() or Journal(path).folder.exists():
        return
    if {entry.name for entry in path.iterdir()} <= ours or _is_marked(path):
        return
    raise InputError(f"store {path}: holds other files; choose an empty or new folder")


def _is_marked(path: Path) -> bool:
    try:
        held = json.loads(read_bytes(path / "zarr.json"))["attributes"].get("kind")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    return bool(held == MARK)


def _tidy(journal: Journal) -> None:
    """The conversion was killed between its manifest and its end."""
    if journal.plan.exists() and (journal.folder / "append").exists():
        raise InputError(
            f"store {journal.store}: an append was stopped; give append=true to finish it"
        )
    journal.drop()


def _clear(journal: Journal) -> None:
    """Empty the store: its plan first, so that it starts anew; the journal's folder says whose."""
    journal.folder.mkdir(exist_ok=True)
    journal.plan.unlink(missing_ok=True)
    kept = {LOCK, LOG, journal.folder.name}
    others = [entry for entry in journal.store.iterdir() if entry.name not in kept]
    for entry in [*others, *journal.folder.iterdir()]:
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _begin(request: Request, journal: Journal) -> None:
    """All but the shards."""
    create_group(request, journal.store)
    sync_tree(journal.store)
    journal.begin(request.fingerprint(), digest_store(journal.store))


def create_group(request: Request, path: Path) -> zarr.Group:
    """The group with its empty states, coordinates and static fields."""
    own = {
        k: str(v) for k, v in request.dataset.attrs.items() if k in ("title", "comment", "source")
    }
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


def _finish(request: Request, journal: Journal, scheduler: str, workers: int | None) -> None:
    """The shards that have no record yet, what is derived from all, and the manifest."""
    path = journal.store
    journal.check(request.fingerprint())
    journal.check_begun(path)
    files = journal.files()
    job = request.job(path, journal.shards)
    _drop_partial_files(path)
    done = journal.load(path, job.count)
    left = [k for k in range(job.count) if k not in done]
    bins = int(np.prod(request.binning.shape))
    plan = make_plan(job, left, bins, scheduler, workers, path)
    say(path, f"{'continued' if done else 'begun'}: {plan}")
    write_shards(job, left, scheduler, workers)
    records = journal.load_all(job.count)
    files |= {name: want for record in records for name, want in record["files"].items()}
    partials = [Partial.from_json(r["partial"]) for r in records if r["partial"]]
    total = Partial.join(
        [reduce(Partial.merge, partials[k :: job.shares]) for k in range(job.shares)]
    )
    check_variation(
        f"store {path}",
        request.channels,
        total.states.std,
        total.changes.std,
        total.low,
        total.high,
        "convert again with restart=true",
    )
    derived = write_derived(request, zarr.open_group(path, mode="r+", zarr_format=3), path)
    statistics = statistics_of(total, derived, request.splits["train"], request.channels)
    for name in DERIVED:
        sync_tree(path / name)
        files |= {f"{name}/{key}": want for key, want in digest_tree(path / name).items()}
    facts = _facts(request, job.steps, statistics)
    write_manifest(path, {**facts, "files": files, "arrays": describe_arrays(path)})
    say(path, "finished")
    journal.drop()


def _facts(request: Request, shard_steps: int, statistics: Statistics) -> dict[str, Any]:
    """What the manifest tells besides its files."""
    data = request.dataset
    return {
        "kind": KIND,
        "channels": list(request.channels),
        "static": list(request.static),
        "step_seconds": step_seconds(request.step),
        "times": len(request.times),
        "shard_steps": shard_steps,
        "splits": periods_to_json(request.splits),
        "gaps": gaps_to_json(request.times, request.step),
        "channel_attrs": {n: channel_attributes(n, dict(data[n].attrs)) for n in request.channels},
        "statistics": statistics.to_json(),
        "climatology_seasons": request.seasons,
        "nan_allowance": request.nan_allowance,
        "codec": request.codec,
        "provenance": request.fingerprint()["source"],
    }


DERIVED = ("mean_map", "climatology")


def write_derived(request: Request, group: zarr.Group, path: Path) -> np.ndarray:
    """Climatology and mean map of a store whose shards are whole; the mean map (C, H, W).

    Args:
        request: of the store.
        group: to write to.
        path: of the store that is read.
    """
    index = np.flatnonzero(inside(request.times, request.splits["train"]))
    state = open_array(path, "state", "r")
    start, stop = int(index[0]), int(index[-1]) + 1
    return write_climatology(group, state, request.times, start, stop, request.binning)


def _drop_partial_files(path: Path) -> None:
    """What zarr-python was writing aside when it was killed."""
    for entry in path.rglob("*.partial"):
        entry.unlink()


def periods_to_json(splits: Mapping[str, Period]) -> dict[str, list[str]]:
    """Splits as the manifest holds them."""
    return {name: [str(a), str(b)] for name, (a, b) in splits.items()}


def gaps_to_json(times: np.ndarray, step: np.timedelta64) -> list[list[str]]:
    """Gaps as the manifest holds them."""
    return [[str(a), str(b)] for a, b in find_gaps(times, step)]
