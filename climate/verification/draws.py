"""A normal distribution about a forecast as an ensemble: members that are drawn, and scored alike.

Sets of M standard normal numbers are made once. A map takes as many in a row as it has points, from
a place that is keyed by what the map is of: its points are independent, and neither chunks nor
tasks matter. Maps share sets, of which there are enough for a mean over them to be that of all.

Shapes: ``M`` members, ``K`` sets, ``B`` maps, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

from climate.grids.area import Area
from climate.verification.pairs import rank_counts, rank_shares
from vgbdm.randomness import keyed_generator, keyed_seed
from vgbdm.scores import half_distance

PLACES = 2**14
"""Where a map may begin; beyond the last there are as many sets as a map has points."""


class NormalDraws:
    """Members of normal distributions.

    Args:
        seed: of the draws.
        members: M, at least 2.
        points: of a map, H·W.
    """

    def __init__(self, seed: int, members: int, points: int) -> None:
        self.seed, self.members, self._points = seed, members, points

    @cached_property
    def _sets(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers (M, K), half their mean distance (K,) and their variance (K,)."""
        generator = keyed_generator(self.seed, "normal members", self.members)
        drawn = torch.randn((self.members, PLACES + self._points), generator=generator)
        return drawn.numpy(), half_distance(drawn).numpy(), drawn.numpy().var(0, ddof=1)

    def of_map(self, purpose: str, key: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        """Standard normal numbers of a map (M, H·W), half their distance and variance (H·W,).

        Args:
            purpose: row and variable.
            key: of the map, such as its start and lead.
        """
        first = keyed_seed(self.seed, purpose, *key) % PLACES
        return tuple(each[..., first : first + self._points] for each in self._sets)

    def statistics(
        self, purpose: str, std: np.ndarray, error: np.ndarray, keys: Sequence[tuple[int, ...]],
        area: Area,
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:  # fmt: skip
        """``crps`` and ``spread_square`` of the members, each (B,), and ranks of truth (B, M + 1).

        See `pair_statistics` and `rank_histogram`. Where the mean is known, and not that of the
        members, their variance is the spread as it is.

        Args:
            purpose: row and variable.
            std: σ, broadcast to the error.
            error: (B, H, W) float32 of the mean.
            keys: of each map, such as its start and lead.
            area: of the fields.
        """
        count, flat = len(error), (len(error), self._points)
        errors, width = error.reshape(flat), np.broadcast_to(std, error.shape).reshape(flat)
        width = width.astype(np.float32)
        crps, spread = np.empty((2, *flat), np.float32)
        below, equal = np.empty((2, *flat), np.min_scalar_type(self.members))
        members = np.empty((self.members, self._points), np.float32)
        for b in range(count):  # a map at a time stays in the processor's cache
            numbers, half, variance = self.of_map(purpose, keys[b])
            np.multiply(numbers, width[b], out=members)
            members += errors[b]
            below[b], equal[b] = rank_counts(members, np.zeros(1, np.float32))
            crps[b] = np.abs(members, out=members).mean(0) - width[b] * half
            spread[b] = width[b] ** 2 * variance
        found = {"crps": crps, "spread_square": spread}
        scores = {
            name: area.mean(area.blank(fields.reshape(error.shape)))
            for name, fields in found.items()
        }
        counts = below.reshape(error.shape), equal.reshape(error.shape)
        return scores, rank_shares(*counts, self.members, area)
