"""Axes, components and times of trajectory files by what the files call them, not by their places.

Shapes: ``N`` trajectories, ``L`` frames, ``C`` components, ``P`` parameters, ``...``
axes of a grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import cf_units
import numpy as np
import xarray as xr

from vgbdm.errors import InputError

AXES = ("trajectory", "time", "component", "y_cell", "x_cell")
"""Dimensions of the states in their order."""


def arrange(field: xr.DataArray, axes: Sequence[str], where: str) -> xr.DataArray:
    """A variable with its dimensions in the order of ``axes``, found by their names.

    Dimensions of other names stay in the order in which they are stored, as long as none that is
    named is out of its place.

    Args:
        field: the variable.
        axes: names in the order wanted; those the variable has not are passed over.
        where: the file, for messages.

    Raises:
        InputError: if some dimensions are named, out of place, and others are not.
    """
    named = [axis for axis in axes if axis in field.dims]
    if len(named) == field.ndim:
        return field.transpose(*named)
    places = [field.dims.index(axis) for axis in named]
    if places != sorted(places) or any(
        axes.index(a) != p for a, p in zip(named, places, strict=True)
    ):
        other = [str(dim) for dim in field.dims if dim not in axes]
        raise InputError(
            f"{where}: {field.name} has the dimensions {', '.join(map(str, field.dims))}; rename "
            f"{', '.join(other)} to what they are of {', '.join(axes)}"
        )
    return field


def labels_of(field: xr.DataArray, axis: str) -> list[str] | None:
    """The labels along an axis; None where it has none, or numbers in their order."""
    if axis not in field.coords or field.coords[axis].dims != (axis,):
        return None
    held = field.coords[axis].to_numpy()
    if held.dtype.kind in "iuf" and np.array_equal(held, np.arange(len(held)) + held[0]):
        return None
    return _texts(held)


def _texts(held: np.ndarray) -> list[str]:
    texts = [label.decode() if isinstance(label, bytes) else str(label) for label in held]
    return [text.strip() for text in texts]


def order_by(
    field: xr.DataArray, axes: Sequence[str], axis: str, names: Sequence[str], where: str
) -> xr.DataArray:
    """A variable with what lies along an axis in the order of ``names``, by the labels there.

    The labels are those of the dimension, whatever it is called, or another coordinate along it
    that holds just these names.

    Args:
        field: the variable, as `arrange` gives it.
        axes: names of the dimensions in their order.
        axis: of them, that of the labels; where there are none, the order is believed; another
            number of them is left to who checks the shape.
        names: wanted.
        where: the file, for messages.

    Raises:
        InputError: if the labels are not these names.
    """
    place = list(axes).index(axis)
    held = [dim for dim in field.dims if dim not in axes and field.dims.index(dim) == place]
    dim = axis if axis in field.dims else str(held[0]) if held else None
    if dim is None or field.sizes[dim] != len(names):
        return field
    wanted = [name.casefold() for name in names]
    others = [coord for name, coord in field.coords.items() if name != dim and coord.dims == (dim,)]
    for labels in (_texts(coord.to_numpy()) for coord in others):
        folded = [text.casefold() for text in labels]
        if sorted(folded) == sorted(wanted):
            return field.isel({dim: [folded.index(name) for name in wanted]})
    own = labels_of(field, dim)
    if own is None:
        return field
    folded = [text.casefold() for text in own]
    if sorted(folded) != sorted(wanted):
        raise InputError(
            f"{where}: {field.name} is of the {dim}s {', '.join(own)}, wanted are "
            f"{', '.join(names)}; name them so, or drop the coordinate {dim}"
        )
    return field.isel({dim: [folded.index(name) for name in wanted]})


def clock_of(field: xr.DataArray, where: str) -> np.ndarray:
    """Times as numbers: seconds where they have a unit of time, else as they are.

    Args:
        field: the times, read without decoding.
        where: the file, for messages.

    Raises:
        InputError: if the unit is none of time.
    """
    unit = str(field.attrs.get("units", "")).split(" since ")[0].strip()
    values = field.to_numpy()
    if values.dtype.kind not in "iuf":
        raise InputError(f"{where}: t holds {values.dtype}, not numbers; write it in seconds")
    if not unit or unit == "1":
        return values.astype(float)
    try:
        factor = float(cf_units.Unit(unit).convert(1.0, "s"))
    except ValueError:
        raise InputError(
            f"{where}: t is in {unit!r}, which is no unit of time; write it in seconds, or remove "
            "its units"
        ) from None
    return values.astype(float) if factor == 1.0 else factor * values
