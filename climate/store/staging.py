"""A store elsewhere → local disk, before training: Dask copies the shards, digests are checked.

Every file arrives under another name and gets its own by an atomic rename once its digest is the
manifest's, so that staging can be stopped anywhere and goes on where it was. The manifest comes
last. Several processes may stage into one folder at a time; what the dead have left is removed by
whoever finishes.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import dask
import fsspec
import numpy as np

from climate.conventions.calendar import SPLITS, inside
from climate.store.layout import STORE_KIND, open_folder
from climate.store.reader import ShardedArray
from vgbdm.errors import InputError
from vgbdm.extras import how_to_install
from vgbdm.storage.confine import JSON_BYTES, read_bytes, resolve
from vgbdm.storage.files import asides_in, write_bytes
from vgbdm.storage.network import TRANSFERS, Server, is_served, reach
from vgbdm.storage.sealing import MANIFEST, entry_of, matches, unseal

log = logging.getLogger(__name__)
TIMED_DIRS = ("state/c/", "filled/c/")
"""Folders of shards; everything else is small and copied whole."""
GONE = "verify that store where it lies"
AGAIN = "give the same command again once it does: what is copied stays"
ABANDONED = 3600.0
"""Seconds after which nobody is still writing one file, whose bytes are in memory already."""


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
    try:
        system, root = fsspec.core.url_to_fs(url, **reach(url, {}))
    except (ImportError, ValueError) as error:
        raise InputError(
            f"store {url}: cannot be reached ({error}); {how_to_install('cloud')} brings what "
            "gs://, s3:// and https:// need"
        ) from None
    folder, server = Path(folder), Server(url, AGAIN)
    manifest = _read_manifest(server, system, root)
    facts = unseal(manifest, f"{url}/{MANIFEST}", GONE)
    if facts["kind"] != STORE_KIND:
        raise InputError(f"store {url}: holds {facts['kind'][:50]}; give a training store")
    if (folder / MANIFEST).exists() and read_bytes(folder / MANIFEST) != manifest:
        raise InputError(f"stage={folder}: holds another store; choose another folder")
    places = {name: resolve(folder, name, [*facts["arrays"], "zarr.json"], GONE)
              for name in facts["files"]}  # fmt: skip
    small = [name for name in places if not name.startswith(TIMED_DIRS)]

    def fetch(name: str) -> None:
        _fetch(server, system, f"{root}/{name}", places[name], entry_of(facts, name) or [])

    def fetch_all(some: Sequence[str]) -> None:
        tasks = [dask.delayed(fetch, pure=False)(name) for name in some]
        dask.compute(*tasks, scheduler="threads", num_workers=workers)

    fetch_all(small)
    wanted, timed = _wanted(folder, facts, splits), [n for n in places if n.startswith(TIMED_DIRS)]
    shards = [name for name in timed if _shard_of(name) in wanted]
    log.info("staging %d of %d shards of %s to %s", len(shards), len(timed), url, folder)
    fetch_all(shards)
    _place(folder / MANIFEST, manifest)
    _clear({folder, *(path.parent for path in places.values())})
    return folder


def _clear(folders: Iterable[Path]) -> None:
    """Remove the half-written files of processes that have died."""
    for folder in folders:
        for left in asides_in(folder) if folder.is_dir() else ():
            try:
                if time.time() - left.stat().st_mtime > ABANDONED:
                    left.unlink()
            except FileNotFoundError:
                pass  # another process has named or removed it


def _read_manifest(server: Server, system: fsspec.AbstractFileSystem, root: str) -> bytes:
    """The bytes of the manifest, of bounded number."""
    path, what = f"{root}/{MANIFEST}", f"store {server.url}"
    try:
        facts = server.ask_now(lambda: system.info(path), what)
        if facts["type"] != "file" or (facts["size"] or 0) > JSON_BYTES:
            raise InputError(f"{what}: its {MANIFEST} is none; give a training store")
        return bytes(server.ask_now(lambda: system.cat_file(path), what))
    except OSError as error:
        raise InputError(f"{what}: not finished or not there ({error})") from None


def _shard_of(name: str) -> int:
    """The number in time of a shard."""
    return int(name.split("/")[2])


def _wanted(folder: Path, facts: dict, splits: Sequence[str]) -> set[int]:
    """Numbers in time of the shards that hold the splits, and of those just before them."""
    held = open_folder(folder, facts)
    times = held.values("time").astype("datetime64[s]")
    steps = ShardedArray(held).shards[0]
    found: set[int] = set()
    for name in splits:
        start, end = (np.datetime64(text, "s") for text in facts["splits"][name])
        numbers = np.unique(np.flatnonzero(inside(times, (start, end))) // steps)
        found |= {int(number) for number in numbers} | {max(int(numbers[0]) - 1, 0)}
    return found


def _fetch(
    server: Server,
    system: fsspec.AbstractFileSystem,
    source: str,
    target: Path,
    want: list[Any],
) -> None:
    """One file, unless it is there with the right digest; what came damaged is fetched again."""
    if matches(target, want):
        return
    for _ in range(TRANSFERS if is_served(server.url) else 1):
        try:
            if server.ask_now(lambda: system.size(source), source) not in (want[1], None):
                continue
            content = b""  # one that is to be empty may be a pipe
            if want[1]:
                content = server.ask_now(lambda: system.cat_file(source), source)
        except OSError as error:
            raise InputError(f"{source}: cannot be read ({error}); {GONE}") from None
        if hashlib.sha256(content).hexdigest() == want[0]:
            return _place(target, content)
    raise InputError(f"{source}: is not what the manifest says; verify and repair that store")


def _place(target: Path, content: bytes) -> None:
    """Write, sync, and only then give the file its name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(target, content)
