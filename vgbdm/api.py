"""What there is to call from Python: runs forecast, infer, are fitted and scored.

numpy and xarray go in, xarray comes out. What is wrong with an input is one line that says what is
wanted (`vgbdm.errors.InputError`). Each domain has a back end of its own, a module that is found
through the entry points ``vgbdm.domains``.

Shapes: ``N`` trajectories, ``L`` frames, ``T`` frames of a model's window, ``C`` components, ``P``
parameters.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

from vgbdm.errors import InputError
from vgbdm.loading import device_of, load, placed, run_folder
from vgbdm.options.arguments import hold
from vgbdm.options.kinds import Count, Names, Positive, Precision, Seed, Text
from vgbdm.plugins import DOMAINS, registered
from vgbdm.training.checkpoint import STATE, has_any
from vgbdm.training.run_folder import DERIVED

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

KINDS: Mapping[str, Any] = {
    "members": Count | None, "seed": Seed, "batch": Count, "precision": Precision,
    "minutes": Positive | None, "objective": Text, "options": list[Text],
    "plugins": list[Text], "baselines": Names | None,
}  # fmt: skip
"""Of arguments, as options of commands have them."""
Run = str | Path | nn.Module
"""A run folder or one of its checkpoints, or the model that `vgbdm.load` made of it, which stays
where and as it is."""


class Domain(Protocol):
    """What a module registered in ``vgbdm.domains`` offers; arguments are those of this module."""

    def handles(self, thing: object) -> bool:
        """Whether a model, known physics, or a forecast in memory is of this domain."""

    def forecast(self, model: nn.Module, states: Any, t: Any, **options: Any) -> xr.Dataset:
        """See `forecast`."""

    def infer(self, model: nn.Module, x: Any, t: Any, **options: Any) -> xr.Dataset:
        """See `infer`."""

    def evaluate(self, what: Any, truth: Any, **options: Any) -> pd.DataFrame:
        """See `evaluate`."""

    def fit(self, physics: Any, x: Any, t: Any, **options: Any) -> Path:
        """See `fit`; not asked of a domain that handles no physics."""


def forecast(
    run: Run,
    states: Any,
    start: Any = "latest",
    leads: Any = None,
    members: int | None = None,
    *,
    t: Any = None,
    seed: int = 0,
    batch: int = 16,
    device: str | None = None,
    precision: str = "fp32",
    boundary: Any = "self",
    forcing: Any = None,
) -> xr.Dataset:
    """Forecast from states; whether or not the truth is known does not matter.

    Weather: ``states`` are the path of a training store, or a Dataset with a variable of each
    channel (``z500``, or ``z`` with a level of 500 hPa), or one array with the channels' names
    along ``channel``. Units are converted, dimensions may come in any order, latitudes from either
    pole; the grid is the model's or, of a regional model, one that holds it. Each start needs the
    model's history before it. A model with forcing channels (``roles.forcing``) is given them at
    the valid times: from the states where these go on after the start, or from ``forcing``; the
    answer does not hold them. The answer follows the CF conventions as the files of
    ``forecast-era5`` do, NaN where a channel is masked: (time, [realization,] lead_time, lat, lon).

    Systems: ``states`` are the path of a store of trajectories, or x (N, L, C, …) with ``t``. The
    last T frames up to the start are the context. The answer has ``x`` (trajectory, time,
    component, …), the forecast of posterior means, and ``ensemble``, drawn from the posterior.

    Args:
        run: a run folder, or a model that was loaded.
        states: to start from.
        start: ``latest``, or times: of weather one or many dates; of systems one number, in the
            unit of ``t``, up to which frames are taken.
        leads: of weather the longest, such as ``10d``, ``6mo`` or a timedelta, by default seven
            steps of the model; of systems how many frames, each the model's interval after the
            last, or their times after the last.
        members: of an ensemble; 1: one forecast without draws; None: 16 of a model that has
            latents, 1 of any other. Of weather an even number from 4 on comes in pairs of opposite
            draws (the attribute ``members_in_pairs``).
        t: of systems: times (L,) or (N, L) of x, where its own coordinates do not tell them.
        seed: of the draws.
        batch: forecasts at a time, starts times members; bounds memory.
        device: None: a GPU where there is one.
        precision: ``bf16``: the networks under autocast (weather).
        boundary: of a regional model of weather, what the halo around its box is taken from at each
            step: the path of a training store (then it is a hindcast) or of a forecast, or a
            forecast in memory, whose grid holds the halo; ``self``: it evolves by itself.
        forcing: what a model of weather is given ahead: the path of a training store or of a
            forecast, or as ``states`` a Dataset, of its forcing channels at the valid times.

    Raises:
        InputError: one line, for a run or states that cannot be used together.
    """
    device = _computing_device(device)
    options = hold(KINDS, members=members, seed=seed, batch=batch, precision=precision)
    model = _model(run, device)
    options |= {"start": start, "leads": leads, "device": device, "aside": _aside(run)}
    options |= {} if forcing is None else {"forcing": forcing}
    options["boundary"] = boundary
    return _domain_of(model, "run").forecast(model, states, t, **options)


def infer(run: Run, x: Any, t: Any = None, *, device: str | None = None) -> xr.Dataset:
    """Parameters θ and latents ζ of windows, as scores use them.

    The encoder's answer is refined on the window itself, and the width of θ is that of Laplace's
    approximation times a factor from held-out data (`vgbdm.inference`): what `evaluate` scores and
    `forecast` starts from. The encoder alone, ``model.infer``, is coarser by far.

    Args:
        run: a run folder, or a model that was loaded.
        x: (N, L, C, …) array, DataArray, Dataset of ``x`` with ``t`` or a coordinate ``time``, or
            path of a store of trajectories; the last T frames are read.
        t: times (L,) or (N, L), where x does not tell them.
        device: None: a GPU where there is one.

    Returns:
        ``theta``, ``theta_low`` and ``theta_high`` (trajectory, parameter): the mean and the ends
        of the central 90 %, in the unit that the physics has; ``zeta`` and ``zeta_std``
        (trajectory, latent), in the unit of their prior. Of a black box no ``theta``.

    Raises:
        InputError: one line, for a model of weather, or data that do not fit the model.
    """
    device = _computing_device(device)
    model = _model(run, device)
    return _domain_of(model, "run").infer(model, x, t, device=device)


def fit(
    physics: Any,
    x: Any,
    t: Any = None,
    objective: str = "vgbdm",
    minutes: float = 2.0,
    run_dir: str | Path | None = None,
    *,
    seed: int = 0,
    options: Sequence[str] = (),
    plugins: Sequence[str] = (),
) -> Path:
    """Fit known physics and a network to trajectories, as ``train-system`` does.

    A tenth of the trajectories, at least one, is held out to choose the checkpoint by. The data are
    kept as stores in the run folder, ``RUN/data``, for the same command line to train on.

    Args:
        physics: a `System`. A class of a package or module of one's own needs
            ``vgbdm.load(RUN, plugins=[…])`` to be loaded again in another process; one that is
            defined in a script or notebook itself is refused, for nobody could load the run.
        x: (N, L, C, …) array, DataArray, Dataset of ``x`` with ``t`` or a coordinate ``time``, or
            path of a store of trajectories; N ≥ 2.
        t: times (L,) or (N, L), where x does not tell them; in the unit of the physics.
        objective: ``vgbdm``, ``blackbox``, ``node``, ``physvae``, ``aphynity``, or one of a plugin.
        minutes: of training; the number of steps is fixed after the first ones are timed.
        run_dir: to make; None: a new one below ``outputs``.
        seed: of weights, of the order of samples and of what is held out.
        options: of ``train-system``, as on its command line: ``["batch=32"]``.
        plugins: packages of others, whose configs and classes may be used.

    Returns:
        The run folder, to be given to `load`, `forecast`, `infer` and `evaluate`.

    Raises:
        InputError: one line, for data or options that cannot be trained on.
    """
    if isinstance(physics, type):
        name = physics.__name__
        raise InputError(f"physics: {name} is a class; give an object of it: {name}(prior=…)")
    if not isinstance(run_dir, str | Path | None):
        raise InputError(f"run_dir={run_dir}: want the path of a folder to make, or None")
    given = hold(
        KINDS, objective=objective, minutes=minutes, seed=seed, options=options, plugins=plugins
    )
    return _domain_of(physics, "physics").fit(physics, x, t, **given, run_dir=run_dir)


def evaluate(
    forecast: Any,
    truth: Any,
    baselines: Sequence[str] | None = None,
    *,
    leads: Any = None,
    members: int | None = None,
    seed: int = 0,
    device: str | None = None,
) -> pd.DataFrame:
    """Scores beside rows that any model must beat.

    Args:
        forecast: the path of a forecast, or one in memory; or a run, or a loaded model: of weather
            forecasts are made from every start of the test period, of systems from all of truth.
        truth: the path of a training store, of weather; of systems the path of a store of
            trajectories, or a Dataset of ``x``, ``t`` and, where they are known, ``params``.
        baselines: names of rows, such as ``["persistence"]``; None: all that can be made.
        leads: longest one, of a run on weather.
        members: of a run's ensemble; None: as many as there are by default; 1 has no spread to
            score.
        seed: of draws and of the bootstrap.
        device: of a run on weather; None: a GPU where there is one. Systems are scored on the CPU.

    Returns:
        A line of each row, of weather of each (row, variable, lead), with the columns of
        ``scorecard.csv`` or ``scores.csv``, NaN for what cannot be known. A loaded model has no
        columns of its training (``objective``, ``variant``, ``seed``, ``steps``,
        ``train_seconds``, ``best_step``), which its run folder tells.

    Raises:
        InputError: one line, for what cannot be scored against this truth.
    """
    baselines = [baselines] if isinstance(baselines, str) else baselines
    options = hold(KINDS, baselines=baselines, members=members, seed=seed)
    aside, what = None, forecast
    if isinstance(forecast, str | Path) and not _is_run(Path(forecast)):
        if not Path(forecast).exists():
            raise InputError(f"{forecast}: is not there; want a run folder or a forecast")
        domain = _domain_of(_opened(Path(forecast)), "forecast")
    else:
        model = isinstance(forecast, str | Path | nn.Module)
        aside = _aside(forecast) if model else None
        device = _computing_device(device)
        what = _model(forecast, device) if model else what
        options |= {"leads": leads, "device": device} if model else {}
        options["run"] = Path(forecast) if isinstance(forecast, str | Path) else None
        domain = _domain_of(what, "run" if model else "forecast")
    if "leads" not in options:
        _refuse_of_a_run(leads=leads, members=members)
    return domain.evaluate(what, truth, **options, aside=aside)


def _refuse_of_a_run(**given: Any) -> None:
    """Refuse what says how a run is to forecast, where the forecast is made already."""
    for name, value in given.items():
        if value is not None:
            raise InputError(f"{name}={value}: is of a run; select from the forecast instead")


def _computing_device(name: str | None) -> str:
    """A device that is there and holds numbers; by default a GPU, where there is one."""
    device = device_of(name)
    if device.type == "meta":
        raise InputError("device=meta: holds no numbers; give one that does, such as cpu")
    return str(device)


def _is_run(path: Path) -> bool:
    return (path / STATE).exists() or has_any(path)


def _model(run: Run, device: str) -> nn.Module:
    """A loaded model, on a device; a caller's own stays where and as it is."""
    if isinstance(run, nn.Module):
        return placed(run, device)
    if not isinstance(run, str | Path):
        raise InputError(f"run: want a run folder or a loaded model, not {type(run).__name__}")
    if not Path(run).exists():
        raise InputError(f"{run}: is not there; give the folder of a run")
    return load(run, device=device)


def _aside(run: Any) -> Path | None:
    """Where a run keeps what is made from read-only data."""
    return run_folder(run) / DERIVED if isinstance(run, str | Path) else None


def _opened(path: Path) -> Any:
    """A forecast on disk as a lazy dataset, to tell whose it is."""
    from vgbdm.storage.datasets import open_group, open_netcdf

    remedy = "want a run folder or a forecast"
    if path.is_dir():
        return open_group(path, "forecast", remedy)
    return open_netcdf(path, remedy)


def _domain_of(thing: object, what: str) -> Domain:
    """The back end of a model, of known physics, or of a forecast.

    Ours are asked first: others are imported only for what none of ours handles.

    Raises:
        InputError: if there is none; it names those that could not be imported.
    """
    names, broken = [], ""
    for name, module in registered(DOMAINS).items():
        try:
            domain: Domain = importlib.import_module(module)
        except Exception as error:  # somebody else's code
            broken += f"; {DOMAINS} {name} = {module} cannot be imported ({_first_line(error)}): "
            broken += "mend or uninstall the package that registers it"
            continue
        if domain.handles(thing):
            return domain
        names.append(name)
    raise InputError(
        f"{what}: {type(thing).__name__} is none that a domain here takes ({', '.join(names)})"
        f"{broken}"
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
