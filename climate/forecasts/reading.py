"""Forecast stores, checked against the store that holds their truth, and read batch by batch.

Shapes: ``N`` starts, ``M`` members, ``S`` leads, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import xarray as xr
from tqdm import tqdm

from climate.conventions.calendar import as_step
from climate.conventions.units import Conversion, conversions
from climate.conventions.wording import date, period
from climate.forecasts.access import MEMBER, name_of, open_forecast_dataset
from climate.forecasts.compatibility import PERIOD, check_unseen
from climate.grids.area import Area
from climate.store.layout import TrainingStore
from climate.store.mask import area_lines, in_one_line, not_finite
from climate.stream.batches import read_windows
from vgbdm.errors import InputError

log = logging.getLogger(__name__)

BATCH_BYTES = 32 * 2**20
"""Forecast or truth values held at a time, float32."""


@dataclass(frozen=True)
class Forecast:
    """A forecast dataset, checked against the store it is scored on.

    Attributes:
        path: of the forecast.
        dataset: as `climate.forecasts.writing` writes it.
        starts: (N,) indices of the initial times in the store.
        step: between leads.
        area: the part of the store's grid.
        chunk: starts stored together.
        conversions: by channel, to the store's units.
        masks: by channel, the points (H, W) of the area that the store masks.
    """

    path: Path
    dataset: xr.Dataset
    starts: np.ndarray
    step: np.timedelta64
    area: Area
    chunk: int
    conversions: Mapping[str, Conversion] = field(default_factory=dict)
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def leads(self) -> int:
        """How many leads."""
        return int(self.dataset.sizes["lead_time"])

    @property
    def members(self) -> int:
        """How many members; 1 for a deterministic forecast."""
        return int(self.dataset.sizes.get(MEMBER, 1))

    @property
    def longest(self) -> np.timedelta64:
        """The longest lead."""
        longest: np.timedelta64 = self.dataset["lead_time"].values[-1].astype("timedelta64[s]")
        return longest

    @property
    def hours(self) -> list[int]:
        """The leads in hours."""
        return [round(lead / np.timedelta64(1, "h")) for lead in self.dataset["lead_time"].values]

    @property
    def outside_training(self) -> str:
        """One line on starts in seasons that the model's training saw none of; empty for none."""
        return str(self.dataset.attrs.get("outside_training", ""))

    def last(self, store: TrainingStore) -> np.ndarray:
        """Indices in the store (N,) of the longest lead of each start."""
        return store.frames(self.starts, np.array([self.leads * store.stride(self.step)]))[:, 0]

    def select(self, positions: np.ndarray, leads: int) -> Forecast:
        """Some of the starts, by their places in the forecast, and the first leads."""
        part = self.dataset.isel(time=positions, lead_time=slice(leads))
        return replace(self, dataset=part, starts=self.starts[positions])

    def area_of(self, store: TrainingStore, c: int) -> Area:
        """The area of channel ``c``: without the points that the store masks.

        Raises:
            InputError: if none is left.
        """
        mask = None if store.mask is None else store.mask[c]
        return self.area.without(mask, f"forecast={self.path}: {store.channels[c]}")

    def masked(self, store: TrainingStore) -> str:
        """Which share of its area is masked, by channel, in one line; empty for none."""
        mask = None if store.mask is None else self.area.cut(store.mask)
        return in_one_line(area_lines(store.channels, mask, self.area.weights))

    def read(self, start: int, stop: int, channel: str) -> np.ndarray:
        """One channel of some of the forecasts, (N, M, S, H, W), in the store's unit.

        Raises:
            InputError: if it is damaged, or a value that should be finite is not.
        """
        part = self.dataset[channel].isel(time=slice(start, stop))
        if MEMBER not in part.dims:
            part = part.expand_dims(MEMBER)
        part = part.transpose("time", MEMBER, "lead_time", "lat", "lon")
        try:
            values = part.values
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"forecast={self.path}: {channel}: cannot be read ({reason})"
            ) from None
        mask, what = self.masks.get(channel), f"forecast={self.path}: {channel}"
        check_finite(values, mask, what, part["time"].values)
        return self.conversions.get(channel, Conversion())(values)


def check_finite(values: np.ndarray, mask: np.ndarray | None, what: str, times: np.ndarray) -> None:
    """Refuse values that are not finite where there should be some.

    Args:
        values: (N, ..., H, W).
        mask: (H, W) bool, where no value is wanted; None: nowhere.
        what: whose they are, for the message.
        times: (N,) of the starts.

    Raises:
        InputError: naming the first such start.
    """
    bad = not_finite(values, mask)
    if bad.any():
        raise InputError(
            f"{what}: the forecast from {date(times[bad][0].astype('M8[s]'))} has values that are "
            "not finite; make it again, or leave that start out"
        )


def open_forecast(forecast: str | Path | xr.Dataset, store: TrainingStore) -> Forecast:
    """Open a forecast and check it against a store.

    Args:
        forecast: its path, or a dataset in memory.
        store: of the truth.

    Raises:
        InputError: if it is missing or damaged, its channels, grid, times or leads are not the
            store's, its units are of other quantities, or the store does not hold the truth of some
            of it.
    """
    dataset, path = open_forecast_dataset(forecast), name_of(forecast)
    try:
        return _check(dataset, path, store)
    except InputError:
        raise
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"forecast={path}: is laid out as no forecast ({type(error).__name__}: {reason}); make "
            "it with launch/forecast_era5.py"
        ) from None


def _check(dataset: xr.Dataset, path: Path, store: TrainingStore) -> Forecast:
    """The forecast, if the store holds its truth."""
    missing = [name for name in store.channels if name not in dataset]
    if missing:
        raise InputError(
            f"forecast={path}: holds no {', '.join(missing)}, which {store.path} does; score it "
            "against a store of its own variables"
        )
    for name in store.channels:
        if dataset[name].dtype.kind not in "fiu":
            raise InputError(f"forecast={path}: {name} holds {dataset[name].dtype}, not numbers")
    area = Area.of(dataset["lat"].values, dataset["lon"].values, store.lat, store.lon)
    if area is None:
        raise InputError(
            f"forecast={path}: its lat and lon are not lines of the grid of {store.path}; score it "
            "against the store it was made from"
        )
    times = dataset["time"].values.astype("datetime64[s]")
    starts = np.searchsorted(store.times, times)
    strange = ~np.isin(times, store.times)
    if strange.any():
        raise InputError(
            f"forecast={path}: has initial times that {store.path} does not hold, such as "
            f"{date(times[strange][0])}; it holds {period(store.times[0], store.times[-1])}"
        )
    if (np.diff(starts) <= 0).any():
        raise InputError(f"forecast={path}: its initial times do not increase; sort them")
    leads = dataset["lead_time"].values.astype("timedelta64[s]")
    if not np.array_equal(leads, leads[0] * np.arange(1, len(leads) + 1)):
        raise InputError(
            f"forecast={path}: its leads are not multiples of the first, each once; sort or "
            "select them"
        )
    step = as_step(int(leads[0].astype(np.int64)))
    frames = store.stride(step) * np.arange(len(leads) + 1)
    known = np.asarray(store.has(starts, frames).all(1))
    if not known.all():
        raise InputError(
            f"{store.path}: holds no truth of {int((~known).sum())} of {len(known)} forecasts of "
            f"{path}, such as that from {date(times[~known][0])}; leave these out, or shorten "
            "their leads"
        )
    for name in store.channels:
        dims = [str(dim) for dim in dataset[name].dims]
        if {*dims} - {MEMBER} != {"time", "lead_time", "lat", "lon"}:
            raise InputError(
                f"forecast={path}: {name} has the dimensions {', '.join(dims)[:100]}; "
                f"want time, lead_time, lat, lon, and {MEMBER} of an ensemble"
            )
    chunk = int(dataset[store.channels[0]].encoding.get("chunks", (1,))[0])
    changes = conversions(
        {name: dataset[name].attrs for name in store.channels},
        {name: store.channel_attrs[name] for name in store.channels},
        what=lambda name: f"forecast={path}: {name}",
        remedy="write it in {unit}, or score it against the store it was made from",
    )
    cut = () if store.mask is None else area.cut(store.mask)
    masks = {name: mask for name, mask in zip(store.channels, cut, strict=False) if mask.any()}
    forecast = Forecast(path, dataset, starts, step, area, chunk, changes, masks)
    _check_training(dataset, path, store, store.times[[starts[0], forecast.last(store)[-1]]])
    return forecast


def _check_training(
    dataset: xr.Dataset, path: str | Path, store: TrainingStore, ends: np.ndarray
) -> None:
    """Refuse a forecast of what its model was trained on, or might have been.

    That of another store's model has to record the period it was trained on.
    """
    periods = {name: str(dataset.attrs[key]).split("/") for name, key in PERIOD.items()
            if key in dataset.attrs}  # fmt: skip
    if len(periods) == len(PERIOD):
        check_unseen(f"forecast={path}", str(dataset.attrs.get("split", "test")), ends, periods)
    elif dataset.attrs.get("statistics_hash", store.statistics.hash) != store.statistics.hash:
        raise InputError(
            f"forecast={path}: made with other training statistics than {store.path}'s, and it "
            "does not record the period of its model's training; forecast again with a model "
            "trained by this version"
        )


def batches(
    forecasts: list[Forecast], store: TrainingStore, past: int = 0, desc: str = "scoring"
) -> Iterator[tuple[slice, np.ndarray]]:
    """The truth of forecasts from the same starts, in batches that memory bounds.

    Args:
        forecasts: with the same starts, step, leads and area.
        store: of the truth.
        past: states before the initial one that are wanted too.
        desc: of the progress bar.

    Yields:
        Places of the starts in the forecasts, and (N, past + 1 + S, C, H, W): the states up to the
        initial one and those at the leads.
    """
    first = forecasts[0]
    fields = max(len(store.channels), *(forecast.members for forecast in forecasts))
    frames, points = past + 1 + first.leads, len(first.area.lat) * len(first.area.lon)
    chunk = max(forecast.chunk for forecast in forecasts)
    size = max(1, BATCH_BYTES // (4 * fields * frames * points) // chunk) * chunk
    stride = store.stride(first.step)
    with tqdm(total=len(first.starts), unit="start", desc=desc) as bar:
        for at in range(0, len(first.starts), size):
            chosen = first.starts[at : at + size]
            window = read_windows(store, chosen, stride=stride, history=past, ahead=first.leads)
            yield slice(at, at + len(chosen)), first.area.cut(window)
            bar.update(len(chosen))


def valid_climatology(forecast: Forecast, store: TrainingStore, part: slice) -> np.ndarray:
    """Climatology at the valid times of some starts, (N, S, C, H, W)."""
    ahead = store.stride(forecast.step) * np.arange(1, forecast.leads + 1)
    times = store.times[store.frames(forecast.starts[part], ahead)]
    states = forecast.area.cut(store.climatology.at(times.ravel()))
    return states.reshape(*times.shape, *states.shape[1:])
