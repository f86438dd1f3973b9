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
from vgbdm.objectives.rollouts import RolloutMatching, Simulated, observed, weighted_kl
from vgbdm.randomness import keyed_normal
from vgbdm.registry.marks import buildable

OVERFLOW = 100.0
"""Standard deviations beyond which a simulation from a drawn θ has left the solver's stability."""


@buildable
class PhysVAE(RolloutMatching[TrajectoryBatch]):
    """ELBO on simulated trajectories with the three regularisers of Takeishi & Kalousis 2021.

    ``balance`` keeps the whole model near the physics alone; ``unmixing`` asks the cleaned window
    to be what the physics alone makes; ``self_supervision`` asks the encoder to find the θ of
    trajectories that the physics alone made from draws of the prior.
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
        assert done.latents.theta is not None and zeta is not None
        physics = known_field(field.physics)
        named = field.prior(done.latents.theta)
        alone = simulate_physics(physics, begin.start, begin.clock, named, field.solver)
        alone = observed(field, alone)
        window = gather(begin.frames.frames, span(begin.at, field.window))
        cleaned = field.unmix(window, zeta)
        shared = min(field.window - 1, alone.shape[1])

        def distance(a: Tensor, b: Tensor) -> Tensor:
            return field.mean_square_state(a - b)

        terms = {
            "trajectory": done.error,
            "balance": distance(observed(field, done.states), alone),
            "unmixing": distance(cleaned[:, 1 : shared + 1], alone[:, :shared]),
            "self_supervision": self._self_supervision(field, batch, done),
            **done.kl,
        }
        loss = done.error + weighted_kl(done.kl, values)
        for name in ("balance", "unmixing", "self_supervision"):
            loss = loss + values[name] * terms[name]
        return {"loss": loss, **terms}

    def _self_supervision(
        self, field: LatentField, batch: TrajectoryBatch, done: Simulated
    ) -> Tensor:
        """Squared error (B,) of θ inferred from what the physics alone makes of a drawn θ."""
        noise = keyed_normal(self.seed, "prior", batch.ids, len(field.parameter_names))
        start = done.begin.start
        y = noise.to(start.dtype)
        times = gather(done.begin.frames.times, span(done.begin.at, field.window))
        with torch.no_grad():
            made = simulate_physics(
                known_field(field.physics), start, times, field.prior(y), field.solver
            )
            window = torch.cat((start[:, None], made), 1)[:, :, : field.size]
            # a drawn θ may be too stiff for the solver (RLC: L near 0): it teaches nothing
            far = field.standardise(window).flatten(1).abs().amax(1)
            usable = far < OVERFLOW
            window = torch.where(
                usable.reshape(-1, *[1] * (window.dim() - 1)),
                window,
                start[:, None, : field.size],
            )
        assert done.latents.zeta is not None
        theta = field.theta_of(window, times, done.latents.zeta.detach())
        return torch.where(usable, (theta.mean - y).square().sum(1), 0.0)
