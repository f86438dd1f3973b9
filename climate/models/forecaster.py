"""What is asked of whatever forecasts: trained models, and stand-ins for them.

Shapes: ``B`` starts, ``F`` frames of history, ``S`` steps, ``C`` channels, ``H`` latitudes, ``W``
longitudes.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Forecaster(Protocol):
    """A model of states on a grid.

    It may have besides: ``stochastic``, true where it is an `EnsembleForecaster`; and ``domain``,
    with which it may forecast from another store than it was trained on.
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

    def forecast(self, states: Tensor, times: Tensor, n_steps: int) -> Tensor:
        """(B, S, C, H, W) physical, from physical (B, F, C, H, W) and seconds (B,) since 1970."""


class EnsembleForecaster(Forecaster, Protocol):
    """A model whose forecasts can be drawn."""

    def forecast_ensemble(
        self, states: Tensor, times: Tensor, n_steps: int, members: int, seed: int
    ) -> Tensor:
        """(B, members, S, C, H, W) physical."""


class TrainedForecaster(EnsembleForecaster, Protocol):
    """A forecaster that is being trained, and its units."""

    scale: Tensor
    """(C, 1, 1) standard deviations."""
    change: Tensor
    """(C, 1, 1) rms change per step in standard deviations."""
