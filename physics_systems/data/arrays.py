"""Trajectories that a caller has in memory, as the dataset of a store.

Shapes: ``N`` trajectories, ``L`` frames, ``C`` components, ``...`` axes of a grid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from physics_systems.data.labels import AXES
from physics_systems.data.trajectories import Source
from vgbdm.errors import InputError

WANTED = {
    "x": "(trajectory, time, component, …)",
    "t": "(time) or (trajectory, time), in the unit of the physics",
}


def as_dataset(x: Any, t: Any) -> Source:
    """Trajectories as a caller holds them, as the dataset of a store; a path as it is.

    Args:
        x: (N, L, C, ...) numbers, a DataArray, a Dataset of ``x`` with ``t`` or a coordinate
            ``time``, or a path.
        t: (L,) or (N, L) times; None where x tells them.

    Raises:
        InputError: one line, for what is none of these.
    """
    if isinstance(x, Source) and t is None:
        return x
    about = x.attrs if isinstance(x, xr.Dataset) else {}
    if isinstance(x, xr.Dataset) and "x" in x and "t" not in x:
        x = x["x"]
    if isinstance(x, Source):
        raise InputError("t: x has its own times; leave t out")
    states = x if isinstance(x, xr.DataArray) else _array(x, "x")
    if t is None and isinstance(states, xr.DataArray):
        t = next((states.coords[name] for name in ("t", "time") if name in states.coords), None)
    if t is None:
        raise InputError("t: is missing; give the times (time) or (trajectory, time) of x")
    times = t if isinstance(t, xr.DataArray) else _array(t, "t")
    wanted = "want x of (trajectory, time, component, …) and t of (time) or (trajectory, time); a "
    wanted += "single trajectory is x[None]"
    if times.ndim not in (1, 2) or states.ndim < 2:
        raise InputError(f"x is {states.shape} and t is {times.shape}; {wanted}")
    try:
        return xr.Dataset({"x": _bare(states), "t": _bare(times)}, attrs=about)
    except ValueError:
        raise InputError(f"x is {states.shape} and t is {times.shape}; {wanted}") from None


def _array(values: Any, name: str) -> xr.DataArray:
    """Numbers with the names of the axes of a store."""
    try:
        if isinstance(values, np.ma.MaskedArray):  # what is masked is no value
            values = np.ma.filled(values.astype(float), np.nan)
        held = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        line = str(error).splitlines()[0]
        raise InputError(f"{name}: want an array of numbers ({line})") from None
    axes = AXES[1:2] if name == "t" and held.ndim == 1 else AXES[: held.ndim]
    if held.dtype.kind not in "iuf" or len(axes) != held.ndim:
        wanted = WANTED[name]
        raise InputError(f"{name}: want numbers of {wanted}, not {held.dtype} of {held.shape}")
    return xr.DataArray(held, dims=axes, name=name)


def _bare(field: xr.DataArray) -> xr.DataArray:
    """Without coordinates but labels of components, which tell their order."""
    kept = [name for name in ("component",) if name in field.coords]
    return field.reset_coords(drop=True).drop_vars([c for c in field.coords if c not in kept])
