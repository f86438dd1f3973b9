"""Initial winds of a training store, fitted once with Dask and kept in the store's folder.

Where the store cannot be written they are kept in another folder, that of the run.

    STORE/initial_wind-<digest of the options>/fits    (time, variable, harmonic) float32, m/s
    STORE/initial_wind-<…>/manifest.json               the options, and the digest of the store's
                                                       manifest; see `vgbdm.storage.sealing`

Rows are NaN where the past of a time has a gap or lies outside of the training period. A fit that
was killed leaves a hidden folder `.initial_wind-….tmp`, which the next fit on its machine removes.

Shapes: ``T`` times, ``N`` times of a block, ``G`` variables, ``K`` harmonics of ψ and of χ each.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import dask
import numpy as np
import torch
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from climate.conventions.calendar import as_step
from climate.models.climode.model import ClimODE
from climate.store.layout import TrainingStore
from climate.stream.batches import read_windows
from vgbdm.errors import InputError
from vgbdm.progress import progress
from vgbdm.storage.door import open_array
from vgbdm.storage.files import aside_of, asides_in, is_writable, make_writable, new_token, sync
from vgbdm.storage.lock import LOCK, held, is_left
from vgbdm.storage.sealed import Sealed
from vgbdm.storage.sealing import MANIFEST, read_manifest, seal_folder
from vgbdm.training.backends.base import Backend

log = logging.getLogger(__name__)

WINDS_KIND = "initial winds"
FITS = "fits"
REFIT = "remove it, to fit again"
ASIDE_TOKEN = -1
"""Of what is beside a read-only store; tokens are taken off it."""
CHUNK = 96
"""Times per chunk of a few harmonics each; each chunk is written by one task."""
FIT_BYTES = 96 * 2**20
"""Of states and matrices of the fits that a task makes at once, where one fit is not more."""


class InitialWinds:
    """The fitted winds of a store, open for reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.array = Sealed(path, read_manifest(path, WINDS_KIND, REFIT), REFIT).open(FITS)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a row: variables, harmonics of ψ and χ."""
        return tuple(self.array.shape[1:])

    def read(self, start: int, stop: int) -> np.ndarray:
        """Fits (N, G, 2·K) of times ``start`` to ``stop``, m/s; NaN where there are none.

        Raises:
            InputError: if a chunk is damaged.
        """
        try:
            return np.asarray(self.array[start:stop])
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{self.path}: damaged ({reason}); {REFIT}") from error


def initial_winds(
    field: ClimODE, store: TrainingStore, backend: Backend, aside: Path | None = None
) -> InitialWinds:
    """The winds fitted to every past of training, from the cache or made now. *Collective.*

    The cache's name holds the options of the fit; what the store held is compared.

    Args:
        field: the model, with the store's statistics.
        store: to fit on and to keep the fits in.
        backend: its ranks share the work.
        aside: folder to keep the fits in where the store is read-only.

    Raises:
        InputError: if the fits were made from another content of the store, or can be kept nowhere.
    """
    options = json.loads(json.dumps(field.fit.options))
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
    facts = {
        "options": options,
        "statistics": store.statistics.hash,
        "store": store.digest,
    }
    name = f"initial_wind-{digest[:12]}"
    # the first rank decides; its token names the folder, so that runs do not share one
    said = int(backend.broadcast(_decide(store, aside, name, facts) if backend.rank == 0 else 0))
    folder, token = (store.path, said) if said >= 0 else (aside or store.path, ASIDE_TOKEN - said)
    path = folder / name
    if token:
        partial = aside_of(path, token)
        with contextlib.ExitStack() as stack:
            if backend.rank == 0:
                _clear(path)
                partial.mkdir()
                stack.push(lambda kind, *_: _drop_failed(partial, kind))
                stack.enter_context(held(partial / LOCK, str(path)))
                _create(partial, (len(store.times), *field.fit.shape))
            backend.barrier()
            _fit(field, store, open_array(partial, FITS), backend)
            backend.barrier()
        if backend.rank == 0:
            _finish(partial, path, facts)
        backend.barrier()
    if not _holds(path, facts):
        raise InputError(f"{path}: fitted to other data than the store holds now; {REFIT}")
    winds, shape = InitialWinds(path), (len(store.times), *field.fit.shape)
    if winds.array.shape != shape:
        raise InputError(f"{path}: fits of {winds.array.shape}, not of {shape}; {REFIT}")
    return winds


def _holds(path: Path, facts: dict[str, Any]) -> bool:
    """Whether a folder holds the fits that some facts describe."""
    if not (path / MANIFEST).exists():
        return False
    try:
        held = read_manifest(path, WINDS_KIND, REFIT)
    except InputError as error:
        log.warning("%s", error)
        return False
    return all(held.get(name) == value for name, value in facts.items())


def _decide(store: TrainingStore, aside: Path | None, name: str, facts: dict[str, Any]) -> int:
    """Where the fits are or will be, as one number for all ranks.

    Returns:
        0 where they are in the store, `ASIDE_TOKEN` where they are aside; with a token of this
        process added in the store and taken off aside, where they are still to be made.
    """
    if _holds(store.path / name, facts):
        return 0
    if is_writable(store.path):
        return 0 if (store.path / name).exists() else new_token()
    if aside is None:
        raise InputError(
            f"{store.path}: is read-only and holds no initial winds of this model; copy it to a "
            "disk that can be written: stage=FOLDER"
        )
    if (aside / name).exists():
        return ASIDE_TOKEN
    make_writable(aside, store.path)
    return ASIDE_TOKEN - new_token()


def _clear(path: Path) -> None:
    """Remove what fits have left whose process is dead; others may be at work."""
    for left in asides_in(path.parent, path.name):
        if is_left(left / LOCK):
            shutil.rmtree(left)


def _drop_failed(partial: Path, kind: type[BaseException] | None) -> None:
    """Remove our own where it failed, of whatever kind."""
    if kind is not None:
        shutil.rmtree(partial, ignore_errors=True)


def _create(path: Path, shape: tuple[int, ...]) -> None:
    """An empty array."""
    group = zarr.open_group(path, mode="a", attributes={"kind": "initial winds of ClimODE"})
    group.create_array(
        FITS,
        shape=shape,
        dtype="float32",
        chunks=(CHUNK, *shape[1:]),
        compressors=[BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"), Crc32cCodec()],
        fill_value=float("nan"),
        dimension_names=["time", "variable", "harmonic"],
        attributes={"units": "m s-1", "long_name": "rms wind of harmonics of ψ, then of χ"},
    )


def _fit(field: ClimODE, store: TrainingStore, fits: zarr.Array, backend: Backend) -> None:
    """This rank's share of the blocks, one Dask task each, on one thread of torch each."""
    step = as_step(field.step_seconds)
    anchors = store.anchors("train", step, field.history, 0)
    blocks = np.split(anchors, np.flatnonzero(np.diff(anchors // CHUNK)) + 1)
    mine = blocks[backend.rank :: backend.world_size]
    total, together = sum(map(len, mine)), fits_at_once(field, store)
    with progress(total, "time", "initial winds", silent=backend.rank > 0) as bar:

        def task(times: np.ndarray) -> None:
            first = int(times[0]) // CHUNK * CHUNK
            rows = np.full((min(CHUNK, fits.shape[0] - first), *fits.shape[1:]), np.nan, np.float32)
            for at in range(0, len(times), together):
                chosen = times[at : at + together]
                past = read_windows(store, chosen, stride=store.stride(step), history=field.history)
                rows[chosen - first] = _fit_batch(field, torch.from_numpy(past))
                bar.update(len(chosen))
            fits[first : first + len(rows)] = rows

        tasks = [dask.delayed(task, pure=False)(times) for times in mine]
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            dask.compute(*tasks, scheduler="threads", num_workers=threads)
        finally:
            torch.set_num_threads(threads)


def fits_at_once(field: ClimODE, store: TrainingStore) -> int:
    """How many fits a task makes at once: a matrix of points and harmonics for each variable."""
    maps = int(np.prod(field.fit.shape)) + (field.history + 1) * len(store.channels)
    return max(1, FIT_BYTES // (4 * maps * len(store.lat) * len(store.lon)))


def _finish(aside: Path, path: Path, facts: dict[str, Any]) -> None:
    """Everything on disk before the folder has its name; another run may have been first."""
    seal_folder(aside, WINDS_KIND, facts)
    for entry in sorted(aside.rglob("*")):
        sync(entry)
    try:
        aside.replace(path)
    except OSError:
        shutil.rmtree(aside)
    sync(path.parent)
    log.info("initial winds: %s", path)


@torch.no_grad()
def _fit_batch(field: ClimODE, past: torch.Tensor) -> np.ndarray:
    """Fits (N, G, 2·K) to physical pasts (N, F, C, H, W)."""
    return field.fit_wind(field.standardise(past)).numpy()
