"""PhysVAE: simulated trajectories with three regularisers (docs/method.md#baselines).

Shapes: ``B`` trajectories, ``T`` frames of a window, ``C`` components, ``...`` axes of a grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from vgbdm.dynamics.physics import known_field, simulate_physics
from vgbdm.errors import InputError
from vgbdm.fields.latent_field import LatentField
from vgbdm.fields.system_field import TrajectoryBatch
from vgbdm.objectives.places import gather, span
from vgbdm.objectives.rollouts import RolloutMatching, observed, weighted_kl
from vgbdm.randomness import keyed_normal
from vgbdm.registry.marks import buildable

OVERFLOW = 100.0
"""Standard deviations beyond which a simulation from a drawn θ has left the solver's stability."""


@buildable
class PhysVAE(RolloutMatching[TrajectoryBatch]):
    """ELBO on simulated trajectories with the three regularisers of Takeishi & Kalousis 2021.

    ``balance`` keeps the whole model near the physics alone, over the frames it simulates;
    ``unmixing`` asks the cleaned window to be what the physics alone makes from its first frame;
    ``self_supervision`` asks the encoder to find the θ of windows that the physics alone made, from
    the same frame, with draws of the prior.
    """

    SCHEDULES: ClassVar[tuple[str, ...]] = ("balance", "unmixing", "self_supervision")
    """What it reads of the values of schedules, beside those of its base."""

    def __call__(  # type: ignore[override]  # its encoder has parts that no other field has
        self, field: LatentField, batch: TrajectoryBatch, values: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Terms per sample (B,); ``values``: a weight for each regulariser, and both β."""
        if not isinstance(field, LatentField) or not field.grey or field.unmixing is None:
            raise InputError("physvae: want a field with physics and model.unmixing")
        done = self.simulate(field, batch, values)
        begin, zeta = done.begin, done.latents.zeta
        assert done.latents.theta is not None and zeta is not None and done.window is not None
        named = field.prior(done.latents.theta)
        alone = physics_alone(field, begin.start, begin.clock, named)
        chosen = span(done.window, field.window)
        window, times = (gather(x, chosen) for x in (begin.frames.frames, begin.frames.times))
        start = self._start(field, begin.frames, done.window, window[:, :1])
        y = keyed_normal(self.seed, "prior", batch.ids, len(field.parameter_names)).to(start.dtype)
        shown, drawn = physics_windows(field, start, times, named, field.prior(y))

        def distance(a: Tensor, b: Tensor) -> Tensor:
            return field.mean_square_state(a - b)

        terms = {
            "trajectory": done.error,
            "balance": distance(observed(field, done.states), alone),
            "unmixing": distance(field.unmix(window, zeta)[:, 1:], shown[:, 1:]),
            "self_supervision": supervision(field, drawn.detach(), times, y, zeta.detach()),
            **done.kl,
        }
        loss = done.error + weighted_kl(done.kl, values)
        for name in ("balance", "unmixing", "self_supervision"):
            loss = loss + values[name] * terms[name]
        return {"loss": loss, **terms}


def physics_alone(
    field: LatentField, start: Tensor, times: Tensor, theta: Mapping[str, Tensor]
) -> Tensor:
    """Frames (B, n, C, ...) that the physics makes, at the n last of ``times`` (B, n + 1)."""
    known = known_field(field.physics)
    return observed(field, simulate_physics(known, start, times, theta, field.solver))


def physics_windows(
    field: LatentField,
    start: Tensor,
    times: Tensor,
    *thetas: Mapping[str, Tensor],
) -> tuple[Tensor, ...]:
    """A window (B, T, C, ...) that the physics makes of each θ, all in one simulation.

    Args:
        field: whose physics and solver.
        start: (B, Q, ...) states at the first frame.
        times: (B, T).
        thetas: by name, (B,) each.
    """
    count = len(thetas)
    named = {name: torch.cat([theta[name] for theta in thetas]) for name in thetas[0]}
    starts = start.repeat(count, *[1] * (start.dim() - 1))
    made = physics_alone(field, starts, times.repeat(count, 1), named)
    return torch.cat((field.observe(starts)[:, None], made), 1).chunk(count)


def supervision(
    field: LatentField, window: Tensor, times: Tensor, y: Tensor, zeta: Tensor
) -> Tensor:
    """Squared error (B,) of θ inferred from windows (B, T, C, ...) that the physics made of y."""
    # a drawn θ may be too stiff for the solver (RLC: L near 0): it teaches nothing
    usable = field.standardise(window).flatten(1).abs().amax(1) < OVERFLOW
    known = usable.reshape(-1, *[1] * (window.dim() - 1))
    theta = field.theta_of(torch.where(known, window, window[:, :1]), times, zeta)
    return torch.where(usable, (theta.mean - y).square().sum(1), 0.0)
