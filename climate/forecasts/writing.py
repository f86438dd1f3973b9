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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from tqdm import tqdm

from climate.conventions.calendar import as_step, count_steps, in_unit_of, is_monthly, step_seconds
from climate.conventions.wording import date, duration, period
from climate.forecasts.access import FORECAST_KIND
from climate.forecasts.compatibility import about_training, check_model, check_unseen, periods_of
from climate.models.forecaster import EnsembleForecaster, Forecaster
from climate.store.layout import TrainingStore
from climate.store.mask import not_finite, store_lines
from climate.stream.batches import read_windows
from vgbdm.errors import InputError
from vgbdm.origin import software
from vgbdm.precision import check_precision, computing
from vgbdm.storage.door import open_array
from vgbdm.storage.outputs import appearing, check_free
from vgbdm.storage.sealing import seal_folder

log = logging.getLogger(__name__)
EPOCH = "seconds since 1970-01-01"
ENSEMBLE = 16
"""Members of a stochastic model's forecast where nothing else is asked for."""


def count_leads(lead: np.timedelta64, step: np.timedelta64) -> int:
    """How many model steps the longest lead is.

    Raises:
        InputError: if it is no whole number of steps.
    """
    return count_steps("leads", lead, step, "the model's")


def forecast_starts(
    store: TrainingStore, split: str, step: np.timedelta64, history: int, leads: int
) -> np.ndarray:
    """Time indices (N,) of every start of a split whose leads lie in it without a gap.

    Raises:
        InputError: if there is none.
    """
    starts = store.anchors(split, step, history, leads)
    if not len(starts):
        start, end = store.splits[split]
        raise InputError(
            f"{store.path}: {split} ({period(start, end)}) holds no start with {leads} steps "
            f"of {duration(step)} after it; choose shorter leads"
        )
    return starts


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


def write_forecast(
    model: EnsembleForecaster,
    store: TrainingStore,
    out: str | Path,
    *,
    lead: np.timedelta64,
    split: str = "test",
    members: int | None = None,
    seed: int = 0,
    batch: int = 16,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
    about: dict[str, str] | None = None,
) -> None:
    """Forecast from every start of a split and write the result, batch by batch.

    Args:
        model: a `Forecaster`; `forecast_ensemble` is asked of a ``stochastic`` one alone.
        store: initial states.
        out: Zarr store to make; it appears whole or not at all.
        lead: longest lead.
        split: whose starts.
        members: of an ensemble; 1: one forecast without draws; None: what the model is made for.
        seed: of the draws.
        batch: forecasts at a time, starts times members; bounds memory.
        device: to compute on.
        precision: of the networks, see `vgbdm.precision`.
        about: further global attributes.

    Raises:
        InputError: for an ``out`` that exists or is being made, a model that does not fit or has
            seen what is to be forecast, members it does not have, or a forecast that is not finite.
    """
    out = Path(out)
    check_free(out)
    check_model(model, store)
    check_precision("precision", precision)
    count = count_members(model, members)
    step = as_step(model.step_seconds)
    leads = count_leads(lead, step)
    starts = forecast_starts(store, split, step, model.history, leads)
    periods = periods_of(model)
    if periods is not None:
        ends = store.times[[starts[0], starts[-1] + leads * store.stride(step)]]
        check_unseen(str(store.path), split, ends, periods)
    training = about_training(model, store.times[starts])
    if "outside_training" in training:
        log.warning("forecasts: %s", training["outside_training"])
    size = max(1, batch // count)
    attributes = {
        "title": f"forecasts from every start of {split}",
        "source": f"{type(model).__name__} of vgbdm",
        "software": software(),
        "references": "arXiv 2602.17477",
        "split": split,
        "model_hash": model_hash(model),
        "statistics_hash": model.statistics_hash,
        "store_digest": store.digest,
        **training,
        **_data_attributes(store),
        **(store.region.attributes() if store.region else {}),
        **(about or {}),
    }
    layout = _layout(store, starts, count, leads, step, attributes)
    chunks = (size, *layout[store.channels[0]].shape[1:])
    if isinstance(model, torch.nn.Module):
        model.to(device).eval()

    def compute(chosen: np.ndarray) -> np.ndarray:
        past = read_windows(store, chosen, stride=store.stride(step), history=model.history)
        times = torch.from_numpy(store.times[chosen].astype(np.int64)).to(device)
        states = torch.from_numpy(past).to(device)
        with computing(precision, torch.device(device)):
            forecast = _forecast(model, states, times, leads, count, seed)
        _check_finite(forecast, store.times[chosen], store.mask)
        if store.mask is not None:
            forecast = np.where(store.mask, np.float32(np.nan), forecast)
        return forecast

    with appearing(out) as aside:
        layout.to_zarr(
            aside,
            compute=False,
            zarr_format=3,
            consolidated=False,
            encoding={name: {"chunks": chunks} for name in store.channels},
        )
        _fill(aside, store, starts, size, compute)
        seal_folder(aside, FORECAST_KIND, {"store": store.digest})


def _fill(
    path: Path,
    store: TrainingStore,
    starts: np.ndarray,
    size: int,
    compute: Callable[[np.ndarray], np.ndarray],
) -> None:
    """The fields of a forecast store, batch by batch.

    Args:
        path: of the store.
        store: of the initial states.
        starts: time indices (N,).
        size: starts of a batch.
        compute: starts → their forecasts (N, [M,] S, C, H, W).
    """
    fields = [open_array(path, name) for name in store.channels]
    with tqdm(total=len(starts), unit="start", desc="forecasting") as bar:
        for at in range(0, len(starts), size):
            chosen = starts[at : at + size]
            forecast = compute(chosen)
            for c, field in enumerate(fields):
                field[at : at + len(chosen)] = store.without_halo(forecast[..., c, :, :])
            bar.update(len(chosen))


@torch.no_grad()
def _forecast(
    model: EnsembleForecaster,
    states: torch.Tensor,
    times: torch.Tensor,
    leads: int,
    members: int,
    seed: int,
) -> np.ndarray:
    """(N, [M,] S, C, H, W) float32."""
    if members == 1:
        forecast = model.forecast(states, times, leads)
    else:
        forecast = model.forecast_ensemble(states, times, leads, members, seed)
    return np.asarray(forecast.float().cpu().numpy())


def _check_finite(forecast: np.ndarray, times: np.ndarray, mask: np.ndarray | None) -> None:
    bad = not_finite(forecast, mask)
    if bad.any():
        raise InputError(
            f"the forecast from {date(times[bad][0])} is not finite ({int(bad.sum())} such in this "
            "batch); use another checkpoint"
        )


def _data_attributes(store: TrainingStore) -> dict[str, str]:
    """What the data say of themselves: a comment as it is, the rest under ``data_…``."""
    own = {k: str(v) for k, v in store.provenance.items() if k in ("title", "source", "comment")}
    return {k if k == "comment" else f"data_{k}": v for k, v in own.items()}


def _channel_attributes(store: TrainingStore, name: str) -> dict[str, str]:
    """The store's, that a temperature is no difference of two (CF §3.1.2), and what is masked."""
    own = dict(store.channel_attrs[name])
    if own.get("standard_name", "").endswith("temperature"):
        own["units_metadata"] = "temperature: on_scale"
    told = store_lines(store).get(name)
    return own | ({"comment": f"{told}: NaN there"} if told else {})


def _layout(
    store: TrainingStore,
    starts: np.ndarray,
    members: int,
    leads: int,
    step: np.timedelta64,
    attributes: dict[str, str],
) -> xr.Dataset:
    """The dataset with its coordinates and lazy, empty fields."""
    import dask.array as da

    times = store.times[starts].astype("datetime64[ns]")
    count = np.arange(1, leads + 1)
    lead_times = (count * np.timedelta64(step_seconds(step), "s")).astype("timedelta64[ns]")
    valid_times = in_unit_of(step, times)[:, None] + count * step
    unit = "seconds" if is_monthly(step) else "hours"  # a mean month is no whole number of hours
    rows, columns = store.interior
    lat, lon = store.lat[rows], store.lon[columns]
    clock = {"units": EPOCH, "calendar": "proleptic_gregorian", "dtype": "int64"}
    plain = {"_FillValue": None}  # CF: coordinates have none
    utc = {"units_metadata": "leap_seconds: none"}
    initial = {"standard_name": "forecast_reference_time", "long_name": "initial time", **utc}
    north = {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}
    east = {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}
    period = {"standard_name": "forecast_period", "long_name": "lead time"}
    valid = {"standard_name": "time", "long_name": "valid time", **utc}
    coords: dict[str, Any] = {
        "time": ("time", times, initial, clock),
        "lead_time": ("lead_time", lead_times, period, {"units": unit, "dtype": "int64"}),
        "valid_time": (("time", "lead_time"), valid_times.astype("M8[ns]"), valid, clock),
        "lat": ("lat", lat, north, plain),
        "lon": ("lon", lon, east, plain),
    }
    dims: tuple[str, ...] = ("lead_time", "lat", "lon")
    shape: tuple[int, ...] = (leads, len(lat), len(lon))
    if members > 1:
        number = {"standard_name": "realization", "long_name": "ensemble member", "units": "1"}
        coords["realization"] = ("realization", np.arange(members, dtype=np.int32), number)
        dims, shape = ("realization", *dims), (members, *shape)
    whole = (len(starts), *shape)
    lazy = da.zeros(whole, dtype=np.float32, chunks=whole)  # never computed
    fields = {
        name: (("time", *dims), lazy, _channel_attributes(store, name)) for name in store.channels
    }
    return xr.Dataset(fields, coords, {"Conventions": "CF-1.11", **attributes})
