"""What is asked of whatever forecasts: trained models, and stand-ins for them.

Shapes: ``B`` starts, ``F`` frames of history, ``M`` members, ``C`` channels, ``P`` prognostic ones,
``K`` forcing ones, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from torch import Tensor


class Forecaster(Protocol):
    """A model of states on a grid.

    It may have besides: ``stochastic``, true where members can be drawn; ``domain``, with which it
    may forecast from another store than it was trained on; ``region``, the box it sees; and
    ``forcing`` and ``diagnostic``, channels with these roles, see `climate.models.roles`.
    """

    @property
    def step_seconds(self) -> int:
        """The model's step."""

    @property
    def history(self) -> int:
        """Past states a forecast needs besides the current one."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Short names of the state's channels."""

    @property
    def statistics_hash(self) -> str:
        """Of the training statistics of the store it was trained on."""

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
        """Forecast step by step; nothing is kept of the steps before.

        Args:
            states: (B, F, C, H, W) physical, the last frame is the initial state.
            times: (B,) int64 seconds since 1970 of the initial state.
            n_steps: model steps.
            members: numbers of the members to draw, each of which depends on (seed, initial time,
                its number) alone; only of a ``stochastic`` model. Number -1 - n should be drawn by
                the opposite of what n is drawn by, and may be independent of it. None: one forecast
                without draws.
            seed: of the draws.
            boundary: of a model with a ``region``: prognostic channels (B, 1 or M, P, H, W) at each
                step, physical, of which the halo is taken; None: it evolves by itself.
            forcing: of a model with ``forcing`` alone: these channels (B, 1 or M, K, H, W) at each
                step, physical; asked for step by step.

        Yields:
            (B, M, C, H, W) physical, of which forcing channels are what was given.
        """


class TrainedForecaster(Forecaster, Protocol):
    """A forecaster that is being trained, and its units."""

    scale: Tensor
    """(C, 1, 1) standard deviations."""
    change: Tensor
    """(C, 1, 1) rms change per step in standard deviations."""


def forcing_of(model: Forecaster) -> tuple[str, ...]:
    """The channels that a forecaster is to be given ahead."""
    return tuple(getattr(model, "forcing", ()))


def prognostic_of(model: Forecaster) -> tuple[str, ...]:
    """The channels that a forecaster steps forward."""
    others = {*forcing_of(model), *getattr(model, "diagnostic", ())}
    return tuple(name for name in model.channels if name not in others)
