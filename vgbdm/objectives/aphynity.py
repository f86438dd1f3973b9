"""APHYNITY: the smallest residual that explains the trajectories (docs/method.md#baselines)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from vgbdm.errors import InputError
from vgbdm.fields.grey_box import Batch, GreyBoxField
from vgbdm.objectives.matching import sizes_of
from vgbdm.objectives.rollouts import RolloutMatching, Simulated, observed, weighted_kl
from vgbdm.registry.marks import buildable


@buildable
class Aphynity(RolloutMatching[Batch]):
    """min ‖f_net‖² + Λ · trajectory error, Λ growing; θ amortised by the encoder.

    Source: Yin et al. 2021. Their multiplier grows by the error it multiplies; here it is a
    schedule, ``values["multiplier"]``, so that a resumed run has the same one.
    """

    SCHEDULES: ClassVar[tuple[str, ...]] = ("multiplier",)
    """What it reads of the values of schedules, beside those of its base."""

    def __call__(
        self, field: GreyBoxField[Batch], batch: Batch, values: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Terms per sample (B,); ``values``: ``multiplier``, ``beta_theta``, ``beta_zeta``."""
        if not field.grey:
            raise InputError("aphynity: a black box has no physics whose complement could be small")
        done = self.simulate(field, batch, values)
        rows = done.states.shape[:2]
        past = field.past(visited_histories(field, done))
        context = field.context(past, done.latents, rows[1])
        clock = done.begin.clock[:, 1:].flatten()
        answer = field(done.states.flatten(0, 1), clock, context)
        effort = sizes_of(answer, rows).sum(1)
        loss = effort + values["multiplier"] * done.error + weighted_kl(done.kl, values)
        return {"loss": loss, "trajectory": done.error, "effort": effort, **done.kl}


def visited_histories(field: GreyBoxField[Batch], done: Simulated) -> Tensor | None:
    """(B · H, K, C, ...) the frames up to every simulated state; None where none are needed."""
    if not field.memory:
        return None
    seen = torch.cat((done.begin.history, observed(field, done.states)), 1)
    steps = done.states.shape[1]
    windows = [seen[:, k + 1 : k + 1 + field.memory] for k in range(steps)]
    return torch.stack(windows, 1).flatten(0, 1)
