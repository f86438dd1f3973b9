"""Forecast stores, checked against the store that holds their truth, and read batch by batch.

Shapes: ``N`` starts, ``M`` members, ``S`` leads, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import xarray as xr

from climate.conventions.calendar import as_step
from climate.conventions.units import Conversion, conversions, unit_of
from climate.conventions.wording import date, period
from climate.forecasts.access import (
    GIVEN,
    GIVEN_TRUTH,
    MEMBER,
    mirrored,
    name_of,
    open_forecast_dataset,
)
from climate.forecasts.compatibility import PERIOD, check_unseen
from climate.forecasts.pieces import JOINED_BYTES, READ_BYTES, Piece, Truth
from climate.grids.area import Area
from climate.store.layout import TrainingStore
from climate.store.mask import area_lines, in_one_line, not_finite
from climate.store.reader import EVERY
from vgbdm.errors import InputError
from vgbdm.storage.validity import validity_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Forecast:
    """A forecast dataset, checked against the store it is scored on.

    Attributes:
        path: of the forecast.
        dataset: as `climate.forecasts.writing` writes it.
        starts: (N,) indices of the initial times in the store.
        step: between leads.
        area: the part of the store's grid.
        together: starts and leads that are stored, and so read, together.
        conversions: by channel, to the store's units.
        masks: by channel, the points (H, W) of the area that the store masks.
        given: channels of the store that it was given ahead, and does not forecast.
        usual: by channel, mean and standard deviation over the area in training; of a forecast of
            others, whose numbers are held against them.
        mirrored: members 2k and 2k + 1 are drawn by opposite numbers.
    """

    path: Path
    dataset: xr.Dataset
    starts: np.ndarray
    step: np.timedelta64
    area: Area
    together: tuple[int, int]
    conversions: Mapping[str, Conversion] = field(default_factory=dict)
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)
    given: tuple[str, ...] = ()
    usual: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    mirrored: bool = False

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

    def scored(self, store: TrainingStore, channels: slice = EVERY) -> dict[int, str]:
        """The channels of a store that it forecasts, of some, by their place."""
        places = range(len(store.channels))[channels]
        return {c: store.channels[c] for c in places if store.channels[c] not in self.given}

    @property
    def given_truth(self) -> str:
        """One line on what of the truth after its starts it was given; empty for nothing."""
        return str(self.dataset.attrs.get(GIVEN_TRUTH, ""))

    @property
    def boundary(self) -> str:
        """Where what lies around its region was taken from; empty: from itself, or nowhere."""
        return str(self.dataset.attrs.get("boundary", ""))

    def last(self, store: TrainingStore) -> np.ndarray:
        """Indices in the store (N,) of the longest lead of each start."""
        return store.frames(self.starts, np.array([self.leads * store.stride(self.step)]))[:, 0]

    def truth(self, store: TrainingStore, past: int = 0) -> Truth:
        """The states that it is held against, and some before its starts."""
        return Truth(store, self.starts, self.step, self.leads, self.area, past)

    def parts(self, piece: Piece) -> Iterator[tuple[slice, slice]]:
        """Starts and leads of a piece that are read at a time."""
        starts, leads = self.together
        size = 4 * self.members * len(self.area.lat) * len(self.area.lon)
        leads *= max(1, JOINED_BYTES // (size * starts * leads))
        starts *= max(1, JOINED_BYTES // (size * starts * min(leads, self.leads)))
        for start in range(piece.starts.start, piece.starts.stop, starts):
            for lead in range(piece.leads.start, piece.leads.stop, leads):
                yield (
                    slice(start, min(start + starts, piece.starts.stop)),
                    slice(lead, min(lead + leads, piece.leads.stop)),
                )

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
        scored = self.scored(store)
        mask = None if store.mask is None else self.area.cut(store.mask[[*scored]])
        return in_one_line(area_lines((*scored.values(),), mask, self.area.weights))

    def read(self, starts: slice, leads: slice, channel: str) -> np.ndarray:
        """One channel of some of the forecasts, (N, M, S, H, W) float32, in the store's unit.

        Raises:
            InputError: if it is damaged, a value that should be finite is not, or the first map is
                nowhere near what the store has.
        """
        part = self.dataset[channel].isel(time=starts, lead_time=leads)
        try:
            if MEMBER not in part.dims:
                part = part.expand_dims(MEMBER)  # which may read it
            values = part.transpose("time", MEMBER, "lead_time", "lat", "lon").values
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"forecast={self.path}: {channel}: cannot be read ({reason})"
            ) from None
        mask, what = self.masks.get(channel), f"forecast={self.path}: {channel}"
        if channel in self.usual:
            values = validity_of(part.variable, what)(values)
        check_finite(values, mask, what, part["time"].values)
        values = self.conversions.get(channel, Conversion())(values).astype(np.float32, copy=False)
        if channel in self.usual and starts.start == leads.start == 0:
            unit = unit_of(self.dataset[channel].attrs) or "no unit"
            check_usual(values[0, 0, 0], self.usual[channel], f"{what} (in {unit})")
        return values


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


def check_usual(values: np.ndarray, usual: tuple[float, float], what: str) -> None:
    """Refuse a map that is nowhere near the store's: its unit is another than is said.

    Args:
        values: (H, W), NaN where masked.
        usual: mean and standard deviation of such maps.
        what: whose they are, for the message.

    Raises:
        InputError: if its mean is more than `STRANGE` standard deviations away.
    """
    mean, (wanted, spread) = float(np.nanmean(values)), usual
    if abs(mean - wanted) > STRANGE * spread:
        raise InputError(
            f"{what}: the first map has the mean {mean:.4g}, where the store has {wanted:.4g} ± "
            f"{spread:.2g}; is it in another unit? Write its attribute units, or leave the channel "
            "out of the store"
        )


STRANGE = 8.0
"""Standard deviations of training: Celsius for Kelvin are about 13 of the globe's at 2 m."""


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
    told = str(dataset.attrs.get(GIVEN, ""))
    given = tuple(n for n in told.split() if n in store.channels and n not in dataset)
    names = [name for name in store.channels if name not in given]
    missing = [name for name in names if name not in dataset]
    if missing:
        raise InputError(
            f"forecast={path}: holds no {', '.join(missing)}, which {store.path} does; score it "
            "against a store of its own variables"
        )
    for name in names:
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
    for name in names:
        dims = [str(dim) for dim in dataset[name].dims]
        if {*dims} - {MEMBER} != {"time", "lead_time", "lat", "lon"}:
            raise InputError(
                f"forecast={path}: {name} has the dimensions {', '.join(dims)[:100]}; "
                f"want time, lead_time, lat, lon, and {MEMBER} of an ensemble"
            )
    changes = conversions(
        {name: dataset[name].attrs for name in names},
        {name: store.channel_attrs[name] for name in names},
        what=lambda name: f"forecast={path}: {name}",
        remedy="write it in {unit}, or score it against the store it was made from",
    )
    cut = () if store.mask is None else area.cut(store.mask)
    masks = {name: mask for name, mask in zip(store.channels, cut, strict=False) if mask.any()}
    together = _together(dataset[names[0]])
    own = "statistics_hash" in dataset.attrs
    usual = {} if own else _usual(store, area, names)
    forecast = Forecast(
        path, dataset, starts, step, area, together, changes, masks, given, usual,
        mirrored(dataset, f"forecast={path}"),
    )  # fmt: skip
    _check_training(dataset, path, store, store.times[[starts[0], forecast.last(store)[-1]]])
    return forecast


def _usual(
    store: TrainingStore, area: Area, names: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """By channel: mean over the area and spread of the store's training."""
    held, found = store.statistics, {}
    for name in names:
        c = store.channels.index(name)
        found[name] = (float(np.nanmean(area.cut(held.mean_map[c]))), float(held.std[c]))
    return {name: usual for name, usual in found.items() if np.isfinite(usual).all() and usual[1]}


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


def _together(field: xr.DataArray) -> tuple[int, int]:
    """Starts and leads of a file where that is not too much to be read at once, else of a chunk."""
    for kind in ("shards", "chunks"):
        shape = field.encoding.get(kind)
        if shape:
            stored = dict(zip(field.dims, shape, strict=True))
            rest = {"time", "lead_time"}
            size = 4 * math.prod(
                stored[dim] if dim in rest else field.sizes[dim] for dim in field.dims
            )
            if kind == "chunks" or size <= READ_BYTES:
                return int(stored["time"]), int(stored["lead_time"])
    return 1, 1
