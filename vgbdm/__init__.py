"""The engine: paths, grey-box fields, objectives, rollouts and training. Knows no weather."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vgbdm.loading import load

__version__ = "0.1.0"
__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """``vgbdm.load``, fetched when it is asked for: importing the package imports no torch."""
    if name == "load":
        from vgbdm.loading import load

        return load
    raise AttributeError(f"module 'vgbdm' has no attribute {name!r}")
