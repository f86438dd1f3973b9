"""Known physics and trajectories in memory → a run folder: what ``train-system`` does, from Python.

Shapes: ``N`` trajectories, ``L`` frames, ``C`` components, ``...`` axes of a grid.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from physics_systems.data.trajectories import Trajectories, observations, write
from physics_systems.systems.presets import Presets
from physics_systems.systems.system import System
from physics_systems.training import fingerprint, run_dir_of, train
from vgbdm import plugins
from vgbdm.errors import InputError
from vgbdm.options.check import check
from vgbdm.registry.search_path import searching, with_plugins
from vgbdm.resources import configs_folder
from vgbdm.training.run_folder import DATA, check_run_dir

ARGUMENTS = ("objective", "seed", "run_dir", "resume", "plugins", "system", "backend", "data",
             "data.train", "data.val")  # fmt: skip
"""What `fit` has arguments for, or decides itself."""
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
    named: Sequence[str],
) -> Path:
    """Train on trajectories, some of them held out, and return the run folder.

    Args:
        physics: known, and its presets.
        data: of it.
        objective: name of a config.
        minutes: of optimiser steps; None: as many steps as the options say.
        run_dir: to make; None: a new one below ``outputs``.
        seed: of weights, of the order of samples and of what is held out.
        options: of ``train-system``.
        named: plugins, whose configs and classes may be used.

    Raises:
        InputError: one line, for what cannot be trained on or could not be loaded again.
    """
    if len(data) < 2:
        raise InputError(
            "x: holds 1 trajectory; want at least 2, one of which is held out: cut it into pieces "
            "(trajectory, time, component)"
        )
    cfg = config_of(physics, data, objective, minutes, seed, options, named)
    if run_dir is not None and "${" in str(run_dir):
        raise InputError(f"run_dir={run_dir}: want a folder without ${{")
    folder = run_dir_of(cfg) if run_dir is None else Path(run_dir)
    cfg.run_dir = str(folder)
    check("train_system", cfg)
    check_known(physics, data)
    check_run_dir(folder, resume=False)
    shutil.rmtree(folder / DATA, ignore_errors=True)  # of a start that ended before its first step
    for name, rows in _split(len(data), seed).items():
        place = folder / DATA / name
        part = Trajectories(data.x[rows], data.t[rows], data.noise)
        write(observations(physics, part), place)
        cfg.data[name] = str(place)
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            train(cfg)
    finally:
        torch.set_num_threads(threads)
    return folder


def config_of(
    physics: System,
    data: Trajectories,
    objective: str,
    minutes: float | None,
    seed: int,
    options: Sequence[str],
    named: Sequence[str],
) -> DictConfig:
    """The config of ``train-system``, for this system and these data; see `fit`."""
    refused = [option for option in options if option.partition("=")[0].lstrip("+~") in ARGUMENTS]
    if refused:
        raise InputError(f"options: {refused[0]}: is not for options; see the arguments of fit")
    plugins.use(named)
    groups = {place.name for place in configs_folder().iterdir() if place.is_dir()}
    own, name = system_config(physics), config_name_of(physics)
    given = [f"objective={objective}", f"seed={seed}", "backend=single"]
    given += [f"plugins=[{','.join(named)}]"] if named else []
    for option in options:  # what is no option is found by the check, which names the nearest
        plain = "=" in option and option[0] not in "+~" and option.partition("=")[0] not in groups
        given.append(f"++{option}" if plain else option)
    given += [f"system={name}"] if name else []
    if minutes is not None:
        given.append(f"trainer.max_minutes={minutes}")
    cfg = _compose("train_system", given)
    keys = [option.partition("=")[0].lstrip("+") for option in options]
    changed = {key: OmegaConf.select(cfg, key) for key in keys if key.startswith("system.")}
    presets = cfg.system.presets if name else presets_of(physics)
    cfg.system = OmegaConf.merge({"presets": presets}, own)
    for key, value in changed.items():
        OmegaConf.update(cfg, key, value, force_add=True)
    cfg.data.train = cfg.data.val = fingerprint(data.x, data.t)
    return cfg


def check_known(physics: System, data: Trajectories) -> None:
    """Ask the known dynamics once, at the first frames.

    Raises:
        InputError: for what raises, has another shape than the frames, or is not finite.
    """
    kind, frames, t = type(physics).__name__, data.x[:2, 0], data.t[:2, 0]
    count = len(frames)
    state = torch.cat((frames, torch.zeros_like(frames)), 1) if physics.order == 2 else frames
    theta = {name: torch.full((count,), float(pair[0])) for name, pair in physics.prior.items()}
    try:
        rate = physics.known(state, t, theta)
    except Exception as error:  # somebody else's code
        line = (str(error).splitlines() or [""])[0]
        raise InputError(f"physics: {kind}.known raised {type(error).__name__}: {line}") from None
    if not isinstance(rate, torch.Tensor) or rate.shape != frames.shape:
        got = tuple(rate.shape) if isinstance(rate, torch.Tensor) else type(rate).__name__
        raise InputError(f"physics: {kind}.known gave {got}; want rates {tuple(frames.shape)}")
    if not rate.isfinite().all():
        raise InputError(f"physics: {kind}.known is not finite at the first frames")


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
    lacking = [n for n in ("name", "components", "parameters", "positive") if not hasattr(kind, n)]
    if lacking:
        raise InputError(f"physics: {kind.__name__} has no {lacking[0]}; see System")
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
        raise InputError(
            f"physics: {kind.__name__} is defined in "
            f"{'a function' if '<locals>' in kind.__qualname__ else 'the script itself'}, and "
            "nobody could load the run; put it into a module of its own and import it from there"
        )
    if not plugins.allows(kind.__module__):  # whoever made the object trusts its class
        plugins.use([kind.__module__])
    fields = {f.name: getattr(physics, f.name) for f in dataclasses.fields(physics)}
    if isinstance(fields["presets"], Presets):
        raise InputError(
            "physics: its presets are objects already; leave presets out, and give what differs as "
            "options=['system.presets.window=20']"
        )
    held = {name: _plain(value) for name, value in fields.items() if value is not None}
    return {"_target_": target_of(physics), **held}


def target_of(physics: System) -> str:
    """The dotted name of a system's class."""
    return f"{type(physics).__module__}.{type(physics).__qualname__}"


def config_name_of(physics: System) -> str | None:
    """The name of the config, ours or a plugin's, that builds this class; None: there is none."""
    folders = (configs_folder(), *plugins.config_folders())
    for file in (file for folder in folders for file in sorted(folder.glob("system/*.yaml"))):
        if cast(DictConfig, OmegaConf.load(file)).get("_target_") == target_of(physics):
            return file.stem
    return None


def presets_of(physics: System) -> DictConfig:
    """The presets that go with states like those of a system: with a grid, or without."""
    name = "grid" if physics.grid else "vector"
    return cast(DictConfig, OmegaConf.load(configs_folder() / f"system/presets/{name}.yaml"))


def _plain(value: Any) -> Any:
    """What a config can hold: numbers of numpy as Python's, tuples and arrays as lists."""
    if isinstance(value, dict):
        return {str(key): _plain(held) for key, held in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(held) for held in value]
    return value.item() if isinstance(value, np.generic) else value


def _compose(name: str, overrides: Sequence[str]) -> DictConfig:
    """A config, in which plugins' ones are found; the caller's use of Hydra is left as it is."""
    told, folders = with_plugins(overrides, configs_folder())
    with _hydra_of_its_own(), searching(folders):
        try:
            cfg = compose(name, told)
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
