"""A source → the training store: one Dask task per shard, never half-written.

Every shard is written, synced, digested and then recorded; the manifest comes last. The same
command continues a conversion that was stopped, and ends with the same bytes. What is new for a
finished store is appended (`climate.conversion.append`).

Shapes: ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from climate.conventions.calendar import step_seconds
from climate.conventions.variables import channel_attributes
from climate.conversion.journal import Journal, digest_store, say, sync_tree
from climate.conversion.map_survey import check_handling, check_odd, gather_maps
from climate.conversion.masks import merge_masks, plan_mask
from climate.conversion.moments import Partial, statistics_of
from climate.conversion.plan import make_plan
from climate.conversion.request import (
    MARK,
    Request,
    create_group,
    gaps_to_json,
    periods_to_json,
    read_request,
    write_derived,
)
from climate.conversion.shards import Job
from climate.conversion.tasks import write_shards
from climate.store.constants import check_variation
from climate.store.layout import STORE_KIND, WINDOW_FACT
from climate.store.mask import check_atmosphere, pack, shares, unpack
from climate.store.odd_maps import Maps, find_odd
from climate.store.statistics import Statistics
from climate.store.swap import LOG
from climate.store.windows import WEATHERBENCH2, window_named
from vgbdm.errors import InputError
from vgbdm.storage.confine import read_bytes
from vgbdm.storage.consolidating import GROUP, begin, consolidate, separate
from vgbdm.storage.files import is_aside
from vgbdm.storage.lock import LOCK, check_held, locked
from vgbdm.storage.sealing import (
    MANIFEST,
    describe_arrays,
    digest_file,
    digest_tree,
    write_manifest,
)
from vgbdm.tasks import Dask

log = logging.getLogger(__name__)
CONVERT_WITHOUT = (
    "leave {name} out of variables= or choose a period= without that time, and convert again with "
    "restart=true"
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
    odd_maps: str = "refuse",
    climatology: str = WEATHERBENCH2.name,
) -> None:
    """Write the training store of a dataset, or continue where that was stopped.

    Args:
        dataset: lazy, as `climate.sources` says.
        store: folder to make.
        splits: ``train``, ``val``, ``test`` → [start, end], ISO 8601, ends inclusive.
        source: what to say of the origin; no paths, hosts or clocks, it is part of the store.
        step: between times where none is missing; by default the most frequent one.
        nan_allowance: share of missing values per channel and shard that may be filled, by the
            channel's mean over the shard; points that miss at all times are masked instead.
        scheduler: ``threads``, ``synchronous`` or the address of a ``dask.distributed`` cluster.
        workers: threads here; by default as many as cores.
        restart: drop what a stopped conversion left, instead of continuing it.
        force_unlock: take the lock of another machine without watching it first.
        codec: of the states, see `climate.store.layout.codecs`.
        odd_maps: ``refuse`` or ``keep`` maps of geopotential, temperature and wind that are no
            weather, see `climate.store.odd_maps`.
        climatology: window over which its days are smoothed, see `climate.store.windows`.

    Raises:
        InputError: one line, for splits, data or a folder that cannot be taken.
    """
    check_handling(odd_maps)
    path = Path(store)
    window = window_named(climatology)
    request = read_request(dataset, splits, source, step, nan_allowance, None, codec, window)
    Dask(scheduler, workers)
    _check_folder(path)
    with locked(path, force_unlock):
        journal = Journal(path)
        _refuse_finished(path)  # by another process, after the first look
        if (path / MANIFEST).exists():
            _tidy(journal)
            return
        if restart or not journal.plan.exists():
            _clear(journal)
            _begin(request, journal)
        _finish(request, journal, scheduler, workers, odd_maps)


def _check_folder(path: Path) -> None:
    """Refuse what is not ours to overwrite; another process may finish there meanwhile."""
    _refuse_finished(path)
    ours = {LOCK, LOG}
    if not path.exists() or Journal(path).folder.exists():
        return
    others = {entry.name for entry in path.iterdir() if not is_aside(entry)} - ours
    if not others or _is_marked(path):
        return
    _refuse_finished(path)  # its records went between the two looks
    raise InputError(f"store {path}: holds other files; choose an empty or new folder")


def _refuse_finished(path: Path) -> None:
    if (path / MANIFEST).exists() and not Journal(path).folder.exists():
        raise InputError(
            f"store {path}: already finished; remove it, choose another store=, or give "
            "append=true to add later times"
        )


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
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink(missing_ok=True)


def _begin(request: Request, journal: Journal) -> None:
    """All but the shards."""
    create_group(request, journal.store)
    begin(journal.store)
    mask = plan_mask(request.dataset, request.channels)
    sync_tree(journal.store)
    packed = None if mask is None else pack(mask)
    journal.begin(request.fingerprint(), digest_store(journal.store), packed)


def _finish(
    request: Request, journal: Journal, scheduler: str, workers: int | None, odd_maps: str
) -> None:
    """The shards that have no record yet, what is derived from all, and the manifest."""
    path = journal.store
    journal.check(request.fingerprint())
    separate(path)  # a start before this one may have come as far
    journal.check_begun(path)
    files, planned = journal.files(), journal.mask()
    if planned is not None:
        request = replace(request, mask=unpack(planned, request.shape))
    job = request.job(path, journal.shards)
    _drop_partial_files(path)
    done = journal.load(path, job.count)
    left = [k for k in range(job.count) if k not in done]
    bins = int(np.prod(request.binning.shape))
    plan = make_plan(job, left, bins, scheduler, workers, path)
    say(path, f"{'continued' if done else 'begun'}: {plan}")
    write_shards(job, left, scheduler, workers)
    request = replace(request, mask=_settle_mask(job, journal, scheduler, workers))
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
    maps = gather_maps(records, job.shares)
    if odd_maps == "refuse":
        check_odd(
            f"store {path}", find_odd(request.channels, maps), request.dataset, CONVERT_WITHOUT
        )
    group = zarr.open_group(path, mode="r+", zarr_format=3)
    mean_map, derived = write_derived(request, group, path)
    statistics = statistics_of(total, mean_map, request.splits["train"], request.channels)
    for name in derived:
        sync_tree(path / name)
        files |= {f"{name}/{key}": want for key, want in digest_tree(path / name).items()}
    consolidate(path)
    files[GROUP] = digest_file(path / GROUP)
    facts = _facts(request, job.steps, statistics, maps)
    check_held(path)
    write_manifest(path, {**facts, "files": files, "arrays": describe_arrays(path)})
    say(path, "finished")
    journal.drop()


def _settle_mask(
    job: Job, journal: Journal, scheduler: str, workers: int | None
) -> np.ndarray | None:
    """The points (C, H, W) that all shards miss; those that took more for masked are mended."""
    if job.planned is None:
        return None
    records = journal.load_all(job.count)
    mask, wider = merge_masks(job, (record["mask"] for record in records))
    for name, stands in zip(job.channels, mask, strict=True):
        check_atmosphere(name, "", stands, job.times)
    held = mask if mask.any() else None
    if wider:  # a mask that moves: what is missing beyond the one that stands may be refused now
        write_shards(replace(job, mask=held, settled=True), wider, scheduler, workers)
    return held


def _facts(
    request: Request, shard_steps: int, statistics: Statistics, maps: Sequence[Maps]
) -> dict[str, Any]:
    """What the manifest records besides its files."""
    data, window = request.dataset, request.binning.window
    return {
        "kind": STORE_KIND,
        "channels": list(request.channels),
        "static": list(request.static),
        "step_seconds": step_seconds(request.step),
        "times": len(request.times),
        "shard_steps": shard_steps,
        "splits": periods_to_json(request.splits),
        "gaps": gaps_to_json(request.times, request.step),
        "channel_attrs": {n: channel_attributes(n, dict(data[n].attrs)) for n in request.channels},
        "statistics": statistics.to_json(),
        "maps": [one.to_json() for one in maps],
        "climatology_seasons": request.seasons,
        **({WINDOW_FACT: window.name} if window else {}),
        "nan_allowance": request.nan_allowance,
        "masked": list(shares(request.channels, request.mask)),
        "codec": request.codec,
        "provenance": request.fingerprint()["source"],
    }


def _drop_partial_files(path: Path) -> None:
    """What zarr-python was writing aside when it was killed."""
    for entry in path.rglob("*.partial"):
        entry.unlink()
