"""Fine-tuning by rollout: forecasts of several steps against what came.

See docs/weather.md#tuning-by-rollout.

Shapes: ``M`` members, ``B`` samples, ``L`` frames of a window, ``S`` steps, ``...`` axes of the
state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vgbdm.errors import InputError
from vgbdm.objectives.matching import WindowBatch
from vgbdm.scores import crps


class RolloutTuning:
    """Area-weighted error of rollouts in units of the change per step, averaged over their steps.

    The mean square error of the one forecast of a deterministic field; the fair CRPS of ``members``
    draws from the prior of a stochastic one. ``prior`` · (-log prior of θ) is added.

    Args:
        ahead: steps of the longest rollout.
        members: draws per sample of a stochastic field, keyed by (seed, sample).
        checkpoint: recompute activations backwards rather than keep those of every field call.
        seed: of the run.
    """

    def __init__(self, ahead: int, members: int, checkpoint: bool, seed: int) -> None:
        if ahead < 1 or members < 2:
            raise InputError(
                f"objective: ahead={ahead} members={members}; want at least 1 step and 2 members"
            )
        self.ahead, self.members, self.checkpoint, self.seed = ahead, members, checkpoint, seed

    def __call__(
        self, field: Any, batch: WindowBatch, values: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Terms per sample (B,): ``loss`` and its parts.

        Args:
            field: with `standardise`, `simulate`, `members`, `stochastic`, `penalty` and units.
            batch: windows with ``ahead`` states after the current one.
            values: schedules at this step: ``horizon`` (steps, rounded; the same on every rank, so
                that each makes as many field calls) and ``prior``.
        """
        current = batch.states.shape[1] - 1 - self.ahead
        steps = min(max(round(values["horizon"]), 1), self.ahead)
        past = batch.states[:, : current + 1]
        truth = field.standardise(batch.states[:, current + 1 : current + 1 + steps])
        numbers = range(self.members if field.stochastic else 1)
        members = field.members(self.seed, batch.ids, numbers)
        past, times = (x.repeat_interleave(len(numbers), 0) for x in (past, batch.times))
        run = field.simulate(past, times, steps, members, checkpoint=self.checkpoint)
        drawn = torch.stack(list(run), 1).unflatten(0, (-1, len(numbers))).transpose(0, 1)
        if field.stochastic:
            score = crps(field.in_changes(drawn), field.in_changes(truth))
            error = field.area_mean(score).mean(1)
        else:
            error = field.mean_square(drawn[0] - truth).mean(1)
        terms, loss, prior = {"rollout": error}, error, field.penalty()
        if prior is not None:
            terms["prior"] = prior.expand_as(error)
            loss = loss + values["prior"] * terms["prior"]
        return {"loss": loss, **terms}
