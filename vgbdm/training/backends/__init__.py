"""Who computes a step: one protocol, torch (one process or DDP) and DeepSpeed behind it."""

from vgbdm.training.backends.base import (
    Backend,
    Batch,
    Learner,
    Objective,
    ParameterGroup,
    StepResult,
)

__all__ = ["Backend", "Batch", "Learner", "Objective", "ParameterGroup", "StepResult"]
