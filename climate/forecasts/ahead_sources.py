"""Where states of the time after a start are read from: a training store, or another forecast.

Shapes: ``N`` starts, ``M`` members, ``S`` leads, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from climate.conventions.calendar import MONTH_SECONDS, in_unit_of, is_monthly
from climate.conventions.wording import date, duration, ends_of_grid, period
from climate.forecasts.access import GIVEN_TRUTH, MEMBER, open_forecast_dataset
from climate.forecasts.compatibility import PERIOD, check_unseen
from climate.forecasts.pieces import runs
from climate.forecasts.starts import InitialStates
from climate.grids.area import Area
from climate.store.layout import TrainingStore
from climate.stream.views import open_view
from vgbdm.errors import InputError
from vgbdm.storage.sealing import MANIFEST, kind_of, read_manifest

TRUTH = "states of a store at the valid times, which no forecast has"


@dataclass(frozen=True)
class Wanted:
    """What is to be known ahead.

    Attributes:
        name: of the attributes that say where it is from, such as ``boundary``.
        argument: by which it is given, for messages.
        channels: short names (C).
        step: between leads, the model's.
        leads: S.
        members: M of the forecast; None: one without draws.
    """

    name: str
    argument: str
    channels: tuple[str, ...]
    step: np.timedelta64
    leads: int
    members: int | None = None

    def valid_times(self, starts: np.ndarray) -> np.ndarray:
        """(N, S) in the unit of the step, of starts (N,)."""
        return in_unit_of(self.step, starts)[:, None] + np.arange(1, self.leads + 1) * self.step


@dataclass(frozen=True)
class Held:
    """What a source holds of it, as it is stored.

    Attributes:
        read: places (n,) of starts, leads from 1, members → (n, m, leads, C, H, W).
        attributes: by channel, CF ones.
        members: how many; 1: the same for all.
        about: what a forecast made with it says of it.
        digest: of the source; empty where it is in memory.
    """

    read: Callable[[np.ndarray, range, range], np.ndarray]
    attributes: Mapping[str, Mapping[str, str]]
    members: int
    about: Mapping[str, str]
    digest: str


# --- a training store ----------------------------------------------------------------------------


def of_store(path: Path, wanted: Wanted, initial: InitialStates, aside: Path | None) -> Held:
    """The truth of forecasts, from a store that holds their grid.

    Args:
        path: of the store.
        wanted: of it.
        initial: that the forecasts start from.
        aside: folder for monthly means of a read-only store.

    Raises:
        InputError: one line, for what does not fit, or a valid time that it does not hold.
    """
    store = open_view(path, wanted.step, initial.region, aside)
    store.stride(wanted.step)
    _check_channels(store.channels, wanted)
    if Area.of(initial.grid.lat, initial.grid.lon, store.lat, store.lon) is None or (
        (len(store.lat), len(store.lon)) != (len(initial.grid.lat), len(initial.grid.lon))
    ):
        raise InputError(_other_grid(store.lat, store.lon, initial))
    times, clock = wanted.valid_times(initial.times), in_unit_of(wanted.step, store.times)
    absent = ~np.isin(times, clock)
    if absent.any():
        raise InputError(absent_times(times, absent, store.times))
    index = np.searchsorted(clock, times)
    places = [store.channels.index(name) for name in wanted.channels]

    def read(starts: np.ndarray, leads: range, members: range) -> np.ndarray:
        frames = index[starts][:, leads.start - 1 : leads.stop - 1]
        return _read_store(store, frames, places)[:, None]

    attributes = {name: store.channel_attrs[name] for name in wanted.channels}
    about = {wanted.name: TRUTH, GIVEN_TRUTH: f"{wanted.name}: {TRUTH}"}
    return Held(read, attributes, 1, about, store.digest)


def _read_store(store: TrainingStore, frames: np.ndarray, places: list[int]) -> np.ndarray:
    """States (n, leads, C, H, W) at time indices (n, leads), each read once.

    Big maps are those of the wanted channels alone.
    """
    index, place = np.unique(frames, return_inverse=True)
    grid = store.state.shape[2:]
    out = np.empty((len(index), len(places), *grid), np.float32)
    for part in runs(index, store.state.chunks[0], 4 * int(np.prod(store.state.shape[1:]))):
        first, last = int(index[part][0]), int(index[part][-1]) + 1
        if store.is_big:
            for c, channel in enumerate(places):
                held = store.read(first, last, channels=slice(channel, channel + 1))
                out[part, c] = held[index[part] - first, 0]
        else:
            out[part] = store.read(first, last)[index[part] - first][:, places]
    return out[place.reshape(frames.shape)]


# --- another forecast ----------------------------------------------------------------------------


def of_forecast(source: str | Path | xr.Dataset, wanted: Wanted, initial: InitialStates) -> Held:
    """States at the valid times from forecasts of the same starts, or of some before.

    Args:
        source: path of a forecast, or one in memory.
        wanted: of it.
        initial: that the forecasts start from.

    Raises:
        InputError: one line, for what does not fit, or a valid time that it does not reach.
    """
    dataset = open_forecast_dataset(source, wanted.argument)
    _check_channels([str(name) for name in dataset.data_vars], wanted)
    lat, lon = dataset["lat"].values, dataset["lon"].values
    area = Area.of(initial.grid.lat, initial.grid.lon, lat, lon)
    if area is None:
        raise InputError(_other_grid(lat, lon, initial))
    for name in wanted.channels:
        dims = {str(dim) for dim in dataset[name].dims} - {MEMBER}
        if dims != {"time", "lead_time", "lat", "lon"} or dataset[name].dtype.kind not in "fiu":
            raise InputError(
                f"{name} has the dimensions {', '.join(map(str, dataset[name].dims))} and holds "
                f"{dataset[name].dtype}; want numbers along time, lead_time, lat and lon"
            )
    members = int(dataset.sizes.get(MEMBER, 1))
    if 1 < members < (wanted.members or 1):
        raise InputError(
            f"holds {members} members, {wanted.members} are asked for, and each takes the one of "
            f"its number; give members={members} or fewer"
        )
    _check_unseen(dataset, wanted, initial)
    times = dataset["time"].values.astype("datetime64[s]")
    origins, leads = _origins(dataset, wanted, initial.times)

    def read(starts: np.ndarray, some: range, numbers: range) -> np.ndarray:
        shape = (len(starts), len(numbers), len(some), len(wanted.channels))
        out = np.empty((*shape, len(area.lat), len(area.lon)), np.float32)
        wanted_leads = leads[starts, some.start - 1 : some.stop - 1]
        for first in np.unique(wanted_leads[:, 0]):  # those as long after their beginning
            own = np.flatnonzero(wanted_leads[:, 0] == first)
            at = wanted_leads[own[0]]
            chosen = {"time": origins[starts[own]], "lead_time": at}
            chosen |= {"lat": area.rows, "lon": area.columns}
            for c, name in enumerate(wanted.channels):
                out[own, :, :, c] = _read_field(dataset[name], chosen, numbers)
        return out

    attributes = {name: dataset[name].attrs for name in wanted.channels}
    about = _about_forecast(dataset, wanted.name, initial.times - times[origins])
    return Held(read, attributes, members, about, _digest(source))


def _read_field(
    field: xr.DataArray, chosen: Mapping[str, np.ndarray], numbers: range
) -> np.ndarray:
    """(n, m, leads, H, W) of one channel."""
    if MEMBER in field.dims:
        part = field.isel({**chosen, MEMBER: slice(numbers.start, numbers.stop)})
    else:
        part = field.isel(chosen).expand_dims(MEMBER)
    try:
        return part.transpose("time", MEMBER, "lead_time", "lat", "lon").values
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{field.name}: cannot be read ({str(error).splitlines()[0]})") from None


def _origins(
    dataset: xr.Dataset, wanted: Wanted, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which of its forecasts each start takes (N,), and which of their leads (N, S).

    Raises:
        InputError: naming a start for which there is none.
    """
    step, times = wanted.step, dataset["time"].values.astype("datetime64[s]")
    begun, held = in_unit_of(step, times), _lengths(dataset, step)
    order, places = np.argsort(begun, kind="stable"), np.argsort(held)
    origins = np.empty(len(starts), int)
    leads = np.empty((len(starts), wanted.leads), int)
    for n, start in enumerate(in_unit_of(step, starts)):
        for at in _before(begun[order], start, held.max()):
            lengths = start - begun[order[at]] + np.arange(1, wanted.leads + 1) * step
            if np.isin(lengths, held).all():
                origins[n] = order[at]
                leads[n] = places[np.searchsorted(held, lengths, sorter=places)]
                break
        else:
            last = (start + wanted.leads * step).astype("datetime64[s]")
            raise InputError(
                f"holds no forecast from {date(starts[n])} or before it with all leads every "
                f"{duration(step)} until {date(last)}; its {len(times)} forecasts start "
                f"{period(times.min(), times.max())} with leads {_spread(held)}; choose shorter "
                "leads or other starts, or make it with longer leads"
            )
    return origins, leads


def _before(begun: np.ndarray, start: np.datetime64, longest: np.timedelta64) -> Iterator[int]:
    """Places of forecasts begun at a time or before it, the latest first, that may reach it."""
    last = int(np.searchsorted(begun, start, side="right")) - 1
    first = int(np.searchsorted(begun, start - longest))
    yield from range(last, first - 1, -1)


def _lengths(dataset: xr.Dataset, step: np.timedelta64) -> np.ndarray:
    """The leads in the unit of a step; of months, whole ones."""
    seconds = dataset["lead_time"].values.astype("timedelta64[s]")
    if not is_monthly(step):
        return seconds
    months, rest = np.divmod(seconds.astype(np.int64), MONTH_SECONDS)
    return np.where(rest == 0, months, 0).astype("timedelta64[M]")


def _spread(held: np.ndarray) -> str:
    """Leads in words."""
    shortest, longest = duration(held.min()), duration(held.max())
    return f"of {shortest} to {longest}" if len(held) > 1 else f"of {longest} alone"


def _about_forecast(dataset: xr.Dataset, name: str, lags: np.ndarray) -> dict[str, str]:
    """What is said of another forecast: what made it, and how long (N,) before the starts."""
    maker = str(dataset.attrs.get("source", "")).strip()[:80] or "unknown source"
    late = lags[lags > np.timedelta64(0)]
    text = f"forecast ({maker}) from the same starts"
    if len(late):
        text = f"forecast ({maker}) from up to {duration(late.max().astype('m8[s]'))} before"
    about = {name: text}
    if GIVEN_TRUTH in dataset.attrs:
        about[GIVEN_TRUTH] = f"{name}: a forecast that was given {dataset.attrs[GIVEN_TRUTH]}"
    return about


def _check_unseen(dataset: xr.Dataset, wanted: Wanted, initial: InitialStates) -> None:
    """Refuse forecasts of a split by a model that was trained or chosen on it."""
    split = initial.attributes.get("split")
    periods = {name: str(dataset.attrs[key]).split("/") for name, key in PERIOD.items()
               if key in dataset.attrs}  # fmt: skip
    if split is not None and len(periods) == len(PERIOD):
        last = wanted.valid_times(initial.times[-1:])[0, -1].astype("datetime64[s]")
        ends = np.array([initial.times[0], last])
        check_unseen("its model was trained on what is forecast", split, ends, periods)


def _digest(source: str | Path | xr.Dataset) -> str:
    """Of a forecast: its manifest's; without one, of the names, sizes and times of its files."""
    if isinstance(source, xr.Dataset):
        return ""
    path = Path(source)
    if path.is_dir() and (path / MANIFEST).exists():
        return str(read_manifest(path, kind_of(path), "make it again")["digest"])
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    facts = [(str(p.relative_to(path)), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


# --- refusals ------------------------------------------------------------------------------------


def _check_channels(held: tuple[str, ...] | list[str], wanted: Wanted) -> None:
    missing = [name for name in wanted.channels if name not in held]
    if missing:
        raise InputError(
            f"holds {', '.join(held)[:200]}, no {', '.join(missing)}; give one that holds "
            f"{', '.join(wanted.channels)}"
        )


def _other_grid(lat: np.ndarray, lon: np.ndarray, initial: InitialStates) -> str:
    own = initial.grid
    halo = f" with the halo of {initial.region.halo} points" if initial.region else ""
    return (
        f"its grid, {ends_of_grid(lat, lon)}, does not hold the points of the model's{halo}, "
        f"{ends_of_grid(own.lat, own.lon)}; give one that does, such as a global one"
    )


def absent_times(times: np.ndarray, absent: np.ndarray, held: np.ndarray) -> str:
    """What a store lacks of valid times (N, S), and which it holds (T,)."""
    first, last = (x.astype("datetime64[s]") for x in (times[absent].min(), times.max()))
    needing = f"which {int(absent.any(1).sum())} of {len(times)} forecasts need"
    return (
        f"has no state of {date(first)}, {needing}; wanted are states until {date(last)}, it holds "
        f"{period(held[0], held[-1])}; choose shorter leads or other starts"
    )
