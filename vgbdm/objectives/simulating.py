"""The objectives that simulate: NODE, PhysVAE, APHYNITY, and fine-tuning by rollout.

See docs/method.md#baselines.

Shapes: ``B`` trajectories, ``H`` simulated frames, ``C`` components, ``...`` axes of a grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from vgbdm.latent_field import Context, LatentField, known_field, simulate_physics
from vgbdm.latents import Latents, Posterior
from vgbdm.objectives.variational import draw_latents, kl_terms, weighted_kl
from vgbdm.objectives.windows import TrajectoryBatch, first_frames, gather, span
from vgbdm.paths import Path
from vgbdm.randomness import keyed_normal, keyed_uniform

OVERFLOW = 100.0
"""Standard deviations beyond which a simulation from a drawn θ has left the solver's stability."""


class Simulated(NamedTuple):
    """A window's posterior and draw, and the trajectory simulated from its first frame.

    Attributes:
        posterior: of the window.
        latents: the draw.
        start: (B, Q, ...) initial states.
        times: (B, H + 1) of the initial and the simulated states.
        states: (B, H, Q, ...).
        error: (B,) mean square distance to the data, in standard deviations.
        begin: (B,) frames where the simulation starts.
    """

    posterior: Posterior
    latents: Latents
    start: Tensor
    times: Tensor
    states: Tensor
    error: Tensor
    begin: Tensor


class RolloutMatching:
    """Squared error of trajectories simulated with the test-time solver, plus the KL terms.

    With a black-box field this is the black-box NODE; after matching, a fine-tuning stage.

    Args:
        horizon: frames simulated from the first of a window.
        path: gives initial velocities where only positions are observed.
        seed: of the run.
    """

    def __init__(self, horizon: int, path: Path, seed: int) -> None:
        self.horizon, self.path, self.seed = horizon, path, seed

    def simulate(self, field: LatentField, batch: TrajectoryBatch) -> Simulated:
        """Encode a window, simulate from its first frame, compare with the data."""
        frames = batch.times.shape[1]
        horizon = min(self.horizon, frames - 1)
        draws = keyed_uniform(self.seed, "windows", batch.ids, 2)
        depth = field.history if field.everything else 1
        last = frames - max(field.window, horizon + 1) - (depth - 1)
        first = first_frames(draws, last)
        posterior, latents = draw_latents(field, batch, first, self.seed)
        begin = first + depth - 1
        chosen = span(begin, horizon + 1)
        times = gather(batch.times, chosen)
        history = gather(batch.nodes[:, :, 0], span(first, depth))
        start = self._start(field, batch, begin)
        states = field.simulate(start, history, times, latents)
        truth = gather(batch.nodes[:, :, 0], chosen[:, 1:])
        distance = (states[:, :, : field.size] - truth) / field.std[: field.size]
        error = distance.flatten(1).square().mean(1)
        return Simulated(posterior, latents, start, times, states, error, begin)

    def _start(self, field: LatentField, batch: TrajectoryBatch, begin: Tensor) -> Tensor:
        """States (B, Q, ...) at frames ``begin`` (B,)."""
        rows = torch.arange(len(begin), device=begin.device)
        a, b = batch.nodes[rows, begin], batch.nodes[rows, begin + 1]
        length = batch.times[rows, begin + 1] - batch.times[rows, begin]
        return field.at(self.path(a, b, length, torch.zeros_like(length)))[0]

    def __call__(
        self, field: LatentField, batch: TrajectoryBatch, values: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Terms per sample (B,); ``values``: ``beta_theta``, ``beta_zeta``."""
        done = self.simulate(field, batch)
        kl = kl_terms(done.posterior)
        return {"loss": done.error + weighted_kl(kl, values), "trajectory": done.error, **kl}


class Aphynity(RolloutMatching):
    """min ‖f_net‖² + Λ · trajectory error, Λ growing; θ amortised by the encoder.

    Source: Yin et al. 2021. Their multiplier grows by the error it multiplies; here it is a
    schedule, ``values["multiplier"]``, so that a resumed run has the same one.
    """

    def __call__(
        self, field: LatentField, batch: TrajectoryBatch, values: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Terms per sample (B,); ``values``: ``multiplier``, ``beta_theta``, ``beta_zeta``."""
        done = self.simulate(field, batch)
        size, steps = done.states.shape[:2]
        context = visited_context(field, done)
        answer = field(done.states.flatten(0, 1), done.times[:, 1:].flatten(), context)
        effort = answer.residual["network"].reshape(size, steps, field.size, -1).mean((1, 3)).sum(1)
        kl = kl_terms(done.posterior)
        loss = effort + values["multiplier"] * done.error + weighted_kl(kl, values)
        return {"loss": loss, "trajectory": done.error, "effort": effort, **kl}


def visited_context(field: LatentField, done: Simulated) -> Context:
    """The context of every simulated state, history made of the simulated frames before it."""
    steps = done.states.shape[1]
    history = None
    if field.everything:
        padding = done.start[:, None, : field.size].expand(
            -1, field.history - 1, *[-1] * (done.start.dim() - 1)
        )
        seen = torch.cat((padding, done.states[:, :, : field.size]), 1)
        history = torch.stack([seen[:, k : k + field.history] for k in range(steps)], 1).flatten(
            0, 1
        )
    return field.condition(done.latents.repeat(steps), history)


class PhysVAE(RolloutMatching):
    """ELBO on simulated trajectories with the three regularisers of Takeishi & Kalousis 2021.

    ``balance`` keeps the whole model near the physics alone; ``unmixing`` asks the cleaned window
    to be what the physics alone makes; ``self_supervision`` asks the encoder to find the θ of
    trajectories that the physics alone made from draws of the prior.
    """

    def __call__(
        self, field: LatentField, batch: TrajectoryBatch, values: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Terms per sample (B,); ``values``: a weight for each regulariser, and both β."""
        done = self.simulate(field, batch)
        physics = known_field(field.physics)
        theta = done.latents.theta
        assert theta is not None and field.unmixing is not None
        named = field.prior.named(theta)
        alone = simulate_physics(physics, done.start, done.times, named, field.solver)
        scale = field.std[: field.size]

        def distance(a: Tensor, b: Tensor) -> Tensor:
            return ((a - b)[:, :, : field.size] / scale).flatten(1).square().mean(1)

        frames = gather(batch.nodes[:, :, 0], span(done.begin, field.window))
        cleaned = field.unmix(frames, done.latents.zeta)
        shared = min(field.window - 1, alone.shape[1])
        kl = kl_terms(done.posterior)
        terms = {
            "trajectory": done.error,
            "balance": distance(done.states, alone),
            "unmixing": distance(cleaned[:, 1 : shared + 1], alone[:, :shared, : field.size]),
            "self_supervision": self._self_supervision(field, batch, done),
            **kl,
        }
        loss = done.error + weighted_kl(kl, values)
        for name in ("balance", "unmixing", "self_supervision"):
            loss = loss + values[name] * terms[name]
        return {"loss": loss, **terms}

    def _self_supervision(
        self, field: LatentField, batch: TrajectoryBatch, done: Simulated
    ) -> Tensor:
        """Squared error (B,) of θ inferred from what the physics alone makes of a drawn θ."""
        noise = keyed_normal(self.seed, "prior", batch.ids, len(field.parameter_names))
        y = noise.to(done.start.dtype)
        times = gather(batch.times, span(done.begin, field.window))
        with torch.no_grad():
            named = field.prior.named(field.prior(y))
            made = simulate_physics(
                known_field(field.physics), done.start, times, named, field.solver
            )
            window = torch.cat((done.start[:, None], made), 1)[:, :, : field.size]
            # a drawn θ may be too stiff for the solver (RLC: L near 0): it teaches nothing
            far = field.standardise(window).flatten(1).abs().amax(1)
            usable = far < OVERFLOW
            window = torch.where(
                usable.reshape(-1, *[1] * (window.dim() - 1)),
                window,
                done.start[:, None, : field.size],
            )
        theta = field.theta_of(window, times, done.latents.zeta.detach())
        return torch.where(usable, (theta.mean - y).square().sum(1), 0.0)
