"""The lazy dataset of `climate.sources`, made of what was found.

Shapes: ``T`` times, ``H`` latitudes, ``W`` longitudes of the dataset.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from climate.conventions.calendar import Period, inside
from climate.conventions.variables import channel_attributes
from climate.sources.axes import Part, same, shown
from climate.sources.intervals import needs_joining
from climate.sources.meaning import check_members
from climate.sources.select import Selection
from climate.sources.series import Series, SeriesArray, timed
from climate.sources.static import StaticField, read_static
from climate.store.layout import chunk_shape
from vgbdm.errors import InputError

log = logging.getLogger(__name__)


def make_dataset(
    series: Sequence[Series],
    variables: Sequence[str],
    static: Mapping[str, StaticField],
    attributes: Mapping[Any, Any],
    selection: Selection,
    valid: Period | None = None,
) -> xr.Dataset:
    """The lazy dataset of `climate.sources`.

    Args:
        series: what holds the variables.
        variables: short names, in the order of the channels.
        static: fields without time, by short name.
        attributes: of the dataset.
        selection: times and grid wanted.
        valid: the only times that hold data, where the source says so.

    Raises:
        InputError: one line, for whatever cannot be taken as it is.
    """
    series = [
        replace(one, parts=tuple(map(timed, one.parts)), left=tuple(map(_left, one.left)))
        for one in series
    ]
    for one in series:
        _check_left(one, selection.period)
    check_members([part for one in series for part in one.parts])
    step = selection.step
    over = any(needs_joining(s.channels[0], s.parts, s.method, step) for s in series)
    blocks = [SeriesArray(one, selection, valid, over) for one in series]
    if over:
        _trim(blocks)
    first = blocks[0]
    for other in blocks[1:]:
        _check_alike(first, other)
    shape = (len(first.frame.lat), len(first.frame.lon))
    steps = chunk_shape(len(variables), *shape)[1][0]
    coords = {"time": first.times, "lat": first.frame.lat, "lon": first.frame.lon}
    fields: dict[str, xr.Variable] = {}
    for block in blocks:
        block.warn_of_rereads(steps)
        stored = dict(block.series.parts[0].variable.attrs) | {"units": block.units}
        for k, channel in enumerate(block.series.channels):
            lazy = indexing.LazilyIndexedArray(_Channel(block, k))
            fields[channel] = xr.Variable(
                ("time", "lat", "lon"),
                lazy,
                channel_attributes(channel, stored) | {"source_units": block.source_units},
                {"file_at": block.file_at, "beside": block.beside},
            )
    about = {**attributes, **{f"{'_'.join(b.series.channels)}_over_step": b.method
                              for b in blocks if b.joins > 1}}  # fmt: skip
    if selection.regrid is not None:
        about["regridding"] = selection.regrid.description
    dataset = xr.Dataset({name: fields[name] for name in variables}, coords, about)
    dataset = dataset.assign(
        {name: read_static(name, field, selection, dataset) for name, field in static.items()}
    )
    dataset.encoding["series"] = blocks
    return dataset


def _left(part: Part) -> Part:
    """As `timed`; what is not taken need not have a time that can be read."""
    try:
        return timed(part)
    except InputError:
        return part


def _check_left(series: Series, period: Period | None) -> None:
    """Refuse, or tell, that times are lost with files that have none of the levels asked for.

    Raises:
        InputError: if files that name no level have times that those of the level have not.
    """
    held = [part.times for part in series.parts if part.times is not None]
    channel, nameless = series.channels[0], []
    for part in series.left:
        if not held or part.times is None:
            continue
        lost = np.setdiff1d(part.times, np.concatenate(held))
        lost = lost if period is None else lost[inside(lost, period)]
        if part.levels is None:
            nameless += [(part, time) for time in lost]
        elif len(lost):
            log.warning(
                "%s: left out, for it has the levels %s and %s is of %g; %d of its times from %s "
                "are in no file of that level",
                part.what, part.levels_text, channel, series.levels[0] or 0, len(lost),
                shown(lost[0]),
            )  # fmt: skip
    if len(nameless) > 1:  # one is a field of the ground
        part, time = nameless[0]
        raise InputError(
            f"{part.what} names no level, {series.parts[0].where} has {channel} at "
            f"{series.levels[0]:g}, and {len(nameless)} times from {shown(time)} are only where no "
            f"level is named; give those files their level as the coordinate level, or leave them "
            "out by source.pattern"
        )


def _trim(blocks: Sequence[SeriesArray]) -> None:
    """Leave out the first or last time of those that have one more than others there.

    Intervals that end after their stamps make a time beyond the last stamp.
    """
    begin, end = max(b.times[0] for b in blocks), min(b.times[-1] for b in blocks)
    outside = [(b.times < begin, b.times > end) for b in blocks]
    if all(side.sum() <= 1 for sides in outside for side in sides):
        for block, (early, late) in zip(blocks, outside, strict=True):
            block.keep(~early & ~late)


def _check_alike(first: SeriesArray, other: SeriesArray) -> None:
    for axis, what, a, b in (
        ("lat", "grid", first.frame.lat, other.frame.lat),
        ("lon", "grid", first.frame.lon, other.frame.lon),
        ("time", "calendar", first.times, other.times),
    ):
        if not same(a, b):
            odd = _odd_time(first, other) if axis == "time" else ""
            raise InputError(
                f"{other.series.parts[0].what}: its {what} ({axis}: {len(b)} values from "
                f"{shown(b[0])}) is not that of {first.series.channels[0]} ({len(a)} from "
                f"{shown(a[0])}){odd}; convert alike variables only"
            )


def _odd_time(first: SeriesArray, other: SeriesArray) -> str:
    """The first time that one of two has alone, and the file that it is in."""
    odd = np.setxor1d(first.times, other.times)
    if not len(odd):
        return ""
    has, lacks = (first, other) if odd[0] in first.times else (other, first)
    return f", {has.file_at(odd[0])} has {shown(odd[0])} and {lacks.series.channels[0]} has not"


class _Channel(BackendArray):
    """One level of a series as xarray indexes it lazily."""

    def __init__(self, blocks: SeriesArray, k: int) -> None:
        self.blocks, self.k = blocks, k
        self.shape = (blocks.shape[0], *blocks.shape[2:])
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        outer = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, outer, self._get)

    def _get(self, key: tuple[Any, ...]) -> np.ndarray:
        times, rows, columns = key
        index = np.atleast_1d(np.arange(self.shape[0])[times])
        values = self.blocks.level(self.k, index)[:, :, columns][:, rows]
        return values[0] if np.ndim(times) == 0 and not isinstance(times, slice) else values
