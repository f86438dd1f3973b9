"""What the gallery shows: systems trained for a minute each, and the weather demo as it lies there.

Whatever is finished in a folder is taken as it is; a training that was stopped goes on.

Shapes: ``L`` frames, ``K`` times.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path as Folder
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from gallery_figures import Curve, Ensemble, Paths, Weather
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from climate.conventions.wording import date
from climate.forecasts.reading import open_forecast
from climate.report.example import choose
from climate.report.maps import Ground
from climate.sample.write import NOTICE
from climate.store.layout import open_store
from physics_systems.data.simulate import simulate
from physics_systems.data.trajectories import write
from physics_systems.evaluation.gauge_choice import choose_gauge
from physics_systems.evaluation.rows import Row
from physics_systems.evaluation.scoring import about_run, score_field
from physics_systems.evaluation.sets import EvaluationSet, read_set
from physics_systems.systems.system import SimulatedSystem
from physics_systems.training import train
from vgbdm.fields.latent_field import LatentField
from vgbdm.loading import load
from vgbdm.paths.bridge import BridgePath
from vgbdm.paths.hermite import HermitePath
from vgbdm.paths.lagrange import LagrangePath
from vgbdm.paths.linear import LinearPath
from vgbdm.paths.path import Path
from vgbdm.randomness import keyed_generator
from vgbdm.registry.build import build
from vgbdm.resources import configs_folder
from vgbdm.training.records import training_of

log = logging.getLogger(__name__)

SYSTEMS = ("rlc", "pendulum", "reaction_diffusion", "lorenz")
SEED = 1
LAMBDAS = (0.0, 1e-3, 1e-2, 3e-2, 1e-1)
SWEPT = "rlc"
"""The system whose λ is varied; its network sees the whole state, so that λ alone holds it."""
GRID = {"share": 10, "members": 19}
"""A grid has a tenth of the trajectories of others, and fewer members: each costs a hundredfold."""
EVERY, DENSE, HORIZON = 6, 145, 1.2
"""Of the figure of paths: each how many-th time is a frame, how many there are, until when."""
BRIDGE = 1.0
"""σ of the bridge that is shown, in units of the frames."""


class Length(NamedTuple):
    """How much is done.

    Attributes:
        minutes: of training of each system, that one thread has computed.
        trajectories: of training; a tenth as many are validated on and a fifth tested.
        steps: of each training of the sweep of λ.
        members: of ensembles.
    """

    minutes: float
    trajectories: int
    steps: int
    members: int = 39


class Scored(NamedTuple):
    """A trained system on test trajectories whose parameters are drawn from its prior.

    Attributes:
        physics: of it.
        test: what it was scored on.
        row: its forecasts.
        window: frames that are given.
        numbers: for the caption.
    """

    physics: SimulatedSystem
    test: EvaluationSet
    row: Row
    window: int
    numbers: dict[str, Any]


def physics_of(name: str) -> SimulatedSystem:
    """A system as its config has it."""
    with initialize_config_dir(str(configs_folder()), version_base="1.3"):
        made: SimulatedSystem = build(compose("train_system", [f"system={name}"]).system)
    return made


def make_stores(name: str, length: Length, folder: Folder) -> dict[str, Folder]:
    """Trajectories of a system to train, validate and test on, those that are missing."""
    physics = physics_of(name)
    count = length.trajectories // (GRID["share"] if physics.grid else 1)
    stores = {split: folder / "data" / name / split for split in ("train", "val", "test")}
    counts = {"train": count, "val": max(count // 10, 2), "test": max(count // 5, 10)}
    for split, store in stores.items():
        if not store.exists():
            write(simulate(physics, counts[split], SEED, split=split, parameters="prior"), store)
    return stores


def trained(name: str, stores: dict[str, Folder], run: Folder, *options: str) -> Folder:
    """Train, as ``train-system`` with these options does; a run that is finished is left alone."""
    given = [f"system={name}", f"data.train={stores['train']}", f"data.val={stores['val']}"]
    given += [f"run_dir={run}", f"seed={SEED}", "backend=single", "resume=true", *options]
    with initialize_config_dir(str(configs_folder()), version_base="1.3"):
        cfg = compose("train_system", given)
    log.info("training %s", run)
    train(cfg)
    return run


def scored(name: str, length: Length, folder: Folder) -> Scored:
    """VGB-DM on a system, trained and scored."""
    stores = make_stores(name, length, folder)
    clock = (f"trainer.max_minutes={length.minutes}", "trainer.clock=cpu", "trainer.validations=3")
    run = trained(name, stores, folder / "runs" / name, *clock)
    field, physics = load(run, kind=LatentField), physics_of(name)
    test = read_set(stores["test"], physics, field.window + 1)
    members = min(length.members, GRID["members"]) if physics.grid else length.members
    row = score_field(field, test, members, SEED)
    told = {**row.numbers, **about_run(run)}
    kept = ("n", "forecast_mse", "forecast_mse_median", "forecast_coverage_90",
            "theta_coverage_90", "steps", "train_seconds",
            *(key for key in told if key.startswith("theta_error")))  # fmt: skip
    numbers = {key: told[key] for key in kept if key in told}
    numbers |= {"window": field.window, "members": members, "errors": _errors_of(row)}
    return Scored(physics, test, row, field.window, numbers)


def _errors_of(row: Row) -> list[float]:
    """MSE of the best, the median and the worst trajectory."""
    return [float(row.errors[place]) for place in row.shown]


def ensemble_of(made: Scored, kind: int = 1) -> Ensemble:
    """An example of a row as an ensemble: by default the one of median error."""
    kind = min(kind, len(made.row.shown) - 1)
    place, members = made.row.shown[kind], made.row.forecasts.members
    assert members is not None
    names, times = made.physics.components, made.test.data.t[place].numpy()
    return Ensemble(names, times, made.test.target[place].numpy(), members[:, kind].numpy())


def sweep(length: Length, folder: Folder) -> tuple[pd.DataFrame, float, float]:
    """λ varied, at equal steps: a line per λ, the λ that the rule chooses, and its tolerance."""
    stores, runs = make_stores(SWEPT, length, folder), folder / "runs" / "gauge"
    errors = []
    for value in LAMBDAS:
        options = (f"system.presets.gauge={value:g}", "system.presets.residual_inputs=state")
        steps = (f"trainer.total_steps={length.steps}", "trainer.validations=2")
        run = trained(SWEPT, stores, runs / f"{value:g}", *options, *steps)
        field = load(run, kind=LatentField)
        test = read_set(stores["test"], physics_of(SWEPT), field.window + 1)
        told = score_field(field, test, 1, SEED).numbers
        kept = {key: told[key] for key in told if key.startswith("theta_error_")}
        errors.append({"gauge": value, **kept, "theta_error": told["theta_error"]})
    tolerance = float(OmegaConf.load(configs_folder() / "choose_gauge.yaml").tolerance)
    chosen, table = choose_gauge(runs, tolerance)
    return table.merge(pd.DataFrame(errors), on="gauge"), chosen, tolerance


def paths_of(name: str = "lorenz", component: int = 1, shown: slice = slice(48, 121)) -> Paths:
    """Paths through a few frames of one trajectory, which are farther apart than in training.

    Args:
        name: of the system.
        component: that is shown.
        shown: of `DENSE` times of the trajectory.
    """
    physics = physics_of(name)
    physics.frames, physics.horizon = DENSE, HORIZON
    data = simulate(physics, 1, SEED)
    x, t = torch.from_numpy(data["x"].values).double(), torch.from_numpy(data["t"].values)
    parameters = {
        str(one): torch.from_numpy(data["params"].sel(param=one).values).expand(DENSE)
        for one in data["param"].values
    }
    rates = physics.full(x[0], t[0], parameters)
    truth = Curve(x[0, shown, component].numpy(), rates[shown, component].numpy())
    frames, times = x[:, ::EVERY], t[:, ::EVERY]
    kinds: dict[str, Path] = {"linear": LinearPath(), "lagrange3": LagrangePath(),
                              "hermite": HermitePath(), "bridge": BridgePath(BRIDGE)}  # fmt: skip
    curves = {key: _curve(path, frames, times, component, shown) for key, path in kinds.items()}
    inside = (times[0] >= t[0, shown][0]) & (times[0] <= t[0, shown][-1])
    return Paths(
        physics.components[component], t[0, shown].numpy(), truth, times[0, inside].numpy(),
        frames[0, inside, component].numpy(), curves,
    )  # fmt: skip


def _curve(
    path: Path, frames: torch.Tensor, times: torch.Tensor, component: int, shown: slice
) -> Curve:
    """A path at all `DENSE` times, of which some are shown."""
    nodes, places = path.nodes(frames, times)[0], torch.arange(DENSE)
    interval = (places // EVERY).clamp(max=frames.shape[1] - 2)
    s = (places - interval * EVERY).double() / EVERY
    noise = torch.randn(
        (DENSE, frames.shape[2]), generator=keyed_generator(SEED, "bridge"), dtype=torch.float64
    )
    gaps = times[0].diff()[interval]
    point = path(nodes[interval], nodes[interval + 1], gaps, s, noise if path.needs_noise else None)
    state, rate = point.state[shown, component], point.velocity[shown, component]
    return Curve(state.numpy(), rate.numpy(), path.needs_noise)


def rate_errors(found: Paths) -> dict[str, float]:
    """Root mean square error of each path's velocities ÷ that of the true ones."""
    unit = np.sqrt(np.mean(found.truth.rate**2))
    return {
        name: float(np.sqrt(np.mean((curve.rate - found.truth.rate) ** 2)) / unit)
        for name, curve in found.curves.items()
    }


WORDS = {"t2m": "temperature at 2 m", "u10": "eastward wind at 10 m"}


def weather_of(
    demo: Folder, wanted: Sequence[str] = ("t2m", "u10")
) -> tuple[Weather, dict[str, Any]]:
    """A variable of the middle forecast of a weather demo, a day ahead, and its numbers.

    Args:
        demo: folder with ``store``, ``run``, ``forecast`` and ``scores``.
        wanted: variables, of which the first that is there is shown.
    """
    store = open_store(demo / "store")
    forecast = open_forecast(demo / "forecast", store)
    place = len(forecast.starts) // 2
    chosen = choose(forecast, store, place)
    name = next((own for own in wanted if own in chosen.members), next(iter(chosen.members)))
    hours, mean = chosen.hours[chosen.lead], chosen.members[name].mean(0)
    ground = Ground(forecast.area, store.static.get("lsm"), units_of(demo)[name])
    shown = Weather(WORDS.get(name, name), hours, mean, chosen.truth[name], ground)
    numbers = {
        "variable": shown.name, "units": ground.units, "hours": hours,
        "start": date(store.times[int(forecast.starts[place])]), "starts": len(forecast.starts),
        "standin": store.provenance.get("comment") == NOTICE,
        "title": store.provenance.get("title", ""),
        "made_by": str(forecast.dataset.attrs.get("software", "")),
        "steps": training_of(demo / "run").steps, "rmse": rmse_of(demo, name, hours),
    }  # fmt: skip
    return shown, numbers


def units_of(demo: Folder) -> dict[str, str]:
    """By variable."""
    attrs = open_store(demo / "store").channel_attrs
    return {name: own["units"] for name, own in attrs.items()}


def scorecard_of(demo: Folder) -> pd.DataFrame:
    """Of a weather demo."""
    return pd.read_csv(demo / "scores" / "scorecard.csv")


def rmse_of(demo: Folder, variable: str, hours: int) -> dict[str, float]:
    """RMSE at a lead over all starts, by row."""
    table = scorecard_of(demo)
    own = table[(table["variable"] == variable) & (table["lead_hours"] == hours)]
    return dict(zip(own["row"], own["rmse_root_of_mean"].astype(float), strict=True))
