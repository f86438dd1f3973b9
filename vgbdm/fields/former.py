"""What checkpoints of earlier versions say of a latent field, as it is said now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PATH = {"_target_": "vgbdm.paths.hermite.HermitePath", "stencil": 11}
"""What all derivatives were taken by, whatever path was matched."""
REGRESSION = {
    "_target_": "vgbdm.latents.regression.WindowRegression", "_partial_": True,
    "ridges": [1.0e-3, 1.0e-6], "together_bound": 3.0, "alone_bound": 30.0, "silent": 1.0e-6,
}  # fmt: skip
REFINEMENT = {
    "_target_": "vgbdm.inference.refinement.Refinement", "anchor": 3.0e-5, "anchor_width": 4.0,
}  # fmt: skip


def renewed_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a `vgbdm.fields.latent_field.LatentField` with those that there were not.

    Args:
        options: of a model that is built, which then has ``physics``, or of one to train.
    """
    held = dict(options)
    steps = held.get("refinement")
    if isinstance(steps, int) and not isinstance(steps, bool):
        held["refinement"] = {**REFINEMENT, "steps": steps}
        held.setdefault("regression", REGRESSION)
        if "physics" in held:
            held.setdefault("path", PATH)
    return held


def residuals_of_before(window: int, memory: int) -> int:
    """Intervals of a window whose misfits made a width of θ, by as many frames of memory."""
    edge = min(window // 10, 3)
    return window - edge - 1 - max(edge, memory - 1)
