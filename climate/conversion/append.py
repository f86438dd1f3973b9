"""New times at the end of a finished store.

    STORE/.conversion/append/     a group with the changed and the new files, written aside
    STORE/.conversion/swap.json   their digests, once all of them are whole and on disk

Then each file is moved to its place, and at last the manifest. Readers take the number of times
from the manifest, and every moved file holds the old times as before: they see the old period
until the manifest is swapped, at whatever moment the append is stopped. Statistics and climatology
stay those of their period.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from climate.conventions.calendar import in_unit_of, step_seconds
from climate.conventions.units import conversions, converted, unit_of
from climate.conventions.wording import date, last_date
from climate.conversion.journal import Journal, digest_store, say, sync_tree
from climate.conversion.map_survey import check_handling, check_odd, gather_maps
from climate.conversion.plan import make_plan
from climate.conversion.request import Request, gaps_to_json, periods_to_json, read_request
from climate.conversion.shards import create_arrays
from climate.conversion.tasks import write_shards
from climate.store.layout import TrainingStore, chunk_shape, open_store, read_facts
from climate.store.odd_maps import Maps, find_odd
from climate.store.swap import pending, swap_file, swapping
from vgbdm.errors import InputError
from vgbdm.storage.confine import resolve
from vgbdm.storage.consolidating import GROUP, consolidate, is_consolidated
from vgbdm.storage.files import sync, write_json
from vgbdm.storage.lock import check_held, locked
from vgbdm.storage.sealing import describe_arrays, matches, write_manifest

log = logging.getLogger(__name__)
MOVED = ("state", "filled", "time", GROUP)
"""Arrays along time, and the group with their shapes."""
APPEND_WITHOUT = "choose a period= without that time, and append again with restart=true"


def append(
    dataset: xr.Dataset,
    store: str | Path,
    splits: Mapping[str, Sequence[object]],
    *,
    source: Mapping[str, Any],
    scheduler: str = "threads",
    workers: int | None = None,
    restart: bool = False,
    force_unlock: bool = False,
    odd_maps: str = "refuse",
) -> None:
    """Add the times of a dataset that are later than a store's, or continue a stopped append.

    Args:
        dataset: lazy, with the store's channels and grid.
        store: folder of a finished store.
        splits: as of a conversion; training must be the store's own.
        source: what to say of the origin.
        scheduler: ``threads``, ``synchronous`` or the address of a ``dask.distributed`` cluster.
        workers: threads here; by default as many as cores.
        restart: drop what a stopped append left.
        force_unlock: take the lock of another machine without watching it first.
        odd_maps: ``refuse`` or ``keep``, as of a conversion.

    Raises:
        InputError: one line, where the dataset does not continue the store.
    """
    check_handling(odd_maps)
    path = Path(store)
    open_store(path)  # refuses before anything is made
    with locked(path, force_unlock):
        held, journal, facts = open_store(path), Journal(path), read_facts(path)
        moved = pending(path)
        published = bool(moved) and all(facts["files"].get(n) == w for n, w in moved.items())
        if published or (restart and not moved) or not journal.plan.exists():
            journal.drop()
        new = dataset["time"].values.astype("datetime64[s]") > held.times[-1]
        if published and not new.any():
            return  # it had been killed between its manifest and its end
        if not new.any():
            raise InputError(f"store {path}: the source has no time after {date(held.times[-1])}")
        request = _request(held, dataset.isel(time=slice(int(new.argmax()), None)), splits, source)
        fingerprint = request.fingerprint() | {"store": held.digest}
        if not journal.plan.exists():
            _begin(request, journal, fingerprint)
        journal.check(fingerprint)
        if not swapping(path):
            _write(request, held, facts, journal, scheduler, workers, odd_maps)
        check_held(path)
        _swap(path)
        _publish(request, facts, journal)


def _request(
    held: TrainingStore,
    dataset: xr.Dataset,
    splits: Mapping[str, Sequence[object]],
    source: Mapping[str, Any],
) -> Request:
    """The new times after the old ones, checked against the store."""
    facts = read_facts(held.path)
    times = np.concatenate((held.times, dataset["time"].values.astype("datetime64[s]")))
    request = read_request(
        dataset, splits, source, held.step, facts["nan_allowance"], times, facts["codec"]
    )
    same = {
        "channels": request.channels == held.channels,
        "latitudes": _alike(dataset["lat"].values, held.lat),
        "longitudes": _alike(dataset["lon"].values, held.lon),
        "split.train": request.splits["train"] == held.splits["train"],
        "shards": tuple(facts["arrays"]["state"][1]) == chunk_shape(*request.shape)[1],
        "step": not (np.diff(in_unit_of(held.step, times)) % held.step).astype(np.int64).any(),
    }
    other = [name for name, alike in same.items() if not alike]
    if other:
        raise InputError(
            f"store {held.path}: the source has other {', '.join(other)}; append the like"
        )
    alike = _in_units_of(held, dataset)
    window = held.climatology.binning.window or request.window
    request = replace(request, dataset=alike, mask=held.mask, settled=True, window=window)
    if request.splits["train"][1] > held.times[-1]:
        raise InputError(
            f"store {held.path}: training reaches to {last_date(request.splits['train'][1])}, "
            f"beyond the store's end {date(held.times[-1])}; appended times would change "
            "it: convert anew"
        )
    return request


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and np.allclose(a, b, atol=1e-4)


def _in_units_of(held: TrainingStore, dataset: xr.Dataset) -> xr.Dataset:
    """The dataset with each channel in the store's unit.

    Raises:
        InputError: naming the channel whose unit does not convert.
    """
    changes = conversions(
        {name: dataset[name].attrs for name in held.channels},
        {name: held.channel_attrs[name] for name in held.channels},
        what=lambda name: f"store {held.path}: {name} to be appended",
        remedy="append data in {unit}, or convert anew",
    )
    units = {name: str(unit_of(held.channel_attrs[name])) for name in changes}
    return dataset.assign(
        {name: converted(dataset[name], change, units[name]) for name, change in changes.items()}
    )


def _begin(request: Request, journal: Journal, fingerprint: Mapping[str, Any]) -> None:
    aside = journal.folder / "append"
    aside.mkdir(parents=True)
    create_arrays(zarr.open_group(aside, mode="a"), request.shape, request.times, request.codec)
    if is_consolidated(journal.store):  # the new shapes are in those of the group too
        shutil.copyfile(journal.store / GROUP, aside / GROUP)
        consolidate(aside, journal.store, aside)
    else:
        (aside / GROUP).unlink()  # the store has its own
    sync_tree(aside)
    journal.begin(fingerprint, digest_store(aside))


def _write(
    request: Request,
    held: TrainingStore,
    facts: Mapping[str, Any],
    journal: Journal,
    scheduler: str,
    workers: int | None,
    odd_maps: str,
) -> None:
    """The changed and the new shards, aside; then the list of what will be moved."""
    aside = journal.folder / "append"
    job = replace(
        request.job(aside, journal.shards), offset=len(held.times), earlier=held.path.resolve()
    )
    first = facts["times"] // facts["shard_steps"] * job.shares
    done = journal.load(aside, job.count)
    left = [k for k in range(first, job.count) if k not in done]
    plan = make_plan(job, left, 0, scheduler, workers, held.path)
    say(held.path, f"append {'continued' if done else 'begun'}: {plan}")
    write_shards(job, left, scheduler, workers)
    if odd_maps == "refuse":
        new = _new_maps(request, facts, journal)
        odd = find_odd(held.channels, new, _merge(facts, new))
        check_odd(f"store {held.path}", odd, request.dataset, APPEND_WITHOUT)
    files = journal.files()
    for record in journal.load_all(job.count, first):
        files |= record["files"]
    write_json(swap_file(journal.store), files)


def _new_maps(request: Request, facts: Mapping[str, Any], journal: Journal) -> list[Maps]:
    """What the new maps are like, by channel."""
    job = request.job(journal.folder / "append", journal.shards)
    first = facts["times"] // facts["shard_steps"] * job.shares
    return gather_maps(journal.load_all(job.count, first), job.shares)


def _merge(facts: Mapping[str, Any], new: Sequence[Maps]) -> list[Maps]:
    """What all maps are like, by channel; of a store that does not say it, the new ones."""
    held = facts.get("maps")
    if held is None:
        return list(new)
    return [Maps.from_json(a).merge(b) for a, b in zip(held, new, strict=True)]


def _swap(path: Path) -> None:
    """Move the files into the store; those already moved by a stopped append are there."""
    aside = Journal(path).folder / "append"
    for name, want in pending(path).items():
        target, new = (
            resolve(root, name, MOVED, remedy="restore the store") for root in (path, aside)
        )
        if new.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            new.replace(target)
        elif not matches(target, want):
            raise InputError(f"{target}: damaged while it was appended; restore the store")
        for folder in target.relative_to(path).parents:
            sync(path / folder)


def _publish(request: Request, facts: dict[str, Any], journal: Journal) -> None:
    facts |= {
        "times": len(request.times),
        "splits": periods_to_json(request.splits),
        "gaps": gaps_to_json(request.times, request.step),
        "files": facts["files"] | pending(journal.store),
        "maps": [one.to_json() for one in _merge(facts, _new_maps(request, facts, journal))],
        "arrays": facts["arrays"] | describe_arrays(journal.store),
        "step_seconds": step_seconds(request.step),
    }
    write_manifest(journal.store, facts)
    say(journal.store, f"append finished: {len(request.times)} times")
    journal.drop()
