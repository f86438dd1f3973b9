"""Flow matching on short windows: one history, one interval, one match per sample.

Shapes: ``B`` samples, ``L`` frames of a window, ``...`` axes of the state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from vgbdm.objectives.gauge import gauge
from vgbdm.paths import Path
from vgbdm.randomness import keyed_normal, keyed_uniform
from vgbdm.scores import crps

PAIR = 2
"""Draws from the prior that the CRPS of training compares."""


class WindowBatch(Protocol):
    """What an objective reads of a batch."""

    states: Tensor
    """(B, L, ...) physical, oldest first; the last two frames are the current and the next."""
    times: Tensor
    """(B,) seconds of the current frame."""
    ids: Tensor
    """(B,) sample ids: the keys of all randomness."""


class FlowMatching:
    """Grey-box flow matching: regress the velocity of a path between two frames.

    See docs/method.md#paths, docs/method.md#gauge and docs/weather.md#weather-objective.

    The loss of a sample is the mean square of f - u in units of the change per step, plus, where
    the field has them, ``gauge`` · R (`vgbdm.objectives.gauge`) of what its network adds to
    physics and ``prior`` · (-log prior of θ).

    A stochastic field draws its latents from their posterior given history and target, which costs
    ``beta_zeta`` · KL + ``beta_theta`` · KL. That alone leaves what the latents do not explain out
    of an ensemble's spread, so ``crps`` · fair CRPS is added, of the velocities that two draws from
    the prior give at the current state: there, no part of the target is in the state yet. Where
    its weight is 0 it is not computed.

    Args:
        path: between the frames.
        seed: of the run.
    """

    ahead = 1
    """States of a window after the current one."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.seed = path, seed

    def draws(self, batch: WindowBatch, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Per sample, keyed by (seed, id): positions s (B,) and normal noise (B, L + 1, ...).

        The noise is that of the path, of the state, and of the L - 1 frames of history.
        """
        shape = (frames.shape[1] + 1, *frames.shape[2:])
        positions = keyed_uniform(self.seed, "positions", batch.ids, 1)[:, 0]
        noise = keyed_normal(self.seed, "matching", batch.ids, math.prod(shape))
        return positions.to(frames.dtype), noise.to(frames.dtype).unflatten(1, shape)

    def __call__(
        self, field: Any, batch: WindowBatch, values: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Terms per sample (B,): ``loss``, what is minimised, and its parts.

        Args:
            field: with `standardise`, `past`, `infer`, `penalty`, `step_seconds`, `stochastic`
                and, where that is true, `draw`, `members` and units.
            batch: windows.
            values: schedules at this step: ``noise`` (on state and history, in rms changes per
                step), ``physics`` (weight of the physics), and a weight for each further term that
                the field has.
        """
        frames = field.standardise(batch.states)
        s, noise = self.draws(batch, frames)
        length = frames.shape[1]
        times = torch.arange(length, device=frames.device, dtype=frames.dtype).expand(len(s), -1)
        nodes = self.path.nodes(frames, times)
        point = self.path(nodes[:, -2], nodes[:, -1], torch.ones_like(s), s, noise[:, 0])
        seconds = batch.times.double() + s.double() * field.step_seconds
        added = field.from_changes(values["noise"] * noise[:, 1:])
        state, history = point.state + added[:, 0], frames[:, :-1] + added[:, 1:]
        past = field.past(history)
        context, kl = field.infer(
            past,
            frames[:, -1] - frames[:, -2],
            lambda count: keyed_normal(self.seed, "latents", batch.ids, count).to(frames.dtype),
        )
        weight = values.get("physics", 1.0)
        answer = field(state, seconds, context, weight)
        matching = field.mean_square(answer.total - point.velocity)
        weighted = {f"beta_{name[3:]}": (name, term) for name, term in kl.items()}
        if field.stochastic and values["crps"]:
            zero = torch.zeros_like(s)
            begin = self.path(nodes[:, -2], nodes[:, -1], zero + 1, zero, noise[:, 0])
            start = begin.state + added[:, 0]
            score = self.score_prior(field, batch, past, start, begin.velocity, weight)
            weighted["crps"] = ("crps", score)
        if answer.residual:
            sizes = [part.flatten(1).mean(1) for part in answer.residual.values()]
            weighted["gauge"] = ("gauge", gauge(torch.stack(sizes, 1)))
        prior = field.penalty()
        if prior is not None:
            weighted["prior"] = ("prior", prior.expand_as(matching))
        loss = matching
        for schedule, (_, term) in weighted.items():
            loss = loss + values[schedule] * term
        parts = {"loss": loss, "matching": matching} | dict(weighted.values())
        return parts | {name: part.detach() for name, part in answer.diagnostics.items()}

    def score_prior(
        self,
        field: Any,
        batch: WindowBatch,
        past: Any,
        start: Tensor,
        velocity: Tensor,
        weight: float,
    ) -> Tensor:
        """Fair CRPS (B,) of two draws' velocities at ``start``, in units of the change per step."""
        numbers = range(PAIR)
        start, times = (x.repeat_interleave(PAIR, 0) for x in (start, batch.times.double()))
        context = field.draw(past, field.members(self.seed, batch.ids, numbers))
        drawn = field(start, times, context, weight).total.unflatten(0, (-1, PAIR)).transpose(0, 1)
        members, truth = field.in_changes(drawn), field.in_changes(velocity)
        score: Tensor = field.area_mean(crps(members, truth))
        return score
