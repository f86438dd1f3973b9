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
    "vgbdm.fields.latent_field.FieldStatistics": "vgbdm.fields.system_field.FieldStatistics",
    "vgbdm.latent_field": "vgbdm.fields.latent_field",
    "vgbdm.latent_field.Statistics": "vgbdm.fields.system_field.FieldStatistics",
    "vgbdm.latents.GaussianHead": "vgbdm.latents.distributions.GaussianHead",
    "vgbdm.paths.BridgePath": "vgbdm.paths.bridge.BridgePath",
    "vgbdm.paths.HermitePath": "vgbdm.paths.hermite.HermitePath",
    "vgbdm.paths.LagrangePath": "vgbdm.paths.lagrange.LagrangePath",
    "vgbdm.paths.LinearPath": "vgbdm.paths.linear.LinearPath",
    "vgbdm.rollout": "vgbdm.dynamics.rollout",
}
"""Modules and classes that saved runs name as an earlier version did: `vgbdm.registry.former`."""
FORMER_OPTIONS = {
    "vgbdm.fields.latent_field.LatentField": "vgbdm.fields.former.renewed_options",
}
"""Classes whose options were others → the function that brings them up to date."""
