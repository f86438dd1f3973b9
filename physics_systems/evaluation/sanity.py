"""Rows that need no training: what any model must beat, and what none can.

See docs/method.md#forecast-protocol. Those that simulate begin at the very states that the models
of the table begin at.

Shapes: ``N`` trajectories, ``L`` frames, ``T`` of context, ``n`` scored, ``C`` components, ``Q`` of
the full state, ``P`` parameters.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from physics_systems.data.simulate import Rate, solve_system
from physics_systems.data.trajectories import Trajectories
from physics_systems.evaluation.protocol import Forecasts
from physics_systems.evaluation.sets import EvaluationSet
from physics_systems.systems.system import SimulatedSystem, System
from vgbdm.dynamics.parameters import NormalParameters
from vgbdm.dynamics.physics import known_field

SANITY = ("oracle", "physics_only", "prior_mean", "persistence", "training_mean")


def sanity_forecasts(
    system: System, test: EvaluationSet, start: Tensor, window: int, mean: Tensor
) -> dict[str, Forecasts]:
    """Forecasts of all such rows that can be made, by name.

    Args:
        system: that is scored.
        test: oracle and physics only need its true parameters.
        start: (N, Q, ...) states at the last context frame, see `begin_states`.
        window: T.
        mean: (C,) of the training set.
    """
    times = test.data.t[:, window - 1 :]
    made: dict[str, Forecasts] = {}
    if test.parameters is not None:
        if isinstance(system, SimulatedSystem):
            made["oracle"] = _alone(oracle(system, start, times, test.parameters))
        made["physics_only"] = _alone(physics_only(system, start, times, test.parameters))
    if system.prior:
        theta = prior_mean(system, len(test))
        named = dict(zip(system.prior, theta.unbind(1), strict=True))
        made["prior_mean"] = Forecasts(physics_only(system, start, times, named), theta, None, None)
    made["persistence"] = _alone(persistence(test.data, window))
    made["training_mean"] = _alone(training_mean(test.data, window, mean))
    return made


def _alone(mean: Tensor) -> Forecasts:
    """A forecast that has no ensemble and says nothing of θ."""
    return Forecasts(mean, None, None, None)


def _simulate(
    system: System, start: Tensor, times: Tensor, dynamics: Rate, parameters: Mapping[str, Tensor]
) -> Tensor:
    states = solve_system(dynamics, start.double(), times, parameters, "true dynamics")
    return states[:, 1:, : len(system.components)].float()


def oracle(
    system: SimulatedSystem, start: Tensor, times: Tensor, parameters: Mapping[str, Tensor]
) -> Tensor:
    """Forecasts (N, n, C, ...) of the true dynamics with the true parameters.

    Args:
        system: with its whole dynamics.
        start: (N, Q, ...) states at the first of the times.
        times: (N, n + 1).
        parameters: by name, each (N,).
    """
    return _simulate(system, start, times, system.full, parameters)


def physics_only(
    system: System, start: Tensor, times: Tensor, parameters: Mapping[str, Tensor]
) -> Tensor:
    """Forecasts (N, n, C, ...) of the incomplete physics; arguments as of `oracle`."""
    return _simulate(system, start, times, known_field(system).rate, parameters)


def prior_mean(system: System, count: int) -> Tensor:
    """θ (N, P) where its prior is in the middle: what is guessed without a look at any frame."""
    prior = NormalParameters(system.prior, system.positive).double()
    return prior.physical(torch.zeros(count, len(prior.names), dtype=torch.float64))


def persistence(data: Trajectories, window: int) -> Tensor:
    """The last context frame, for ever: (N, n, C, ...)."""
    return data.x[:, window - 1 : window].expand_as(data.x[:, window:])


def training_mean(data: Trajectories, window: int, mean: Tensor) -> Tensor:
    """The mean of the training set (C,), for ever: (N, n, C, ...)."""
    shape = (1, 1, -1, *[1] * (data.x.dim() - 3))
    return mean.reshape(shape).expand_as(data.x[:, window:]).float()
