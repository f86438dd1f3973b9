"""Error of simulated trajectories: NODE, fine-tuning, ensembles (docs/method.md#rollout).

Shapes: ``B`` samples, ``M`` members, ``H`` simulated frames, ``K`` of a history, ``Q`` components
of the integrated state, ``...`` axes of a frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Generic, NamedTuple

import torch
from torch import Tensor

from vgbdm.errors import InputError
from vgbdm.fields.grey_box import Batch, GreyBoxField, Past, Trajectory, check_grey_box
from vgbdm.latents.latents import NO_LATENTS, Latents
from vgbdm.latents.members import Members
from vgbdm.objectives.matching import draw_posterior
from vgbdm.objectives.places import first_frames, frames_between, gather, span
from vgbdm.options.kinds import AtLeastTwo, Seed, Size
from vgbdm.paths.path import Path
from vgbdm.randomness import keyed_uniform
from vgbdm.registry.marks import buildable
from vgbdm.scores import crps


class Begin(NamedTuple):
    """Where a simulation begins, and what came.

    Attributes:
        frames: of the batch.
        at: (B,) frame where the simulation starts.
        start: (B, Q, ...) states there.
        history: (B, K, ...) frames up to there.
        times: (B, H + 1) of the initial and the simulated states.
        clock: (B, H + 1) of the same, as the field is given it.
        truth: (B, H, ...) frames of the simulated times.
    """

    frames: Trajectory
    at: Tensor
    start: Tensor
    history: Tensor
    times: Tensor
    clock: Tensor
    truth: Tensor


class Simulated(NamedTuple):
    """A trajectory simulated with latents of its window.

    Attributes:
        begin: where.
        window: (B,) first frame of the encoded window; None: nothing is encoded.
        latents: the draw.
        kl: by name, (B,) distances of their posterior from the prior.
        states: (B, H, Q, ...).
        error: (B,) mean square distance to the data, in the unit of states.
    """

    begin: Begin
    window: Tensor | None
    latents: Latents
    kl: dict[str, Tensor]
    states: Tensor
    error: Tensor


@buildable
class RolloutMatching(Generic[Batch]):
    """Error of trajectories simulated with the test-time solver, in the unit of states.

    Simulations start anywhere, the frames where forecasts do among them. With latents of a window's
    posterior: the mean square, plus the KL terms. With a black-box field this is the black-box
    NODE; after matching, a fine-tuning stage. With ``members``: what forecasts do. Latents are
    drawn from the prior, and a stochastic field pays the fair CRPS of its members, a deterministic
    one the mean square of its one forecast. ``prior`` · (-log prior of learned θ) is added.

    Args:
        ahead: frames simulated, at most as many as there are.
        seed: of the run.
        path: gives the initial states, velocities among them where only positions are observed;
            None: they are the frames.
        members: draws per sample from the prior, keyed by (seed, sample); None: one, from the
            posterior.
        checkpoint: recompute activations backwards rather than keep those of every field call.
    """

    SCHEDULES: ClassVar[tuple[str, ...]] = ("horizon", "prior", "beta_theta", "beta_zeta")
    """What it reads of the values of schedules."""

    def __init__(
        self,
        ahead: Size,
        seed: Seed,
        path: Path | None = None,
        members: AtLeastTwo | None = None,
        checkpoint: bool = False,
    ) -> None:
        if ahead < 1 or (members is not None and members < 2):
            raise InputError(
                f"objective: ahead={ahead} members={members}; want at least 1 step and 2 members"
            )
        self.ahead, self.seed, self.path = ahead, seed, path
        self.members, self.checkpoint = members, checkpoint

    def __call__(
        self, field: GreyBoxField[Batch], batch: Batch, values: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Terms per sample (B,): ``loss`` and its parts.

        Args:
            field: what learns.
            batch: of which it makes trajectories.
            values: schedules at this step: ``horizon`` (frames, rounded; all without; the same on
                every rank, so that each makes as many field calls), ``beta_theta``, ``beta_zeta``
                and ``prior`` for what the field has of them.
        """
        check_grey_box("objective", field)
        if self.members is None:
            done = self.simulate(field, batch, values)
            terms, loss = {"trajectory": done.error, **done.kl}, done.error
            loss = loss + weighted_kl(done.kl, values)
        else:
            loss = self._forecast_error(field, batch, values, self.members)
            terms = {"rollout": loss}
        prior = field.penalty()
        if prior is not None:
            terms["prior"] = prior.expand_as(loss)
            loss = loss + values["prior"] * terms["prior"]
        return {"loss": loss, **terms}

    def simulate(
        self, field: GreyBoxField[Batch], batch: Batch, values: Mapping[str, float]
    ) -> Simulated:
        """Encode a window, simulate from a start anywhere, compare with the data."""
        begin = self.begin(field, batch, values)
        past, latents, kl = field.past(begin.history), NO_LATENTS, {}
        window = None
        if field.latent_sizes is not None:
            window = self.window(field, batch.ids, begin, past)
            latents, posterior = draw_posterior(
                field, batch.ids, begin.frames, window, past, self.seed
            )
            kl = posterior.kl(past.prior)
        states = self._march(field, begin, latents, 1)
        error = field.mean_square_state(observed(field, states) - begin.truth)
        return Simulated(begin, window, latents, kl, states, error)

    def window(self, field: GreyBoxField[Batch], ids: Tensor, begin: Begin, past: Past) -> Tensor:
        """First frames (B,) of the windows that simulations have their latents from.

        As of `WindowSampler`: half of them where evaluation encodes, the others anywhere, so that
        they hold a share of the frames that are scored. A posterior that is given the history reads
        on from it.
        """
        if past.prior is not None:
            return begin.at - max(field.memory - 1, 0)
        draws = keyed_uniform(self.seed, "windows", ids, 2)
        return first_frames(draws, begin.frames.times.shape[1] - field.window)

    def begin(self, field: GreyBoxField[Batch], batch: Batch, values: Mapping[str, float]) -> Begin:
        """Where simulations begin: uniform over the frames that have ``ahead`` more behind them."""
        frames = field.trajectory(batch, self.path)
        length, depth = frames.times.shape[1], max(field.memory, 1)
        ahead = min(self.ahead, length - depth)
        steps = min(max(round(values.get("horizon", ahead)), 1), ahead)
        draws = keyed_uniform(self.seed, "starts", batch.ids, 1)
        at = frames_between(draws[:, 0], depth - 1, length - 1 - ahead)
        chosen = span(at, steps + 1)
        history = gather(frames.frames, span(at - depth + 1, depth))
        return Begin(
            frames,
            at,
            self._start(field, frames, at, history),
            history,
            gather(frames.times, chosen),
            gather(frames.clock, chosen),
            gather(frames.frames, chosen[:, 1:]),
        )

    def _start(
        self, field: GreyBoxField[Batch], frames: Trajectory, at: Tensor, history: Tensor
    ) -> Tensor:
        """States (B, Q, ...) at frames ``at`` (B,)."""
        if self.path is None:
            return field.from_frames(history[:, -1])
        rows = torch.arange(len(at), device=at.device)
        a, b = frames.nodes[rows, at], frames.nodes[rows, at + 1]
        length = frames.times[rows, at + 1] - frames.times[rows, at]
        return field.along(self.path, (a, b), length, torch.zeros_like(length))[0]

    def _march(
        self,
        field: GreyBoxField[Batch],
        begin: Begin,
        latents: Latents | Members | None,
        rows: int,
    ) -> Tensor:
        """(B · rows, H, Q, ...) simulated states, those of a sample side by side."""
        start, history, clock, lengths = begin.start, begin.history, begin.clock, begin.times.diff()
        if rows > 1:
            start, history, clock, lengths = (
                x.repeat_interleave(rows, 0) for x in (start, history, clock, lengths)
            )
        driving = field.follows(x.repeat_interleave(rows, 0) for x in begin.truth.unbind(1))
        march = field.march(
            start, history, clock, lengths, latents, checkpoint=self.checkpoint, driving=driving
        )
        return torch.stack(list(march), 1)

    def _forecast_error(
        self,
        field: GreyBoxField[Batch],
        batch: Batch,
        values: Mapping[str, float],
        members: int,
    ) -> Tensor:
        """(B,) mean over steps of the error of a forecast, or of the fair CRPS of its members."""
        begin = self.begin(field, batch, values)
        draws = field.members(self.seed, batch.ids, range(members))
        rows = 1 if draws is None else members
        states = observed(field, self._march(field, begin, draws, rows))
        if draws is None:
            return field.mean_square_state(states - begin.truth)
        drawn = states.unflatten(0, (-1, members)).transpose(0, 1)
        score = crps(field.state_units(drawn), field.state_units(begin.truth))
        return field.average(score).mean(1)


def observed(field: GreyBoxField[Batch], states: Tensor) -> Tensor:
    """(B, H, C, ...) what frames show of states (B, H, Q, ...)."""
    return field.observe(states.flatten(0, 1)).unflatten(0, states.shape[:2])


def weighted_kl(kl: Mapping[str, Tensor], values: Mapping[str, float]) -> Tensor | float:
    """β_ζ KL_ζ + β_θ KL_θ, (B,)."""
    return sum(values[f"beta_{name[3:]}"] * term for name, term in kl.items())
