"""A store elsewhere → local disk, before training: Dask copies the shards, digests are checked.

Every file arrives under another name and gets its own by an atomic rename once its digest is the
manifest's, so that staging can be stopped anywhere and goes on where it was. The manifest comes
last. Several processes may stage into one folder at a time.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import dask
import fsspec
import numpy as np
import zarr

from climate.store.calendar import SPLITS, inside
from climate.store.layout import MANIFEST
from climate.store.reader import ShardedArray
from vgbdm.errors import InputError
from vgbdm.files import write_bytes

log = logging.getLogger(__name__)
TIMED = ("state/c/", "filled/c/")
"""Folders of shards; everything else is small and copied whole."""


def stage(
    url: str, folder: str | Path, splits: Sequence[str] = SPLITS, workers: int | None = None
) -> Path:
    """Copy a finished store to local disk, unless it is there already.

    Args:
        url: of the store, a path or what fsspec understands.
        folder: to copy to.
        splits: of which shards are copied, and the shard before each for its past states; states
            of other times are missing and refused when they are read.
        workers: Dask threads; by default as many as cores.

    Returns:
        The folder, to be opened like any store.

    Raises:
        InputError: if there is no finished store, or a shard is not what its manifest says.
    """
    system, root = fsspec.core.url_to_fs(url)
    folder = Path(folder)
    try:
        manifest = system.cat_file(f"{root}/{MANIFEST}")
        facts = json.loads(manifest)
    except (OSError, ValueError) as error:
        raise InputError(f"store {url}: not finished or not there ({error})") from None
    if (folder / MANIFEST).exists() and (folder / MANIFEST).read_bytes() != manifest:
        raise InputError(f"stage={folder}: holds another store; choose another folder")
    digests: dict[str, str] = {name: digest for name, (digest, _) in facts["files"].items()}
    small = [name for name in digests if not name.startswith(TIMED)]

    def fetch(name: str) -> None:
        _fetch(system, f"{root}/{name}", folder / name, digests.get(name))

    def fetch_all(some: Sequence[str]) -> None:
        tasks = [dask.delayed(fetch, pure=False)(name) for name in some]
        dask.compute(*tasks, scheduler="threads", num_workers=workers)

    fetch_all(small)
    wanted, timed = _wanted(folder, facts, splits), [n for n in digests if n.startswith(TIMED)]
    shards = [name for name in timed if _shard_of(name) in wanted]
    log.info("staging %d of %d shards of %s to %s", len(shards), len(timed), url, folder)
    fetch_all(shards)
    _place(folder / MANIFEST, manifest)
    return folder


def _shard_of(name: str) -> int:
    """The number in time of a shard."""
    return int(name.split("/")[2])


def _wanted(folder: Path, facts: dict, splits: Sequence[str]) -> set[int]:
    """Numbers in time of the shards that hold the splits, and of those just before them."""
    times = np.asarray(zarr.open_array(folder / "time", mode="r")[:]).astype("datetime64[s]")
    steps = ShardedArray(folder / "state").shards[0]
    found: set[int] = set()
    for name in splits:
        start, end = (np.datetime64(text, "s") for text in facts["splits"][name])
        numbers = np.unique(np.flatnonzero(inside(times, (start, end))) // steps)
        found |= {int(number) for number in numbers} | {max(int(numbers[0]) - 1, 0)}
    return found


def _fetch(
    system: fsspec.AbstractFileSystem, source: str, target: Path, digest: str | None
) -> None:
    """One file, unless it is there with the right digest."""
    if digest and target.exists() and _digest(target.read_bytes()) == digest:
        return
    content = system.cat_file(source)
    if digest and _digest(content) != digest:
        raise InputError(f"{source}: is not what the manifest says; verify and repair that store")
    _place(target, content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _place(target: Path, content: bytes) -> None:
    """Write, sync, and only then give the file its name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(target, content)
