"""The wind that explains a tendency: a regularised least-squares fit on the sphere.

For each variable x, with its tendency ẋ at the last of some past states
(docs/method/weather.md#initial-wind):

    min over c of  mean |ẋ + c·∇x + ½ x ∇·c|² ÷ change² + smoothness · Σ_k ½ l_k (l_k + 1) a_k² ÷ U²

c = k×∇ψ + ∇χ up to a degree; a_k is the rms wind (m/s) of one harmonic of ψ or χ, l_k its degree,
U the unit of winds, 5 m/s. The mean is area-weighted; a vector's residual is its part along the
sphere. Linear in a: the normal equations of all samples are solved at once.

Shapes: ``B`` samples, ``F`` frames, ``C`` channels, ``G`` variables, ``K`` harmonics of degree
1…N, ``H`` latitudes, ``W`` longitudes, ``P`` = H·W points.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from climate.models.domain import Domain, identical
from climate.models.transport import Resolved, Transport
from climate.models.wind import potential_unit, wind_unit
from climate.operators.sphere import SpectralOperators
from vgbdm.errors import InputError
from vgbdm.options.kinds import NotNegative, Size
from vgbdm.paths.path import Path


def end_velocity(path: Path, frames: Tensor) -> Tensor:
    """The velocity (B, ...) of a path at the last of frames (B, F, ...), per step."""
    times = torch.arange(frames.shape[1], device=frames.device, dtype=frames.dtype)
    nodes = path.nodes(frames, times.expand(len(frames), -1))
    one = torch.ones(len(frames), device=frames.device, dtype=frames.dtype)
    return path(nodes[:, -2], nodes[:, -1], one, one).velocity


def check_order(path: Path, frames: int) -> None:
    """Refuse a path whose velocity at the last frame is not of second order.

    It must find the slope of a parabola.
    """
    times = torch.arange(frames, dtype=torch.float64)
    slope = float(end_velocity(path, times.square()[None, :, None]))
    if abs(slope - 2 * (frames - 1)) > 1e-9:
        raise InputError(
            f"path {type(path).__name__}: ClimODE's initial wind needs a tendency of second order; "
            "choose path=lagrange3 or path=hermite"
        )


def harmonics(sphere: SpectralOperators, degree: int) -> tuple[Tensor, Tensor]:
    """Coefficients (M, 2·K, L) of all real harmonics of degree 1…``degree``, and their degrees."""
    places = [
        (m, part, n)
        for n in range(1, degree + 1)
        for m in range(n + 1)
        for part in ((0, 1) if m else (0,))
    ]
    size = sphere.truncation + 1
    modes = torch.zeros(size, 2, len(places), size)
    for k, (m, part, n) in enumerate(places):
        modes[m, part, k, n] = 1.0
    return modes.flatten(1, 2), torch.tensor([float(n) for _, _, n in places])


class WindFit(nn.Module):
    """Past states → harmonics of the advecting wind of each variable.

    Args:
        transport: of the model.
        domain: of the model.
        wind_limit: of the model, m/s; sets the unit of winds.
        degree: largest degree of the wind; the truncation is another bound.
        smoothness: weight of the penalty.
        path: through the past states; its velocity is of second order or higher.
    """

    east: Tensor
    north: Tensor
    divergence: Tensor
    potential: Tensor
    penalty: Tensor
    weight: Tensor

    def __init__(
        self,
        transport: Transport,
        domain: Domain,
        wind_limit: float,
        *,
        degree: Size,
        smoothness: NotNegative,
        path: Path,
    ) -> None:
        super().__init__()
        sphere = transport.spectral
        if not isinstance(sphere, SpectralOperators):
            raise InputError("model=climode: its winds are fitted on the globe; take task=hourly")
        if degree < 1 or not smoothness > 0:
            raise InputError(
                f"model.fit: degree={degree}, smoothness={smoothness}; want a degree of at least 1 "
                "and a positive weight"
            )
        degree = min(degree, sphere.truncation)
        check_order(path, domain.history + 1)
        self.transport, self.domain, self.path = transport, domain, path
        self.degree, self.smoothness, self.wind_limit = degree, smoothness, wind_limit
        modes, degrees = harmonics(sphere, degree)
        area = torch.from_numpy(domain.grid.area_weights).float()[:, None]
        slope_east, slope_north = sphere.gradient_of(modes)
        square = slope_east.square() + slope_north.square()
        rms = (square * area).mean((1, 2), keepdim=True).sqrt()
        slope_east, slope_north = slope_east / rms, slope_north / rms
        curl_free = sphere.synthesis(sphere.laplacian(modes)) / rms
        tables = {  # ψ first, then χ
            "east": torch.cat((-slope_north, slope_east)),
            "north": torch.cat((slope_east, slope_north)),
            "divergence": torch.cat((torch.zeros_like(curl_free), curl_free)),
            "potential": sphere.synthesis(modes) / rms / potential_unit(sphere, wind_limit),
        }
        for name, table in tables.items():  # points first: rows of the normal equations
            self.register_buffer(name, table.flatten(1).T.contiguous(), persistent=False)
        penalty = smoothness * degrees * (degrees + 1) / 2 / wind_unit(wind_limit) ** 2
        self.register_buffer("penalty", penalty.repeat(2).double(), persistent=False)
        weight = area.expand(-1, len(domain.lon)).flatten() / len(self.potential)
        self.register_buffer("weight", weight.sqrt()[:, None], persistent=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Of one fit: variables, harmonics of ψ and of χ."""
        return len(self.domain.variables), 2 * self.potential.shape[1]

    @property
    def options(self) -> dict[str, Any]:
        """Everything but the data that a fit depends on, as JSON."""
        return {
            "degree": self.degree,
            "smoothness": self.smoothness,
            "wind_limit": self.wind_limit,
            "path": [type(self.path).__name__, dict(vars(self.path))],
            "truncation": self.transport.spectral.truncation,
            "operators": type(self.transport.operators).__name__,
            "domain": identical(self.domain.describe()),
        }

    def forward(
        self, state: Resolved, tendency: Tensor, change: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """The wind that explains a tendency.

        Args:
            state: the current states up to the truncation.
            tendency: (B, C, H, W) per model step, standardised.
            change: (C, 1, 1) its unit.
            mask: (C, H, W) points that are left out; None: none.

        Returns:
            (B, G, 2·K) float32, m/s.
        """
        variables = range(len(self.domain.variables))
        with torch.autocast(tendency.device.type, enabled=False):
            weights = [self._weight(mask, g) for g in variables]
            fits = [self._fit(state, tendency, change, g, w) for g, w in enumerate(weights)]
            return torch.stack(fits, 1)

    def _weight(self, mask: Tensor | None, g: int) -> Tensor:
        """Roots of the points' weights (P, 1) for variable ``g``; their squares sum to 1."""
        channels = self.domain.variables[g]
        if mask is None or len(channels) == 2:  # vectors are whole
            return self.weight
        kept = self.weight * ~mask[channels[0]].flatten()[:, None]
        return kept / kept.square().sum().sqrt()

    def _fit(
        self, state: Resolved, tendency: Tensor, change: Tensor, g: int, weight: Tensor
    ) -> Tensor:
        channels = self.domain.variables[g]
        fields = (state.east, state.north, 0.5 * state.smooth)
        size = torch.stack([change[i] for i in channels]).square().mean().sqrt()
        east, north, value = (self._along(field, g) for field in fields)
        moved = east * self.east + north * self.north + value * self.divergence
        rows = (moved * weight * self.domain.step_seconds / size).flatten(1, 2)
        own = torch.stack([tendency[:, i] for i in channels], 1).flatten(2)
        wanted = own.unsqueeze(-1) * weight / size
        right = -rows.mT @ wanted.flatten(1, 2)
        normal = (rows.mT @ rows).double() + torch.diag(self.penalty)
        root = torch.linalg.cholesky_ex(normal).L
        return torch.cholesky_solve(right.double(), root).squeeze(-1).float()

    def _along(self, field: Tensor, g: int) -> Tensor:
        """Transported scalars of variable ``g`` as its channels: (B, 1 or 2, P, 1)."""
        own = field[:, self.transport.slices[g]]
        if own.shape[1] == 3:
            own = torch.stack(self.transport.spectral.to_tangent(own), 1)
        return own.flatten(2).unsqueeze(-1)

    def potentials(self, fitted: Tensor) -> Tensor:
        """Stream functions and potentials (B, 2·G, H, W) of fits (B, G, 2·K)."""
        halves = fitted.unflatten(2, (2, -1)).transpose(1, 2)  # (B, 2, G, K)
        with torch.autocast(fitted.device.type, enabled=False):
            fields = halves.float() @ self.potential.T
        return fields.unflatten(-1, (len(self.domain.lat), -1)).flatten(1, 2)
