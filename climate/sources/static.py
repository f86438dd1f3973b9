"""Fields without time: which of several is meant, and that it is one.

Shapes: ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from climate.conventions.units import conversion
from climate.conventions.variables import STATIC_UNITS, is_geopotential
from climate.sources.absence import check_present
from climate.sources.axes import Part, as_slice, same
from climate.sources.select import Frame, Selection
from vgbdm.errors import InputError

ALIKE_SHARE = 1e-5
"""Of the largest value: maps that differ by less are one (packing, float32)."""


@dataclass(frozen=True)
class StaticField:
    """A field without time, in one file or in several that must agree.

    Attributes:
        parts: where it is.
        factor: that makes it ``units``.
        units: after the factor; None: those stored.
        sparse: whether absent chunks of a Zarr store mean its fill value.
        level: of the parts, hPa or in the files' units; None where they have none, or one.
        time: that is taken; None: the first and the last must be alike.
        key: of the settings that choose among several; None where the source has none.
    """

    parts: tuple[Part, ...]
    factor: float = 1.0
    units: str | None = None
    sparse: bool = False
    level: float | None = None
    time: np.datetime64 | None = None
    key: str | None = None


def choose_parts(
    name: str, entry: Mapping[str, Any], candidates: Sequence[Part]
) -> tuple[Part, ...]:
    """The parts that ``file`` and ``level`` of the config leave; without a level those on none.

    Raises:
        InputError: if they leave none, or a level is to be chosen and is not.
    """
    key = f"source.static.{name}"
    file, level = entry.get("file"), entry.get("level")
    parts = [p for p in candidates if file is None or _is_named(Path(p.where), str(file))]
    if not parts:
        files = ", ".join(sorted({Path(p.where).name for p in candidates})[:6])
        raise InputError(f"{key}.file={file}: names no file that holds it; such are {files}")
    if level is not None:
        held = [p for p in parts if p.levels is not None and _near(p.levels, float(level))]
        if not held:
            raise InputError(f"{key}.level={level}: {parts[0].what} has {_levels(parts[0])}")
        return tuple(held)
    ground = tuple(p for p in parts if p.levels is None)
    if not ground:
        raise InputError(
            f"{parts[0].what} has {_levels(parts[0])}; it is no field of the ground: give "
            f"++{key}.level= one of them, or ++{key}.name=none to leave {name} out"
        )
    return ground


def _is_named(path: Path, pattern: str) -> bool:
    """Whether a file, or the archive that it is in, has a name of a pattern."""
    return any(place.match(pattern) for place in (path, *path.parents))


def _near(levels: np.ndarray, level: float) -> bool:
    return bool(np.isclose(levels, level, rtol=1e-5).any())


def _levels(part: Part) -> str:
    return f"the levels {part.levels_text}" if part.levels is not None else "no levels"


def read_static(
    name: str, field: StaticField, selection: Selection, dataset: xr.Dataset
) -> xr.DataArray:
    """A static field (H, W) on the grid of a dataset.

    Raises:
        InputError: one line, where it is on another grid, has gaps, or where its files or times
            differ.
    """
    first = field.parts[0]
    maps = [_maps(name, field, part, selection, dataset) for part in field.parts]
    values = maps[0][0]
    for part, found in zip(field.parts, maps, strict=True):
        if not all(_alike(values, other) for other in found):
            raise InputError(_ambiguous(name, field, part))
    if not bool(np.isfinite(values).all()):
        raise InputError(f"{first.where}: {name} holds NaN; mend it or leave it out")
    attributes = {str(k): v for k, v in first.variable.attrs.items()}
    if field.units is not None:
        attributes = {"units": field.units}
    return xr.DataArray(values, {a: dataset[a] for a in ("lat", "lon")}, ("lat", "lon"),
                        attrs=attributes | _known(name, field))  # fmt: skip


def _ambiguous(name: str, field: StaticField, part: Part) -> str:
    """What to say of a part that differs from the first map."""
    first, leave = field.parts[0], f"++{field.key}.name=none"
    if part is first:
        which = f"say which time {name} is of by ++{field.key}.time={_day(part)}, or leave it out "
        remedy = f"{which}by {leave}" if field.key else f"keep one time of {name}"
        return f"{part.what} changes with time; {remedy}"
    which = f"say which file {name} is of by '++{field.key}.file=\"{Path(first.where).name}\"'"
    remedy = which if field.key else "move the wrong file away"
    return f"{first.what} and {part.where} hold other values; {remedy}"


def _known(name: str, field: StaticField) -> dict[str, str]:
    """The unit that a known field has been given."""
    known = field.units is None and name in STATIC_UNITS and field.parts[0].units is not None
    return {"units": STATIC_UNITS[name]} if known else {}


def _maps(
    name: str, field: StaticField, part: Part, selection: Selection, dataset: xr.Dataset
) -> list[np.ndarray]:
    """What a part holds (H, W) in the field's unit: of one time, or of the first and the last."""
    frame = selection.frame(part)
    if not (same(frame.lat, dataset["lat"].values) and same(frame.lon, dataset["lon"].values)):
        leave = f"leave it out by ++{field.key}.name=none" if field.key else "move its file away"
        raise InputError(
            f"{part.where}: {name} is on another grid than the variables; bring both to one by "
            f"regrid=, or {leave}"
        )
    chosen: dict[str, Any] = {}
    if "level" in part.variable.dims:
        chosen["level"] = as_slice(np.array([part.level_index(field.level)]))
    found = []
    for place in _places(name, field, part, dataset):
        if part.times is not None:
            chosen["time"] = as_slice(np.array([place]))
        found.append(_map(name, field, part, frame, chosen))
    return found


def _map(
    name: str, field: StaticField, part: Part, frame: Frame, chosen: Mapping[str, Any]
) -> np.ndarray:
    values = np.float32(field.factor) * frame.read(part, chosen)[0, 0]
    if not field.sparse:
        check_present(part, {}, f"source.static.{name}.absent")
    if field.units is not None or name not in STATIC_UNITS or part.units is None:
        return values
    to_known = conversion(
        part.units,
        STATIC_UNITS[name],
        what=part.what,
        remedy="mend its unit in the file, or leave it out",
        height=is_geopotential(name),
    )
    return to_known(values)


def _places(name: str, field: StaticField, part: Part, dataset: xr.Dataset) -> list[int]:
    """Which times of a part are read."""
    if part.times is None:
        return [0]
    if field.time is not None:
        near = np.flatnonzero(part.times == field.time)
        if not len(near):
            raise InputError(
                f"source.static.{name}.time={field.time}: {part.what} has no such time, only "
                f"{part.times.min()} … {part.times.max()}"
            )
        return [int(near[0])]
    ends = dataset["time"].values[[0, -1]].astype("datetime64[s]")
    held = np.flatnonzero((part.times >= ends[0]) & (part.times <= ends[1]))
    if not len(held):
        held = np.arange(len(part.times))
    return sorted({int(held[0]), int(held[-1])})


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    most = np.nanmax(np.abs(a)) if np.isfinite(a).any() else 0.0
    return bool(np.allclose(a, b, rtol=0.0, atol=ALIKE_SHARE * float(most), equal_nan=True))


def _day(part: Part) -> str:
    assert part.times is not None
    return str(np.datetime_as_string(part.times[0], "m"))
