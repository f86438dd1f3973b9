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
from climate.verification.pairs import rank_histogram
from vgbdm.randomness import keyed_generator, keyed_seed
from vgbdm.scores import half_distance

PLACES = 2**16
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

    def of_maps(
        self, purpose: str, keys: Sequence[tuple[int, ...]], shape: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Standard normal numbers (M, B, H, W), half their distance and variance (B, H, W).

        Args:
            purpose: row and variable.
            keys: of each map, such as its start and lead.
            shape: B, H, W.
        """
        numbers, half, variance = self._sets
        of_maps = np.empty((self.members, *shape), np.float32)
        halves, variances = np.empty(shape, np.float32), np.empty(shape, np.float32)
        for b, key in enumerate(keys):
            first = keyed_seed(self.seed, purpose, *key) % PLACES
            part = slice(first, first + self._points)
            of_maps[:, b] = numbers[:, part].reshape(-1, *shape[1:])
            halves[b], variances[b] = (x[part].reshape(shape[1:]) for x in (half, variance))
        return of_maps, halves, variances

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
        members, half, variance = self.of_maps(purpose, keys, error.shape)
        std = np.asarray(std, np.float32)
        members *= std
        members += error
        crps = np.abs(members).mean(0) - std * half
        scores = {
            "crps": area.mean(area.blank(crps)),
            "spread_square": area.mean(area.blank(std**2 * variance)),
        }
        return scores, rank_histogram(members, np.zeros_like(error), area)
