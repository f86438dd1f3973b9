"""Panels of a figure: how many stand beside each other, and in which colours and strokes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {
    "model": "#0b6e99",
    "model_mean": "#7fb7d1",
    "model_dressed": "#5b4a9c",
    "persistence": "#c2571a",
    "damped_persistence": "#b07d12",
    "lagged_persistence": "#3f8f5b",
    "climatology": "#6b6b6b",
    "truth": "#1d2a30",
}
OTHERS = ("#a83279", "#2f6f3e", "#7a4a1d", "#3b4cc0", "#8c1c13", "#00838f")
"""Of rows that have no colour of their own."""
COLUMNS = 3
"""Panels beside each other: more are too small to read on a page."""
SHOWN_LEADS = 3
"""Leads drawn in spectra and rank histograms: the first, the one in the middle, the last."""


def grid(count: int, height: float, columns: int = COLUMNS) -> tuple[Figure, list[Axes]]:
    """A figure of some panels, and these, row by row.

    Args:
        count: of panels.
        height: of one, in inches.
        columns: beside each other.
    """
    lines = -(-count // columns)
    figure = Figure(figsize=(3.3 * min(count, columns), height * lines))
    axes = figure.subplots(lines, min(count, columns), squeeze=False)
    for axis in axes.flat[count:]:
        axis.remove()
    return figure, list(axes.flat[:count])


def colour(row: str, rows: list[str]) -> str:
    """Of a row: its own, or one of `OTHERS` by its place among those that have none."""
    if row in COLOURS:
        return COLOURS[row]
    strangers = [name for name in rows if name not in COLOURS]
    return OTHERS[strangers.index(row) % len(OTHERS)]


def some_leads(hours: list[int]) -> list[int]:
    """At most three leads: the first, the middle one, the last."""
    leads = sorted(set(hours))
    places = np.linspace(0, len(leads) - 1, min(SHOWN_LEADS, len(leads))).round().astype(int)
    return [int(leads[place]) for place in places]


def waves_axis(axis: Axes, largest: int) -> None:
    """Wavenumbers below a panel, as whole numbers."""
    shown = [k for k in WAVES if k <= largest]
    axis.set_xticks(shown, [str(k) for k in shown])
    axis.set_xlabel("zonal wavenumber")


WAVES = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500)


def lead_axis(axis: Axes, leads: list[int]) -> None:
    """Lead times below a panel, a mark at each few."""
    hours = sorted(set(leads))
    axis.set_xlabel("lead time (h)")
    axis.set_xticks(hours[:: -(-len(hours) // 8)])
