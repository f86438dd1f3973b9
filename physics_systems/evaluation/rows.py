"""A line of a table of scores, with what comparisons and pictures need of it.

Shapes: ``N`` trajectories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from physics_systems.evaluation.protocol import Forecasts
from vgbdm.fields.latent_field import LatentField

SHOWN = 3
"""Trajectories of which pictures show the ensemble; the members of others are not kept."""


@dataclass
class Row:
    """One scored row.

    Attributes:
        numbers: by column of ``scores.csv``.
        errors: (N,) mean square error of each trajectory; infinite where a forecast failed.
        forecasts: for pictures.
        field: the model; None for a sanity row.
    """

    numbers: dict[str, Any]
    errors: np.ndarray
    forecasts: Forecasts
    field: LatentField | None

    @property
    def name(self) -> tuple[str, str]:
        """Objective and variant: the runs of all seeds."""
        return str(self.numbers["objective"]), str(self.numbers.get("variant") or "")
