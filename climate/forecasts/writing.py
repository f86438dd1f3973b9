"""A model and start times → a forecast dataset that follows the CF conventions.

    OUT/<channel>   (time, [realization,] lead_time, lat, lon) float32; realization in ensembles;
                    NaN where the store is masked
    OUT/time        initial time (forecast_reference_time); lead_time; valid_time (time, lead_time)
    OUT/manifest.json   digests of all files, and of the store's manifest; see
    `vgbdm.storage.sealing`

Shapes: ``N`` starts, ``M`` members, ``S`` leads, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from climate.conventions.calendar import as_step
from climate.conversion.journal import Journal
from climate.forecasts.access import FORECAST_KIND
from climate.forecasts.forecasting import Forecasting, Settings, count_leads
from climate.forecasts.jobs import Job
from climate.forecasts.starts import InitialStates, Starts, from_store
from climate.models.forecaster import Forecaster
from climate.store.layout import TrainingStore
from vgbdm.errors import InputError
from vgbdm.storage.consolidating import consolidate
from vgbdm.storage.door import open_array
from vgbdm.storage.files import aside_of, new_token, sync, token_of, write_json
from vgbdm.storage.outputs import appearing, check_free
from vgbdm.storage.sealing import digest_file, digest_tree, seal_folder
from vgbdm.training.backends.group import Alone, Group
from vgbdm.training.run_folder import for_all
from vgbdm.training.saving import agree_on_error

log = logging.getLogger(__name__)
RECORDS = "records"
"""Folder beside a forecast that is being made."""


def make_forecast(
    model: Forecaster,
    initial: InitialStates,
    settings: Settings,
    about: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """Forecasts in memory, laid out as `write_forecast` writes them.

    Args:
        model: a `Forecaster`; members are asked of a ``stochastic`` one alone.
        initial: where it starts.
        settings: how.
        about: further global attributes.

    Raises:
        InputError: for settings that do not fit the model, or a forecast that is not finite.
    """
    forecasting = Forecasting(model, initial, settings)
    made = forecasting.empty(_in_memory, about or {})
    forecasting.fill([made[name].values for name in forecasting.channels], [*forecasting.jobs])
    return made


def _in_memory(shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.empty(shape, np.float32)
    except (MemoryError, ValueError):  # of more values than there are addresses
        sizes = " × ".join(map(str, shape))
        raise InputError(
            f"forecasts of {sizes} values do not fit in memory; give fewer members, leads or "
            "starts, or write them to disk by vgbdm forecast-era5"
        ) from None


class ForecastJournal(Journal):
    """Which jobs of a forecast are on disk."""

    what = "forecast"
    drop_begun = "give resume=false to drop what was begun"

    arrays = None

    def __init__(self, aside: Path, out: Path) -> None:
        super().__init__(aside, aside.parent / RECORDS)
        self.where = f"out={out}"


def _is_begun(folder: Path) -> bool:
    """Whether a job of a forecast made in a folder is done."""
    return any((folder / RECORDS).glob("shards/*.json"))


def write_forecast(
    model: Forecaster,
    store: TrainingStore,
    out: str | Path,
    *,
    split: str = "test",
    starts: Starts | None = None,
    about: Mapping[str, str] | None = None,
    resume: bool = False,
    group: Group | None = None,
    **settings: Any,
) -> None:
    """Forecast from states of a store and write the result, a few leads at a time. *Collective.*

    Args:
        model: a `Forecaster`; members are asked of a ``stochastic`` one alone.
        store: initial states.
        out: Zarr store to make; it appears whole or not at all.
        split: whose starts: all that have their leads inside it.
        starts: these instead: ``latest``, or times, also where the store does not go on after them.
        about: further global attributes.
        resume: go on where the same forecast was stopped; else what it left is dropped.
        group: whose processes share the work; None: this one alone.
        settings: see `Settings`; ``lead`` must be given.

    Raises:
        InputError: for an ``out`` that exists or is being made, a model that does not fit or has
            seen what is to be forecast, members it does not have, another forecast to go on with,
            or one that is not finite.
    """
    out, group = Path(out), group or Alone()
    how = Settings(**settings)
    leads = count_leads(how.lead, as_step(model.step_seconds))
    initial = from_store(store, model, leads, split, starts)
    forecasting = Forecasting(model, initial, how)
    token = new_token()

    def begin(stack: contextlib.ExitStack) -> None:
        nonlocal token
        check_free(out)
        aside = stack.enter_context(appearing(out, _is_begun, resume))
        _begin(forecasting, about or {}, ForecastJournal(aside, out))
        token = token_of(aside.parent)

    with for_all(group, begin):
        aside = aside_of(out, int(group.broadcast(float(token)))) / out.name
        error = None
        try:
            _finish(forecasting, ForecastJournal(aside, out), group)
        except Exception as caught:
            error = caught
        agree_on_error(group, error, "forecast")
        if group.rank == 0:
            seal_folder(aside, FORECAST_KIND, forecasting.sealed)


def _finish(forecasting: Forecasting, journal: ForecastJournal, group: Group) -> None:
    """This rank's share of the jobs that are not done."""
    aside, jobs, channels = journal.store, forecasting.jobs, forecasting.channels

    def note(job: Job) -> None:
        made = [name for name in jobs.files(job, channels) if (aside / name).exists()]
        for name in made:
            sync(aside / name)
        files = {name: digest_file(aside / name) for name in made}
        write_json(journal.record(job.number), {"files": files, "partial": None})

    own = [job for job in jobs if job.number % group.world_size == group.rank]
    left = [job for job in own if not journal.record(job.number).exists()]
    forecasting.fill([open_array(aside, name) for name in channels], left, note)


def _begin(forecasting: Forecasting, about: Mapping[str, str], journal: Journal) -> None:
    """Lay a forecast out on disk, where that is not done.

    Raises:
        InputError: if another one was begun there.
    """
    initial, jobs, how = forecasting.initial, forecasting.jobs, forecasting.settings
    # never computed
    made = forecasting.empty(lambda shape: da.zeros(shape, dtype=np.float32, chunks=shape), about)
    identity = {
        "model or settings": {name: str(value) for name, value in made.attrs.items()},
        "states": forecasting.sealed,
        "starts": [str(time) for time in initial.times],
        "leads": jobs.leads,
        "members": jobs.members,
        "seed": how.seed,
        "precision": how.precision,
        "batch": [jobs.shards, jobs.chunks],
    }
    if not journal.plan.exists():
        made.to_zarr(
            journal.store,
            mode="w",
            compute=False,
            zarr_format=3,
            consolidated=False,
            encoding={name: dict(jobs.encoding) for name in forecasting.channels},
        )
        consolidate(journal.store)
        journal.begin(identity, digest_tree(journal.store))
    journal.check(identity)
    journal.check_begun(journal.store)
    finished = journal.load(journal.store, len(jobs))
    if finished:
        log.info("forecasts: %d of %d batches are there already", len(finished), len(jobs))
