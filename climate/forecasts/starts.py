"""What a forecast starts from: states of a store, chosen by split, by time, or the latest ones.

Shapes: ``N`` starts, ``T`` times, ``F`` frames of a model's history and the current one, ``C``
channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from climate.conventions.calendar import as_step, in_unit_of, in_utc, usual_step
from climate.conventions.wording import date, duration, period
from climate.forecasts.compatibility import check_model, check_unseen, periods_of
from climate.grids.grid import Grid
from climate.grids.regions import Region
from climate.models.forecaster import Forecaster
from climate.store.layout import TrainingStore
from climate.store.mask import area_lines
from climate.stream.batches import read_windows
from vgbdm.errors import InputError

LATEST = "latest"
MONTH = re.compile(r"\d{4}-\d{2}")
DAY = re.compile(r"\d{4}-?\d{2}-?\d{2}(?!\d)")
Starts = str | Iterable[Any] | np.datetime64
"""``latest``, a time, or times: ISO 8601, ``datetime``, ``datetime64``."""

Given = str | Path | xr.Dataset | xr.DataArray
"""Path of a store or a forecast; a forecast in memory, or states in memory."""


@dataclass(frozen=True)
class InitialStates:
    """States to forecast from.

    Attributes:
        where: a store or a dataset, for messages.
        times: (N,) datetime64[s], increasing.
        read: places (n,) of some starts → states (n, F, C, H, W) float32, physical units.
        grid: of the states, with the halo of a region.
        channel_attrs: CF attributes by channel, in their order.
        interior: rows and columns without the halo.
        mask: (C, H, W) points without values; None: there are none.
        region: that the grid covers; None: the globe.
        attributes: what a forecast says of them.
        sealed: digests of what they were read from, for the manifest of a forecast.
        source: what they are from, which may go on after the starts.
    """

    where: str
    times: np.ndarray
    read: Callable[[np.ndarray], np.ndarray]
    grid: Grid
    channel_attrs: Mapping[str, Mapping[str, str]]
    interior: tuple[slice, slice] = (slice(None), slice(None))
    mask: np.ndarray | None = None
    region: Region | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    sealed: Mapping[str, str] = field(default_factory=dict)
    source: Given = ""

    @property
    def channels(self) -> tuple[str, ...]:
        """Short names, in the order of the state."""
        return tuple(self.channel_attrs)

    def without_halo(self, values: Any) -> Any:
        """The interior of an array (..., H, W)."""
        rows, columns = self.interior
        return values[..., rows, columns]

    @property
    def masked(self) -> dict[str, str]:
        """One line for each masked channel, which share of the interior has no values."""
        mask = None if self.mask is None else self.without_halo(self.mask)
        return area_lines(self.channels, mask, self.grid.area_weights[self.interior[0]])


def from_store(
    store: TrainingStore,
    model: Forecaster,
    leads: int,
    split: str = "test",
    starts: Starts | None = None,
    argument: str = "starts",
) -> InitialStates:
    """The states of a store that a model is to forecast from.

    Args:
        store: as the model saw it, see `climate.stream.views`.
        model: that forecasts.
        leads: model steps that lie in the split as well.
        split: whose starts, all that have their leads in it; not where there are ``starts``.
        starts: these, whether or not the store holds what comes after them.
        argument: what the caller gives them by, for messages.

    Raises:
        InputError: one line, for a model that does not fit or was trained on the split, times that
            the store does not hold, or a split without a start.
    """
    check_model(model, store)
    step = as_step(model.step_seconds)
    stride = store.stride(step)
    if starts is None:
        index = forecast_starts(store, split, step, model.history, leads)
        told = {"title": f"forecasts from every start of {split}", "split": split}
        periods = periods_of(model)
        if periods is not None:
            ends = store.times[[index[0], index[-1] + leads * stride]]
            check_unseen(str(store.path), split, ends, periods)
    else:
        where = f"store {store.path}"
        windows = find_windows(store.times, step, model.history, starts, where, argument)
        index = windows[:, -1]
        told = {"title": title_of(store.times[index])}

    def read(places: np.ndarray) -> np.ndarray:
        return read_windows(store, index[places], stride=stride, history=model.history)

    return InitialStates(
        f"store {store.path}",
        store.times[index],
        read,
        store.grid,
        {name: store.channel_attrs[name] for name in store.channels},
        store.interior,
        store.mask,
        store.region,
        {**told, "store_digest": store.digest, **data_attributes(store.provenance)},
        {"store": store.digest},
        store.path,
    )


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


def title_of(times: np.ndarray) -> str:
    """The title of forecasts from some times (N,)."""
    if len(times) == 1:
        return f"forecast from {date(times[0])}"
    return f"forecasts from {len(times)} starts, {date(times[0])} to {date(times[-1])}"


def data_attributes(about: Mapping[Any, Any]) -> dict[str, str]:
    """What data say of themselves: a comment as it is, the rest under ``data_…``."""
    own = {k: str(v) for k, v in about.items() if k in ("title", "source", "comment")}
    return {k if k == "comment" else f"data_{k}": v for k, v in own.items()}


def find_windows(
    times: np.ndarray,
    step: np.timedelta64,
    history: int,
    starts: Starts,
    where: str,
    argument: str = "starts",
) -> np.ndarray:
    """Where the frames of each start are: (N, F) indices into the times, starts increasing.

    Args:
        times: (T,) datetime64[s], increasing; steps may be missing.
        step: between frames.
        history: frames before the current one.
        starts: ``latest``: the last time that has its history; or times.
        where: the times are from, for messages.
        argument: what the starts are given by, for messages.

    Raises:
        InputError: naming a start that cannot be read, is not there, or lacks its history.
    """
    clock = in_unit_of(step, times)
    back = np.arange(-history, 1) * step
    want = f"the model starts from {history + 1} states {duration(step)} apart" if history else ""
    if isinstance(starts, str) and starts == LATEST:
        wanted = clock[:, None] + back
        whole = np.flatnonzero(np.isin(wanted, clock).all(1))
        if not len(whole):
            raise InputError(f"{where}: holds {_held(times)}; {want or 'give at least one'}")
        return np.searchsorted(clock, wanted[whole[-1:]])
    chosen = np.unique(in_unit_of(step, parse_starts(starts, argument)))
    wanted = chosen[:, None] + back
    there = np.isin(wanted, clock)
    if not there[:, -1].all():
        absent = chosen[~there[:, -1]][0].astype("datetime64[s]")
        raise InputError(
            f"{argument}: {where} has no state of {date(absent)}; it holds {_held(times)}"
        )
    if not there.all():
        k = np.flatnonzero(~there.all(1))[0]
        absent = wanted[k][~there[k]][-1].astype("datetime64[s]")
        raise InputError(
            f"{argument}: from {date(chosen[k].astype('M8[s]'))} {want}, and {where} has no "
            f"state of {date(absent)}; choose a later start, or give the states before it"
        )
    return np.searchsorted(clock, wanted)


def _held(times: np.ndarray) -> str:
    """How many times (T,), how far apart, and from when to when, for messages."""
    if not len(times):
        return "no times"
    if len(times) == 1:
        return f"only {date(times[0])}"
    apart = duration(usual_step(times))
    return f"{len(times)} times {apart} apart, {period(times[0], times[-1])}"


def parse_starts(starts: Starts, argument: str = "starts") -> np.ndarray:
    """Times (N,) datetime64[s] of a time or of times; with a time zone they become UTC.

    Args:
        starts: see `Starts`.
        argument: what they are given by, for messages.

    Raises:
        InputError: for what is no time, or for none at all.
    """
    many = isinstance(starts, Iterable) and not isinstance(starts, str | bytes | Mapping)
    given: Iterable[Any] = starts if many and getattr(starts, "ndim", 1) != 0 else [starts]  # type: ignore[assignment]
    found = [_parse_start(value, argument) for value in given]
    if not found:
        raise InputError(f"{argument}=[]: want {LATEST}, or at least one date such as 2018-01-01")
    return np.array(found)


def _parse_start(value: Any, argument: str) -> np.datetime64:
    """One time; a month or a day stands for its beginning."""
    text = " ".join(str(value.values if hasattr(value, "dims") else value).split())
    time: np.datetime64 = np.datetime64("NaT", "s")
    with contextlib.suppress(ValueError):
        if MONTH.fullmatch(text):
            time = np.datetime64(text, "s")
        elif DAY.match(text):
            time = np.datetime64(in_utc(dt.datetime.fromisoformat(text)), "s")
    if np.isnat(time):
        raise InputError(
            f"{argument}={text[:40]}: want {LATEST}, or dates in ISO 8601 such as 2018-01-01 or "
            "2018-01-01T06"
        )
    return time
