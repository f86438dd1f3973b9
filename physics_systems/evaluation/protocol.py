"""The one fair protocol: how every model of a table forecasts (docs/method.md#forecast-protocol).

Every row gets the frames 0 … T-1; T-1 is its initial state, T the first frame predicted and scored.

Shapes: ``N`` trajectories, ``L`` frames, ``T`` of context, ``C`` components, ``M`` members.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from physics_systems.data.simulate import Rate, solve_system
from physics_systems.data.trajectories import Trajectories
from physics_systems.systems.system import SimulatedSystem, System
from vgbdm.dynamics.physics import known_field
from vgbdm.fields.latent_field import LatentField
from vgbdm.fields.system_field import state_at
from vgbdm.inference.refinement import means_of, posterior_of
from vgbdm.latents.latents import Latents
from vgbdm.latents.members import Members
from vgbdm.paths.path import Path
from vgbdm.training.watchdog import note_progress


class Forecasts(NamedTuple):
    """What one row says of the scored frames.

    Attributes:
        mean: (N, n, C, ...) one forecast each, from posterior means.
        theta: (N, P) posterior means, or None.
        members: (M, N, n, C, ...) or None where there is no ensemble.
        theta_draws: (M, N, P) or None.
    """

    mean: Tensor
    theta: Tensor | None
    members: Tensor | None
    theta_draws: Tensor | None


@torch.no_grad()
def forecast_means(
    field: LatentField, data: Trajectories, batch: int = 250
) -> tuple[Tensor, Tensor | None]:
    """One forecast of each trajectory from posterior means, and θ: (N, n, C, ...), (N, P).

    All of it on the one device where field and data are.
    """
    parts = []
    for at in range(0, len(data), batch):
        x, t = data.x[at : at + batch], data.t[at : at + batch]
        context = x[:, : field.window]
        parts.append(_forecast(field, context, t, means_of(field, context, t[:, : field.window])))
        note_progress()
    return _joined(parts)


@torch.no_grad()
def forecast_ensemble(
    field: LatentField, data: Trajectories, members: int, seed: int, batch: int = 250
) -> Forecasts:
    """Means, and members drawn from the posterior, keyed by (seed, row, member)."""
    means, drawn = [], []
    for at in range(0, len(data), batch):
        x, t = data.x[at : at + batch], data.t[at : at + batch]
        context = x[:, : field.window]
        posterior = posterior_of(field, context, t[:, : field.window])
        means.append(_forecast(field, context, t, posterior.mean))
        rows = torch.arange(at, at + len(x), device=t.device)
        draws = Members(field.latent_sizes, seed, rows, range(members)).draw(posterior)
        contexts, times = (v.repeat_interleave(members, 0) for v in (context, t))
        drawn.append(_forecast(field, contexts, times, draws))
        note_progress()
    mean, theta = _joined(means)
    ensemble, draws_of_theta = (
        None if x is None else x.unflatten(0, (-1, members)).transpose(0, 1) for x in _joined(drawn)
    )
    return Forecasts(mean, theta, ensemble, draws_of_theta)


def _forecast(
    field: LatentField, context: Tensor, times: Tensor, latents: Latents
) -> tuple[Tensor, Tensor | None]:
    """Forecasts from latents, and their θ in physical units."""
    return field.forecast(context, times, latents), field.physical(latents)


def _joined(parts: list[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
    """Forecasts and θ of all batches."""
    thetas = [theta for _, theta in parts if theta is not None]
    return torch.cat([x for x, _ in parts]), torch.cat(thetas) if thetas else None


# --- sanity rows -----------------------------------------------------------------------------


def _simulate(
    system: System,
    data: Trajectories,
    window: int,
    path: Path,
    dynamics: Rate,
    parameters: dict[str, Tensor],
) -> Tensor:
    """From the state that the path gives at the last frame of the context, as forecasts begin."""
    frames, clock = data.x[:, :window].double(), data.t[:, :window]
    start = state_at(path, system.order, frames, clock, window - 1)
    states = solve_system(dynamics, start, data.t[:, window - 1 :], parameters, "true dynamics")
    return states[:, 1:, : len(system.components)].float()


def oracle(
    system: SimulatedSystem,
    data: Trajectories,
    window: int,
    path: Path,
    parameters: dict[str, Tensor],
) -> Tensor:
    """Forecasts (N, n, C, ...) of the true dynamics with the true parameters."""
    return _simulate(system, data, window, path, system.full, parameters)


def physics_only(
    system: System, data: Trajectories, window: int, path: Path, parameters: dict[str, Tensor]
) -> Tensor:
    """Forecasts (N, n, C, ...) of the incomplete physics with the true parameters."""
    return _simulate(system, data, window, path, known_field(system).rate, parameters)


def persistence(data: Trajectories, window: int) -> Tensor:
    """The last context frame, for ever: (N, n, C, ...)."""
    return data.x[:, window - 1 : window].expand_as(data.x[:, window:])


def training_mean(data: Trajectories, window: int, mean: Tensor) -> Tensor:
    """The mean of the training set (C,), for ever: (N, n, C, ...)."""
    shape = (1, 1, -1, *[1] * (data.x.dim() - 3))
    return mean.reshape(shape).expand_as(data.x[:, window:]).float()
