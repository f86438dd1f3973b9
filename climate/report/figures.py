"""Curves and histograms of the report, as PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from climate.conventions.wording import unit_words, with_unit
from climate.report.panels import COLOURS, colour, grid, lead_axis, some_leads, waves_axis
from climate.report.words import EVEN, named, rank_word
from vgbdm.report.legends import legend
from vgbdm.report.page import draw

SCORE_LABELS = {
    "rmse_root_of_mean": "RMSE (root of the mean)",
    "acc": "anomaly correlation",
    "crps": "CRPS",
}
DIMENSIONAL = ("rmse_root_of_mean", "crps")
"""Scores in the variable's unit, which cannot be below 0."""
BARS = 0.85
"""Width of the bars of a rank, all rows together."""
FAINTEST = 1e-6
"""Share of the strongest wave, below which spectra are not drawn."""


def score_curves(scorecard: pd.DataFrame, score: str, units: Mapping[str, str]) -> bytes:
    """A score against lead with its intervals, a panel per variable, a line per row.

    Args:
        scorecard: of `climate.verification.scorecard.score`.
        score: of `SCORE_LABELS`.
        units: by variable.
    """

    def make() -> Figure:
        rows = [str(row) for row in scorecard["row"].unique()]
        variables = list(scorecard["variable"].unique())
        figure, axes = grid(len(variables), 2.5)
        for axis, variable in zip(axes, variables, strict=True):
            block = scorecard[scorecard["variable"] == variable]
            for row, values in block.groupby("row", sort=False):
                _curve(axis, values, score, str(row), colour(str(row), rows))
            unit = units[variable] if score in DIMENSIONAL else ""
            axis.set_title(with_unit(str(variable), unit))
            if score in DIMENSIONAL:
                axis.set_ylim(bottom=0)
            lead_axis(axis, list(block["lead_hours"]))
        axes[0].set_ylabel(SCORE_LABELS[score])
        legend(figure, axes)
        return figure

    return draw(make)


def _curve(axis: Axes, values: pd.DataFrame, score: str, row: str, shade: str) -> None:
    """One row's score against lead, with its interval as a band; nothing where it has none."""
    if values[score].isna().all():
        return
    hours, own = values["lead_hours"], row not in COLOURS or row.startswith("model")
    look: dict[str, Any] = {"color": shade, "marker": "o", "ms": 3}
    look |= {"linestyle": "-" if own else "--", "linewidth": 1.8 if own else 1.2}
    look["zorder"] = 3 if row == "model" else 2  # dressed, its mean is the model's own
    axis.plot(hours, values[score], label=row.replace("_", " "), **look)
    axis.fill_between(
        hours, values[f"{score}_low"], values[f"{score}_high"], color=shade, alpha=0.18, lw=0
    )


def spread_and_skill(scorecard: pd.DataFrame, units: Mapping[str, str]) -> bytes:
    """RMSE of the mean and spread of each ensemble against lead, a panel per variable.

    They meet where members and truth are drawn alike.
    """
    ensembles = scorecard[scorecard["spread_skill"].notna()]

    def make() -> Figure:
        variables = list(ensembles["variable"].unique())
        figure, axes = grid(len(variables), 2.4)
        for axis, variable in zip(axes, variables, strict=True):
            of_variable = ensembles[ensembles["variable"] == variable]
            for row, block in of_variable.groupby("row", sort=False):
                error, hours = block["rmse_root_of_mean"], block["lead_hours"]
                look: dict[str, Any] = {"color": COLOURS[str(row)], "marker": "o", "ms": 3}
                axis.plot(hours, error, label=f"{named(row)}, RMSE", **look)
                spread = error * block["spread_skill"]
                axis.plot(hours, spread, linestyle="--", label=f"{named(row)}, spread", **look)
            axis.set_title(with_unit(str(variable), units[variable]))
            axis.set_ylim(bottom=0)
            lead_axis(axis, list(of_variable["lead_hours"]))
        legend(figure, axes)
        return figure

    return draw(make)


def difference_curves(table: pd.DataFrame, score: str, units: Mapping[str, str]) -> bytes:
    """Differences of two forecasts' scores against lead with their intervals.

    Args:
        table: of `climate.verification.comparison.Comparison`.
        score: of `SCORE_LABELS`.
        units: by variable.
    """

    def make() -> Figure:
        variables = list(table["variable"].unique())
        figure, axes = grid(len(variables), 2.4)
        for axis, variable in zip(axes, variables, strict=True):
            values = table[(table["variable"] == variable) & (table["score"] == score)]
            hours = values["lead_hours"]
            axis.axhline(0, color="#6b6b6b", linewidth=0.8)
            look: dict[str, Any] = {"color": COLOURS["model"], "marker": "o", "ms": 3}
            axis.plot(hours, values["difference"], **look)
            band: dict[str, Any] = {"color": COLOURS["model"], "alpha": 0.18, "lw": 0}
            axis.fill_between(hours, values["low"], values["high"], **band)
            unit = units[variable] if score in DIMENSIONAL else ""
            axis.set_title(with_unit(str(variable), unit))
            lead_axis(axis, list(table["lead_hours"]))
        axes[0].set_ylabel(f"a - b, {SCORE_LABELS[score]}")
        figure.tight_layout()
        return figure

    return draw(make)


def spectra(table: pd.DataFrame, units: Mapping[str, str]) -> bytes:
    """Power against zonal wavenumber, a panel per variable and lead.

    Args:
        table: of `climate.verification.shapes.Shapes`.
        units: by variable.
    """

    def make() -> Figure:
        variables, leads = list(table["variable"].unique()), some_leads(list(table["lead_hours"]))
        figure, axes = grid(len(variables) * len(leads), 2.6, len(leads))
        places = [(variable, lead) for variable in variables for lead in leads]
        for axis, (variable, lead) in zip(axes, places, strict=True):
            chosen = (table["variable"] == variable) & (table["lead_hours"] == lead)
            waves = table[chosen & (table["wavenumber"] > 0)]
            for row in ("truth", "model", "model_mean"):
                line = waves[waves["row"] == row]
                look = {"color": COLOURS[row], "linestyle": "--" if row == "truth" else "-"}
                if len(line):
                    label = row.replace("_", " ")
                    axis.loglog(line["wavenumber"], line["power"], label=label, **look)
            top = float(waves.loc[waves["row"] == "truth", "power"].max())
            lowest = max(float(waves["power"].min()), top * FAINTEST)
            axis.set_ylim(lowest / 2, top * 3)
            axis.minorticks_off()
            waves_axis(axis, int(waves["wavenumber"].max()))
            axis.grid(visible=True, color="#e3e9ec", linewidth=0.6)
            axis.set_title(f"{variable}, {lead} h")
            if lead == leads[0]:
                unit = unit_words(units[variable])
                axis.set_ylabel(f"power, ({unit})²" if unit else "power")
        legend(figure, axes)
        return figure

    return draw(make)


def rank_histograms(table: pd.DataFrame) -> bytes:
    """Share of truths at each rank over the even share, a panel per variable and lead.

    The rows stand side by side; what one looks like is said where it is not about even.

    Args:
        table: of `climate.verification.shapes.Shapes`.
    """

    def make() -> Figure:
        variables, leads = list(table["variable"].unique()), some_leads(list(table["lead_hours"]))
        rows = list(table["row"].unique())
        figure, axes = grid(len(variables) * len(leads), 2.1, len(leads))
        places = [(variable, lead) for variable in variables for lead in leads]
        for axis, (variable, lead) in zip(axes, places, strict=True):
            chosen = (table["variable"] == variable) & (table["lead_hours"] == lead)
            title, longest = [f"{variable}, {lead} h"], table[chosen].groupby("row").size().max()
            for k, row in enumerate(rows):
                shares = table[chosen & (table["row"] == row)]
                wide = longest / max(len(shares), 1)  # rows of fewer ranks fill the same width
                place = wide * (shares["rank"] + 0.5 + (k - (len(rows) - 1) / 2) * BARS / len(rows))
                look: dict[str, Any] = {"color": COLOURS[row], "width": wide * BARS / len(rows)}
                look["label"] = named(row)
                axis.bar(place - 0.5, shares["share"] * len(shares), **look)
                word = rank_word(shares["share"].to_numpy())
                title += [f"{named(row)}: {word}"] if word != EVEN else []
            axis.axhline(1, color=COLOURS["truth"], linewidth=0.8)
            axis.set_title("\n".join(title))
            axis.set_xlabel("rank of the truth")
            axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            if lead == leads[0]:
                axis.set_ylabel("share ÷ even share")
        legend(figure, axes)
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
        left.plot(steps["step"], steps["loss"], color="#b8cdd6", linewidth=0.7, label="each step")
        left.plot(steps["step"], smooth, color=COLOURS["model"], label="running mean")
        scale = "log" if steps["loss"].min() > 0 else "linear"  # a log-likelihood has any sign
        left.set(xlabel="step", ylabel="training loss", yscale=scale)
        left.legend(frameon=False)
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
