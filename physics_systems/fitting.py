"""Known physics and trajectories in memory → a run folder: what ``train-system`` does, from Python.

Shapes: ``N`` trajectories, ``L`` frames, ``C`` components, ``...`` axes of a grid.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from physics_systems.data.trajectories import Trajectories, observations, write
from physics_systems.systems.system import System
from physics_systems.training import fingerprint, run_dir_of, train
from vgbdm import plugins
from vgbdm.errors import InputError
from vgbdm.resources import configs_folder
from vgbdm.training.run_folder import DATA, check_run_dir

HELD_OUT = 10
"""One in so many trajectories is held out, at least one."""


def fit(
    physics: System,
    data: Trajectories,
    objective: str,
    minutes: float | None,
    run_dir: str | Path | None,
    seed: int,
    options: Sequence[str],
) -> Path:
    """Train on trajectories, some of them held out, and return the run folder.

    Args:
        physics: known, and its presets.
        data: of it.
        objective: name of a config.
        minutes: of training; None: as many steps as the options say.
        run_dir: to make; None: a new one below ``outputs``.
        seed: of weights, of the order of samples and of what is held out.
        options: of ``train-system``.

    Raises:
        InputError: one line, for what cannot be trained on or could not be loaded again.
    """
    if len(data) < 2:
        raise InputError(
            "x: holds 1 trajectory; want at least 2, one of which is held out: cut it into pieces "
            "(trajectory, time, component)"
        )
    if minutes is not None and not 0 < minutes < np.inf:
        raise InputError(f"minutes={minutes}: want a positive number, or None")
    system = system_config(physics)
    told = [f"objective={objective}", f"seed={seed}", "backend=single", *options]
    if minutes is not None:
        told.append(f"trainer.max_minutes={minutes}")
    cfg = _compose("train_system", told)
    cfg.system = OmegaConf.create(system)
    cfg.data.train = cfg.data.val = fingerprint(data.x, data.t)
    folder = run_dir_of(cfg) if run_dir is None else Path(run_dir)
    check_run_dir(folder, resume=False)
    shutil.rmtree(folder / DATA, ignore_errors=True)  # of a start that ended before its first step
    for name, rows in _split(len(data), seed).items():
        place = folder / DATA / name
        write(observations(physics, data.x[rows].numpy(), data.t[rows].numpy()), place)
        cfg.data[name] = str(place)
    cfg.run_dir = str(folder)
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            train(cfg)
    finally:
        torch.set_num_threads(threads)
    return folder


def _split(count: int, seed: int) -> dict[str, np.ndarray]:
    """Which trajectories are trained on and which are held out, each increasing."""
    order = np.random.default_rng(seed).permutation(count)
    held_out = max(1, count // HELD_OUT)
    return {"train": np.sort(order[held_out:]), "val": np.sort(order[:held_out])}


def system_config(physics: System) -> dict[str, Any]:
    """The config that builds a system again, anywhere.

    Raises:
        InputError: for a class that nobody else could import.
    """
    kind = type(physics)
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
        raise InputError(
            f"physics: {kind.__name__} is defined in "
            f"{'a function' if '<locals>' in kind.__qualname__ else 'the script itself'}, and "
            "nobody could load the run; put it into a module of its own and import it from there"
        )
    if not plugins.allows(kind.__module__):  # whoever made the object trusts its class
        plugins.use([kind.__module__])
    held = dataclasses.asdict(physics)
    plain: Any = {name: value for name, value in held.items() if value is not None}
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **_plain(plain)}


def _plain(value: Any) -> Any:
    """What a config can hold: numbers of numpy as Python's, tuples and arrays as lists."""
    if isinstance(value, dict):
        return {str(key): _plain(held) for key, held in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(held) for held in value]
    return value.item() if isinstance(value, np.generic) else value


def _compose(name: str, overrides: Sequence[str]) -> DictConfig:
    """A config of ours; whatever the caller does with Hydra is left as it is."""
    with _hydra_of_its_own(), initialize_config_dir(str(configs_folder()), version_base="1.3"):
        try:
            cfg = compose(name, list(overrides))
            OmegaConf.set_struct(cfg, False)
            return cfg
        except (HydraException, OmegaConfBaseException) as error:
            line = str(error).strip().splitlines()[0]
            raise InputError(f"options {list(overrides)}: {line}") from None


@contextlib.contextmanager
def _hydra_of_its_own() -> Iterator[None]:
    hydra = GlobalHydra.instance()
    before, hydra.hydra = hydra.hydra, None
    try:
        yield
    finally:
        hydra.hydra = before
