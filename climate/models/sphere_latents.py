"""The latents of VGB-DM on weather: ζ, smooth fields on the sphere, and θ, per sample.

See docs/method/weather.md#weather-latents.

ζ lives at evenly spread points, which are joined by Gaussian bells. Points are local, so that the
prior can be wide where the day's flow is uncertain, as coefficients of harmonics with independent
widths cannot be; and even, which a coarse latitude–longitude grid is not: it crowds at the poles.
θ's prior is learned too but knows no history: parameters do not depend on the day.

Shapes: ``B`` samples, ``F`` frames of history, ``C`` channels, ``Z`` latent fields, ``N`` points,
``P`` kinds of parameters, ``G`` variables, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from climate.grids.features import position_features
from climate.grids.grid import Grid
from climate.models.domain import Domain
from climate.models.networks import ResidualBlock, SphereConv
from climate.operators.legendre import without_negligible
from vgbdm.errors import InputError
from vgbdm.latents.distributions import DiagonalGaussian, GaussianHead
from vgbdm.latents.latents import LatentDistribution, LatentSizes
from vgbdm.networks import Blocks
from vgbdm.options.kinds import Share, Size
from vgbdm.registry.marks import model_part

BELL = 0.6
"""Standard deviation of a bell in distances between points: neighbours blend, nothing ripples."""
LIMIT = 2.0
"""Bound of the logarithm of ζ's widths about where they start."""


class SpherePoints(nn.Module):
    """Evenly spread points (a Fibonacci lattice) and the smooth fields that their values make.

    Independent standard normal values make a field of variance 1 everywhere; harmonics far beyond
    degree 2 √N / π have next to no part in it.

    Args:
        grid: of the fields.
        count: points on the whole sphere; only those near the grid are kept of a box.
    """

    to_fields: Tensor
    to_points: Tensor

    def __init__(self, grid: Grid, count: int) -> None:
        super().__init__()
        if count < 4:
            raise InputError(f"latents.points={count}: at least 4 are needed")
        k = torch.arange(count, dtype=torch.float64)
        z, turn = 1 - (2 * k + 1) / count, k * math.pi * (3 - math.sqrt(5))
        level = (1 - z.square()).sqrt()
        points = torch.stack((level * turn.cos(), level * turn.sin(), z), 1)
        spacing = math.sqrt(4 * math.pi / count)
        cosine = points @ position_features(grid).double().flatten(1)
        if not grid.is_global:  # whose shapes follow from numbers
            cosine = cosine[cosine.amax(1) > math.cos(spacing)]
        bells = without_negligible(torch.exp((cosine - 1) / (BELL * spacing) ** 2))
        area = torch.from_numpy(grid.area_weights)[:, None].expand(-1, len(grid.lon)).flatten()
        weights = bells * area
        self.register_buffer("to_fields", (bells / bells.square().sum(0).sqrt()).float(), False)
        self.register_buffer("to_points", (weights / weights.sum(1, True)).T.float(), False)
        self.count, self.shape = len(cosine), (len(grid.lat), len(grid.lon))

    def fields(self, values: Tensor) -> Tensor:
        """Values at the points (B, Z, N) → fields (B, Z, H, W)."""
        with torch.autocast(values.device.type, enabled=False):
            return (values.float() @ self.to_fields).unflatten(-1, self.shape)

    def means(self, fields: Tensor) -> Tensor:
        """Fields (B, K, H, W) → their means around each point, (B, K, N)."""
        with torch.autocast(fields.device.type, enabled=False):
            return fields.float().flatten(2) @ self.to_points


class PointEncoder(nn.Module):
    """Fields → features at the points.

    Args:
        points: where.
        inputs: channels in.
        width: features.
        blocks: residual blocks.
        poles: whether the grid has rows at the poles.
        vector_inputs: indices of inputs that are vector components.
    """

    def __init__(
        self,
        points: SpherePoints,
        inputs: int,
        width: int,
        blocks: int,
        *,
        poles: bool | None,
        vector_inputs: list[int],
    ) -> None:
        super().__init__()
        self.points = points
        self.embed = SphereConv(inputs, width, poles=poles, vector_inputs=vector_inputs)
        self.blocks = Blocks(
            *(ResidualBlock(width, poles=poles, dropout=0.0) for _ in range(blocks))
        )
        self.norm = nn.GroupNorm(max(width // 16, 1), width)

    def forward(self, *fields: Tensor) -> Tensor:
        """Channels in any number of parts, (B, n, H, W) each → (B, width, N)."""
        return self.points.means(F.silu(self.norm(self.blocks(self.embed(*fields)))))


@model_part
class PointHead(nn.Module):
    """Features at the points → ζ's diagonal Gaussian there.

    Args:
        width: features.
        channels: Z.
        log_std: where the logarithm of the widths starts.
    """

    def __init__(self, width: int, channels: int, log_std: float) -> None:
        super().__init__()
        self.linear, self.log_std = nn.Conv1d(width, 2 * channels, 1), log_std
        nn.init.zeros_(self.linear.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> DiagonalGaussian:
        """(B, width, N) → Gaussian over (B, Z, N)."""
        mean, raw = self.linear(features).chunk(2, 1)
        return DiagonalGaussian(mean, self.log_std + LIMIT * torch.tanh(raw / LIMIT))


class Prior(nn.Module):
    """p(ζ | history) and p(θ).

    θ's is about the learned parameters, with a learned width for each.
    """

    def __init__(self, encoder: PointEncoder, head: nn.Module, thetas: int) -> None:
        super().__init__()
        self.encoder, self.zeta = encoder, head
        width_of_theta = nn.Parameter(torch.full((thetas,), math.log(0.3)))
        self.theta_log_std = width_of_theta if thetas else None

    def forward(self, history: Tensor, *fixed: Tensor) -> LatentDistribution:
        """Past states (B, F·C, H, W) and fixed features (B, n, H, W) → both, θ's as (B, P·G)."""
        theta = None
        if self.theta_log_std is not None:
            log_std = self.theta_log_std.expand(len(history), -1)
            theta = DiagonalGaussian(torch.zeros_like(log_std), log_std)
        return LatentDistribution(self.zeta(self.encoder(history, *fixed)), theta)


class Posterior(nn.Module):
    """q(ζ | history, target) and q(θ | history, target)."""

    def __init__(self, encoder: PointEncoder, head: nn.Module, width: int, thetas: int) -> None:
        super().__init__()
        self.encoder, self.zeta = encoder, head
        self.theta = GaussianHead(width, thetas) if thetas else None

    def forward(self, *seen: Tensor) -> LatentDistribution:
        """What the prior reads, and the change (B, C, H, W) that comes → both."""
        features = self.encoder(*seen)
        theta = None if self.theta is None else self.theta(features.mean(2))
        return LatentDistribution(self.zeta(features), theta)


@model_part
class WeatherLatents(nn.Module):
    """Prior, posterior and the fields that ζ makes.

    Args:
        domain: grid, channels, history.
        fixed: channels of fixed features.
        thetas: physical parameters of a sample, P·G.
        channels: Z, latent fields.
        points: on the sphere.
        width: features of both encoders.
        blocks: residual blocks of both.
        memory: correlation, 0 to 1, of the normal numbers behind ζ from one model step to the next;
            0 draws anew at each step, 1 keeps them over the forecast.
        head: of prior and posterior, (features, Z, log of the first width) → a module from features
            (B, features, N) to a `vgbdm.latents.distributions.Distribution` of ζ (B, Z, N).
    """

    def __init__(
        self,
        domain: Domain,
        fixed: int,
        thetas: int,
        *,
        channels: Size,
        points: Size,
        width: Size,
        blocks: Size,
        memory: Share,
        head: Callable[[int, int, float], nn.Module] = PointHead,
    ) -> None:
        super().__init__()
        if not (channels > 0 and 0 <= memory <= 1):
            raise InputError(
                f"latents: channels={channels} memory={memory}; want at least 1 and 0 to 1"
            )
        self.memory, self.channels, self.thetas = memory, channels, thetas
        self.points = SpherePoints(domain.grid, points)
        count, frames, poles = len(domain.shown), domain.history + 1, domain.grid.includes_poles
        past = [k * count + i for k in range(frames) for i in domain.shown_vectors]
        inputs = frames * count + fixed
        ahead = [inputs + i for i in domain.vector_channels]

        def encoder(inputs: int, vectors: list[int]) -> PointEncoder:
            return PointEncoder(
                self.points, inputs, width, blocks, poles=poles, vector_inputs=vectors
            )

        self.prior = Prior(encoder(inputs, past), head(width, channels, 0.0), thetas)
        self.posterior = Posterior(
            encoder(inputs + len(domain.channels), [*past, *ahead]),
            head(width, channels, -1.0),
            width,
            thetas,
        )

    @property
    def sizes(self) -> LatentSizes:
        """Of one draw of (ζ, θ)."""
        return LatentSizes((self.channels, self.points.count), self.thetas, self.memory)
