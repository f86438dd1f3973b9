"""States that a caller has in memory, held to what a model was trained on before it sees them.

The axes of variables are found as those of files are (`climate.sources.axes`), units are converted
and numbers that no atmosphere holds are refused alike.

Shapes: ``T`` times, ``F`` frames of a model's history and the current one, ``C`` channels, ``H``
latitudes, ``W`` longitudes of the model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from climate.conventions.calendar import as_step, in_unit_of, is_monthly, usual_step
from climate.conventions.units import Conversion, conversion, unit_of
from climate.conventions.variables import (
    CHANNELS,
    channel_attributes,
    channel_unit,
    is_geopotential,
)
from climate.conventions.wording import date, duration, ends_of_grid
from climate.forecasts.access import GIVEN_TRUTH
from climate.forecasts.ahead_sources import TRUTH, Held, Wanted, absent_times
from climate.forecasts.known_ahead import KnownAhead, known_from
from climate.forecasts.starts import (
    InitialStates,
    Starts,
    data_attributes,
    find_windows,
    title_of,
)
from climate.grids.area import Area
from climate.models.domain import Domain
from climate.sources.axes import AXIS_NAMES, Part, open_part, same
from climate.sources.meaning import is_difference
from climate.sources.orientation import orient
from climate.sources.plausibility import QUANTITY, fitting, limits_of
from climate.sources.select import Frame
from climate.sources.vertical import PRESSURE
from climate.store.mask import not_finite
from vgbdm.errors import InputError

if TYPE_CHECKING:
    from climate.models.weather_model import WeatherModel

WHERE = "states"
"""What the caller's data are called in messages."""
CHANNEL_AXES = ("channel", "variable")


def from_arrays(
    data: xr.Dataset | xr.DataArray, model: WeatherModel, starts: Starts
) -> InitialStates:
    """The states that a model is to forecast from, out of the caller's own.

    Args:
        data: a variable of each channel, under its name, or under its name without the level on an
            axis of pressures; or one array with the names along ``channel``. With time, latitude
            and longitude in any order, latitudes from either pole, on the model's grid or one that
            holds it. A variable without ``units`` has the model's.
        model: that forecasts.
        starts: ``latest``, or times; each with its history before it.

    Raises:
        InputError: one line, for channels, units, levels, grid or times that are not there or are
            others than the model's, numbers that no atmosphere holds, and missing values.
    """
    domain, step = model.domain, as_step(model.step_seconds)
    held = _held(data, model, domain.channels, WHERE)
    windows = find_windows(held.times.astype("M8[s]"), step, domain.history, starts, WHERE, "start")
    wanted, places = np.unique(windows, return_inverse=True)
    places, states = places.reshape(windows.shape), held.read(wanted)
    attributes = {}
    for name, part, unit in zip(domain.channels, held.parts, held.units, strict=True):
        own = {k: v for k, v in part.variable.attrs.items() if k != "units"}
        attributes[name] = channel_attributes(name, own | {"units": unit})
    chosen = held.times[windows[:, -1]].astype("datetime64[s]")
    told = {"title": title_of(chosen), **data_attributes(data.attrs)}
    interior = (slice(None), slice(None))
    if domain.region is not None:
        interior = domain.region.inside(domain.grid.lat, domain.grid.lon)
    mask = None if model.mask is None else model.mask.cpu().numpy()
    return InitialStates(
        WHERE, chosen, lambda at: states[places[at]], domain.grid, attributes,
        interior, mask, domain.region, told, source=data,
    )  # fmt: skip


def known_states(
    data: xr.Dataset | xr.DataArray,
    wanted: Wanted,
    model: WeatherModel,
    initial: InitialStates,
    where: str,
) -> KnownAhead:
    """What a caller's own states hold at the valid times of forecasts.

    Args:
        data: as in `from_arrays`, of the wanted channels; others may be there.
        wanted: of it.
        model: that forecasts.
        initial: where it starts.
        where: what they are called in messages.

    Raises:
        InputError: as in `from_arrays`, and for a valid time that is not there; what no atmosphere
            holds, and missing values, are found when they are read.
    """
    held = _held(data, model, wanted.channels, where)
    times = wanted.valid_times(initial.times)
    absent = ~np.isin(times, held.times)
    if absent.any():
        raise InputError(f"{where}: {absent_times(times, absent, held.times)}")
    index = np.searchsorted(held.times, times)

    def read(starts: np.ndarray, leads: range, members: range) -> np.ndarray:
        frames = index[starts][:, leads.start - 1 : leads.stop - 1]
        rows, place = np.unique(frames, return_inverse=True)
        return held.read(rows)[place.reshape(frames.shape)][:, None]

    units = {n: {"units": unit} for n, unit in zip(wanted.channels, held.units, strict=True)}
    about = {wanted.argument: TRUTH, GIVEN_TRUTH: f"{wanted.argument}: {TRUTH}"}
    return known_from(Held(read, units, 1, about, ""), where, wanted, initial)


@dataclass(frozen=True)
class _Fields:
    """A caller's fields, found and checked but for their values.

    Attributes:
        channels: short names.
        parts: the variable of each.
        levels: which of its levels.
        units: of each, the model's.
        masks: (H, W) of each, the model's.
        frame: of the model's grid.
        times: (T,) in the unit of the model's step, increasing.
        order: (T,) where they are stored.
    """

    channels: tuple[str, ...]
    parts: list[Part]
    levels: list[int]
    units: list[str]
    masks: list[np.ndarray | None]
    frame: Frame
    times: np.ndarray
    order: np.ndarray

    def read(self, wanted: np.ndarray) -> np.ndarray:
        """States (n, C, H, W) at places (n,) of the times, NaN where masked."""
        rows = self.order[wanted]
        each = zip(self.channels, self.parts, self.levels, self.units, self.masks, strict=True)
        return np.stack([
            _values(part, self.frame, name, unit, rows, level, mask)
            for name, part, level, unit, mask in each
        ], 1)  # fmt: skip


def _held(
    data: xr.Dataset | xr.DataArray, model: WeatherModel, channels: tuple[str, ...], where: str
) -> _Fields:
    """The fields of some channels of a model among a caller's data."""
    domain, step = model.domain, as_step(model.step_seconds)
    dataset = _with_time(_by_channel(data, channels, where), where)
    parts, levels = _parts(dataset, channels, where)
    stored = parts[0].times
    assert stored is not None
    order = np.argsort(stored, kind="stable")
    times = in_unit_of(step, stored[order])
    again = np.flatnonzero(np.diff(times) == np.timedelta64(0))
    if len(again):
        _refuse_twice(stored[order], again[0], step, where)
    known = dict(zip(domain.channels, domain.units or (), strict=False))
    units = [known[n] if known else channel_attributes(n, {})["units"] for n in channels]
    masks: list[np.ndarray | None] = [None] * len(channels)
    if model.mask is not None:
        masks = [model.mask[domain.channels.index(name)].cpu().numpy() for name in channels]
    frame = _frame(parts[0], domain, where)
    return _Fields(channels, parts, levels, units, masks, frame, times, order)


def _refuse_twice(stored: np.ndarray, place: int, step: np.timedelta64, where: str) -> None:
    """Why times (T,) of which the next is in the same step are not taken."""
    if is_monthly(step) and stored[place] != stored[place + 1]:
        raise InputError(
            f"{where}: are {duration(usual_step(stored))} apart, the model's are monthly means; "
            "give these, such as resample(time='MS').mean() makes"
        )
    remedy = "drop one, e.g. by drop_duplicates('time')"
    raise InputError(f"{where}: the time {date(stored[place])} comes twice; {remedy}")


def _by_channel(
    data: xr.Dataset | xr.DataArray, channels: tuple[str, ...], where: str
) -> xr.Dataset:
    """A variable of each channel, where all lie in one array with their names along an axis."""
    if isinstance(data, xr.Dataset):
        state = data.get("state")  # of a training store that was opened as a dataset
        if state is None or not {*CHANNEL_AXES} & {*state.dims} or {*channels} & {*data.data_vars}:
            return data
        data = state
    axis = next((name for name in CHANNEL_AXES if name in data.dims), None)
    if axis is None:
        if len(channels) > 1 and data.name not in channels:
            raise InputError(
                f"{where}: an array with the dimensions {', '.join(map(str, data.dims))} names no "
                f"channels; give a Dataset of {', '.join(channels)}, or these names as the "
                "coordinate channel of an axis"
            )
        return data.to_dataset(name=data.name if data.name in channels else channels[0])
    if axis not in data.coords:
        raise InputError(
            f"{where}: its axis {axis} has no names; give them as the coordinate {axis}: "
            f"{', '.join(channels)}"
        )
    split = data.to_dataset(dim=axis)
    split = split.rename({name: str(name) for name in split.data_vars})
    unit = unit_of(data.attrs)  # of all of them
    if unit is None:
        return split
    return split.assign({n: field.assign_attrs(units=unit) for n, field in split.items()})


def _with_time(dataset: xr.Dataset, where: str) -> xr.Dataset:
    """The dataset with an axis of time, in UTC, where it has one time only as well."""
    zoned = [n for n, v in dataset.coords.items() if getattr(v.dtype, "tz", None) is not None]
    for name in zoned:  # a time zone of pandas
        index: Any = dataset[name].variable.to_index()
        utc = index.tz_convert("UTC").tz_localize(None)
        dataset = dataset.assign_coords({name: (dataset[name].dims, utc)})
    bare = [d for d in dataset.dims if str(d).lower() in AXIS_NAMES["time"]]
    if any(d not in dataset.coords for d in bare):
        raise InputError(f"{where}: its axis {bare[0]} has no times; give them as coordinate")
    times = [n for n in dataset.coords if str(n).lower() in AXIS_NAMES["time"]]
    alone = [n for n in times if dataset[n].ndim == 0]
    if alone and not any(n in dataset.dims for n in times):
        return dataset.expand_dims(alone[0])
    return dataset


def _parts(
    dataset: xr.Dataset, channels: tuple[str, ...], where: str
) -> tuple[list[Part], list[int]]:
    """The variable of each channel, and which of its levels."""
    parts: list[Part] = []
    levels: list[int] = []
    for channel in channels:
        part, level = _part(dataset, channel, channels, where)
        if part.times is None:
            raise InputError(f"{where}: {part.name} has no time; give it a coordinate time")
        for axis in ("times", "lat", "lon"):
            if parts and not same(getattr(part, axis), getattr(parts[0], axis)):
                raise InputError(
                    f"{part.what} has other {axis} than {parts[0].name}; select those of both"
                )
        parts.append(part)
        levels.append(level)
    return parts, levels


def _part(
    dataset: xr.Dataset, channel: str, channels: tuple[str, ...], where: str
) -> tuple[Part, int]:
    found = None if channel in CHANNELS else re.fullmatch(r"([A-Za-z]+)_?(\d+)", channel)
    if channel in dataset.data_vars:
        part = open_part(dataset, channel, where)
        if part.levels is not None and len(part.levels) > 1:
            raise InputError(
                f"{part.what} has the levels {part.levels_text}, the model's has one; choose it by "
                "sel"
            )
        if found and part.level_unit == PRESSURE:
            _level(part, channel, float(found[2]))
        return part, 0
    if found and found[1] in dataset.data_vars:
        part = open_part(dataset, found[1], where)
        return part, _level(part, channel, float(found[2]))
    raise InputError(
        f"{where}: holds {', '.join(map(str, dataset.data_vars)) or 'nothing'}, no {channel}; the "
        f"model wants {', '.join(channels)}"
    )


def _level(part: Part, channel: str, level: float) -> int:
    """Where a level, hPa, lies."""
    held = np.zeros(0) if part.levels is None else part.levels
    near = np.flatnonzero(np.isclose(held, level, rtol=1e-5))
    if part.level_unit not in (PRESSURE, None) or not len(near):
        levels = f"the levels {part.levels_text}" if len(held) else "no levels"
        raise InputError(
            f"{part.what} has {levels}, the model wants {level:g} hPa; give {channel} of "
            "that level, or without levels"
        )
    return int(near[0])


def _frame(part: Part, domain: Domain, where: str) -> Frame:
    """Where the rows and columns of the model's grid are stored."""
    lat, lon = np.array(domain.lat), np.array(domain.lon)
    own = f"the model's are {ends_of_grid(lat, lon)}"
    try:
        grid, held = orient(part.lat, part.lon, where)
    except InputError as error:
        raise InputError(f"{str(error).partition(';')[0]}; {own}: interpolate to them") from None
    area = Area.of(lat, lon, grid.lat, grid.lon)
    width = len(grid.lon)
    if (
        area is None
        or (np.diff(area.rows) != 1).any()
        or (np.diff(area.columns) % width != 1).any()
        or (domain.region is None and not area.whole)
    ):
        remedy = "interpolate to its grid first"
        if domain.region is not None:
            remedy = f"give these, {domain.region.halo} points around its box, or the globe's"
        raise InputError(f"{where}: on {ends_of_grid(grid.lat, grid.lon)}; {own}; {remedy}")
    return Frame(lat, lon, held.rows[area.rows], held.columns[area.columns])


def _values(
    part: Part, frame: Frame, name: str, unit: str, rows: np.ndarray, level: int,
    mask: np.ndarray | None,
) -> np.ndarray:  # fmt: skip
    """(T, H, W) float32 in the model's unit, NaN where the model's mask is.

    Args:
        part: the variable.
        frame: of the model's grid.
        name: of the channel.
        unit: of the model's.
        rows: (T,) of the wanted times.
        level: place of the level.
        mask: (H, W) of the model; None: nothing is masked.
    """
    change = Conversion()
    own = unit_of(part.variable.attrs)
    if own is not None and unit:
        remedy = f"give it in {unit}, and say so in its attribute units"
        change = conversion(own, unit, what=part.what, remedy=remedy, height=is_geopotential(name))
    _check_values(part)
    chosen = {"time": rows, "level": np.array([level])}
    raw = frame.read(part, {k: v for k, v in chosen.items() if k in part.variable.dims})[:, 0]
    assert part.times is not None
    times = part.times[rows]
    _check_possible(raw, name, part, own or unit, change, times)
    values = change(raw)
    if mask is not None and mask.any():
        values = np.where(mask, np.float32(np.nan), values)
    bad = not_finite(values, mask)
    if bad.any():
        missing = int((~np.isfinite(values[bad][0]) & (True if mask is None else ~mask)).sum())
        raise InputError(
            f"{part.what} at {date(times[bad][0])}: no number at {missing} of {values[0].size} "
            "points; fill in, e.g. by interpolate_na, or choose another start"
        )
    return values


def _check_values(part: Part) -> None:
    """Refuse what are no states, though they may be numbers."""
    attributes, kind = part.variable.attrs, part.variable.dtype
    if kind.kind not in "fiu":
        raise InputError(f"{part.what} holds {kind}, not numbers; give floats by astype")
    if {"scale_factor", "add_offset"} & {*attributes}:
        raise InputError(f"{part.what} is packed; unpack it first, by xarray.decode_cf")
    if is_difference(part):
        raise InputError(f"{part.what} says of itself to be differences or spreads; give states")


def _check_possible(
    values: np.ndarray, name: str, part: Part, unit: str, change: Conversion, times: np.ndarray
) -> None:
    """Refuse numbers that no atmosphere holds, which tell of another unit."""
    low, high = limits_of(name, change, difference=False)
    with np.errstate(invalid="ignore"):
        bad = ((values < low) | (values > high)) & ~np.isinf(values)
    if not bad.any():
        return
    k = int(np.flatnonzero(bad.any((1, 2)))[0])
    target = str(channel_unit(name))
    fits = fitting(float(np.nanmin(values[k])), float(np.nanmax(values[k])), target)
    remedy = (
        f"the values would fit {fits[0]}: say so in its attribute units"
        if fits
        else "choose another start"
    )
    raise InputError(
        f"{part.what} at {date(times[k])} is {values[k][bad[k]][0]:.4g} {unit}, no "
        f"{QUANTITY[target]} ({low:g} … {high:g} {unit} are); {remedy}"
    )
