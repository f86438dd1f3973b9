"""A model and start times → a forecast dataset that follows the CF conventions.

    OUT/<channel>   (time, [realization,] lead_time, lat, lon) float32; realization in ensembles;
                    NaN where the store is masked
    OUT/time        initial time (forecast_reference_time); lead_time; valid_time (time, lead_time)
    OUT/manifest.json   digests of all files, and of the store's manifest; see
    `vgbdm.storage.sealing`

Shapes: ``N`` starts, ``M`` members, ``S`` leads, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
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
from climate.forecasts.access import FORECAST_KIND
from climate.forecasts.compatibility import about_training
from climate.forecasts.layout import forecast_layout
from climate.forecasts.starts import InitialStates, Starts, from_store
from climate.models.forecaster import EnsembleForecaster, Forecaster
from climate.store.layout import TrainingStore
from climate.store.mask import not_finite
from vgbdm.errors import InputError
from vgbdm.origin import software
from vgbdm.precision import check_precision, computing
from vgbdm.storage.door import open_array
from vgbdm.storage.outputs import appearing, check_free
from vgbdm.storage.sealing import seal_folder

log = logging.getLogger(__name__)
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
        batch: forecasts at a time, starts times members; bounds memory.
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
        model: a `Forecaster`; `forecast_ensemble` is asked of a ``stochastic`` one alone.
        initial: where it starts.
        settings: how.

    Raises:
        InputError: for leads that are no whole steps, members that the model does not have, or
            another precision than those there are.
    """

    def __init__(
        self, model: EnsembleForecaster, initial: InitialStates, settings: Settings
    ) -> None:
        check_precision("precision", settings.precision)
        _check_weights(model)
        self.model, self.initial, self.settings = model, initial, settings
        self.members = count_members(model, settings.members)
        self.step = as_step(model.step_seconds)
        self.leads = count_leads(settings.lead, self.step)
        self.size = max(1, settings.batch // self.members)
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
        initial = self.initial
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
        return forecast_layout(initial, self.members, self.leads, self.step, attributes, make)

    def fill(self, fields: Sequence[Any]) -> None:
        """Fill arrays (N, [M,] S, H, W), one of each channel, batch by batch.

        Raises:
            InputError: for a forecast that is not finite.
        """
        if isinstance(self.model, torch.nn.Module):
            self.model.to(self.device).eval()
        count = len(self.initial.times)
        with tqdm(total=count, unit="start", desc="forecasting", disable=count <= self.size) as bar:
            for at in range(0, count, self.size):
                places = np.arange(at, min(at + self.size, count))
                forecast = self._compute(places)
                for c, field in enumerate(fields):
                    field[at : at + len(places)] = self.initial.without_halo(forecast[..., c, :, :])
                bar.update(len(places))

    @torch.no_grad()
    def _compute(self, places: np.ndarray) -> np.ndarray:
        """Forecasts (n, [M,] S, C, H, W) float32 from some starts."""
        initial, mask = self.initial, self.initial.mask
        starts = initial.times[places]
        times = torch.from_numpy(starts.astype(np.int64)).to(self.device)
        states = torch.from_numpy(initial.read(places)).to(self.device)
        with computing(self.settings.precision, self.device):
            if self.members == 1:
                made = self.model.forecast(states, times, self.leads)
            else:
                made = self.model.forecast_ensemble(
                    states, times, self.leads, self.members, self.settings.seed
                )
        forecast = np.asarray(made.float().cpu().numpy())
        bad = not_finite(forecast, mask)
        if bad.any():
            raise InputError(
                f"the forecast from {date(starts[bad][0])} is not finite ({int(bad.sum())} such "
                "in this batch); use another checkpoint"
            )
        return forecast if mask is None else np.where(mask, np.float32(np.nan), forecast)


def make_forecast(
    model: EnsembleForecaster,
    initial: InitialStates,
    settings: Settings,
    about: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """Forecasts in memory, laid out as `write_forecast` writes them.

    Args:
        model: a `Forecaster`; `forecast_ensemble` is asked of a ``stochastic`` one alone.
        initial: where it starts.
        settings: how.
        about: further global attributes.

    Raises:
        InputError: for settings that do not fit the model, or a forecast that is not finite.
    """
    forecasting = Forecasting(model, initial, settings)
    made = forecasting.empty(_in_memory, about or {})
    forecasting.fill([made[name].values for name in initial.channels])
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


def write_forecast(
    model: EnsembleForecaster,
    store: TrainingStore,
    out: str | Path,
    *,
    split: str = "test",
    starts: Starts | None = None,
    about: Mapping[str, str] | None = None,
    **settings: Any,
) -> None:
    """Forecast from states of a store and write the result, batch by batch.

    Args:
        model: a `Forecaster`; `forecast_ensemble` is asked of a ``stochastic`` one alone.
        store: initial states.
        out: Zarr store to make; it appears whole or not at all.
        split: whose starts: all that have their leads inside it.
        starts: these instead: ``latest``, or times, also where the store does not go on after them.
        about: further global attributes.
        settings: see `Settings`; ``lead`` must be given.

    Raises:
        InputError: for an ``out`` that exists or is being made, a model that does not fit or has
            seen what is to be forecast, members it does not have, or a forecast that is not finite.
    """
    out = Path(out)
    check_free(out)
    how = Settings(**settings)
    leads = count_leads(how.lead, as_step(model.step_seconds))
    forecasting = Forecasting(model, from_store(store, model, leads, split, starts), how)
    initial = forecasting.initial
    # never computed
    made = forecasting.empty(lambda shape: da.zeros(shape, np.float32, chunks=shape), about or {})
    chunks = (forecasting.size, *made[initial.channels[0]].shape[1:])
    with appearing(out) as aside:
        made.to_zarr(
            aside,
            compute=False,
            zarr_format=3,
            consolidated=False,
            encoding={name: {"chunks": chunks} for name in initial.channels},
        )
        forecasting.fill([open_array(aside, name) for name in initial.channels])
        seal_folder(aside, FORECAST_KIND, dict(initial.sealed))
