"""Members of ensembles: draws of the latents by key."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vgbdm.latents.latents import Latents, LatentSizes, Posterior
from vgbdm.randomness import keyed_normal, pair_keys

FEWEST_IN_PAIRS = 4
"""Members that two pairs are: with one alone no distance between independent members is known."""


def in_pairs(members: range) -> list[int]:
    """Numbers of members for `Members`: of 0, 1, 2, 3, … 0, -1, 1, -2, …, each and its opposite."""
    return [-1 - k // 2 if k % 2 else k // 2 for k in members]


class Members:
    """Ensemble members: normal numbers keyed by (seed, sample, member, step), drawn step by step.

    Rows are samples times members, the members of a sample side by side. Member -1 - n takes the
    opposite of the numbers of member n.

    Args:
        sizes: of the field's latents.
        seed: of the ensemble.
        ids: (B,) int64 sample ids, or initial times.
        numbers: of the M members, a range or as of `in_pairs`.
    """

    def __init__(self, sizes: LatentSizes, seed: int, ids: Tensor, numbers: Sequence[int]) -> None:
        self.sizes, self.seed = sizes, seed
        self.signs: Tensor | None = None
        if isinstance(numbers, range):  # made where the ids are, which nothing waits for
            members = torch.arange(numbers.start, numbers.stop, numbers.step, device=ids.device)
        else:
            members = torch.tensor(numbers, device=ids.device)
            self.signs = torch.where(members < 0, -1.0, 1.0).repeat(len(ids))[:, None]
            members = torch.where(members < 0, -1 - members, members)
        self.keys = pair_keys(ids, members)
        self.rows = len(self.keys)
        self.step, self.state = 0, torch.zeros((), device=ids.device)

    def _normal(self, name: str, count: int) -> Tensor:
        """(B·M, count) for one use."""
        drawn = keyed_normal(self.seed, f"{name} of a member", self.keys, count)
        return drawn if self.signs is None else drawn.mul_(self.signs)

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
