"""Legends of figures with several panels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """One legend below all panels, of every label once, and room for all."""
    handles: dict[str, Any] = {}
    for axis in axes:
        of_axis, names = axis.get_legend_handles_labels()
        handles |= dict(zip(names, of_axis, strict=True))
    look: dict[str, Any] = {"bbox_to_anchor": (0.5, 0.0), "frameon": False}
    look["ncols"] = min(len(handles), 5)
    figure.legend(list(handles.values()), list(handles), loc="upper center", **look)
    figure.tight_layout()
