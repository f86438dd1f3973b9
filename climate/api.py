"""Weather from Python: what `vgbdm.forecast` and `vgbdm.evaluate` do with runs on weather.

The launchers of weather call the same functions.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from torch import nn

from climate.conventions.calendar import as_step, parse_duration
from climate.conventions.wording import setting_of
from climate.forecasts.forecasting import SELF, Settings
from climate.forecasts.known_ahead import Source
from climate.forecasts.reading import open_forecast
from climate.forecasts.starts import LATEST, Given, Starts, from_store
from climate.forecasts.states import from_arrays
from climate.forecasts.truth import open_for_forecast
from climate.forecasts.writing import make_forecast, write_forecast
from climate.models.weather_model import WeatherModel
from climate.stream.views import open_for_model
from climate.verification.scorecard import score
from climate.verification.trivial import ROWS
from vgbdm.errors import InputError

STEPS = 7
"""Of a forecast where no leads are given: 42 h of a six-hourly model."""


def handles(thing: object) -> bool:
    """Whether a model, or a forecast in memory, is of weather."""
    if isinstance(thing, xr.Dataset):
        return "lead_time" in thing.variables
    return isinstance(thing, WeatherModel)


def forecast(
    model: Any,
    states: Any,
    t: Any = None,
    *,
    start: Starts = LATEST,
    leads: Any = None,
    members: int | None = None,
    seed: int = 0,
    batch: int = 16,
    device: str = "cpu",
    precision: str = "fp32",
    boundary: Source = SELF,
    forcing: Given | None = None,
    aside: Path | None = None,
) -> xr.Dataset:
    """See `vgbdm.api.forecast`; ``aside`` is a folder for what is made from a read-only store."""
    if t is not None:
        raise InputError("t: states of weather have their times as the coordinate time")
    settings = Settings(
        _longest(model, leads), members, seed, batch, device, precision, boundary, forcing, aside
    )
    if isinstance(states, str | Path):
        if Path(states).is_file():
            raise InputError(
                f"states: {states} is a file; give the path of a training store, or the Dataset "
                "that xarray.open_dataset makes of it"
            )
        store = open_for_model(states, model, aside)
        initial = from_store(store, model, leads=0, starts=start, argument="start")
    elif isinstance(states, xr.Dataset | xr.DataArray):
        initial = from_arrays(states, model, start)
    else:
        raise InputError(
            f"states: want the path of a training store, or a Dataset or DataArray with the axes "
            f"time, lat and lon, not {type(states).__name__}; numbers alone have no names and units"
        )
    told = {
        "leads": setting_of(settings.lead),
        "members": members,
        "seed": seed,
        "precision": precision,
    }
    text = ", ".join(f"{key}={value!r}" for key, value in told.items() if value is not None)
    return make_forecast(model, initial, settings, {"history": f"vgbdm.forecast({text})"})


def _longest(model: Any, leads: Any) -> np.timedelta64:
    """The longest lead that is asked for, or that there is by default."""
    return STEPS * as_step(model.step_seconds) if leads is None else parse_duration("leads", leads)


def infer(model: nn.Module, x: Any, t: Any, **_: Any) -> xr.Dataset:
    """Refuse: no parameters of weather are inferred from a window."""
    raise InputError(
        f"infer: {type(model).__name__} is a model of weather, whose parameters are learned once "
        "for all; infer is for models of systems"
    )


def evaluate(
    what: Any,
    truth: Any,
    *,
    baselines: Sequence[str] | None = None,
    leads: Any = None,
    members: int | None = None,
    seed: int = 0,
    batch: int = 16,
    device: str = "cpu",
    aside: Path | None = None,
    **_: Any,
) -> pd.DataFrame:
    """See `vgbdm.api.evaluate`; of a model, it is forecasts from every start of the test period."""
    if not isinstance(truth, str | Path):
        raise InputError(
            f"truth: want the path of a training store, not {type(truth).__name__}: climatology "
            "and damping come from its training period; convert with vgbdm convert-era5"
        )
    unknown = [name for name in baselines or () if name not in ROWS]
    if unknown:
        raise InputError(f"baselines: no {unknown[0]}; there are {', '.join(ROWS)}")
    if not isinstance(what, WeatherModel):
        return _scorecard(what, truth, baselines, seed, aside)
    model: Any = what
    lead = _longest(model, leads)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "forecast"
        write_forecast(
            model, open_for_model(truth, model, aside), out, lead=lead,
            aside=aside, members=members, seed=seed, batch=batch, device=device,
        )  # fmt: skip
        return _scorecard(out, truth, baselines, seed, aside)


def _scorecard(
    forecast: Any, truth: str | Path, baselines: Sequence[str] | None, seed: int, aside: Path | None
) -> pd.DataFrame:
    """The rows of the forecast and of some baselines; all of them where none are named."""
    store = open_for_forecast(truth, forecast, aside)
    scored = score(open_forecast(forecast, store), store, seed=seed, kept=aside).scorecard
    if baselines is None:
        return scored
    held = [row for row in scored["row"].unique() if row != "model"]
    unknown = [name for name in baselines if name not in held]
    if unknown:
        raise InputError(
            f"baselines: {unknown[0]} cannot be made for this forecast, only {', '.join(held)}"
        )
    return scored[scored["row"].isin(["model", *baselines])].reset_index(drop=True)
