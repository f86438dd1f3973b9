"""A model, states to start from, and settings: their forecasts, some leads at a time.

Shapes: ``N`` starts, ``M`` members, ``S`` leads, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from climate.conventions.calendar import as_step, count_steps
from climate.conventions.wording import date
from climate.forecasts.access import MIRRORED
from climate.forecasts.ahead_sources import Wanted
from climate.forecasts.compatibility import about_training, roles_of
from climate.forecasts.forcing import Given, forcing_ahead
from climate.forecasts.jobs import Job, Jobs
from climate.forecasts.known_ahead import KnownAhead, Source, known_ahead
from climate.forecasts.known_ahead import about as told_of
from climate.forecasts.layout import forecast_layout
from climate.forecasts.starts import InitialStates
from climate.models.forecaster import Forecaster, forcing_of, prognostic_of
from climate.store.mask import not_finite
from vgbdm.errors import InputError
from vgbdm.latents.members import FEWEST_IN_PAIRS, in_pairs
from vgbdm.origin import software
from vgbdm.precision import check_precision, computing
from vgbdm.progress import progress

log = logging.getLogger(__name__)
SELF = "self"
"""A boundary that is no other's: the halo evolves by itself."""
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
        boundary: of a regional model, what its halo is taken from at each step: a training store or
            a forecast, see `climate.forecasts.known_ahead`; ``self``: it evolves by itself.
        forcing: of a model with forcing channels, a training store or a forecast that holds them at
            the valid times; None: what the initial states are from.
        aside: folder for what is made from a read-only store of these.
        pairs: whether members 2k and 2k + 1 are drawn by opposite numbers, where members are an
            even number of at least 4: their mean has less of the draws' chance in it. False: all
            are independent.
    """

    lead: np.timedelta64
    members: int | None = None
    seed: int = 0
    batch: int = 16
    device: torch.device | str = "cpu"
    precision: str = "fp32"
    boundary: Source = SELF
    forcing: Given | None = None
    aside: Path | None = None
    pairs: bool = True


class Forecasting:
    """A model, states to start from, and settings that fit together: their forecasts.

    Args:
        model: a `Forecaster`; members are asked of a ``stochastic`` one alone.
        initial: where it starts.
        settings: how.

    Raises:
        InputError: for leads that are no whole steps, members that the model does not have,
            another precision than those there are, or a boundary or forcing that does not serve.
    """

    def __init__(self, model: Forecaster, initial: InitialStates, settings: Settings) -> None:
        check_precision("precision", settings.precision)
        _check_weights(model)
        self.model, self.initial, self.settings = model, initial, settings
        members = count_members(model, settings.members)
        self.paired = settings.pairs and members % 2 == 0 and members >= FEWEST_IN_PAIRS
        self.step = as_step(model.step_seconds)
        given = forcing_of(model)
        self.places = [c for c, name in enumerate(initial.channels) if name not in given]
        self.channels = tuple(initial.channels[c] for c in self.places)
        self.mask = None if initial.mask is None else initial.mask[self.places]
        rows, columns = (range(size)[cut] for size, cut in zip(
            (len(initial.grid.lat), len(initial.grid.lon)), initial.interior, strict=True
        ))  # fmt: skip
        self.jobs = Jobs(
            len(initial.times),
            members if members > 1 else None,
            count_leads(settings.lead, self.step),
            len(self.channels),
            (len(rows), len(columns)),
            settings.batch,
            model.history + 1,
        )
        self.boundary = self._known_around()
        self.forcing = forcing_ahead(
            model, initial, self.jobs.leads, self.jobs.members, settings.forcing, settings.aside
        )
        self.device = torch.device(settings.device)
        self.training = about_training(model, initial.times)
        if "outside_training" in self.training:
            log.warning("forecasts: %s", self.training["outside_training"])

    def _known_around(self) -> KnownAhead | None:
        """What the halo is taken from; None: it evolves by itself."""
        source, region = self.settings.boundary, self.initial.region
        if isinstance(source, str) and source == SELF:
            return None
        if region is None:
            raise InputError(
                "region.boundary: the model sees the globe, which has no boundary; leave it out, "
                "or forecast with a run of task=regional"
            )
        wanted = Wanted(
            "boundary", "region.boundary", prognostic_of(self.model), self.step, self.jobs.leads,
            self.jobs.members,
        )  # fmt: skip
        return known_ahead(source, wanted, self.initial, self.settings.aside)

    @property
    def sealed(self) -> dict[str, str]:
        """Digests of all that is read, for the manifest."""
        read = dict(self.initial.sealed)
        for known in self.known.values():
            read |= known.sealed
        return read

    @property
    def known(self) -> dict[str, KnownAhead]:
        """What is given of the time after the starts, by the argument that takes it."""
        given = {"boundary": self.boundary, "forcing": self.forcing}
        return {name: known for name, known in given.items() if known is not None}

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
            **told_of(self.known.values()),
            **roles_of(self.model),
            **({MIRRORED: 1} if self.paired else {}),
            **about,
        }
        members = jobs.members or 1
        return forecast_layout(
            initial, self.channels, members, jobs.leads, self.step, attributes, make
        )

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
        with progress(total, "start", "forecasting", silent=len(jobs) < 2) as bar:
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
        given: dict[str, Any] = {
            name: self._steps(known, places, job.members) for name, known in self.known.items()
        }
        drawn = in_pairs(job.members) if job.members and self.paired else job.members
        with computing(self.settings.precision, self.device):
            made = self.model.forecast_steps(
                states, times, count, drawn, self.settings.seed, **given
            )
            for lead, x in enumerate(made, 1):
                held.append(self._checked(x.float().cpu().numpy(), places))
                if len(held) == share or lead == count:
                    values = np.stack(held, 2)
                    values = values[:, 0] if job.members is None else values
                    yield slice(lead - len(held), lead), np.moveaxis(values, -3, 0)
                    held = []

    def _steps(
        self, known: KnownAhead, places: np.ndarray, members: range | None
    ) -> Iterator[torch.Tensor]:
        """Lead by lead (n, 1 or m, C, H, W) what is known ahead."""
        for states in known.steps(places, members):
            yield torch.from_numpy(np.ascontiguousarray(states)).to(self.device)

    def _checked(self, maps: np.ndarray, places: np.ndarray) -> np.ndarray:
        """What is forecast of maps (n, m, C, H, W), without the halo, NaN where masked."""
        mask = self.mask
        maps = maps if len(self.places) == maps.shape[-3] else maps[:, :, self.places]
        bad = not_finite(maps, mask)
        if bad.any():
            raise InputError(
                f"the forecast from {date(self.initial.times[places][bad][0])} is not finite "
                f"({int(bad.sum())} such in this batch); use another checkpoint"
            )
        found = maps if mask is None else np.where(mask, np.float32(np.nan), maps)
        inside: np.ndarray = self.initial.without_halo(found)
        return inside


def _check_weights(model: object) -> None:
    """Refuse a model that its caller has turned to another precision; autocast is ours."""
    weights = model.parameters() if isinstance(model, torch.nn.Module) else []
    other = [weight.dtype for weight in weights if weight.dtype != torch.float32]
    if other:
        raise InputError(f"run: its weights are {other[0]}; give model.float(), or load it again")
