"""Trajectories from the published benchmark's ``.pt`` files, read without executing anything.

Shapes: ``N`` trajectories, ``L`` frames, ``C`` components, ``P`` parameters.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from physics_systems.data.trajectories import check_finite, layout
from physics_systems.systems.lorenz import Lorenz
from physics_systems.systems.pendulum import Pendulum
from physics_systems.systems.reaction_diffusion import ReactionDiffusion
from physics_systems.systems.rlc import RLC
from physics_systems.systems.system import System
from vgbdm.errors import InputError
from vgbdm.paths.hermite import HermitePath

SYSTEMS: tuple[type[System], ...] = (RLC, Pendulum, ReactionDiffusion, Lorenz)


def numpy_globals() -> list[Any]:
    """The few functions that rebuild a numpy array; nothing else may be named by a file."""
    rebuild = np._core.multiarray._reconstruct
    kinds = [type(np.dtype(code)) for code in ("f4", "f8", "i4", "i8", "?")]
    # files written before numpy 2 name the same function by its older place
    older = (rebuild, "numpy.core.multiarray._reconstruct")
    return [rebuild, older, np.ndarray, np.dtype, *kinds]


def load_pt(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays ``x``, ``t`` and ``params`` of a file.

    Raises:
        InputError: if the file is missing, names anything but numpy arrays, or lacks one of them.
    """
    place = Path(path)
    if not place.is_file():
        raise InputError(f"{place}: is not there")
    try:
        with torch.serialization.safe_globals(numpy_globals()):
            found = torch.load(place, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{place}: not a torch file of plain numpy arrays, refused unread ({reason})"
        ) from None
    if not isinstance(found, dict) or not {"x", "t", "params"} <= set(found):
        raise InputError(f"{place}: want a dictionary with x, t and params")
    arrays = {name: np.asarray(found[name]) for name in ("x", "t", "params")}
    wrong = [name for name, value in arrays.items() if value.dtype.kind not in "fi"]
    if wrong:
        raise InputError(f"{place}: {wrong[0]} holds {arrays[wrong[0]].dtype}, not numbers")
    return arrays


def recognise(path: str | Path, x: np.ndarray) -> tuple[type[System], np.ndarray]:
    """The system that states of this shape are of, and the states as (N, L, C, ...).

    Raises:
        InputError: if no system has such a shape.
    """
    squeezed = x.reshape(*x.shape[:1], *(size for size in x.shape[1:] if size != 1))
    for kind in SYSTEMS:
        shape = (len(kind.components), *kind.grid)
        plain = squeezed if shape != (1,) else squeezed[..., None]
        if plain.ndim == 2 + len(shape) and plain.shape[2:] == shape:
            return kind, plain
    raise InputError(f"{path}: x of shape {x.shape} is of none of the systems")


def name_columns(
    kind: type[System], x: np.ndarray, t: np.ndarray, params: np.ndarray
) -> tuple[int, ...]:
    """Which column holds which parameter: the order with which the equations fit the data best.

    Files do not name their columns. Returns, for each parameter of the system, its column.
    """
    few = slice(0, 50)
    path, clock = HermitePath(), torch.from_numpy(t[few])
    nodes = path.nodes(torch.from_numpy(x[few]).double(), clock)
    count, lengths = nodes.shape[1] - 1, clock.diff(dim=1)
    half = torch.full((lengths.numel(),), 0.5, dtype=torch.float64)
    point = path(nodes[:, :-1].flatten(0, 1), nodes[:, 1:].flatten(0, 1), lengths.flatten(), half)
    middle = (clock[:, :-1] + 0.5 * lengths).flatten()
    state, rate = point.state, point.velocity
    if kind.order == 2:
        state, rate = torch.cat((state, rate), 1), torch.cat((rate, point.acceleration), 1)
    system = object.__new__(kind)  # the equations need no ranges
    misfits: dict[tuple[int, ...], float] = {}
    for columns in itertools.permutations(range(len(kind.parameters))):
        values: dict[str, Tensor] = {
            name: torch.from_numpy(params[few, column]).double().repeat_interleave(count)
            for name, column in zip(kind.parameters, columns, strict=True)
        }
        error = system.full(state, middle, values) - rate
        misfits[columns] = float(error.square().mean().nan_to_num(torch.inf))
    return min(misfits, key=lambda columns: misfits[columns])


def import_file(path: str | Path) -> xr.Dataset:
    """A published file as the dataset of a store.

    Raises:
        InputError: for a file that holds anything else than the trajectories of one system.
    """
    arrays = load_pt(path)
    kind, x = recognise(path, arrays["x"])
    count, frames = x.shape[:2]
    t = arrays["t"].astype(float).squeeze()
    t = np.broadcast_to(t, (count, frames)).copy() if t.ndim == 1 and len(t) == frames else t
    params = arrays["params"].astype(float).reshape(len(arrays["params"]), -1)
    if t.shape != (count, frames) or params.shape != (count, len(kind.parameters)):
        raise InputError(
            f"{path}: {kind.name} with x of {arrays['x'].shape} wants t of ({count}, {frames}) and "
            f"params of ({count}, {len(kind.parameters)}); they are {arrays['t'].shape} and "
            f"{arrays['params'].shape}"
        )
    check_finite(path, x, t)
    columns = name_columns(kind, x, t, params)
    facts = {"system": kind.name, "source": f"imported from {Path(path).name}"}
    return layout(kind, x.astype(np.float32), t, params[:, columns], facts)
