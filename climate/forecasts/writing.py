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
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import torch
import xarray as xr
from tqdm import tqdm

from climate.conventions.calendar import as_step, count_steps
from climate.conventions.wording import date
from climate.conversion.journal import Journal
from climate.forecasts.access import FORECAST_KIND
from climate.forecasts.compatibility import about_training
from climate.forecasts.jobs import Job, Jobs
from climate.forecasts.layout import forecast_layout
from climate.forecasts.starts import InitialStates, Starts, from_store
from climate.models.forecaster import Forecaster
from climate.store.layout import TrainingStore
from climate.store.mask import not_finite
from vgbdm.errors import InputError
from vgbdm.origin import software
from vgbdm.precision import check_precision, computing
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
ENSEMBLE = 16
"""Members of a stochastic model's forecast where nothing else is asked for."""


def count_leads(lead: np.timedelta64, step: np.timedelta64) -> int:
    """How many model steps the longest lead is.

    Raises:
        InputError: if it is no whole number of steps.
    """
    return count_steps("leads", lead, step, "the model's")


def count_members(model: Forecaster, members: int | None) -> int:
    """How many members to write; None means 16 of a stochastic model, 1 of any other.

    Raises:
        InputError: if the model has no members to give, or the number is none.
    """
    stochastic = bool(getattr(model, "stochastic", False))
    if members is None:
        return ENSEMBLE if stochastic else 1
    if members < 1:
        raise InputError(f"members={members}: want at least 1")
    if members > 1 and not stochastic:
        raise InputError(
            f"members={members}: {type(model).__name__} is deterministic and has one forecast; "
            "leave members out"
        )
    return members


def model_hash(model: Forecaster) -> str:
    """SHA-256 of a model's weights and their names: which model made a file."""
    digest = hashlib.sha256(type(model).__name__.encode())
    states = model.state_dict() if isinstance(model, torch.nn.Module) else {}
    for name, value in sorted(states.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


@dataclass(frozen=True)
class Settings:
    """How a model forecasts.

    Attributes:
        lead: the longest lead, hours or months.
        members: of an ensemble; 1: one forecast without draws; None: what the model is made for.
        seed: of the draws.
        batch: forecasts at a time, starts times members, at most; see `Jobs`.
        device: to compute on.
        precision: of the networks, see `vgbdm.precision`.
    """

    lead: np.timedelta64
    members: int | None = None
    seed: int = 0
    batch: int = 16
    device: torch.device | str = "cpu"
    precision: str = "fp32"


class Forecasting:
    """A model, states to start from, and settings that fit together: their forecasts.

    Args:
        model: a `Forecaster`; members are asked of a ``stochastic`` one alone.
        initial: where it starts.
        settings: how.

    Raises:
        InputError: for leads that are no whole steps, members that the model does not have, or
            another precision than those there are.
    """

    def __init__(self, model: Forecaster, initial: InitialStates, settings: Settings) -> None:
        check_precision("precision", settings.precision)
        _check_weights(model)
        self.model, self.initial, self.settings = model, initial, settings
        members = count_members(model, settings.members)
        self.step = as_step(model.step_seconds)
        rows, columns = (range(size)[cut] for size, cut in zip(
            (len(initial.grid.lat), len(initial.grid.lon)), initial.interior, strict=True
        ))  # fmt: skip
        self.jobs = Jobs(
            len(initial.times),
            members if members > 1 else None,
            count_leads(settings.lead, self.step),
            len(initial.channels),
            (len(rows), len(columns)),
            settings.batch,
            model.history + 1,
        )
        self.device = torch.device(settings.device)
        self.training = about_training(model, initial.times)
        if "outside_training" in self.training:
            log.warning("forecasts: %s", self.training["outside_training"])

    def empty(self, make: Callable[[tuple[int, ...]], Any], about: Mapping[str, str]) -> xr.Dataset:
        """The dataset with its coordinates, and fields that are still to be filled.

        Args:
            make: shape → an array.
            about: further global attributes.
        """
        initial, jobs = self.initial, self.jobs
        attributes = {
            **initial.attributes,
            "source": f"{type(self.model).__name__} of vgbdm",
            "software": software(),
            "references": "arXiv 2602.17477",
            "model_hash": model_hash(self.model),
            "statistics_hash": self.model.statistics_hash,
            **self.training,
            **(initial.region.attributes() if initial.region else {}),
            **about,
        }
        return forecast_layout(initial, jobs.members or 1, jobs.leads, self.step, attributes, make)

    def fill(
        self,
        fields: Sequence[Any],
        jobs: Sequence[Job],
        done: Callable[[Job], None] = lambda job: None,
    ) -> None:
        """Compute jobs and write them, some leads at a time.

        Args:
            fields: arrays (N, [M,] S, H, W), one of each channel.
            jobs: of `jobs`.
            done: called after each.

        Raises:
            InputError: for a forecast that is not finite.
        """
        if isinstance(self.model, torch.nn.Module):
            self.model.to(self.device).eval()
        total = sum(job.starts.stop - job.starts.start for job in jobs)
        with tqdm(total=total, unit="start", desc="forecasting", disable=len(jobs) < 2) as bar:
            for job in jobs:
                members = (
                    () if job.members is None else (slice(job.members[0], job.members[-1] + 1),)
                )
                for leads, values in self._compute(job):
                    for c, field in enumerate(fields):
                        field[(job.starts, *members, leads)] = values[c]
                done(job)
                bar.update(job.starts.stop - job.starts.start)

    @torch.no_grad()
    def _compute(self, job: Job) -> Iterator[tuple[slice, np.ndarray]]:
        """Some leads at a time: which, and (C, n, [m,] leads, H, W) float32."""
        initial, share = self.initial, self.jobs.together[2]
        places = np.arange(job.starts.start, job.starts.stop)
        times = torch.from_numpy(initial.times[places].astype(np.int64)).to(self.device)
        states = torch.from_numpy(initial.read(places)).to(self.device)
        count, held = self.jobs.leads, []
        with computing(self.settings.precision, self.device):
            made = self.model.forecast_steps(states, times, count, job.members, self.settings.seed)
            for lead, x in enumerate(made, 1):
                held.append(self._checked(x.float().cpu().numpy(), places))
                if len(held) == share or lead == count:
                    values = np.stack(held, 2)
                    values = values[:, 0] if job.members is None else values
                    yield slice(lead - len(held), lead), np.moveaxis(values, -3, 0)
                    held = []

    def _checked(self, maps: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Maps (n, m, C, H, W) of one lead without the halo, NaN where masked."""
        mask = self.initial.mask
        bad = not_finite(maps, mask)
        if bad.any():
            raise InputError(
                f"the forecast from {date(self.initial.times[places][bad][0])} is not finite "
                f"({int(bad.sum())} such in this batch); use another checkpoint"
            )
        found = maps if mask is None else np.where(mask, np.float32(np.nan), maps)
        inside: np.ndarray = self.initial.without_halo(found)
        return inside


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
    forecasting.fill([made[name].values for name in initial.channels], [*forecasting.jobs])
    return made


def _check_weights(model: object) -> None:
    """Refuse a model that its caller has turned to another precision; autocast is ours."""
    weights = model.parameters() if isinstance(model, torch.nn.Module) else []
    other = [weight.dtype for weight in weights if weight.dtype != torch.float32]
    if other:
        raise InputError(f"run: its weights are {other[0]}; give model.float(), or load it again")


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
    forecasting = Forecasting(model, from_store(store, model, leads, split, starts), how)
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
            seal_folder(aside, FORECAST_KIND, dict(forecasting.initial.sealed))


def _finish(forecasting: Forecasting, journal: ForecastJournal, group: Group) -> None:
    """This rank's share of the jobs that are not done."""
    aside, jobs, channels = journal.store, forecasting.jobs, forecasting.initial.channels

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
        "states": dict(initial.sealed),
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
            encoding={name: dict(jobs.encoding) for name in initial.channels},
        )
        journal.begin(identity, digest_tree(journal.store))
    journal.check(identity)
    journal.check_begun(journal.store)
    finished = journal.load(journal.store, len(jobs))
    if finished:
        log.info("forecasts: %d of %d batches are there already", len(finished), len(jobs))
