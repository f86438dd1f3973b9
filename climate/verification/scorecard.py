"""The scorecard: a forecast and the trivial rows, scored alike against the store.

Shapes: ``N`` starts, ``S`` leads, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from tqdm import tqdm

from climate.models.trivial import damped_persistence, fit_damping, persistence
from climate.store.calendar import as_step, lead_hours
from climate.store.layout import TrainingStore
from climate.stream import read_windows
from climate.verification.scores import SCORES
from climate.verification.statistics import MeanStatistics, pair_statistics
from vgbdm.errors import InputError

ROWS = ("model", "persistence", "damped_persistence", "climatology")
COLUMNS = ("row", "variable", "lead_hours", *SCORES, "n_starts")
BATCH = 16


@dataclass(frozen=True)
class Forecast:
    """A forecast dataset, checked against the store it is scored on.

    Attributes:
        dataset: as `climate.forecast` writes it.
        starts: (N,) indices of the initial times in the store.
        step: between leads.
    """

    dataset: xr.Dataset
    starts: np.ndarray
    step: np.timedelta64

    @property
    def leads(self) -> int:
        """How many leads."""
        return int(self.dataset.sizes["lead_time"])

    @property
    def hours(self) -> list[int]:
        """The leads in hours."""
        return lead_hours(self.step, self.leads)

    def read(self, start: int, stop: int, channels: tuple[str, ...]) -> np.ndarray:
        """Some of the forecasts (N, S, C, H, W)."""
        part = self.dataset.isel(time=slice(start, stop))
        order = ("time", "lead_time", "lat", "lon")
        return np.stack([part[name].transpose(*order).values for name in channels], 2)


def open_forecast(path: str | Path, store: TrainingStore) -> Forecast:
    """Open a forecast and check it against a store.

    Raises:
        InputError: if it is missing, or its channels, grid, times or leads are not the store's.
    """
    if not Path(path).is_dir():
        raise InputError(f"forecast={path}: no such store; make it with launch/forecast_era5.py")
    try:
        dataset = xr.open_zarr(path, consolidated=False)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"forecast={path}: not readable ({error})") from None
    missing = [name for name in store.channels if name not in dataset]
    if missing:
        raise InputError(f"forecast={path}: holds no {', '.join(missing)}; the store does")
    for axis, own in (("lat", store.lat), ("lon", store.lon)):
        if not np.array_equal(dataset[axis].values, own):
            raise InputError(f"forecast={path}: its {axis} are not those of {store.path}")
    if dataset.attrs.get("statistics_hash", store.statistics.hash) != store.statistics.hash:
        raise InputError(
            f"forecast={path}: made with other training statistics than {store.path}'s"
        )
    times = dataset["time"].values.astype("datetime64[s]")
    starts = np.searchsorted(store.times, times)
    if (starts >= len(store.times)).any() or not np.array_equal(store.times[starts], times):
        raise InputError(f"forecast={path}: has initial times that {store.path} does not hold")
    leads = dataset["lead_time"].values.astype("timedelta64[s]")
    if not np.array_equal(leads, leads[0] * np.arange(1, len(leads) + 1)):
        raise InputError(f"forecast={path}: its leads are not multiples of the first")
    return Forecast(dataset, starts, as_step(int(leads[0].astype(np.int64))))


def score(forecast: Forecast, store: TrainingStore) -> pd.DataFrame:
    """One row per (row, variable, lead); memory does not grow with the number of starts.

    Raises:
        InputError: if the truth of a lead is missing in the store.
    """
    stride, leads = store.stride(forecast.step), forecast.leads
    last = forecast.starts + leads * stride
    span = leads * forecast.step
    if (last >= len(store.times)).any() or (store.elapsed(forecast.starts, last) != span).any():
        raise InputError(f"{store.path}: the truth of some forecasts is missing; forecast from it")
    damping = fit_damping(store, forecast.step, leads)
    weights = store.grid.area_weights
    totals = {name: MeanStatistics() for name in ROWS}
    for at in tqdm(range(0, len(forecast.starts), BATCH), unit="batch", desc="scoring"):
        chosen = forecast.starts[at : at + BATCH]
        window = read_windows(store, chosen, stride=stride, history=0, ahead=leads)
        initial, truth = window[:, 0], window[:, 1:]
        valid = _climatology(store, chosen, stride, leads)
        rows = {
            "model": forecast.read(at, at + len(chosen), store.channels),
            "persistence": persistence(initial, leads),
            "damped_persistence": damped_persistence(
                initial, store.climatology.at(store.times[chosen]), valid, damping
            ),
            "climatology": valid,
        }
        for name, values in rows.items():
            totals[name].add(pair_statistics(values, truth, valid, weights))
    return pd.DataFrame(_rows(totals, store.channels, forecast.hours), columns=list(COLUMNS))


def _climatology(store: TrainingStore, starts: np.ndarray, stride: int, leads: int) -> np.ndarray:
    times = store.times[starts[:, None] + stride * np.arange(1, leads + 1)]
    states = store.climatology.at(times.ravel())
    return states.reshape(*times.shape, *states.shape[1:])


def _rows(
    totals: dict[str, MeanStatistics], channels: tuple[str, ...], hours: list[int]
) -> Iterator[tuple[object, ...]]:
    for row, total in totals.items():
        values = {name: compute(total.means()) for name, compute in SCORES.items()}
        for c, channel in enumerate(channels):
            for s, hour in enumerate(hours):
                numbers = [float(values[name][s, c]) for name in SCORES]
                yield (row, channel, hour, *numbers, total.count)


def format_table(scorecard: pd.DataFrame) -> str:
    """RMSE (root of the mean) and, in brackets, ACC, for the terminal: a block per variable."""
    lines = []
    for variable, block in scorecard.groupby("variable", sort=False):
        hours = sorted(block["lead_hours"].unique())
        lines.append(
            f"\n{variable}: RMSE (root of the mean) and ACC, {block['n_starts'].iloc[0]} starts"
        )
        lines.append(f"{'lead, h':20}" + "".join(f"{hour:>16}" for hour in hours))
        for row, values in block.groupby("row", sort=False):
            cells = values.set_index("lead_hours").loc[hours]
            text = [
                f"{rmse:9.4g} " + (f"({acc:5.2f})" if np.isfinite(acc) else "   –   ")
                for rmse, acc in zip(cells["rmse_root_of_mean"], cells["acc"], strict=True)
            ]
            lines.append(f"{row:20}" + "".join(f"{cell:>16}" for cell in text))
    return "\n".join(lines)


def check_against_trivial(scorecard: pd.DataFrame, hours: tuple[int, ...]) -> list[str]:
    """Where the model does not beat persistence and damped persistence: one line each.

    Args:
        scorecard: from `score`.
        hours: the leads that count.
    """
    table = scorecard.set_index(["row", "variable", "lead_hours"])["rmse_root_of_mean"]
    failures = []
    for variable in scorecard["variable"].unique():
        for hour in hours:
            own = table["model", variable, hour]
            for row in ("persistence", "damped_persistence"):
                if not own < table[row, variable, hour]:
                    failures.append(
                        f"{variable} at {hour} h: model {own:.4g}, {row} "
                        f"{table[row, variable, hour]:.4g}"
                    )
    return failures
