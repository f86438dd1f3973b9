"""What every weather model knows of its data: units, clock, statistics, place.

Shapes: ``B`` samples, ``C`` channels, ``G`` variables, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from climate.grids.features import position_features
from climate.grids.regions import Region
from climate.models.domain import Domain
from climate.models.pole_rows import PoleRows
from climate.models.roles import Parts
from climate.models.transport import Transport


class WeatherModel(nn.Module):
    """Buffers and units of a domain, and the features that depend on place and date alone.

    Args:
        domain: grid, channels, static fields and statistics.
        transport: between channels and transported scalars.
    """

    mean: Tensor
    scale: Tensor
    change: Tensor
    climate: Tensor
    climate_modes: Tensor
    static: Tensor
    position: Tensor
    area: Tensor
    mask: Tensor | None
    """(C, H, W) points without values, 0 to the model in every state; None where there are none."""
    score_area: Tensor
    """Areas of cells, of mean 1 over the points that count: (H, 1), with a mask (C, H, W); 0 for
    forcing channels, (C, H, 1), whose share the others have."""
    score_share: Tensor | None
    """(C, 1, 1) 1 ÷ the share of points that count; None without a mask."""
    halo: Tensor | None
    """(H, W) 1 at the points around a region's box, 0 inside; None: the globe has none."""
    channel_weight: Tensor | None
    """(C, 1, 1) how much each channel counts in a loss, of mean 1; None: all alike."""

    def __init__(self, domain: Domain, transport: Transport) -> None:
        super().__init__()
        self.domain, self.transport = domain, transport
        self.calendar = domain.clock_features()
        poles = domain.grid.includes_poles
        self.pole_rows = PoleRows(domain.grid, domain.whole) if poles else None
        self.register_buffer("mask", None)
        for name, values in domain.buffers().items():
            self.register_buffer(name, values)
        self.register_buffer("climate_modes", transport.modes(self.climate[None]))
        self.register_buffer("position", position_features(domain.grid), persistent=False)
        area = torch.from_numpy(domain.grid.cell_weights).float()[:, None]
        self.register_buffer("area", area, persistent=False)
        self.parts = Parts(domain.channels, domain.forcing, domain.diagnostic)
        counted = area * self.parts.counted if domain.forcing else area
        self.register_buffer("score_area", counted, persistent=False)
        self.register_buffer("score_share", None)
        self.register_buffer("channel_weight", None, persistent=False)
        if self.mask is not None:  # from a checkpoint it comes later, and so do its weights
            kept, share = area * ~self.mask, (~self.mask).float().mean((1, 2), keepdim=True)
            kept = kept / kept.mean((1, 2), keepdim=True)
            self.register_buffer(
                "score_area", kept * self.parts.counted if domain.forcing else kept
            )
            self.register_buffer("score_share", 1 / share)

        self.register_buffer("halo", domain.halo(), persistent=False)

    @property
    def step_seconds(self) -> int:
        """The model's step."""
        return self.domain.step_seconds

    @property
    def history(self) -> int:
        """Past states a forecast needs besides the current one."""
        return self.domain.history

    @property
    def channels(self) -> tuple[str, ...]:
        """Short names of the state's channels."""
        return self.domain.channels

    @property
    def forcing(self) -> tuple[str, ...]:
        """Channels that a forecast is given ahead."""
        return self.domain.forcing

    @property
    def diagnostic(self) -> tuple[str, ...]:
        """Channels that are predicted and not fed back."""
        return self.domain.diagnostic

    @property
    def statistics_hash(self) -> str:
        """Of the training statistics of the store it was trained on."""
        return self.domain.statistics_hash

    @property
    def region(self) -> Region | None:
        """The box it sees; None: the globe."""
        return self.domain.region

    @property
    def stochastic(self) -> bool:
        """Whether forecasts can be drawn."""
        return False

    @property
    def features(self) -> int:
        """Channels of `surroundings`."""
        return self.calendar.count + len(self.position) + len(self.static)

    @abstractmethod
    def forecast_steps(
        self,
        states: Tensor,
        times: Tensor,
        n_steps: int,
        members: Sequence[int] | None = None,
        seed: int = 0,
        boundary: Iterable[Tensor] | None = None,
        forcing: Iterable[Tensor] | None = None,
    ) -> Iterator[Tensor]:
        """See `climate.models.forecaster.Forecaster`."""

    def forecast(
        self, states: Tensor, times: Tensor, n_steps: int, forcing: Iterable[Tensor] | None = None
    ) -> Tensor:
        """All steps of `forecast_steps` at once: (B, n_steps, C, H, W) physical."""
        steps = self.forecast_steps(states, times, n_steps, forcing=forcing)
        return torch.stack([x[:, 0] for x in steps], 1)

    def forecast_ensemble(
        self,
        states: Tensor,
        times: Tensor,
        n_steps: int,
        members: int,
        seed: int,
        forcing: Iterable[Tensor] | None = None,
    ) -> Tensor:
        """All steps of the first members at once: (B, members, n_steps, C, H, W) physical."""
        steps = self.forecast_steps(states, times, n_steps, range(members), seed, None, forcing)
        return torch.stack(list(steps), 2)

    def around(self, seconds: Tensor) -> tuple[Tensor, ...]:
        """Calendar, position and static fields at times (B,): parts of (B, n, H, W), not copied.

        Without the calendar where training covered none of its cycles.
        """
        clock = (self.calendar(seconds),) if self.calendar.count else ()
        return *clock, *self.ground(len(seconds))

    def surroundings(self, seconds: Tensor) -> Tensor:
        """The parts of `around` in one tensor (B, n, H, W)."""
        return torch.cat(self.around(seconds), 1)

    def ground(self, rows: int) -> tuple[Tensor, Tensor]:
        """Position and static fields of so many samples: two of (B, n, H, W), not copied."""
        shape = (rows, -1, -1, -1)
        return self.position.expand(shape), self.static.expand(shape)

    def standardise(self, states: Tensor) -> Tensor:
        """Physical (..., C, H, W) → standardised, 0 where masked."""
        scaled = (states - self.mean) / self.scale
        return scaled if self.mask is None else scaled.masked_fill_(self.mask, 0.0)

    def unstandardise(self, states: Tensor) -> Tensor:
        """Standardised (..., C, H, W) → physical, NaN where masked."""
        physical = states * self.scale + self.mean
        return physical if self.mask is None else physical.masked_fill_(self.mask, torch.nan)

    def present(self, fields: Tensor) -> Tensor:
        """Fields (..., C, H, W) with 0 where masked."""
        return fields if self.mask is None else fields.masked_fill(self.mask, 0.0)

    def at_step_end(self, state: Tensor) -> Tensor:
        """States (..., C, H, W) after a model step: with one value at each pole of the grid."""
        return state if self.pole_rows is None else self.pole_rows(state, self.mask)

    def weigh(self, weights: Sequence[float] | None) -> None:
        """Count channels in losses by weights (C,) of mean 1; None: all alike."""
        self.channel_weight = None
        if weights is not None:
            self.channel_weight = self.change.new_tensor(weights).view(-1, 1, 1)

    @property
    def loss_weight(self) -> Tensor:
        """What a point counts in a loss, of mean 1: (H, 1), (C, H, 1) or with a mask (C, H, W)."""
        if self.channel_weight is None:
            return self.score_area
        return self.score_area * self.channel_weight

    def average(self, values: Tensor) -> Tensor:
        """Weighted mean over channels and area of (..., C, H, W), without masked points: (...)."""
        return (values * self.loss_weight).mean((-3, -2, -1))
