"""How a model is to forecast: how far, how many members, and what that comes to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from climate.conventions.calendar import count_steps
from climate.models.forecaster import Forecaster
from vgbdm.errors import InputError

ENSEMBLE = 16
"""Members of a stochastic model's forecast where nothing else is asked for."""


@dataclass(frozen=True)
class Settings:
    """How a model forecasts.

    Attributes:
        lead: the longest lead, hours or months.
        members: of an ensemble; 1: one forecast without draws; None: what the model is made for.
        seed: of the draws.
        batch: forecasts at a time, starts times members; bounds memory.
        device: to compute on.
        precision: of the networks, see `vgbdm.precision`.
    """

    lead: np.timedelta64
    members: int | None = None
    seed: int = 0
    batch: int = 16
    device: torch.device | str = "cpu"
    precision: str = "fp32"


def count_leads(lead: np.timedelta64, step: np.timedelta64) -> int:
    """How many model steps the longest lead is.

    Raises:
        InputError: if it is no whole number of steps.
    """
    return count_steps("leads", lead, step, "the model's")


def count_members(model: Forecaster, members: int | None) -> int:
    """How many members to write; None means 16 of a stochastic model, 1 of any other.

    Raises:
        InputError: if the model has no members to give, or the number is none.
    """
    stochastic = bool(getattr(model, "stochastic", False))
    if members is None:
        return ENSEMBLE if stochastic else 1
    if members < 1:
        raise InputError(f"members={members}: want at least 1")
    if members > 1 and not stochastic:
        raise InputError(
            f"members={members}: {type(model).__name__} is deterministic and has one forecast; "
            "leave members out"
        )
    return members
