"""Shallow water on the rotating sphere over orography, with advected tracers.

Shapes: ``M`` zonal wavenumbers, ``L`` degrees, ``W`` Gaussian longitudes, ``K`` latitudes
(ascending), ``F`` prognostic fields: vorticity 1/s, divergence 1/s, free-surface geopotential less
its mean m²/s², then the tracers. A state is complex (M, L, F).

Vorticity–divergence form (Hack & Jakob 1992, NCAR/TN-343), leapfrog with semi-implicit gravity
waves (Hoskins & Simmons 1975) and the Robert–Asselin–Williams filter (Williams 2009).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from climate.conventions.earth import EARTH_RADIUS
from climate.sample.harmonics import GaussianTransform

EARTH_ROTATION = 7.292e-5
"""rad/s."""
VORTICITY, DIVERGENCE, GEOPOTENTIAL, TRACERS = 0, 1, 2, 3
"""Places of the fields in a state; tracers follow."""


@dataclass(frozen=True)
class Damping:
    """Linear terms that are treated implicitly: rate · (target - state).

    Attributes:
        rate: (M, L, F) 1/s; negative where the state is to grow.
        target: (M, L, F) complex.
    """

    rate: Tensor
    target: Tensor


class ShallowWater:
    """The fluid: tendencies and one step in time.

    Args:
        transform: the Gaussian grid and its harmonics.
        mean_geopotential: mean of the free surface Φ̄, m²/s².
        surface_geopotential: (W, K) of the ground, m²/s²; the layer's depth is Φ̄ + φ - φ_s.
        tracer_speeds: for each tracer, the fraction of the flow that carries it.
        time_step: s.
        diffusion_hours: e-folding time of the ∇⁸ hyperdiffusion at the truncation, h.
        filter_strength: of the Robert–Asselin–Williams filter.
    """

    def __init__(
        self,
        transform: GaussianTransform,
        mean_geopotential: float,
        surface_geopotential: Tensor,
        tracer_speeds: Sequence[float] = (),
        time_step: float = 1200.0,
        diffusion_hours: float = 3.0,
        filter_strength: float = 0.06,
    ) -> None:
        self.transform = transform
        self.mean_geopotential = mean_geopotential
        self.time_step = time_step
        self.filter_strength = filter_strength
        self._surface = surface_geopotential
        self._speeds = torch.tensor(tuple(tracer_speeds), dtype=torch.float64)
        degree = torch.arange(transform.truncation + 1, dtype=torch.float64)
        self.minus_laplacian = degree * (degree + 1) / EARTH_RADIUS**2
        scaled = self.minus_laplacian / self.minus_laplacian[-1]
        self.diffusion = scaled**4 / (diffusion_hours * 3600.0)
        inverse = torch.zeros_like(degree)
        inverse[1:] = -1.0 / self.minus_laplacian[1:]
        self._inverse_laplacian = inverse[None, :, None]
        self.coriolis = 2 * EARTH_ROTATION * torch.sin(transform.latitudes)

    def wind(self, state: Tensor) -> Tensor:
        """Eastward and northward flow (W, K, 2) in m/s on the Gaussian grid."""
        return self.transform.wind(self.potentials(state), EARTH_RADIUS)

    def potentials(self, state: Tensor) -> Tensor:
        """Stream function and velocity potential (M, L, 2), m²/s."""
        return state[..., :GEOPOTENTIAL] * self._inverse_laplacian

    def tendencies(self, state: Tensor) -> Tensor:
        """Everything but damping and forcing, (M, L, F) per second.

        ∂ζ/∂t = -∇·((ζ + f) v), ∂D/∂t = k·∇×((ζ + f) v) - ∇²(φ + |v|²/2),
        ∂φ/∂t = -∇·((Φ̄ + φ - φ_s) v), ∂T/∂t = -α v·∇T.
        """
        transform = self.transform
        scalars = state[..., [VORTICITY, *range(GEOPOTENTIAL, state.shape[-1])]]
        fields = torch.cat((self.potentials(state), scalars), dim=-1)
        value, d_theta, d_lambda = transform.parts(fields)
        u = d_theta[..., :1] + d_lambda[..., 1:2]
        v = d_lambda[..., :1] - d_theta[..., 1:2]
        waves = (u, v, value[..., 2:4], d_lambda[..., 4:], -d_theta[..., 4:])
        n_tracers = state.shape[-1] - TRACERS
        u, v, plain, east, north = transform.to_grid(torch.cat(waves, dim=-1)).split(
            [1, 1, 2, n_tracers, n_tracers], dim=-1
        )
        wind = torch.stack((u, v), dim=2) / EARTH_RADIUS
        absolute = plain[..., 0] + self.coriolis
        depth = plain[..., 1] - self._surface
        fluxes = torch.stack((absolute, depth), dim=-1).unsqueeze(2) * wind
        energy = wind.square().sum(dim=2) / 2
        carried = (wind[:, :, 0] * east + wind[:, :, 1] * north) * (
            -self._speeds[:n_tracers] / EARTH_RADIUS
        )
        plain, divergence, curl = transform.analyse(
            torch.cat((energy, carried), dim=-1), fluxes, EARTH_RADIUS
        )
        pressure = plain[..., 0] + state[..., GEOPOTENTIAL]
        return torch.cat(
            (
                -divergence[..., :1],
                (curl[..., 0] + self.minus_laplacian * pressure).unsqueeze(-1),
                -divergence[..., 1:] - self.mean_geopotential * state[..., DIVERGENCE, None],
                plain[..., 1:],
            ),
            dim=-1,
        )

    def balanced(self, vorticity: Tensor) -> Tensor:
        """Geopotential (M, L), without mean, that keeps a divergence-free flow steady in D.

        Solves ∇²(φ + |v|²/2) = k·∇×((ζ + f) v).
        """
        state = torch.zeros(*vorticity.shape, TRACERS, dtype=vorticity.dtype)
        state[..., VORTICITY] = vorticity
        return self.tendencies(state)[..., DIVERGENCE] * self._inverse_laplacian[..., 0]

    def start(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Two time levels for the leapfrog from one: a forward half step would do no better."""
        return state, state + self.time_step * self.tendencies(state)

    def step(
        self, levels: tuple[Tensor, Tensor], forcing: Tensor | None, damping: Damping | None
    ) -> tuple[Tensor, Tensor]:
        """One time step.

        Args:
            levels: states at t - Δt (filtered) and t.
            forcing: (M, L, F) per second, explicit; None for none.
            damping: implicit linear terms; None for hyperdiffusion alone.

        Returns:
            States at t (filtered) and t + Δt.
        """
        before, now = levels
        span = 2 * self.time_step
        rates = self.tendencies(now)
        if forcing is not None:
            rates = rates + forcing
        after = self._implicit_gravity(before, now, rates)
        loss = self.diffusion[None, :, None]
        if damping is not None:
            loss = loss + damping.rate
            after = after + span * damping.rate * damping.target
        after = after / (1 + span * loss)
        nudge = self.filter_strength / 2 * (before - 2 * now + after)
        share = 0.53  # Williams 2009: 0.5 conserves the mean of three levels, 1 is Robert–Asselin
        return now + share * nudge, after + (share - 1) * nudge

    def _implicit_gravity(self, before: Tensor, now: Tensor, rates: Tensor) -> Tensor:
        """Leapfrog with the linear gravity waves averaged over t - Δt and t + Δt."""
        step, depth, curvature = self.time_step, self.mean_geopotential, self.minus_laplacian
        after = before + 2 * step * rates
        change = before - now
        d_part = after[..., DIVERGENCE] + step * curvature * (change - now)[..., GEOPOTENTIAL]
        g_part = after[..., GEOPOTENTIAL] - step * depth * (change - now)[..., DIVERGENCE]
        denominator = 1 + step**2 * curvature * depth
        divergence = (d_part + step * curvature * g_part) / denominator
        after[..., DIVERGENCE] = divergence
        after[..., GEOPOTENTIAL] = g_part - step * depth * divergence
        return after
