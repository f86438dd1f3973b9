"""Tables that take long to make are made once: a file for each grid and truncation.

The file is in the format of safetensors and is mapped into memory, so that the processes of a
machine share its pages. Its header holds the key, which is all that the tables follow from, and the
SHA-256 of their bytes, which is compared whenever it is opened (0.5 s at 0.25°, a twentieth of what
making them takes). A file that is cut short, damaged or of another key is made again. One process
of a machine makes it while the others wait; it appears whole, under its name. Where the folder
cannot be written, each process makes its own tables and keeps none.

Tables take 0.7 GiB at 0.25°. When the folder holds more than `LIMIT`, those unused for longest go.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path

import torch_harmonics
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from climate.grids.grid import Grid
from climate.operators.legendre import band_starts, shapes_alone
from vgbdm.storage.files import aside_of, asides_in, follow_umask

log = logging.getLogger(__name__)

VERSION = 1
"""Of the tables; another number wherever their values or their order change."""
LIMIT = 4 * 2**30
"""Bytes that the files of a folder may take together, the newest aside."""
SUFFIX = ".safetensors"
LOCK = "lock"

_folder: ContextVar[Path | None] = ContextVar("folder of tables", default=None)


@contextlib.contextmanager
def tables_kept_in(folder: str | Path | None) -> Iterator[None]:
    """Keep the tables of all operators that are built meanwhile in a folder.

    Args:
        folder: is made where it is missing; None: that of `default_folder`.
    """
    token = _folder.set(None if folder is None else Path(folder))
    try:
        yield
    finally:
        _folder.reset(token)


def default_folder() -> Path:
    """The user's own: ``vgbdm`` in ``XDG_CACHE_HOME``, else in ``~/.cache``.

    Raises:
        OSError: if the user has no home.
    """
    home = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(home) if home else Path("~/.cache").expanduser()) / "vgbdm"
    except RuntimeError as error:
        raise OSError(str(error)) from None


def cached_tables(
    grid: Grid, truncation: int, radius: float, make: Callable[[], Mapping[str, Tensor]]
) -> Mapping[str, Tensor]:
    """The tables of a grid: those of the cache, else made and kept there for the next process.

    Args:
        grid: on the globe.
        truncation: largest degree.
        radius: of the sphere, m.
        make: them, by name, as tensors of float32 on the CPU.
    """
    if shapes_alone():
        return make()
    key, make_once = _key(grid, truncation, radius), functools.cache(make)
    name = f"harmonics-{len(grid.lat)}x{len(grid.lon)}-{truncation}"
    try:
        path = (_folder.get() or default_folder()) / f"{name}-{_short(key)}{SUFFIX}"
        return read_tables(path, key) or _keep(path, key, make_once)
    except (OSError, SafetensorError) as error:
        log.warning(
            "operators: their tables cannot be kept (%s) and are made at each start; choose "
            "another folder with cache=FOLDER", error,
        )  # fmt: skip
    return make_once()


def _keep(path: Path, key: str, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    """Make tables and keep them, or wait for the process that does; mapped from the file."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(path.parent):
        found = read_tables(path, key)
        if found is None:
            _write(path, key, make())
            found = read_tables(path, key)
    return found or make()


def read_tables(path: Path, key: str) -> Mapping[str, Tensor] | None:
    """The tables of a file, mapped into memory; None where there are none of this key, undamaged.

    Args:
        path: of the file.
        key: what they follow from.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            if facts.get("key") != key:
                return None
            tables: dict[str, Tensor] = file.get_tensors()
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError) as error:
        log.info("%s: cannot be read (%s)", path, error)
        return None
    if facts.get("sha256") != _digest(tables):
        log.warning("%s: is damaged; its tables are made again", path)
        return None
    with contextlib.suppress(OSError):
        path.touch()  # it was used last
    return tables


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Be the only process of this machine that makes tables; wait for the one that does."""
    with (folder / LOCK).open("w") as handle:
        with contextlib.suppress(OSError):  # no such locks on this disk: several may make them
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _write(path: Path, key: str, tables: Mapping[str, Tensor]) -> None:
    """Put a file in place at once, where the dead may have left some of it."""
    for left in asides_in(path.parent, path.name):
        left.unlink(missing_ok=True)
    aside = aside_of(path)
    try:
        save_file(dict(tables), aside, {"key": key, "sha256": _digest(tables)})
        follow_umask(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):  # another machine does the same
        _remove_unused(path)


def _remove_unused(newest: Path) -> None:
    """Remove the files unused for longest that are too much beside the newest."""
    held = {p: p.stat() for p in newest.parent.glob(f"*{SUFFIX}") if p != newest}
    total = 0
    for path, facts in sorted(held.items(), key=lambda item: -item[1].st_mtime):
        total += facts.st_size
        if total > LIMIT:
            path.unlink()


def _key(grid: Grid, truncation: int, radius: float) -> str:
    """All that tables follow from, as JSON."""
    facts = {
        "version": VERSION,
        "torch_harmonics": torch_harmonics.__version__,
        "latitudes": grid.lat.tolist(),
        "longitudes": len(grid.lon),
        "truncation": truncation,
        "orders": band_starts(truncation).step,
        "radius": radius,
    }
    return json.dumps(facts, sort_keys=True)


def _short(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def _digest(tables: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, shapes and numbers."""
    total = hashlib.sha256()
    for name in sorted(tables):
        total.update(f"{name} {tuple(tables[name].shape)}\n".encode())
        total.update(tables[name].numpy().data)
    return total.hexdigest()
