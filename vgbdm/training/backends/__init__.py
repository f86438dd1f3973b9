"""Who computes a step: one protocol, torch (one process or DDP) and DeepSpeed behind it."""

from vgbdm.training.backends.base import Backend
from vgbdm.training.backends.learner import Learner, Objective
from vgbdm.training.backends.steps import ParameterGroup, StepResult
from vgbdm.training.transfer import Arrived, TrainingBatch

__all__ = ["Arrived", "Backend", "Learner", "Objective", "ParameterGroup", "StepResult",
           "TrainingBatch"]  # fmt: skip
