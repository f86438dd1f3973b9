"""One small thing of each kind that the project writes, and how it is read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from builders import convert_files, make_years, write_folder
from hydra import compose, initialize_config_dir
from runs import CONFIGS
from system_fields import SYSTEMS, dataset

from climate.conversion.monthly import open_monthly
from climate.forecasts.reading import open_forecast
from climate.forecasts.writing import write_forecast
from climate.models.weather_model import WeatherModel
from climate.store.layout import open_store
from climate.stream.views import open_for_model
from climate.training.run import train
from physics_systems.data.trajectories import load_trajectories, read_parameters, write
from vgbdm.loading import load

TRAINING = [
    "size=tiny", "batch=8", "trainer.total_steps=2", "trainer.validations=1", "backend=single",
    "validation.starts=2", "validation.lead=6h", "trainer.keep=1",
]  # fmt: skip
SIX = np.timedelta64(6 * 3600, "s")
Values = dict[str, np.ndarray]


@dataclass(frozen=True)
class Artefact:
    """Something that the project wrote.

    Attributes:
        kind: store, months, forecast, trajectories or run.
        path: of it.
        read: all that its readers believe, by name.
        expected: what that is.
    """

    kind: str
    path: Path
    read: Callable[[Path], Values]
    expected: Values

    @classmethod
    def of(cls, kind: str, path: Path, read: Callable[[Path], Values]) -> Artefact:
        """With what it holds now."""
        return cls(kind, path, read, read(path))

    def files(self) -> list[str]:
        """Its files, by their paths inside, in order."""
        return sorted(str(p.relative_to(self.path)) for p in self.path.rglob("*") if p.is_file())


def link(source: Path, target: Path) -> Path:
    """A copy whose files are the same ones: replace a file, never write into it."""
    shutil.copytree(source, target, copy_function=os.link, symlinks=True)
    return target


def read_store(path: Path) -> Values:
    """Every number of a training store or of monthly means."""
    store = open_store(path)
    values = {name: np.asarray(getattr(store, name)) for name in ("lat", "lon", "times")}
    values |= {f"static {name}": field for name, field in store.static.items()}
    for name in ("mean", "std", "min", "max", "tendency_std", "mean_map"):
        values[name] = np.asarray(getattr(store.statistics, name))
    values["state"] = store.read(0, len(store.times)).copy()
    values["climatology"] = store.climatology.at(store.times[:: max(1, len(store.times) // 12)])
    facts = [store.channels, store.step, store.splits, store.channel_attrs]
    return values | {"facts": np.array([repr(facts)])}


def read_forecast(path: Path, store: Path) -> Values:
    """What is scored of a forecast."""
    forecast = open_forecast(path, open_store(store))
    everything = slice(0, len(forecast.starts)), slice(0, forecast.leads)
    values = {name: forecast.read(*everything, name) for name in ("z", "u10", "v10")}
    return values | {"starts": forecast.starts, "hours": np.array(forecast.hours)}


def read_trajectories(path: Path) -> Values:
    """Observations and parameters."""
    data = load_trajectories(path, SYSTEMS["lorenz"], 20)
    parameters = read_parameters(path, SYSTEMS["lorenz"]) or {}
    values = {"x": data.x.numpy(), "t": data.t.numpy()}
    return values | {f"parameter {name}": p.numpy() for name, p in parameters.items()}


def read_run(path: Path) -> Values:
    """Weights and buffers of a run's last model."""
    state = load(path, "last").state_dict()
    return {name: tensor.numpy() for name, tensor in state.items()}


def train_small(store: Path, run: Path) -> None:
    """Two steps of a tiny model."""
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        train(compose("train_era5", [f"store={store}", f"run_dir={run}", *TRAINING]))


def make(folder: Path) -> dict[str, Artefact]:
    """One of each kind, by kind."""
    store, run, forecast = folder / "store", folder / "run", folder / "forecast"
    convert_files(write_folder(folder / "files"), store)
    years = make_years(folder / "years")
    open_monthly(years)
    train_small(store, run)
    model = load(run, "last", kind=WeatherModel)
    write_forecast(model, open_for_model(store, model), forecast, lead=4 * SIX)
    write(dataset("lorenz", 6), folder / "lorenz")
    readers: dict[str, tuple[Path, Callable[[Path], Values]]] = {
        "store": (store, read_store),
        "months": (years.path / "monthly", read_store),
        "forecast": (forecast, partial(read_forecast, store=store)),
        "trajectories": (folder / "lorenz", read_trajectories),
        "run": (run, read_run),
    }
    return {kind: Artefact.of(kind, path, reader) for kind, (path, reader) in readers.items()}
