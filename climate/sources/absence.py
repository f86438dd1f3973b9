"""Values that come of chunks which are not there: refused, unless they are masked anyway."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NoReturn

import numpy as np
import xarray as xr

from climate.conventions.units import setting
from climate.conventions.wording import date
from climate.sources.axes import Part
from climate.sources.presence import Presence
from vgbdm.errors import InputError


def check_present(
    part: Part,
    wanted: Mapping[str, np.ndarray],
    key: str,
    masked: Callable[[Mapping[str, slice]], bool] | None = None,
) -> None:
    """Refuse values just read that come of chunks which are not there.

    Args:
        part: that was read.
        wanted: indices by axis that were read.
        key: setting that says what absence means.
        masked: whether a chunk, by its place, holds nothing but points that are masked: of a grid
            of the sea, a chunk of land is not written by zarr-python. None: none does.

    Raises:
        InputError: naming the chunk, its times and what to do.
    """
    if part.presence is None:
        return
    for name, spans in part.presence.lost(wanted):
        if masked is None or not masked(spans):
            _refuse(part, part.presence, name, spans, key)
        part.presence.absent.discard(name)  # or each reading would look at all of them again


def _refuse(
    part: Part, presence: Presence, name: str, spans: Mapping[str, slice], key: str
) -> NoReturn:
    times = ""
    if part.times is not None and "time" in spans:
        held = part.times[spans["time"]]
        ends = [np.datetime_as_string(time, "m") for time in (held.min(), held.max())]
        times = f" of {ends[0]} … {ends[1]}"
    raise InputError(
        f"{part.what}: its chunk {name}{times} is absent and would read as {presence.fill}; "
        f"fetch it again, or, where the writer left out chunks that are all {presence.fill} "
        f"(as zarr-python does), say so by {setting(key, 'fill')}"
    )


def check_axes(dataset: xr.Dataset, names: Iterable[str], root: str) -> None:
    """Refuse coordinates of one dimension that come of chunks which are not there.

    zarr-python leaves out a chunk that is all fill value, such as the first of times counted from
    the first one: what it reads as is taken where it lies as far from its neighbours as others do.

    Args:
        dataset: whose coordinates have been read.
        names: of coordinates; those of text are passed over.
        root: of the store, for the message.

    Raises:
        InputError: naming the chunk.
    """
    for name in names:
        coordinate = dataset[name].variable
        presence = coordinate.encoding.get("presence")
        if presence is None or coordinate.size < 2 or coordinate.dtype.kind not in "iufMO":
            continue
        values = coordinate.values
        for key, spans in replace(presence, axes=(name,)).lost({}):
            if not _in_order(_numbers(values), spans[name]):
                shown = values[spans[name]][0]
                shown = date(shown) if values.dtype.kind == "M" else shown
                raise InputError(
                    f"{root}: {name}: its chunk {key} is absent and would read as {shown}; fetch "
                    f"it again, or write {name} anew"
                )


def _numbers(values: np.ndarray) -> np.ndarray:
    """Of a coordinate, to compare steps; NaN for what has none."""
    if values.dtype.kind == "M":
        return np.where(np.isnat(values), np.nan, values.astype(np.int64).astype(np.float64))
    if values.dtype.kind in "iuf":
        return values.astype(np.float64)
    try:  # other calendars, or out of reach of nanoseconds
        return np.array([(value - values[0]).total_seconds() for value in values])
    except (AttributeError, TypeError):
        return np.full(len(values), np.nan)


def _in_order(values: np.ndarray, filled: slice) -> bool:
    """Whether the steps to and between filled values are such as all others are."""
    steps = np.diff(values)
    beside = np.zeros(len(steps), bool)
    beside[max(filled.start - 1, 0) : filled.stop] = True
    ours, others = steps[beside], steps[~beside]
    if not np.isfinite(ours).all() or (ours == 0).any():
        return False
    if not len(others):
        return bool((np.sign(ours) == np.sign(ours[0])).all())
    usual = float(np.median(others))
    far = 2 * float(np.abs(others).max())
    return bool(((np.sign(ours) == np.sign(usual)) & (np.abs(ours) <= far)).all())


class StandingGaps:
    """Where a stored variable has no value at two of its times, the first and the last in use.

    What is missing there and in an absent chunk is a mask, not a loss; read when it is first asked.

    Args:
        part: of a Zarr store.
        ends: places of both times in it.
    """

    def __init__(self, part: Part, ends: Sequence[int]) -> None:
        self.part, self.ends = part, sorted(set(ends))
        self.axes = [axis for axis in part.variable.dims if axis != "time"]

    @cached_property
    def missing(self) -> np.ndarray:
        """Of the stored axes but time."""
        maps = (self.part.variable.isel(time=k).values for k in self.ends)
        return np.logical_and.reduce([np.isnan(self.part.validity(values)) for values in maps])

    def __call__(self, spans: Mapping[str, slice]) -> bool:
        """Whether a chunk lies wholly in it."""
        return bool(self.missing[tuple(spans.get(str(a), slice(None)) for a in self.axes)].all())
