"""The engine: paths, grey-box fields, objectives, rollouts and training. Knows no weather."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vgbdm.version import __version__

if TYPE_CHECKING:
    from vgbdm.api import evaluate, fit, forecast, infer
    from vgbdm.loading import load

__all__ = ["__version__", "evaluate", "fit", "forecast", "infer", "load"]


def __getattr__(name: str) -> Any:
    """The public functions, fetched when asked for: importing the package imports no torch."""
    if name in __all__:
        from vgbdm import api

        return getattr(api, name)
    raise AttributeError(f"module 'vgbdm' has no attribute {name!r}")


FORMER_MODULES = {
    "vgbdm.encoders": "vgbdm.latents.encoders",
    "vgbdm.latent_field": "vgbdm.fields.latent_field",
    "vgbdm.latents.GaussianHead": "vgbdm.latents.distributions",
    "vgbdm.paths.BridgePath": "vgbdm.paths.bridge",
    "vgbdm.paths.HermitePath": "vgbdm.paths.hermite",
    "vgbdm.paths.LagrangePath": "vgbdm.paths.lagrange",
    "vgbdm.paths.LinearPath": "vgbdm.paths.linear",
    "vgbdm.paths.SmoothingPath": "vgbdm.paths.smoothing",
    "vgbdm.rollout": "vgbdm.dynamics.rollout",
}
"""Modules (or single classes of modules that were split) that saved runs name as an earlier version
did, and where they are now."""
