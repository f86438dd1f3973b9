"""The one fair protocol: how every model of a table forecasts (docs/method.md#forecast-protocol).

Every row gets the frames 0 … T-1; T-1 is its initial state, T the first frame predicted and scored.

Shapes: ``N`` trajectories, ``L`` frames, ``T`` of context, ``C`` components, ``M`` members.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from physics_systems.simulate import Rate, integrate
from physics_systems.system import System
from physics_systems.trajectories import Trajectories
from vgbdm.inference import latents_of, means_of, posterior_of
from vgbdm.latent_field import (
    SLOPE_FRAMES,
    LatentField,
    known_field,
)
from vgbdm.paths import derivatives
from vgbdm.randomness import keyed_normal
from vgbdm.training.watchdog import progress


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
    parts, thetas = [], []
    for at in range(0, len(data), batch):
        x, t = data.x[at : at + batch], data.t[at : at + batch]
        context = x[:, : field.window]
        latents = means_of(field, context, t[:, : field.window])
        parts.append(field.forecast(context, t, latents))
        progress()
        thetas += [] if latents.theta is None else [latents.theta]
    return torch.cat(parts), torch.cat(thetas) if thetas else None


@torch.no_grad()
def forecast_ensemble(
    field: LatentField, data: Trajectories, members: int, seed: int, batch: int = 250
) -> Forecasts:
    """Means and an ensemble of draws from the posterior; draws are keyed by (seed, member, row)."""
    count, times = len(field.parameter_names), data.t
    context = data.x[:, : field.window]
    cuts = [slice(at, at + batch) for at in range(0, len(data), batch)]
    posteriors = [posterior_of(field, context[c], times[c, : field.window]) for c in cuts]

    def forecast(noise: Tensor | None) -> tuple[Tensor, Tensor | None]:
        parts, thetas = [], []
        for cut, posterior in zip(cuts, posteriors, strict=True):
            pair = None if noise is None else noise[cut].split((field.latents, count), 1)
            latents = latents_of(field, posterior, pair)
            parts.append(field.forecast(context[cut], times[cut], latents))
            thetas += [] if latents.theta is None else [latents.theta]
        return torch.cat(parts), torch.cat(thetas) if thetas else None

    mean, theta = forecast(None)
    ensemble, draws = [], []
    for member in range(members):
        rows = torch.arange(len(data), device=times.device) + member * len(data)
        drawn, parameters = forecast(
            keyed_normal(seed, "ensemble", rows, field.latents + count).float()
        )
        ensemble.append(drawn)
        draws += [] if parameters is None else [parameters]
    return Forecasts(mean, theta, torch.stack(ensemble), torch.stack(draws) if draws else None)


# --- sanity rows -----------------------------------------------------------------------------


def _simulate(
    system: System,
    data: Trajectories,
    window: int,
    dynamics: Rate,
    parameters: dict[str, Tensor],
) -> Tensor:
    frames, clock = data.x[:, :window].double(), data.t[:, :window]
    start = frames[:, -1]
    if system.order == 2:
        last = slice(-SLOPE_FRAMES, None)
        tail = derivatives(frames[:, last], clock[:, last], SLOPE_FRAMES)[0][:, -1]
        start = torch.cat((start, tail), 1)
    states = integrate(dynamics, start, data.t[:, window - 1 :], parameters, "true dynamics")
    return states[:, 1:, : len(system.components)].float()


def oracle(
    system: System, data: Trajectories, window: int, parameters: dict[str, Tensor]
) -> Tensor:
    """Forecasts (N, n, C, ...) of the true dynamics with the true parameters."""
    return _simulate(system, data, window, system.full, parameters)


def physics_only(
    system: System, data: Trajectories, window: int, parameters: dict[str, Tensor]
) -> Tensor:
    """Forecasts (N, n, C, ...) of the incomplete physics with the true parameters."""
    return _simulate(system, data, window, known_field(system).rate, parameters)


def persistence(data: Trajectories, window: int) -> Tensor:
    """The last context frame, for ever: (N, n, C, ...)."""
    return data.x[:, window - 1 : window].expand_as(data.x[:, window:])


def training_mean(data: Trajectories, window: int, mean: Tensor) -> Tensor:
    """The mean of the training set (C,), for ever: (N, n, C, ...)."""
    shape = (1, 1, -1, *[1] * (data.x.dim() - 3))
    return mean.reshape(shape).expand_as(data.x[:, window:]).float()
