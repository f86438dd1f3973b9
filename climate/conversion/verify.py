"""Is a store whole? Which times are damaged? Mend just those from the source.

Every file but the log has a digest in the manifest, and so has the manifest itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from climate.conventions.calendar import as_step
from climate.conventions.wording import date, duration
from climate.conversion.journal import Journal, say, sync_tree
from climate.conversion.request import MEANS, Request, create_group, write_derived
from climate.conversion.shards import write_shard
from climate.store.coverage import describe_times
from climate.store.layout import open_folder, open_store, read_facts, window_of
from climate.store.mask import mask_lines
from climate.store.odd_maps import describe_odd_maps
from climate.store.swap import pending, swapping
from vgbdm.errors import InputError
from vgbdm.storage import sealing
from vgbdm.storage.confine import resolve
from vgbdm.storage.consolidating import GROUP, begin, consolidate
from vgbdm.storage.files import sync
from vgbdm.storage.lock import locked

DERIVED = ("initial_wind-", "trivial-")
"""Beginnings of folders that hold what was fitted to a store."""
SHARD = re.compile(r"(?:state|filled)/c/(\d+)/(\d+)/0/0")


@dataclass(frozen=True)
class Damage:
    """A file that is not as it was written.

    Attributes:
        name: path inside the store.
        reason: in words.
        shard: its numbers in time and channels, None for a file that is no shard.
        steps: times of a shard.
    """

    name: str
    reason: str
    shard: tuple[int, int] | None
    steps: int

    def describe(self, times: np.ndarray | None) -> str:
        """One line, with the times it holds where they can be read."""
        if self.shard is None:
            return f"{self.name}: {self.reason}"
        start = self.shard[0] * self.steps
        if times is None:
            return f"{self.name}: {self.reason}; holds times {start} … {start + self.steps - 1}"
        held = times[start : start + self.steps]
        return f"{self.name}: {self.reason}; holds {date(held[0])} … {date(held[-1])}"


def find_damaged_shards(path: Path) -> Iterator[Damage]:
    """Compare every file with its digest.

    While an append moves its files into the store, these may be as before or as they will be.
    """
    facts = read_facts(path)
    for name, reason in sealing.find_damaged_files(path, facts, pending(path)):
        found = SHARD.fullmatch(name)
        shard = (int(found[1]), int(found[2])) if found else None
        yield Damage(name, reason, shard, facts["shard_steps"])


def verify_store(path: Path) -> list[str]:
    """One line for each damaged file of a store and of what was made from it and is kept in it."""
    return [*_verify(path), *verify_derived(path)]


def verify_derived(folder: Path) -> list[str]:
    """One line for each damaged file of what is made from a store and kept in a folder."""
    lines = []
    for path in sorted(p for p in folder.iterdir() if (p / sealing.MANIFEST).exists()):
        if path.name == "monthly" or path.name.startswith(DERIVED):
            try:
                found = _verify(path) if path.name == "monthly" else sealing.verify_folder(path)
            except InputError as error:
                found = [str(error)]
            lines += [f"{path.name}/{line}" for line in found]
    return lines


def _verify(path: Path) -> list[str]:
    """One line for each damaged file of the store itself."""
    folder, damages = open_folder(path), list(find_damaged_shards(path))
    times = None
    if not any(damage.name.startswith("time/") for damage in damages):
        times = folder.values("time")[: folder.facts["times"]].astype("datetime64[s]")
    return [damage.describe(times) for damage in damages]


def repair(
    path: Path, dataset: xr.Dataset, source: dict[str, Any], force_unlock: bool = False
) -> list[str]:
    """Write damaged files again, from the source and from what is whole.

    Args:
        path: of a finished store.
        dataset: what it was converted from; it must have the damaged times.
        source: what the conversion said of the origin.
        force_unlock: take the lock of another machine without watching it first.

    Returns:
        The files mended.

    Raises:
        InputError: if the source gives other bytes than it did.
    """
    facts = read_facts(path)
    with locked(path, force_unlock):
        if swapping(path):
            raise InputError(f"store {path}: an append was stopped; finish it with append=true")
        damages = list(find_damaged_shards(path))
        if not damages:
            return []
        journal = Journal(path)
        if journal.folder.exists():
            journal.drop()
        aside = journal.folder / "repair"
        names = [damage.name for damage in damages]
        request = _request(path, facts, dataset, source, _held_mask(path, facts, names))
        aside.mkdir(parents=True)
        try:
            group = create_group(request, aside)
            _mend_shards(path, request, aside, damages)
            derived = [n for n in names if n.split("/")[0] in (*MEANS, "mask")]
            others = [n for n in names if n not in derived and n != GROUP]
            _move(path, facts, aside, others)
            if derived:
                write_derived(request, group, path)
                _move(path, facts, aside, derived)
            if GROUP in names:
                for change in (begin, lambda at: consolidate(at, path)):  # as stores may have it
                    if not sealing.matches(aside / GROUP, facts["files"][GROUP]):
                        change(aside)
                _move(path, facts, aside, [GROUP])
        finally:
            journal.drop()
        say(path, f"repaired: {', '.join(names)}")
        return names


def _request(
    path: Path,
    facts: dict[str, Any],
    dataset: xr.Dataset,
    source: dict[str, Any],
    mask: np.ndarray | None,
) -> Request:
    """What the store was made from; its times are those of the source up to the store's end."""
    times = dataset["time"].values.astype("datetime64[s]")[: facts["times"]]
    channels = [str(n) for n, v in dataset.data_vars.items() if "time" in v.dims]
    if len(times) < facts["times"] or channels != facts["channels"]:
        raise InputError(
            f"store {path}: holds {facts['times']} times of {', '.join(facts['channels'])}, the "
            f"source {len(times)} of {', '.join(channels)}; give the source it was made from"
        )
    absent = [name for name in facts["static"] if name not in dataset]
    if absent:
        raise InputError(f"store {path}: the source lacks {', '.join(absent)}; give it with them")
    splits = {
        name: (np.datetime64(a, "s"), np.datetime64(b, "s"))
        for name, (a, b) in facts["splits"].items()
    }
    return Request(
        dataset.isel(time=slice(facts["times"])), times, splits, as_step(facts["step_seconds"]),
        tuple(channels), tuple(facts["static"]), facts["nan_allowance"], source,
        facts["codec"], mask, settled=True, bins=facts["arrays"]["climatology"][0][0],
        window=window_of(facts, path),
    )  # fmt: skip


def _held_mask(path: Path, facts: dict[str, Any], damaged: list[str]) -> np.ndarray | None:
    """The mask of a store of which some files are damaged: the mean map has no values there."""
    if not facts.get("masked"):
        return None
    for name in ("mask", "mean_map"):
        if not any(file.split("/")[0] == name for file in damaged):
            folder = open_folder(path)
            held = folder.values(name, folder.open(name).shape)
            return held if name == "mask" else np.isnan(held)
    raise InputError(f"store {path}: its mask and its mean map are damaged; convert anew")


def _mend_shards(path: Path, request: Request, aside: Path, damages: list[Damage]) -> None:
    records = Journal(path).shards
    records.mkdir()
    job = request.job(aside, records)
    for time, share in sorted({d.shard for d in damages if d.shard is not None}):
        write_shard(job, time * job.shares + share)


def _move(path: Path, facts: dict[str, Any], aside: Path, names: list[str]) -> None:
    """Put files in place that have the digest they had."""
    sync_tree(aside)
    for name in names:
        new, target = (resolve(root, name, [*facts["arrays"], GROUP]) for root in (aside, path))
        if not sealing.matches(new, facts["files"][name]):
            raise InputError(
                f"store {path}: the source gives another {name} than when it was converted; give "
                "the unchanged source, or convert anew"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        new.replace(target)
        sync(target.parent)


def describe_store(path: Path) -> list[str]:
    """Period, channels, grid, shards, bytes, splits and the hash of the statistics."""
    store, facts = open_store(path), read_facts(path)
    shards = [entry[1] for name, entry in facts["files"].items() if name.startswith("state/c/")]
    raw = 4 * len(store.times) * int(np.prod(store.state.shape[1:]))
    return [
        f"period      {date(store.times[0])} … {date(store.times[-1])}, {len(store.times)} times, "
        f"step {duration(store.step)}, {len(facts['gaps'])} gaps",
        f"channels    {', '.join(store.channels)}",
        f"grid        {len(store.lat)} × {len(store.lon)}",
        *(f"regridded   {how}" for how in [store.provenance.get("regridding")] if how),
        f"shards      {len(shards)} of up to {facts['shard_steps']} times",
        f"bytes       {sum(shards)} on disk, {raw} in memory",
        *describe_times(store),
        *(f"mask        {line}" for line in mask_lines(store.channels, store.mask)),
        *(f"odd maps    {line}" for line in describe_odd_maps(path)),
        f"climatology {store.climatology.rule}",
        f"statistics  {store.statistics.hash}",
    ]
