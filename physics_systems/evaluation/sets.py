"""What models are scored on: trajectories as they were observed, and what is known of their truth.

Shapes: ``N`` trajectories, ``L`` frames, ``C`` components, ``P`` parameters, ``...`` axes of a
grid.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import xarray as xr
from torch import Tensor

from physics_systems.data.trajectories import (
    Source,
    Trajectories,
    load_trajectories,
    open_dataset,
    read_parameters,
    read_truth,
)
from physics_systems.systems.system import System


@dataclass(frozen=True)
class EvaluationSet:
    """Trajectories to be forecast.

    Attributes:
        data: as observed; its first frames are all that a model sees.
        states: (N, L, C, ...) without the noise of observation; None where nobody knows them, or
            there is no noise.
        parameters: true ones by name, each (N,) float64; None where nobody knows them.
        from_prior: whether the known parameters were drawn from the prior that the models have, so
            that ranks among posterior draws tell of calibration.
    """

    data: Trajectories
    states: Tensor | None = None
    parameters: Mapping[str, Tensor] | None = None
    from_prior: bool = False

    def __len__(self) -> int:
        return len(self.data)

    @property
    def target(self) -> Tensor:
        """(N, L, C, ...) that forecasts are scored against: without noise where that is known."""
        return self.data.x if self.states is None else self.states


def read_set(
    source: Source, system: System, at_least: int, limit: int | None = None
) -> EvaluationSet:
    """The first trajectories of a store, with what it says of their truth.

    Args:
        source: a store, or a dataset like one.
        system: they must be of.
        at_least: frames that are needed.
        limit: trajectories at most; None: all.

    Raises:
        InputError: see `load_trajectories` and `read_parameters`.
    """
    data, states = load_trajectories(source, system, at_least), read_truth(source, system)
    truth = read_parameters(source, system)
    with open_dataset(source) as dataset:
        drawn = truth is not None and _drawn_from(dataset, system)
    return EvaluationSet(
        first(data, limit),
        None if states is None else states[:limit],
        None if truth is None else {name: values[:limit] for name, values in truth.items()},
        drawn,
    )


def first(data: Trajectories, limit: int | None) -> Trajectories:
    """The first trajectories, at most as many as a limit; None: all."""
    return replace(data, x=data.x[:limit], t=data.t[:limit])


def _drawn_from(dataset: xr.Dataset, system: System) -> bool:
    """Whether a store says that its known parameters are of the system's prior."""
    if dataset.attrs.get("parameters") != "prior":
        return False
    said = json.loads(dataset.attrs.get("system_config", "{}")).get("prior")
    return bool(said) and said == {name: list(pair) for name, pair in system.prior.items()}
