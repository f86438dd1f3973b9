"""Objectives that need a weather model.

Shapes: ``B`` samples, ``F`` frames, ``S`` model steps, ``C`` channels, ``H`` latitudes, ``W``
longitudes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor

from climate.models.climode.model import ClimODE
from climate.models.weather_model import WeatherModel
from climate.store.layout import TrainingStore
from climate.stream.batches import WeatherBatch
from climate.training.initial_wind import InitialWinds, initial_winds
from vgbdm.errors import InputError
from vgbdm.options.kinds import Size
from vgbdm.registry.marks import buildable
from vgbdm.training.backends.base import Backend


@runtime_checkable
class Prepared(Protocol):
    """An objective that reads something beside the states, made before the stream opens."""

    def prepare(
        self, field: WeatherModel, store: TrainingStore, backend: Backend, aside: Path
    ) -> InitialWinds:
        """An array with a row for each time of the store. *Collective.*"""


@buildable
class GaussianLikelihood:
    """Negative log-likelihood of states under ClimODE's emission (docs/method/weather.md#climode).

    A sample's loss is the mean over steps, channels by their weights, and the sphere by area,
    masked points left out, of ½ (y - m)² / s² + log s, everything in standard deviations, plus
    ``prior`` · (-log prior of θ).

    Args:
        ahead: states of a window after the current one, all scored.
    """

    SCHEDULES: ClassVar[tuple[str, ...]] = ("prior",)
    """What it reads of the values of schedules."""

    def __init__(self, ahead: Size) -> None:
        if ahead < 1:
            raise InputError(f"objective.ahead={ahead}: at least 1 state must be scored")
        self.ahead = ahead

    def prepare(
        self, field: WeatherModel, store: TrainingStore, backend: Backend, aside: Path | None = None
    ) -> InitialWinds:
        """What the stream must bring along: the winds fitted to the past. *Collective.*

        They are kept in the folder ``aside`` where the store is read-only.
        """
        return initial_winds(_climode(field), store, backend, aside)

    def __call__(
        self, field: ClimODE, batch: WeatherBatch, values: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Terms per sample (B,): ``loss``, what is minimised, and its parts.

        Args:
            field: the model.
            batch: windows, and beside them the winds fitted to their past.
            values: schedules at this step: ``prior``.
        """
        _climode(field)
        assert batch.aside is not None
        frames = field.standardise(batch.states)
        now, truth = frames[:, -self.ahead - 1], frames[:, -self.ahead :]
        answer = field.predict(now, batch.aside, batch.times, self.ahead)
        error = truth - answer.mean
        density = 0.5 * (error / answer.std).square() + answer.std.log()
        likelihood = (density * field.loss_weight).mean((1, 2, 3, 4))
        distance = ((error / field.change).square() * field.loss_weight).mean((1, 2, 3, 4))
        prior = field.theta.penalty().expand_as(likelihood)
        return {
            "loss": likelihood + values["prior"] * prior,
            "likelihood": likelihood,
            "distance": distance.detach(),
            "prior": prior,
            "courant": field.courant(batch.aside).detach(),
        }


def _climode(field: object) -> ClimODE:
    if not isinstance(field, ClimODE):
        raise InputError(
            f"objective: GaussianLikelihood is of ClimODE; a {type(field).__name__} has no emission"
        )
    return field
