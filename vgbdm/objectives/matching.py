"""Grey-box matching: the velocity of a path between frames (docs/method.md#matching-objective).

Shapes: ``B`` samples, ``M`` matches of a window, ``N`` = B · M, ``L`` frames, ``K`` of a history,
``...`` axes of a frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Generic, NamedTuple

import torch
from torch import Tensor

from vgbdm.dynamics.tendency import Tendency
from vgbdm.errors import InputError
from vgbdm.fields.grey_box import Batch, GreyBoxField, Past, Trajectory, Window, check_grey_box
from vgbdm.latents.latents import NO_LATENTS, LatentDistribution, Latents
from vgbdm.objectives.gauge import gauge
from vgbdm.objectives.places import Places, Sampler, gather, span
from vgbdm.options.kinds import Seed
from vgbdm.paths.path import Path
from vgbdm.randomness import keyed_normal, pair_keys
from vgbdm.registry.marks import buildable
from vgbdm.scores import crps

PAIR = 2
"""Draws from the prior that the CRPS of training compares."""


class Noise(NamedTuple):
    """Normal numbers of a batch; each None where nothing takes it.

    Attributes:
        path: (N, ...) of a path's own noise.
        state: (N, ...) added to states, in the field's units.
        history: (N, K, ...) added to histories.
    """

    path: Tensor | None = None
    state: Tensor | None = None
    history: Tensor | None = None


class Ends(NamedTuple):
    """The interval of each match: nodes (N, k, ...), times (N,) and clock (N,) at both ends."""

    nodes: tuple[Tensor, Tensor]
    times: tuple[Tensor, Tensor]
    clock: tuple[Tensor, Tensor]


@buildable
class Matching(Generic[Batch]):
    """Grey-box flow matching: regress the rate of a path between two frames, without simulation.

    The loss of a sample is the mean square of f - u over the matches of one encoded window, in
    units of the rates, plus what the field has of: β_ζ KL + β_θ KL of its latents' posterior from
    their prior; ``gauge`` · R of what its network adds to physics; ``prior`` · (-log prior of
    learned θ). KL alone leaves what the latents do not explain out of an ensemble's spread, so
    ``crps`` · fair CRPS may be added, of the rates that two draws from the prior give where the
    interval begins: there, no part of the target is in the state yet. Where its weight is 0 it is
    not computed.

    Args:
        path: between the frames.
        places: where windows and matches are.
        seed: of the run.
    """

    SCHEDULES: ClassVar[tuple[str, ...]] = (
        "noise",
        "physics",
        "gauge",
        "prior",
        "crps",
        "beta_theta",
        "beta_zeta",
    )
    """What it reads of the values of schedules."""

    ahead = 1
    """Frames of a window after the current one."""

    def __init__(self, path: Path, places: Sampler, seed: Seed) -> None:
        self.path, self.places, self.seed = path, places, seed

    def __call__(
        self,
        field: GreyBoxField[Batch],
        batch: Batch,
        values: Mapping[str, float],
        latents: bool = True,
    ) -> dict[str, Tensor]:
        """Terms per sample (B,): ``loss``, what is minimised, and its parts.

        Args:
            field: what learns.
            batch: of which it makes trajectories.
            values: schedules at this step: ``physics`` (weight of the physics; 1 without),
                ``noise`` (on states and histories, in rms changes per step; 0 without), and a
                weight for each further term that the field has.
            latents: False: the field is asked without them, as a deterministic one is.
        """
        check_grey_box("matching", field)
        frames, places, noise, ends = self._draw_places(field, batch, values)
        s, weight = places.s.flatten(), values.get("physics", 1.0)
        length = ends.times[1] - ends.times[0]
        state, rate = field.along(self.path, ends.nodes, length, s, noise.path)
        state = perturbed(state, noise.state)
        history = history_of(field, frames, places, noise)
        past = field.past(history) if latents else field.past(history, False)
        drawn = NO_LATENTS
        kl: dict[str, Tensor] = {}
        if latents and field.latent_sizes is not None:
            drawn, kl = self._infer(field, batch.ids, frames, places, past)
        context = field.context(past, drawn, self.places.matches)
        clock = torch.lerp(*ends.clock, s.to(ends.clock[0].dtype))
        answer = field(state, clock, context, weight)
        rows = places.s.shape
        matching = field.mean_square_rate(answer.total - rate, rows[1])
        weighted = {f"beta_{name[3:]}": (name, term) for name, term in kl.items()}
        if latents and field.latent_sizes and values.get("crps"):
            score = self._score_prior(field, batch.ids, ends, past, noise, weight)
            weighted["crps"] = ("crps", score.reshape(rows).mean(1))
        if answer.residual:
            weighted["gauge"] = ("gauge", gauge(sizes_of(answer, rows)))
        prior = field.penalty()
        if prior is not None:
            weighted["prior"] = ("prior", prior.expand_as(matching))
        loss = matching
        for schedule, (_, term) in weighted.items():
            loss = loss + values[schedule] * term
        parts = {"loss": loss, "matching": matching} | dict(weighted.values())
        said = {k: v.detach().reshape(rows).mean(1) for k, v in answer.diagnostics.items()}
        return parts | said

    def of_draws(
        self, field: GreyBoxField[Batch], batch: Batch, values: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """The fair CRPS of draws from the prior alone: nothing is matched, no posterior is made.

        Args:
            field: with latents.
            batch: of which it makes trajectories.
            values: as of a call; of the weights ``crps`` and ``prior``.

        Returns:
            ``loss`` and its parts, (B,) each.
        """
        frames, places, noise, ends = self._draw_places(field, batch, values)
        past = field.past(history_of(field, frames, places, noise))
        weight = values.get("physics", 1.0)
        score = self._score_prior(field, batch.ids, ends, past, noise, weight)
        score = score.reshape(places.s.shape).mean(1)
        parts, loss, prior = {"crps": score}, values["crps"] * score, field.penalty()
        if prior is not None:
            parts["prior"] = prior.expand_as(score)
            loss = loss + values["prior"] * parts["prior"]
        return {"loss": loss} | parts

    def _draw_places(
        self, field: GreyBoxField[Batch], batch: Batch, values: Mapping[str, float]
    ) -> tuple[Trajectory, Places, Noise, Ends]:
        """The frames of a batch, where they are matched, and the noise there."""
        frames = field.trajectory(batch, self.path)
        count, memory = frames.times.shape[1], max(field.memory, 1)
        places = self.places(batch.ids, count, field.window, memory, self.path.edge)
        noise = self.draw_noise(field, batch.ids, frames, values.get("noise", 0.0))
        return frames, places, noise, ends_of_matches(frames, places)

    def draw_noise(
        self, field: GreyBoxField[Batch], ids: Tensor, frames: Trajectory, size: float
    ) -> Noise:
        """Noise keyed by (seed, sample), of ``size`` rms changes on states and histories."""
        if not size and not self.path.needs_noise:
            return Noise()
        matches, shape = self.places.matches, frames.nodes.shape[3:]
        blocks = matches * (2 + field.memory if size else 1)
        drawn = keyed_normal(self.seed, self.places.noise, ids, blocks * math.prod(shape))
        drawn = drawn.to(frames.nodes.dtype).unflatten(1, (blocks, *shape))
        own = drawn[:, :matches].flatten(0, 1)
        if not size:
            return Noise(own)
        added = field.from_changes(size * drawn[:, matches:])
        state, history = added[:, :matches].flatten(0, 1), None
        if field.memory:
            history = added[:, matches:].reshape(-1, field.memory, *shape)
        return Noise(own, state, history)

    def _infer(
        self,
        field: GreyBoxField[Batch],
        ids: Tensor,
        frames: Trajectory,
        places: Places,
        past: Past,
    ) -> tuple[Latents, dict[str, Tensor]]:
        """A draw from the posterior of each window, and its distances (B,) from the prior."""
        if past.prior is not None and self.places.matches > 1:
            raise InputError(
                f"matching: matches={self.places.matches}: latents whose prior follows from the "
                "history have one match a window; take LastInterval"
            )
        latents, posterior = draw_posterior(field, ids, frames, places.start, past, self.seed)
        return latents, posterior.kl(past.prior)

    def _score_prior(
        self,
        field: GreyBoxField[Batch],
        ids: Tensor,
        ends: Ends,
        past: Past,
        noise: Noise,
        weight: float,
    ) -> Tensor:
        """Fair CRPS (N,) of two draws' rates where the intervals begin, in units of the rates."""
        matches = self.places.matches
        if matches > 1:  # each match is a case of its own
            ids = pair_keys(ids, torch.arange(matches, device=ids.device))
        length = ends.times[1] - ends.times[0]
        begin = torch.zeros_like(length)
        start, rate = field.along(self.path, ends.nodes, length, begin, noise.path)
        start = perturbed(start, noise.state)
        start, clock = (x.repeat_interleave(PAIR, 0) for x in (start, ends.clock[0]))
        members = field.members(self.seed, ids, range(PAIR))
        context = field.next_context(past, members)
        drawn = field(start, clock, context, weight).total.unflatten(0, (-1, PAIR)).transpose(0, 1)
        return field.average(crps(field.rate_units(drawn), field.rate_units(rate)))


def draw_posterior(
    field: GreyBoxField[Batch],
    ids: Tensor,
    frames: Trajectory,
    start: Tensor,
    past: Past,
    seed: int,
) -> tuple[Latents, LatentDistribution]:
    """A draw from the posterior of the windows that begin at ``start`` (B,), and the posterior."""
    sizes = field.latent_sizes
    assert sizes is not None
    chosen = span(start, field.window)
    cached = None if frames.cached is None else frames.cached.windows(start)
    window = Window(gather(frames.frames, chosen), gather(frames.times, chosen), cached)
    noise = keyed_normal(seed, "latents", ids, sizes.total).to(frames.nodes.dtype)
    posterior, latents = field.infer(window, past, noise)
    return latents, posterior


def perturbed(state: Tensor, noise: Tensor | None) -> Tensor:
    """States (N, ...) with noise on what frames show of them."""
    if noise is None or noise.shape == state.shape:
        return state if noise is None else state + noise
    shown = noise.shape[1]
    return torch.cat((state[:, :shown] + noise, state[:, shown:]), 1)


def ends_of_matches(frames: Trajectory, places: Places) -> Ends:
    """Both ends of the interval of each match."""
    both = (places.interval, places.interval + 1)
    parts = (frames.nodes, frames.times, frames.clock)
    first, last = (tuple(gather(values, at).flatten(0, 1) for values in parts) for at in both)
    return Ends(*zip(first, last, strict=True))


def history_of(
    field: GreyBoxField[Batch], frames: Trajectory, places: Places, noise: Noise
) -> Tensor | None:
    """(N, K, ...) frames up to the start of each match's interval, with noise."""
    if not field.memory:
        return None
    chosen = span(places.interval + 1 - field.memory, field.memory)
    found = gather(frames.frames, chosen.flatten(1)).unflatten(1, chosen.shape[1:]).flatten(0, 1)
    return found if noise.history is None else found + noise.history


def sizes_of(answer: Tendency, rows: tuple[int, ...]) -> Tensor:
    """Mean square (B, parts) of each part of the network over one sample's matches."""
    parts = [x.reshape(*rows, x.shape[1], -1).mean((1, 3)) for x in answer.residual.values()]
    return torch.cat(parts, 1)
