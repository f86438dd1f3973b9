"""Who computes a step: one protocol, torch (one process or DDP) and DeepSpeed behind it."""

from vgbdm.training.backends.base import (
    Backend,
    ParameterGroup,
    StepResult,
)
from vgbdm.training.backends.learner import Learner, Objective
from vgbdm.training.transfer import Arrived, Batch

__all__ = ["Arrived", "Backend", "Batch", "Learner", "Objective", "ParameterGroup", "StepResult"]
