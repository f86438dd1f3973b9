"""A line of a table of scores, with what comparisons and pictures need of it.

Shapes: ``N`` trajectories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from physics_systems.evaluation.protocol import Forecasts
from vgbdm.fields.latent_field import LatentField


@dataclass
class Row:
    """One scored row.

    Attributes:
        numbers: by column of ``scores.csv``.
        errors: (N,) mean square error of each trajectory; infinite where a forecast failed.
        forecasts: for pictures; its members are those of the trajectories `shown`.
        field: the model; None for a sanity row.
        shown: places of the trajectories of pictures, see `examples`.
        rank_counts: (M + 1,) how often so many members lay below the truth; None: no ensemble.
    """

    numbers: dict[str, Any]
    errors: np.ndarray
    forecasts: Forecasts
    field: LatentField | None
    shown: tuple[int, ...] = ()
    rank_counts: np.ndarray | None = None

    @property
    def name(self) -> tuple[str, str]:
        """Objective and variant: the runs of all seeds."""
        return str(self.numbers["objective"]), str(self.numbers.get("variant") or "")


EXAMPLES = ("best", "median", "worst")


def examples(errors: np.ndarray) -> tuple[int, ...]:
    """Places of the trajectories with the least, the median and the largest error.

    Args:
        errors: (N,) of each; those that are not finite are passed over, where others are.
    """
    order = np.argsort(errors, kind="stable")
    fine = order[np.isfinite(errors[order])]
    order = fine if len(fine) else order
    places = (0, (len(order) - 1) // 2, len(order) - 1)
    return tuple(int(order[place]) for place in dict.fromkeys(places))
