"""Stores of trajectories: written, read, and refused where they do not fit.

Shapes: ``N`` trajectories, ``L`` frames, ``C`` components, ``P`` parameters, ``...``
axes of a grid.

A store has ``x(trajectory, time, component, ...)``, ``t(trajectory, time)`` and, for scores only,
``params(trajectory, param)``; a simulated one with noise also ``truth``, the states without it, and
the attribute ``noise``, its standard deviation. Training reads x, t and noise, never params or
truth. Axes are found by these names,
components and parameters by the labels along them. `manifest.json` holds the digest of each file of
a store that is written here, see `vgbdm.storage.sealing`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from physics_systems.data.labels import AXES, arrange, clock_of, order_by
from physics_systems.systems.system import System
from vgbdm.errors import InputError
from vgbdm.storage.datasets import open_group, open_netcdf
from vgbdm.storage.outputs import appearing, check_free
from vgbdm.storage.sealed import WHOLE_BYTES
from vgbdm.storage.sealing import seal_folder
from vgbdm.storage.validity import validity_of

TRAJECTORIES_KIND = "trajectories"


@dataclass(frozen=True)
class Trajectories:
    """What is observed.

    Attributes:
        x: (N, L, C, ...) float32.
        t: (N, L) float64.
        noise: standard deviation of what was added to x, of all components or of each; None: it
            is not known.
    """

    x: Tensor
    t: Tensor
    noise: float | tuple[float, ...] | None = None

    def __len__(self) -> int:
        return len(self.x)


def layout(
    kind: type[System],
    x: np.ndarray,
    t: np.ndarray,
    params: np.ndarray,
    attributes: Mapping[str, Any],
    truth: np.ndarray | None = None,
) -> xr.Dataset:
    """The dataset of a store; attributes say how to make it again."""
    axes = ("trajectory", "time", "component", *("y_cell", "x_cell")[: len(kind.grid)])
    return xr.Dataset(
        {
            "x": (axes, x),
            "t": (("trajectory", "time"), t),
            "params": (("trajectory", "param"), params),
        }
        | ({} if truth is None else {"truth": (axes, truth)}),
        {"component": words(kind.components), "param": words(kind.parameters)},
        dict(attributes),
    )


def observations(system: System, data: Trajectories) -> xr.Dataset:
    """The dataset of a store of what was observed, its true parameters unknown."""
    unknown = np.full((len(data), len(system.parameters)), np.nan)
    facts = {"system": system.name} | ({} if data.noise is None else {"noise": data.noise})
    made = layout(type(system), data.x.numpy(), data.t.numpy(), unknown, facts)
    return made.drop_vars(["params", "param"])


def words(names: Sequence[str]) -> np.ndarray:
    """Names as strings of any length, which have a place in the Zarr standard."""
    return np.array(names, dtype=object)


def describe_system(system: System) -> str:
    """The options of a system as JSON, without its presets for training."""
    fields = [f.name for f in dataclasses.fields(system) if f.name != "presets"]
    return json.dumps({name: getattr(system, name) for name in fields}, sort_keys=True)


def write(dataset: xr.Dataset, out: str | Path) -> None:
    """Write a Zarr store; it appears whole or not at all.

    Raises:
        InputError: if there is something already, or another process is writing it.
    """
    check_free(out)
    # xarray 2025.1 cannot read the attribute _FillValue of stores that zarr 3.1 wrote; the array's
    # own fill value says that what is missing is no number
    plain = {
        name: {"_FillValue": None, "fill_value": np.nan}
        for name, v in dataset.variables.items() if v.dtype.kind == "f"
    }  # fmt: skip
    with appearing(Path(out)) as aside:
        dataset.to_zarr(aside, zarr_format=3, consolidated=False, encoding=plain)
        seal_folder(aside, TRAJECTORIES_KIND, {})


PARAM_AXES = ("trajectory", "param")

Source = str | Path | xr.Dataset
"""Where trajectories are: a Zarr store, a NetCDF file, or a dataset in memory."""


def name_of(source: Source) -> str:
    """What a source is called in messages."""
    return "x and t" if isinstance(source, xr.Dataset) else str(source)


def open_dataset(source: Source) -> xr.Dataset:
    """Open a Zarr store or a NetCDF file; times stay the numbers they are.

    Our own stores are compared with their digests as they are read. A dataset is taken as it is.

    Raises:
        InputError: if it is neither, damaged, or may not be decoded.
    """
    if isinstance(source, xr.Dataset):
        return source.copy(deep=False)  # closing it leaves the caller's open
    place = Path(source)
    if not place.exists():
        raise InputError(f"{place}: is not there; make it with vgbdm simulate-system")
    remedy = "give a store of trajectories, such as vgbdm simulate-system makes"
    if place.is_dir():
        return open_group(place, TRAJECTORIES_KIND, remedy, decode_times=False)
    return open_netcdf(place, remedy, decode_times=False)


def _values(array: xr.DataArray, path: str | Path) -> np.ndarray:
    """The numbers of an array, of which memory can hold all; NaN for what is missing.

    Raises:
        InputError: if they are none, too many, or damaged.
    """
    if array.dtype.kind not in "fiu" or array.nbytes > WHOLE_BYTES:
        raise InputError(
            f"{path}: {array.name} is {array.dtype} of {array.shape}; want numbers, at most "
            f"{WHOLE_BYTES} bytes of them"
        )
    try:
        return validity_of(array.variable, f"{path}: {array.name}")(array.to_numpy())
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: {array.name} cannot be read ({reason}); make it again") from None


def load_trajectories(source: Source, system: System, at_least: int) -> Trajectories:
    """The observations of a store; times are ``t``, or the coordinate ``time`` of the states.

    Args:
        source: a Zarr store or NetCDF file, or a dataset like theirs.
        system: they must be of.
        at_least: frames that are needed.

    Raises:
        InputError: for missing variables, labels or shapes of another system, too few frames,
            values that are not finite, times in no unit of time or that do not increase.
    """
    path = name_of(source)
    with open_dataset(source) as dataset:
        times = _times_of(dataset, str(path))
        noise = _noise_of(dataset, system, str(path))
        named = dataset.attrs.get("system", system.name)
        if named != system.name:
            raise InputError(f"{path}: trajectories of {named}, not of {system.name}")
        states = arrange(dataset["x"], AXES, str(path))
        x = _values(order_by(states, AXES, "component", system.components, str(path)), path)
        t = clock_of(times.copy(data=_values(times, path)), str(path))
        held = f"x is {x.shape} and t is {t.shape}"
        if times.dims == ("time",):  # one clock for all
            t = np.broadcast_to(t, (len(x), len(t))).copy()
    if x.shape[1:] == system.shape:
        held += ", as of one trajectory (which is x[None])"
    if x.shape[2:] == () and system.shape == (1,):
        x = x[..., None]
    if x.ndim < 2 or x.shape[2:] != system.shape or t.shape != x.shape[:2] or not len(x):
        raise InputError(
            f"{path}: {held}; {system.name} wants x of "
            f"(trajectory, time, {', '.join(map(str, system.shape))}) and t of (trajectory, time)"
        )
    if x.shape[1] < at_least:
        raise InputError(
            f"{path}: {x.shape[1]} frames per trajectory; the window needs {at_least}: give "
            "longer ones, or train with a shorter model.window"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused as not finite
        x = x.astype(np.float32)
    check_finite(path, x, t)
    return Trajectories(torch.from_numpy(x), torch.from_numpy(t.astype(float)), noise)


def _noise_of(dataset: xr.Dataset, system: System, path: str) -> float | tuple[float, ...] | None:
    """The attribute ``noise``: one standard deviation, or one for each component.

    Raises:
        InputError: if it is neither.
    """
    if "noise" not in dataset.attrs:
        return None
    held = dataset.attrs["noise"]
    try:
        each = np.asarray(held, dtype=float)
    except (TypeError, ValueError):
        each = np.array(np.nan)
    if each.shape not in ((), (len(system.components),)) or not (
        np.isfinite(each).all() and (each >= 0).all()
    ):
        raise InputError(
            f"{path}: the attribute noise is {held!s:.60}; want a standard deviation ≥ 0, or "
            f"{len(system.components)} of them, or no such attribute: it is estimated then"
        )
    return float(each) if each.ndim == 0 else tuple(each.tolist())


def _times_of(dataset: xr.Dataset, path: str) -> xr.DataArray:
    """The times of the states.

    Raises:
        InputError: where states or times are missing, or times are dates.
    """
    own = "x" in dataset and "t" not in dataset and "time" in dataset["x"].coords
    missing = [name for name in ("x", "t") if name not in dataset and not (name == "t" and own)]
    if missing:
        raise InputError(
            f"{path}: has no variable {missing[0]}; want x(trajectory, time, ...) and "
            "t(trajectory, time), or a coordinate time of x"
        )
    held = dataset["x"].coords["time"] if own else dataset["t"]
    if held.dtype.kind in "mM":
        raise InputError(
            f"{path}: {held.name} holds {held.dtype}, not numbers; give seconds: "
            f"({held.name} - {held.name}[0]) / np.timedelta64(1, 's')"
        )
    return arrange(held, AXES[:2], path)


def check_finite(path: str | Path, x: np.ndarray, t: np.ndarray) -> None:
    """Refuse values that are not finite and times that do not increase, naming the trajectory."""
    bad = np.flatnonzero(~np.isfinite(x.reshape(len(x), -1)).all(1) | ~np.isfinite(t).all(1))
    if len(bad):
        raise InputError(
            f"{path}: trajectory {bad[0]} has values that are not finite ({len(bad)} such); "
            "remove them"
        )
    bad = np.flatnonzero((np.diff(t, axis=1) <= 0).any(1))
    if len(bad):
        raise InputError(
            f"{path}: the times of trajectory {bad[0]} do not increase ({len(bad)} such); sort them"
        )


def read_truth(source: Source, system: System) -> Tensor | None:
    """States without noise (N, L, C, ...) float32, for scores; None where the store has none.

    Raises:
        InputError: if their shape is another than that of the observations.
    """
    path = name_of(source)
    with open_dataset(source) as dataset:
        if "truth" not in dataset:
            return None
        states = arrange(dataset["truth"], AXES, str(path))
        truth = _values(order_by(states, AXES, "component", system.components, str(path)), path)
    if truth.shape[2:] == () and system.shape == (1,):
        truth = truth[..., None]
    if truth.shape[2:] != system.shape or not np.isfinite(truth).all():
        raise InputError(
            f"{path}: truth of {truth.shape} is no states of {system.name}, or not finite; remove "
            "truth"
        )
    return torch.from_numpy(truth.astype(np.float32))


def read_parameters(source: Source, system: System) -> dict[str, Tensor] | None:
    """True parameters (N,) float64 by name, for scores; None where the store has none.

    Raises:
        InputError: if their number is another than the system's.
    """
    path = name_of(source)
    with open_dataset(source) as dataset:
        if "params" not in dataset:
            return None
        held = arrange(dataset["params"], PARAM_AXES, str(path))
        params = _values(order_by(held, PARAM_AXES, "param", system.parameters, str(path)), path)
    if params.shape[1:] != (len(system.parameters),):
        raise InputError(
            f"{path}: params of shape {params.shape}; {system.name} has "
            f"{', '.join(system.parameters)}"
        )
    if not np.isfinite(params).all():
        raise InputError(f"{path}: params has values that are not finite; remove params")
    columns = torch.from_numpy(params.astype(float)).unbind(1)
    return dict(zip(system.parameters, columns, strict=True))
