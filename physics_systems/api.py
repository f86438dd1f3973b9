"""Systems from Python: what `vgbdm.forecast`, `infer`, `fit` and `evaluate` do with runs on them.

Shapes: ``N`` trajectories, ``T`` frames of context, ``n`` of a forecast, ``C`` components, ``M``
members, ``P`` parameters, ``Z`` latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor, nn

from physics_systems.data.arrays import as_dataset
from physics_systems.data.trajectories import (
    Trajectories,
    load_trajectories,
    read_parameters,
    words,
)
from physics_systems.evaluation import scoring
from physics_systems.evaluation.protocol import Forecasts, forecast_ensemble, forecast_means
from physics_systems.systems.system import System
from vgbdm.errors import InputError
from vgbdm.fields.latent_field import LatentField
from vgbdm.inference.calibration import LEVEL, NORMAL_QUANTILE
from vgbdm.inference.refinement import posterior_of
from vgbdm.latents.latents import Latents
from vgbdm.loading import locate, placed
from vgbdm.storage.sealed import WHOLE_BYTES

ENSEMBLE, SCORED_MEMBERS = 16, 32
GRID = ("y_cell", "x_cell")


def handles(thing: object) -> bool:
    """Whether a model, known physics, or a forecast in memory is of a system."""
    if isinstance(thing, xr.Dataset):
        return {"trajectory", "time"} <= {*thing.dims}
    return isinstance(thing, LatentField | System)


def _system(field: nn.Module) -> System:
    return cast(System, field.physics)


def _observed(field: LatentField, x: Any, t: Any, at_least: int) -> Trajectories:
    """Trajectories of a caller, held to the model's system as those of files are."""
    return load_trajectories(as_dataset(x, t), _system(field), at_least)


def _window(data: Trajectories, count: int, start: Any = "latest") -> Trajectories:
    """The last ``count`` frames of each trajectory, up to a time where one is given."""
    if isinstance(start, str) and start == "latest":
        return Trajectories(data.x[:, -count:], data.t[:, -count:])
    if isinstance(start, bool) or not isinstance(start, int | float | np.number):
        raise InputError(f"start={start}: want latest, or a number in the unit of t")
    seen = (data.t <= float(start)).sum(1)
    if (seen < count).any():
        raise InputError(
            f"start={start}: trajectory {int(seen.argmin())} has {int(seen.min())} frames up to "
            f"then; the model's window needs {count}"
        )
    rows = torch.arange(len(data))[:, None]
    places = seen[:, None] + torch.arange(-count, 0)
    return Trajectories(data.x[rows, places], data.t[rows, places])


def _leads(leads: Any, interval: float, most: int) -> Tensor:
    """Times (n,) after the last frame; ``most`` are as many as memory takes."""
    whole = isinstance(leads, int | np.integer) and not isinstance(leads, bool)
    if (whole and leads > most) or (not whole and np.size(leads) > most):
        raise InputError(
            f"leads={leads if whole else np.size(leads)}: at most {most} frames at once of so many "
            "trajectories and members; forecast them in parts"
        )
    if whole:
        after = interval * torch.arange(1, max(int(leads), 0) + 1, dtype=torch.float64)
    else:
        try:
            after = torch.as_tensor(np.asarray(leads, float))
        except (TypeError, ValueError):
            after = torch.zeros(0, dtype=torch.float64)
    right = after.dim() == 1 and len(after) and after.isfinite().all()
    if not right or not after[0] > 0 or not (after.diff() > 0).all():
        raise InputError(
            f"leads={leads}: of a system want how many frames, or their times after the last one, "
            "increasing"
        )
    return after


def forecast(
    model: Any,
    states: Any,
    t: Any = None,
    *,
    start: Any = "latest",
    leads: Any,
    members: int | None = None,
    seed: int = 0,
    batch: int = 16,
    device: str = "cpu",
    precision: str = "fp32",
    boundary: Any = "self",
    forcing: Any = None,
    aside: Path | None = None,
) -> xr.Dataset:
    """See `vgbdm.api.forecast`; ``aside`` is not needed."""
    if forcing is not None:
        raise InputError("forcing: is of models of weather; a system's is part of its physics")
    if precision != "fp32":
        raise InputError(f"precision={precision}: models of systems forecast in fp32")
    if not (isinstance(boundary, str) and boundary == "self"):
        raise InputError("boundary: models of systems have none; leave it out")
    count = ENSEMBLE if members is None else members
    context = _window(_observed(model, states, t, model.window), model.window, start)
    after = _leads(leads, model.interval, WHOLE_BYTES // (context.x[:, 0].nbytes * (count + 1)))
    times = torch.cat((context.t, context.t[:, -1:] + after), 1)
    both = Trajectories(context.x.to(device), times.to(device))
    rows = max(1, batch // count)
    if count > 1:
        made = forecast_ensemble(model, both, count, seed, batch=rows)
    else:
        mean, theta = forecast_means(model, both, batch=rows)
        made = Forecasts(mean, theta, None, None)
    return _as_forecast(model, made, times[:, model.window :], seed)


def _as_forecast(field: LatentField, made: Forecasts, times: Tensor, seed: int) -> xr.Dataset:
    """Forecasts as a dataset."""
    system = _system(field)
    dims = ("trajectory", "time", "component", *GRID[: len(system.grid)])
    fields: dict[str, Any] = {
        "x": (dims, made.mean.cpu().numpy(), {"long_name": "forecast of posterior means"}),
        "t": (("trajectory", "time"), times.numpy()),
    }
    coords: dict[str, Any] = {"component": words(system.components)}
    if made.members is not None:
        drawn = {"long_name": "draws from the posterior"}
        fields["ensemble"] = (("realization", *dims), made.members.cpu().numpy(), drawn)
    if made.theta is not None:
        coords["parameter"] = words(field.parameter_names)
        fields["theta"] = (("trajectory", "parameter"), made.theta.cpu().numpy())
    if made.theta_draws is not None:
        axes = ("realization", "trajectory", "parameter")
        fields["theta_ensemble"] = (axes, made.theta_draws.cpu().numpy())
    about = {"system": system.name, "context_frames": field.window, "seed": seed}
    return xr.Dataset(fields, coords, {"title": f"forecasts of {system.name}", **about})


@torch.no_grad()
def infer(model: Any, x: Any, t: Any = None, *, device: str = "cpu") -> xr.Dataset:
    """See `vgbdm.api.infer`."""
    context = _window(_observed(model, x, t, model.window), model.window)
    posterior = posterior_of(model, context.x.to(device), context.t.to(device))
    zeta, theta = posterior.zeta, posterior.theta
    fields: dict[str, Any] = {
        "zeta": (("trajectory", "latent"), zeta.mean.cpu().numpy()),
        "zeta_std": (("trajectory", "latent"), zeta.log_std.exp().cpu().numpy()),
        "t": (("trajectory", "time"), context.t.numpy()),
    }
    coords: dict[str, Any] = {}
    if theta is not None:
        mean, width = theta.mean, theta.log_std.exp()
        coords["parameter"] = words(model.parameter_names)
        for name, sides in (("", 0.0), ("_low", -NORMAL_QUANTILE), ("_high", NORMAL_QUANTILE)):
            values = model.physical(Latents(zeta.mean, mean + sides * width))
            fields[f"theta{name}"] = (("trajectory", "parameter"), values.cpu().numpy())
    for values in (zeta.mean, zeta.mean if theta is None else theta.mean):
        if not values.isfinite().all():
            raise InputError(
                "x: nothing finite can be inferred; its values are far from those of the training"
            )
    about = {"system": _system(model).name, "level": LEVEL}
    return xr.Dataset(fields, coords, about)


def fit(
    physics: System,
    x: Any,
    t: Any = None,
    *,
    objective: str = "vgbdm",
    minutes: float | None = 2.0,
    run_dir: str | Path | None = None,
    seed: int = 0,
    options: Sequence[str] = (),
    plugins: Sequence[str] = (),
) -> Path:
    """See `vgbdm.api.fit`."""
    from physics_systems import fitting  # what trains is an extra

    if not isinstance(physics, System):
        raise InputError(f"physics: want a System, not {type(physics).__name__}")
    data = load_trajectories(as_dataset(x, t), physics, 2)
    return fitting.fit(physics, data, objective, minutes, run_dir, seed, options, plugins)


def evaluate(
    what: Any,
    truth: Any,
    *,
    baselines: Sequence[str] | None = None,
    members: int | None = None,
    seed: int = 0,
    leads: Any = None,
    device: str = "cpu",
    aside: Path | None = None,
    run: Path | None = None,
) -> pd.DataFrame:
    """See `vgbdm.api.evaluate`; all that follows the context is scored, on the CPU."""
    if not isinstance(what, LatentField):
        raise InputError(
            "evaluate: of a system want a run folder or a loaded model: its forecasts are scored "
            "as they are made"
        )
    if leads is not None:
        raise InputError(f"leads={leads}: of a system all that follows the context is scored")
    field, system = placed(what, "cpu"), _system(what)
    source = as_dataset(truth, None)
    data = load_trajectories(source, system, field.window + 1)
    known = read_parameters(source, system)
    count = SCORED_MEMBERS if members is None else members
    rows = [scoring.score_field(field, data, known, count, seed)]
    if run is not None:
        rows[0].numbers |= scoring.about_run(locate(run))
    mean = field.mean[: field.size].flatten()
    rows += scoring.sanity_rows(system, data, field, known, mean)
    table, _ = scoring.tabulate(rows)
    held = list(table["row"][1:])
    unknown = [name for name in baselines or held if name not in held]
    if unknown:
        raise InputError(f"baselines: no {unknown[0]}; there are {', '.join(held)}")
    kept = table["row"].isin(["model", *(held if baselines is None else baselines)])
    unsaid = [] if run is not None else list(scoring.OF_RUNS)
    return table[kept].drop(columns=unsaid).reset_index(drop=True)
