"""What trivial rows learn of a training period, kept where it was fitted once.

    FOLDER/trivial-<digest>   damping (S, C), spread (C, H, W); sealed. The digest is of the store's
                              statistics, the climatology, the area, the step and the leads

Shapes: ``S`` leads, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import zarr

from climate.conventions.calendar import step_seconds
from climate.grids.area import Area
from climate.store.layout import TrainingStore
from climate.store.windows import BOX
from climate.verification.tasks import HERE
from climate.verification.trivial import TrivialFit, fit_trivial
from vgbdm.errors import InputError
from vgbdm.storage.outputs import appearing
from vgbdm.storage.sealed import Sealed
from vgbdm.storage.sealing import MANIFEST, read_manifest, seal_folder
from vgbdm.tasks import Dask

log = logging.getLogger(__name__)
FITS_KIND, REFIT = "trivial rows", "remove it, to fit again"


def trivial_fit(
    store: TrainingStore,
    area: Area,
    step: np.timedelta64,
    leads: int,
    kept: Path | None = None,
    dask: Dask = HERE,
) -> TrivialFit:
    """See `fit_trivial`; read where a folder holds it, and kept there where it can be written.

    Args:
        store: of the training period.
        area: of the forecasts.
        step: between leads.
        leads: S.
        kept: folder; None: fitted anew.
        dask: who works.

    Raises:
        InputError: if what is kept is damaged.
    """
    if kept is None:
        return fit_trivial(store, area, step, leads, dask)
    path = kept / f"trivial-{_key(store, area, step, leads)}"
    if (path / MANIFEST).exists():
        folder = Sealed(path, read_manifest(path, FITS_KIND, REFIT), REFIT)
        shape = len(store.channels), len(area.lat), len(area.lon)
        return TrivialFit(
            folder.values("damping", (leads, shape[0])), folder.values("spread", shape)
        )
    fit = fit_trivial(store, area, step, leads, dask)
    try:
        _keep(fit, path)
    except (OSError, InputError) as error:  # of a run that is somebody else's, say
        log.warning("trivial rows: not kept (%s)", error)
    return fit


def _key(store: TrainingStore, area: Area, step: np.timedelta64, leads: int) -> str:
    binning = store.climatology.binning
    bins: list[object] = [*binning.shape]
    if binning.window not in (None, BOX):  # keys of before there was a choice are the box's
        bins.append(binning.name)
    facts = [store.statistics.hash, bins, list(store.channels), step_seconds(step), leads]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for axis in (area.lat, area.lon):
        digest.update(np.ascontiguousarray(axis, "<f8").data)
    return digest.hexdigest()[:16]


def _keep(fit: TrivialFit, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing(path) as aside:
        group = zarr.open_group(aside, mode="w", zarr_format=3)
        group.create_array("damping", data=fit.damping, dimension_names=["lead", "channel"])
        group.create_array("spread", data=fit.spread, dimension_names=["channel", "lat", "lon"])
        seal_folder(aside, FITS_KIND, {})
