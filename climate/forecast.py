"""A model and start times → a forecast dataset that follows the CF conventions.

    OUT/<channel>   (time, lead_time, lat, lon) float32
    OUT/time        initial time (forecast_reference_time); lead_time; valid_time (time, lead_time)

Shapes: ``N`` starts, ``S`` leads, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import zarr
from tqdm import tqdm

from climate.store.calendar import (
    as_step,
    count_steps,
    in_unit_of,
    is_monthly,
    step_seconds,
)
from climate.store.layout import TrainingStore
from climate.stream import read_windows
from vgbdm.errors import InputError

EPOCH = "seconds since 1970-01-01"


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
            f"{store.path}: {split} ({start} … {end}) holds no start with {leads} steps of {step} "
            "after it; choose shorter leads"
        )
    return starts


def check_model(model: Any, store: TrainingStore) -> None:
    """Refuse a model made for other data than a store's."""
    if tuple(model.channels) != store.channels:
        raise InputError(
            f"{store.path} has channels {','.join(store.channels)}, the model was trained on "
            f"{','.join(model.channels)}; forecast from a store of the same kind"
        )
    if model.statistics_hash != store.statistics.hash:
        raise InputError(
            f"{store.path}: its training statistics are not those the model was trained with; "
            "convert with the same training period and variables"
        )


def write_forecast(
    model: Any,
    store: TrainingStore,
    out: str | Path,
    *,
    lead: np.timedelta64,
    split: str = "test",
    batch: int = 16,
    device: torch.device | str = "cpu",
    about: dict[str, str] | None = None,
) -> None:
    """Forecast from every start of a split and write the result, batch by batch.

    Args:
        model: with ``forecast``, ``step_seconds``, ``history``, ``channels``, ``statistics_hash``.
        store: initial states.
        out: Zarr store to make; it appears whole or not at all.
        lead: longest lead.
        split: whose starts.
        batch: starts at a time.
        device: to compute on.
        about: further global attributes.

    Raises:
        InputError: for an ``out`` that exists, a model that does not fit, or a forecast that is not
            finite.
    """
    out = Path(out)
    if out.exists():
        raise InputError(f"out={out} exists; remove it or choose another")
    check_model(model, store)
    step = as_step(model.step_seconds)
    leads = count_leads(lead, step)
    starts = forecast_starts(store, split, step, model.history, leads)
    aside = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    layout = _layout(store, starts, leads, step, split, about or {})
    chunks = {name: (batch, *layout[name].shape[1:]) for name in store.channels}
    layout.to_zarr(
        aside,
        compute=False,
        zarr_format=3,
        consolidated=False,
        encoding={name: {"chunks": shape} for name, shape in chunks.items()},
    )
    fields = [zarr.open_array(aside / name, mode="r+") for name in store.channels]
    model = model.to(device).eval()
    with tqdm(total=len(starts), unit="start", desc="forecasting") as bar:
        for at in range(0, len(starts), batch):
            chosen = starts[at : at + batch]
            past = read_windows(store, chosen, stride=store.stride(step), history=model.history)
            times = torch.from_numpy(store.times[chosen].astype(np.int64))
            states = torch.from_numpy(past).to(device)
            forecast = model.forecast(states, times.to(device), leads).float().cpu().numpy()
            _check_finite(forecast, store.times[chosen])
            for c, field in enumerate(fields):
                field[at : at + len(chosen)] = store.without_halo(forecast[:, :, c])
            bar.update(len(chosen))
    out.parent.mkdir(parents=True, exist_ok=True)
    aside.replace(out)


def _check_finite(forecast: np.ndarray, times: np.ndarray) -> None:
    bad = ~np.isfinite(forecast).all((1, 2, 3, 4))
    if bad.any():
        raise InputError(
            f"the forecast from {times[bad][0]} is not finite ({int(bad.sum())} such in this "
            "batch); use another checkpoint"
        )


def _layout(
    store: TrainingStore,
    starts: np.ndarray,
    leads: int,
    step: np.timedelta64,
    split: str,
    about: dict[str, str],
) -> xr.Dataset:
    """The dataset with its coordinates and lazy, empty fields."""
    import dask.array as da

    times = store.times[starts].astype("datetime64[ns]")
    count = np.arange(1, leads + 1)
    lead_times = (count * np.timedelta64(step_seconds(step), "s")).astype("timedelta64[ns]")
    valid_times = in_unit_of(step, times)[:, None] + count * step
    rows, columns = store.interior
    lat, lon = store.lat[rows], store.lon[columns]
    shape = (len(starts), leads, len(lat), len(lon))
    dims = ("time", "lead_time", "lat", "lon")
    lazy = da.zeros(shape, dtype=np.float32, chunks=shape)
    fields = {name: (dims, lazy, dict(store.channel_attrs[name])) for name in store.channels}
    clock = {"units": EPOCH, "calendar": "proleptic_gregorian", "dtype": "int64"}
    initial = {"standard_name": "forecast_reference_time", "long_name": "initial time", "axis": "T"}
    north = {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}
    east = {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}
    period = {"standard_name": "forecast_period", "long_name": "lead time"}
    unit = "seconds" if is_monthly(step) else "hours"  # a mean month is no whole number of hours
    valid = {"standard_name": "time", "long_name": "valid time"}
    coords = {
        "time": ("time", times, initial, clock),
        "lead_time": ("lead_time", lead_times, period, {"units": unit, "dtype": "int64"}),
        "valid_time": (("time", "lead_time"), valid_times.astype("M8[ns]"), valid, clock),
        "lat": ("lat", lat, north),
        "lon": ("lon", lon, east),
    }
    attributes = {
        "Conventions": "CF-1.11",
        "title": f"forecasts from every start of {split}",
        "statistics_hash": store.statistics.hash,
        "split": split,
        **{k: str(v) for k, v in store.provenance.items() if k in ("title", "source", "comment")},
        **(store.region.attributes() if store.region else {}),
        **about,
    }
    return xr.Dataset(fields, coords, attributes)
