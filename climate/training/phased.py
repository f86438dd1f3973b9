"""VGB-DM's training in phases (docs/method/weather.md#phases): one objective, one schedule.

Shapes: ``B`` samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import ClassVar

from torch import Tensor, nn

from climate.models.field import StateWindows, WeatherField
from vgbdm.objectives.matching import Matching
from vgbdm.objectives.places import Sampler
from vgbdm.objectives.rollouts import RolloutMatching
from vgbdm.options.kinds import AtLeastTwo, NotNegative, Seed, Size
from vgbdm.paths.path import Path
from vgbdm.registry.marks import buildable


class Phase(IntEnum):
    """What the schedule ``phase`` says."""

    DETERMINISTIC = 0
    LATENTS = 1
    DRAWS = 2
    ROLLOUTS = 3


@buildable
class Phased:
    """Matching without latents, matching with them, then forecasts by what they draw.

    First the field alone, at the cost of a deterministic one: latents are off. Then matching with
    them, by posterior and prior. Then the fair CRPS of draws from the prior alone, which are what
    forecasts use. Then short forecasts of such members. A phase of no length is left out. Of a
    deterministic field the first three are one. Parts of which a phase makes no use have gradients
    of zero then, not none, so that all engines see the same parameters at every step.

    Args:
        path: between the frames that are matched.
        places: where windows and matches are.
        seed: of the run.
        ahead: model steps of the forecasts of the last phase.
        members: draws per sample of a stochastic field in that phase.
        checkpoint: recompute activations backwards there rather than keep those of every call.
        later_noise: share of the scheduled ``noise`` that phases after the first have: what draws
            spread by is learned of states with it, and forecasts begin without.
    """

    SCHEDULES: ClassVar[tuple[str, ...]] = ("phase", *Matching.SCHEDULES, "horizon")
    """What it reads of the values of schedules."""

    def __init__(
        self,
        path: Path,
        places: Sampler,
        seed: Seed,
        ahead: Size,
        members: AtLeastTwo,
        checkpoint: bool = False,
        later_noise: NotNegative = 1.0,
    ) -> None:
        self.later_noise = later_noise
        self.matching = Matching[StateWindows](path, places, seed)
        self.rollout = RolloutMatching[StateWindows](ahead, seed, None, members, checkpoint)

    @property
    def ahead(self) -> int:
        """Frames of a window after the current one."""
        return max(self.matching.ahead, self.rollout.ahead)

    def __call__(
        self, field: WeatherField, batch: StateWindows, values: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Terms per sample (B,): ``loss`` and its parts, those of the phase.

        Args:
            field: what learns.
            batch: windows with `ahead` states after the current one.
            values: schedules at this step: ``phase`` (see `Phase`), and those of its parts.
        """
        phase, latents = Phase(round(values["phase"])), field.latents
        if phase is not Phase.DETERMINISTIC:
            values = {**values, "noise": self.later_noise * values.get("noise", 0.0)}
        idle: nn.Module | None = None if latents is None else latents.posterior
        if phase is Phase.ROLLOUTS:
            terms = self.rollout(field, batch, values)
        elif phase is Phase.DRAWS and latents is not None:
            terms = self.matching.of_draws(field, batch, values)
        else:
            terms = self.matching(field, batch, values, phase is not Phase.DETERMINISTIC)
            idle = latents if phase is Phase.DETERMINISTIC else None
        if idle is not None:
            terms["loss"] = terms["loss"] + 0.0 * total_of(idle)
            if phase is Phase.DETERMINISTIC and field.trunk.drawn is not None:
                terms["loss"] = terms["loss"] + 0.0 * total_of(field.trunk.drawn)
        return terms


def total_of(part: nn.Module) -> Tensor | float:
    """The sum of what is trained of a part."""
    return sum(p.sum() for p in part.parameters() if p.requires_grad)
