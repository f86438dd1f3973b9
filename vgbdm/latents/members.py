"""Members of ensembles: draws of the latents by key."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vgbdm.latents.latents import Latents, LatentSizes, Posterior
from vgbdm.randomness import keyed_normal, pair_keys


class Members:
    """Ensemble members: normal numbers keyed by (seed, sample, member, step), drawn step by step.

    Rows are samples times members, the members of a sample side by side.

    Args:
        sizes: of the field's latents.
        seed: of the ensemble.
        ids: (B,) int64 sample ids, or initial times.
        numbers: of the M members.
    """

    def __init__(self, sizes: LatentSizes, seed: int, ids: Tensor, numbers: range) -> None:
        self.sizes, self.seed = sizes, seed
        members = torch.arange(numbers.start, numbers.stop, numbers.step, device=ids.device)
        self.keys = pair_keys(ids, members)
        self.rows = len(self.keys)
        self.step, self.state = 0, torch.zeros((), device=ids.device)

    def _normal(self, name: str, count: int) -> Tensor:
        """(B·M, count) for one use."""
        return keyed_normal(self.seed, f"{name} of a member", self.keys, count)

    def theta(self) -> Tensor:
        """Numbers (B·M, P) of θ, the same over the whole forecast."""
        return self._normal("theta", self.sizes.theta)

    def next_zeta(self) -> Tensor:
        """Numbers (B·M, ...) of ζ at the next step: an autoregressive process of first order."""
        memory = self.sizes.memory
        if self.step == 0 or memory < 1:
            count = self.sizes.total - self.sizes.theta
            fresh = self._normal(f"zeta {self.step}", count).unflatten(1, self.sizes.zeta)
            old = memory * self.state
            self.state = fresh if self.step == 0 else old + math.sqrt(1 - memory**2) * fresh
        self.step += 1
        return self.state

    def draw(self, given: Posterior | None) -> Latents:
        """The members' latents at the next step.

        Args:
            given: distribution of a row each, or of a sample each; None: standard normal.
        """
        zeta, theta = self.next_zeta(), self.theta()
        if given is None:
            return Latents(zeta, theta if self.sizes.theta else None)
        means = given.mean.zeta
        assert means is not None
        if len(means) < self.rows:
            count = self.rows // len(means)
            given = given.map(lambda x: x.repeat_interleave(count, 0))
        return given.draw(zeta, theta)
