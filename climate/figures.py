"""Pictures of the report, as PNG bytes.

Shapes: ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vgbdm.page import draw

COLOURS = {
    "model": "#0b6e99",
    "persistence": "#c2571a",
    "damped_persistence": "#d9a441",
    "climatology": "#7a7a7a",
}
LABELS = {"damped_persistence": "damped persistence"}


def skill_curves(scorecard: pd.DataFrame, units: Mapping[str, str]) -> bytes:
    """RMSE and ACC against lead, a column per variable, a line per row."""

    def make() -> Figure:
        variables = list(scorecard["variable"].unique())
        figure = Figure(figsize=(3.1 * len(variables), 5.2))
        axes = figure.subplots(2, len(variables), squeeze=False, sharex=True)
        for column, variable in enumerate(variables):
            block = scorecard[scorecard["variable"] == variable]
            for row, values in block.groupby("row", sort=False):
                hours, name = values["lead_hours"], str(row)
                look = {"color": COLOURS.get(name), "marker": "o", "markersize": 3}
                label = LABELS.get(name, name)
                axes[0, column].plot(hours, values["rmse_root_of_mean"], label=label, **look)
                axes[1, column].plot(hours, values["acc"], **look)
            axes[0, column].set_title(f"{variable} ({units[variable]})")
            axes[0, column].set_ylim(bottom=0)
            axes[1, column].set_xlabel("lead time (h)")
            axes[1, column].set_xticks(sorted(block["lead_hours"].unique()))
        axes[0, 0].set_ylabel("RMSE (root of the mean)")
        axes[1, 0].set_ylabel("anomaly correlation")
        axes[0, 0].legend(frameon=False)
        figure.tight_layout()
        return figure

    return draw(make)


def maps(
    panels: Mapping[str, np.ndarray],
    lat: np.ndarray,
    lon: np.ndarray,
    land: np.ndarray | None,
    units: str,
) -> bytes:
    """Forecast, truth and error side by side.

    Args:
        panels: title → (H, W); the last is the error, with its own scale.
        lat: (H,) degrees.
        lon: (W,) degrees.
        land: (H, W) land-sea mask, for coastlines.
        units: of the fields.
    """

    def make() -> Figure:
        figure = Figure(figsize=(4.1 * len(panels), 2.4))
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        *fields, error = panels.values()
        low, high = np.percentile(np.stack(fields), [1, 99])
        extreme = float(np.abs(error).max())
        half_x, half_y = (lon[1] - lon[0]) / 2, (lat[1] - lat[0]) / 2
        south, north = max(lat[0] - half_y, -90), min(lat[-1] + half_y, 90)
        edges = [lon[0] - half_x, lon[-1] + half_x, south, north]
        for k, (axis, (title, field)) in enumerate(zip(axes, panels.items(), strict=True)):
            last = k == len(panels) - 1
            image = axis.imshow(
                field,
                origin="lower",
                extent=edges,
                aspect="auto",
                cmap="RdBu_r" if last else "viridis",
                vmin=-extreme if last else low,
                vmax=extreme if last else high,
            )
            if land is not None:
                axis.contour(lon, lat, land, levels=[0.5], colors="black", linewidths=0.6)
            axis.set_title(title)
            if north - south > 175:
                axis.set_xticks([0, 90, 180, 270])
                axis.set_yticks([-60, 0, 60])
            figure.colorbar(image, ax=axis, label=units, shrink=0.9)
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
        left.set(xlabel="step", ylabel="training loss", yscale="log")
        right.plot(scores["step"], scores["score"], color=COLOURS["model"], marker="o")
        right.set(xlabel="step", ylabel="validation score", ylim=(0, None))
        figure.tight_layout()
        return figure

    return draw(make)
