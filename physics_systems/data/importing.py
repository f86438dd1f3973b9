"""Trajectories from the published benchmark's ``.pt`` files, read without executing anything.

Shapes: ``N`` trajectories, ``L`` frames, ``C`` components, ``P`` parameters.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from physics_systems.data.trajectories import check_finite, layout
from physics_systems.systems.system import SimulatedSystem, System
from vgbdm.errors import InputError
from vgbdm.paths.hermite import HermitePath
from vgbdm.paths.noise import estimate_noise

log = logging.getLogger(__name__)

MISFIT = 0.1
"""Relative, of the rates: above it data are not taken for a system's. What `simulate` makes of the
four systems has at most 0.0025 (Lorenz); a van der Pol oscillator taken for a circuit has 0.96."""


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
    if place.is_dir():
        raise InputError(f"{place}: is a folder; give the .pt file itself")
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


def as_frames(kind: type[System], x: np.ndarray) -> np.ndarray | None:
    """The states as (N, L, C, ...) where they have a system's shape; axes of one are left out."""
    squeezed = x.reshape(*x.shape[:1], *(size for size in x.shape[1:] if size != 1))
    shape = (len(kind.components), *kind.grid)
    plain = squeezed if shape != (1,) else squeezed[..., None]
    return plain if plain.ndim == 2 + len(shape) and plain.shape[2:] == shape else None


def name_columns(
    kind: type[SimulatedSystem], x: np.ndarray, t: np.ndarray, params: np.ndarray
) -> tuple[tuple[int, ...], float]:
    """Which column holds which parameter: the order with which the equations fit the data best.

    Files do not name their columns.

    Args:
        kind: the system.
        x: (N, L, C, ...).
        t: (N, L).
        params: (N, P).

    Returns:
        For each parameter of the system, its column; and the misfit that is left: rms of what the
        equations and the slopes of the data differ by, over that of the slopes.
    """
    few = slice(0, 50)
    frames, clock = torch.from_numpy(x[few]).double(), torch.from_numpy(t[few])
    noise = estimate_noise(frames, clock)
    path = HermitePath().fitted(frames, clock, noise, order=kind.order)
    nodes = path.nodes(frames, clock)
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
        square = (system.full(state, middle, values) - rate).square().mean()
        misfit = (square / rate.square().mean()).sqrt()
        misfits[columns] = float(misfit.nan_to_num(torch.inf, torch.inf))
    best = min(misfits, key=lambda columns: misfits[columns])
    return best, misfits[best]


def recognise(
    path: str | Path,
    arrays: Mapping[str, np.ndarray],
    params: np.ndarray,
    kinds: Sequence[type[System]],
) -> type[System]:
    """The system whose shape, parameters and equations those of a file are.

    Args:
        path: of the file, for errors.
        arrays: its x and t.
        params: (N, P).
        kinds: systems that come into question.

    Raises:
        InputError: if there is none.
    """
    named = "; say which with system=NAME, where NAME is a file of configs/system"
    shaped = [kind for kind in kinds if as_frames(kind, arrays["x"]) is not None]
    if not shaped:
        raise InputError(f"{path}: x of shape {arrays['x'].shape} is of none of the systems{named}")
    counted = [kind for kind in shaped if params.shape[1] == len(kind.parameters)]
    if not counted:
        wanted = ", ".join(f"{kind.name} {len(kind.parameters)}" for kind in shaped)
        raise InputError(
            f"{path}: params of {arrays['params'].shape} are of none of the systems with x of "
            f"{arrays['x'].shape} ({wanted}){named}"
        )
    misfits: dict[type[System], float] = {}
    for kind in counted:
        if issubclass(kind, SimulatedSystem):
            x = as_frames(kind, arrays["x"])
            assert x is not None
            misfits[kind] = name_columns(kind, x, times_of(path, arrays["t"], x), params)[1]
    best = min(misfits, key=lambda kind: misfits[kind], default=None)
    if best is None or misfits[best] > MISFIT:
        told = ", ".join(f"{kind.name} {value:.2g}" for kind, value in misfits.items())
        raise InputError(
            f"{path}: fits the equations of no system of its shape (relative misfit of the rates: "
            f"{told or 'none can be computed'}; at most {MISFIT:g}){named}"
        )
    return best


def times_of(path: str | Path, t: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Times (N, L) of states (N, L, ...): one clock for each trajectory, or one for all.

    Raises:
        InputError: if their number is another, or a value is not finite or not after the last.
    """
    count, frames = x.shape[:2]
    times = t.astype(float).squeeze()
    if times.ndim == 1 and len(times) == frames:
        times = np.broadcast_to(times, (count, frames)).copy()
    if times.size == count * frames:
        times = times.reshape(count, frames)
    if times.shape != (count, frames):
        raise InputError(f"{path}: x of {x.shape} wants t of ({count}, {frames}); it is {t.shape}")
    check_finite(path, x, times)
    return times


def import_file(
    path: str | Path, kinds: Sequence[type[System]], given: type[System] | None = None
) -> xr.Dataset:
    """A published file as the dataset of a store.

    Args:
        path: of the file.
        kinds: systems that it may be of; the one whose equations fit is taken.
        given: the system that it is of, if that is known: nothing is recognised then. Columns of
            parameters are put in the order in which the equations fit best; where the whole
            dynamics are not known, they are in the order of the system's parameters.

    Raises:
        InputError: for a file that holds anything else than the trajectories of one system.
    """
    arrays = load_pt(path)
    params = arrays["params"].astype(float).reshape(len(arrays["params"]), -1)
    kind = given or recognise(path, arrays, params, kinds)
    x = as_frames(kind, arrays["x"])
    if x is None:
        shape = (len(kind.components), *kind.grid)
        raise InputError(
            f"{path}: x of {arrays['x'].shape}; {kind.name} wants (trajectory, time, "
            f"{', '.join(map(str, shape))})"
        )
    t = times_of(path, arrays["t"], x)
    if params.shape != (len(x), len(kind.parameters)):
        raise InputError(
            f"{path}: {kind.name} with x of {arrays['x'].shape} wants params of ({len(x)}, "
            f"{len(kind.parameters)}); they are {arrays['params'].shape}"
        )
    if issubclass(kind, SimulatedSystem):
        columns, misfit = name_columns(kind, x, t, params)
        if misfit > MISFIT:
            log.warning("%s: the equations of %s fit badly (%.2g)", path, kind.name, misfit)
        params = params[:, columns]
    facts = {"system": kind.name, "source": f"imported from {Path(path).name}"}
    return layout(kind, x.astype(np.float32), t, params, facts)
