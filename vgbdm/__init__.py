"""The engine: paths, grey-box fields, objectives, rollouts and training. Knows no weather."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vgbdm.loading import load

__all__ = ["load"]

MODEL_PARTS = (
    "vgbdm.encoders.WindowConv",
    "vgbdm.encoders.WindowGRU",
    "vgbdm.encoders.WindowMLP",
    "vgbdm.latent_field.LatentField",
    "vgbdm.latent_field.Statistics",
    "vgbdm.networks.ResidualConv",
    "vgbdm.networks.ResidualMLP",
    "vgbdm.paths.BridgePath",
    "vgbdm.paths.HermitePath",
    "vgbdm.paths.LagrangePath",
    "vgbdm.paths.LinearPath",
    "vgbdm.paths.SmoothingPath",
    "vgbdm.rollout.Solver",
)
"""Classes of this package that a model is made of: what a checkpoint may name."""

BUILDABLE = (
    *MODEL_PARTS,
    "vgbdm.objectives.matching.FlowMatching",
    "vgbdm.objectives.simulating.Aphynity",
    "vgbdm.objectives.simulating.PhysVAE",
    "vgbdm.objectives.simulating.RolloutMatching",
    "vgbdm.objectives.tuning.RolloutTuning",
    "vgbdm.objectives.variational.VariationalMatching",
    "vgbdm.objectives.windows.WindowSampler",
    "vgbdm.training.backends.choice.automatic",
    "vgbdm.training.backends.deepspeed.DeepSpeedBackend",
    "vgbdm.training.backends.torch.DDPBackend",
    "vgbdm.training.backends.torch.SingleBackend",
    "vgbdm.training.schedules.Constant",
    "vgbdm.training.schedules.Every",
    "vgbdm.training.schedules.Geometric",
    "vgbdm.training.schedules.Growing",
    "vgbdm.training.schedules.Linear",
    "vgbdm.training.schedules.WarmupCosine",
)
"""What a config may name of this package besides, to train; a new class is added here."""


def __getattr__(name: str) -> Any:
    """``vgbdm.load``, fetched when it is asked for: importing the package imports no torch."""
    if name == "load":
        from vgbdm.loading import load

        return load
    raise AttributeError(f"module 'vgbdm' has no attribute {name!r}")
