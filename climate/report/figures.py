"""Pictures of the report, as PNG bytes.

Shapes: ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from climate.grids.area import Area
from vgbdm.report.page import draw

COLOURS = {
    "model": "#0b6e99",
    "model_mean": "#7fb7d1",
    "model_dressed": "#5b4a9c",
    "persistence": "#c2571a",
    "damped_persistence": "#d9a441",
    "lagged_persistence": "#3f8f5b",
    "climatology": "#7a7a7a",
    "truth": "#1d2a30",
}
MASKED = "#b3b3b3"
"""Where a variable has no values."""
SCORE_LABELS = {
    "rmse_root_of_mean": "RMSE (root of the mean)",
    "acc": "anomaly correlation",
    "crps": "CRPS",
    "spread_skill": "spread / skill",
}
SHOWN_LEADS = 3
"""Leads drawn in spectra and rank histograms: the first, the one in the middle, the last."""


def skill_curves(scorecard: pd.DataFrame, units: Mapping[str, str]) -> bytes:
    """Scores against lead with their intervals, a column per variable, a line per row."""
    spread = scorecard.loc[scorecard["row"] == "model", "spread_skill"].notna().any()
    shown = [name for name in SCORE_LABELS if name != "spread_skill" or spread]

    def make() -> Figure:
        variables = list(scorecard["variable"].unique())
        figure = Figure(figsize=(3.1 * len(variables), 2.6 * len(shown)))
        axes = figure.subplots(len(shown), len(variables), squeeze=False, sharex=True)
        for column, variable in enumerate(variables):
            block = scorecard[scorecard["variable"] == variable]
            for row, values in block.groupby("row", sort=False):
                for place, score in enumerate(shown):
                    _curve(axes[place, column], values, score, str(row))
            axes[0, column].set_title(f"{variable} ({units[variable]})")
            for place, score in enumerate(shown):
                if score in ("rmse_root_of_mean", "crps"):
                    axes[place, column].set_ylim(bottom=0)
                if score == "spread_skill":
                    axes[place, column].axhline(1, color="#b8cdd6", linewidth=0.8, zorder=0)
            _lead_axis(axes[-1, column], block["lead_hours"])
        for place, score in enumerate(shown):
            axes[place, 0].set_ylabel(SCORE_LABELS[score])
        handles: dict[str, Artist] = {}
        for axis in axes[0]:
            of_axis, names = axis.get_legend_handles_labels()
            handles |= dict(zip(names, of_axis, strict=True))
        look: dict[str, Any] = {"bbox_to_anchor": (0.5, 0.0), "frameon": False}
        look["ncols"] = len(handles)
        figure.legend(list(handles.values()), list(handles), loc="upper center", **look)
        figure.tight_layout()
        return figure

    return draw(make)


def _curve(axis: Axes, values: pd.DataFrame, score: str, row: str) -> None:
    """One row's score against lead, with its interval as a band; nothing where it has none."""
    if values[score].isna().all():
        return
    colour, hours = COLOURS.get(row), values["lead_hours"]
    look: dict[str, Any] = {"color": colour, "marker": "o", "ms": 3}
    look["zorder"] = 3 if row == "model" else 2  # dressed, its mean is the model's own
    axis.plot(hours, values[score], label=row.replace("_", " "), **look)
    axis.fill_between(
        hours, values[f"{score}_low"], values[f"{score}_high"], color=colour, alpha=0.18, lw=0
    )


def _lead_axis(axis: Axes, leads: pd.Series) -> None:
    hours = sorted(leads.unique())
    axis.set_xlabel("lead time (h)")
    axis.set_xticks(hours[:: -(-len(hours) // 8)])


def difference_curves(table: pd.DataFrame, units: Mapping[str, str]) -> bytes:
    """Differences of two forecasts' scores against lead with their intervals.

    Args:
        table: of `climate.verification.comparison.Comparison`.
        units: by variable.
    """
    shown = ("rmse_root_of_mean", "crps", "acc")

    def make() -> Figure:
        variables = list(table["variable"].unique())
        figure = Figure(figsize=(3.1 * len(variables), 2.6 * len(shown)))
        axes = figure.subplots(len(shown), len(variables), squeeze=False, sharex=True)
        for column, variable in enumerate(variables):
            for place, score in enumerate(shown):
                axis = axes[place, column]
                values = table[(table["variable"] == variable) & (table["score"] == score)]
                hours = values["lead_hours"]
                axis.axhline(0, color="#7a7a7a", linewidth=0.8)
                look = {"color": COLOURS["model"], "marker": "o", "ms": 3}
                axis.plot(hours, values["difference"], **look)
                band = {"color": COLOURS["model"], "alpha": 0.18, "lw": 0}
                axis.fill_between(hours, values["low"], values["high"], **band)
            axes[0, column].set_title(f"{variable} ({units[variable]})")
            _lead_axis(axes[-1, column], table["lead_hours"])
        for place, score in enumerate(shown):
            axes[place, 0].set_ylabel(f"a - b, {SCORE_LABELS[score]}")
        figure.tight_layout()
        return figure

    return draw(make)


def _some_leads(hours: pd.Series) -> list[int]:
    """At most three leads: the first, the middle one, the last."""
    leads = sorted(hours.unique())
    places = np.linspace(0, len(leads) - 1, min(SHOWN_LEADS, len(leads))).round().astype(int)
    return [int(leads[place]) for place in places]


def spectra(table: pd.DataFrame, units: Mapping[str, str]) -> bytes:
    """Power against zonal wavenumber, a column per variable, a row per lead.

    Args:
        table: of `climate.verification.shapes.Shapes`.
        units: by variable.
    """

    def make() -> Figure:
        variables, leads = list(table["variable"].unique()), _some_leads(table["lead_hours"])
        figure = Figure(figsize=(3.1 * len(variables), 2.5 * len(leads)))
        axes = figure.subplots(len(leads), len(variables), squeeze=False, sharex=True)
        for column, variable in enumerate(variables):
            for place, lead in enumerate(leads):
                axis = axes[place, column]
                chosen = (table["variable"] == variable) & (table["lead_hours"] == lead)
                waves = table[chosen & (table["wavenumber"] > 0)]
                for row in ("truth", "model", "model_mean"):
                    line = waves[waves["row"] == row]
                    look = {"color": COLOURS[row], "linestyle": "--" if row == "truth" else "-"}
                    if len(line):
                        label = row.replace("_", " ")
                        axis.loglog(line["wavenumber"], line["power"], label=label, **look)
                top = float(waves.loc[waves["row"] == "truth", "power"].max())
                axis.set_ylim(top * 1e-6, top * 3)
                axis.minorticks_off()
                axis.set_title(f"{variable}, ({units[variable]})², {lead} h")
            axes[-1, column].set_xlabel("zonal wavenumber")
        axes[0, 0].legend(frameon=False)
        figure.tight_layout()
        return figure

    return draw(make)


def rank_histograms(table: pd.DataFrame) -> bytes:
    """Share of truths at each rank over the even share, a column per variable, a row per lead."""

    def make() -> Figure:
        variables, leads = list(table["variable"].unique()), _some_leads(table["lead_hours"])
        figure = Figure(figsize=(3.1 * len(variables), 2.0 * len(leads)))
        axes = figure.subplots(len(leads), len(variables), squeeze=False, sharex=True)
        for column, variable in enumerate(variables):
            for place, lead in enumerate(leads):
                axis = axes[place, column]
                chosen = (table["variable"] == variable) & (table["lead_hours"] == lead)
                shares = table[chosen]
                axis.bar(shares["rank"], shares["share"] * len(shares), color=COLOURS["model"])
                axis.axhline(1, color=COLOURS["truth"], linewidth=0.8)
                axis.set_title(f"{variable}, {lead} h")
            axes[-1, column].set_xlabel("rank of the truth")
        for axis in axes[:, 0]:
            axis.set_ylabel("share ÷ even share")
        figure.tight_layout()
        return figure

    return draw(make)


@dataclass(frozen=True)
class Panel:
    """One map.

    Attributes:
        title: of it.
        field: (H, W).
        kind: ``state``, ``difference`` or ``spread``: which colours, and which scale it shares.
    """

    title: str
    field: np.ndarray
    kind: str = "state"


def maps(panels: Sequence[Panel], area: Area, land: np.ndarray | None, units: str) -> bytes:
    """Maps, three beside each other; states share one scale, and what is NaN is grey.

    Args:
        panels: to draw.
        area: of the fields.
        land: (H, W) land-sea mask, for coastlines.
        units: of the fields.
    """
    # a box across the meridian the grid starts at is drawn in one piece
    lon = np.rad2deg(np.unwrap(np.deg2rad(area.lon)))

    def make() -> Figure:
        lines = -(-len(panels) // 3)
        figure = Figure(figsize=(12.3, 2.4 * lines))
        axes = figure.subplots(lines, 3, squeeze=False)
        states = np.stack([panel.field for panel in panels if panel.kind == "state"])
        low, high = np.nanpercentile(states, [1, 99])
        for axis, panel in zip(axes.flat, panels, strict=False):
            extreme = float(np.nanmax(np.abs(panel.field)))
            axis.set_facecolor(MASKED)
            look: dict[str, Any] = {
                "state": {"cmap": "viridis", "vmin": low, "vmax": high},
                "difference": {"cmap": "RdBu_r", "vmin": -extreme, "vmax": extreme},
                "spread": {"cmap": "magma", "vmin": 0, "vmax": extreme},
            }[panel.kind]
            image = axis.pcolormesh(lon, area.lat, panel.field, shading="nearest", **look)
            if land is not None:
                axis.contour(lon, area.lat, land, levels=[0.5], colors="black", linewidths=0.6)
            axis.set_title(panel.title)
            figure.colorbar(image, ax=axis, label=units, shrink=0.9)
        for axis in axes.flat[len(panels) :]:
            axis.set_axis_off()
        figure.tight_layout()
        return figure

    return draw(make)


def training_curves(run_dir: Path) -> bytes | None:
    """Loss and validation score against the step, or None where the run left no logs."""
    log, validation = run_dir / "log.csv", run_dir / "validation.csv"
    if not log.exists() or not validation.exists():
        return None
    steps, scores = pd.read_csv(log), pd.read_csv(validation)

    def make() -> Figure:
        figure = Figure(figsize=(9.5, 2.8))
        left, right = figure.subplots(1, 2)
        smooth = steps["loss"].rolling(max(len(steps) // 50, 1), min_periods=1).mean()
        left.plot(steps["step"], steps["loss"], color="#b8cdd6", linewidth=0.7)
        left.plot(steps["step"], smooth, color=COLOURS["model"])
        scale = "log" if steps["loss"].min() > 0 else "linear"  # a log-likelihood has any sign
        left.set(xlabel="step", ylabel="training loss", yscale=scale)
        right.plot(scores["step"], scores["score"], color=COLOURS["model"], marker="o")
        right.set(xlabel="step", ylabel="validation score", ylim=(0, None))
        figure.tight_layout()
        return figure

    return draw(make)


def courant(log: Path) -> bytes | None:
    """The Courant number of training against the step, or None where the run has none."""
    steps = pd.read_csv(log)
    if "courant" not in steps:
        return None

    def make() -> Figure:
        figure = Figure(figsize=(4.8, 2.4))
        axis = figure.subplots()
        axis.plot(steps["step"], steps["courant"], color=COLOURS["model"], linewidth=0.8)
        axis.set(xlabel="step", ylabel="Courant number", ylim=(0, None))
        figure.tight_layout()
        return figure

    return draw(make)
