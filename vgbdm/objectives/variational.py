"""VGB-DM: variational grey-box matching; with a black-box field, black-box matching.

See docs/method.md#matching-objective.

Shapes: ``B`` trajectories, ``M`` matches per window, ``N`` = B · M, ``C`` components.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vgbdm.latent_field import LatentField
from vgbdm.latents import Latents, Posterior
from vgbdm.objectives.gauge import gauge
from vgbdm.objectives.windows import TrajectoryBatch, WindowSampler, gather, span
from vgbdm.paths import Path
from vgbdm.randomness import keyed_normal


def draw_latents(
    field: LatentField, batch: TrajectoryBatch, start: Tensor, seed: int
) -> tuple[Posterior, Latents]:
    """Encode the windows at ``start`` (B,) and draw from their posteriors."""
    chosen = span(start, field.window)
    frames, times = gather(batch.nodes[:, :, 0], chosen), gather(batch.times, chosen)
    count = len(field.parameter_names)
    noise = keyed_normal(seed, "latents", batch.ids, field.latents + count).to(frames.dtype)
    zeta, theta = noise.split((field.latents, count), 1)
    return field.infer(frames, times, (zeta, theta))


def kl_terms(posterior: Posterior) -> dict[str, Tensor]:
    """KL of ζ and, where there is one, of θ: each (B,)."""
    terms = {"kl_zeta": posterior.zeta.kl()}
    return terms if posterior.theta is None else terms | {"kl_theta": posterior.theta.kl()}


def weighted_kl(kl: Mapping[str, Tensor], values: Mapping[str, float]) -> Tensor:
    """β_ζ KL_ζ + β_θ KL_θ, (B,)."""
    return torch.stack([values[f"beta_{name[3:]}"] * term for name, term in kl.items()]).sum(0)


class VariationalMatching:
    """E = mean ((f - u)/rms)² + β_θ KL_θ + β_ζ KL_ζ + λ R over many matches of one encoded window.

    Args:
        sampler: of windows and matches.
        path: that made the nodes of a batch.
        seed: of the run.
    """

    def __init__(self, sampler: WindowSampler, path: Path, seed: int) -> None:
        self.sampler, self.path, self.seed = sampler, path, seed

    def __call__(
        self, field: LatentField, batch: TrajectoryBatch, values: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Terms per sample (B,).

        Args:
            field: what learns.
            batch: trajectories.
            values: schedules at this step: ``beta_theta``, ``beta_zeta``, ``gauge`` (λ),
                ``physics`` (weight of the physics).
        """
        depth = field.history if field.everything else 1
        start, interval, s = self.sampler(batch, field.window, depth)
        posterior, latents = draw_latents(field, batch, start, self.seed)
        size, count = interval.shape
        a, b = (gather(batch.nodes, at).flatten(0, 1) for at in (interval, interval + 1))
        begin, end = (gather(batch.times, at).flatten() for at in (interval, interval + 1))
        position = s.flatten()
        point = self.path(a, b, end - begin, position, self._noise(batch, a[:, 0], count))
        state, rate = field.at(point)
        history = None
        if field.everything:
            places = interval.flatten()[:, None] + torch.arange(1 - depth, 1, device=a.device)
            owners = torch.arange(size, device=a.device).repeat_interleave(count)
            history = batch.nodes[owners[:, None], places, 0]
        context = field.condition(latents.repeat(count), history)
        answer = field(state, torch.lerp(begin, end, position), context, values["physics"])
        squares = field.rate_error(answer.total - rate).square()
        matching = squares.reshape(size, -1).mean(1)
        own = answer.residual["network"].reshape(size, count, field.size, -1).mean((1, 3))
        kl = kl_terms(posterior)
        terms = {"matching": matching, "gauge": gauge(own), **kl}
        # a black box has nothing to share its work with
        penalty = values["gauge"] * terms["gauge"] if field.grey else 0.0
        return {"loss": matching + weighted_kl(kl, values) + penalty, **terms}

    def _noise(self, batch: TrajectoryBatch, like: Tensor, count: int) -> Tensor | None:
        if not self.path.needs_noise:
            return None
        numbers = like[0].numel() * count
        drawn = keyed_normal(self.seed, "bridge", batch.ids, numbers)
        return drawn.to(like.dtype).reshape(like.shape)
