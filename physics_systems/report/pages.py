"""The page and the table that an evaluation leaves."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from torch import Tensor

from physics_systems.data.trajectories import Trajectories
from physics_systems.evaluation.scoring import SANITY, Row
from physics_systems.report import figures
from physics_systems.systems.system import System
from vgbdm.report.page import image, write_page

SHOWN_SCORES = {
    "forecast_mse": "forecast MSE",
    "forecast_mse_median": "median",
    "n": "n",
    "n_failed": "failed",
    "relative_mse": "relative",
    "theta_error": "θ error",
    "crps": "CRPS",
    "forecast_coverage_90": "coverage 90 %",
    "theta_coverage_90": "θ coverage 90 %",
    "steps": "steps",
    "nfe": "NFE",
}


def cells(row: pd.Series) -> list[str]:
    """A summary row as text: mean ± standard deviation over seeds."""
    found = []
    for name in SHOWN_SCORES:
        value, spread = row[name], row[f"{name}_std"]
        text = "–" if pd.isna(value) else f"{value:.3g}"
        whole = name in ("n", "nfe", "steps")
        found.append(text if pd.isna(spread) or whole else f"{text} ± {spread:.1g}")
    return found


def label(row: pd.Series, summary: pd.DataFrame) -> str:
    """The objective, with its variant where there are several."""
    name = str(row["objective"])
    several = (summary["objective"] == name).sum() > 1 and name not in SANITY
    return f"{name} {row['variant']}" if several else name


def format_summary(summary: pd.DataFrame) -> str:
    """The summary for a terminal."""
    lines = [["", "runs", *SHOWN_SCORES.values()]]
    for _, row in summary.iterrows():
        lines.append([label(row, summary), str(int(row["runs"])), *cells(row)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    )


def markdown(summary: pd.DataFrame) -> str:
    """The summary as a Markdown table."""
    lines = [["", "runs", *SHOWN_SCORES.values()], ["---"] * (2 + len(SHOWN_SCORES))]
    for _, row in summary.iterrows():
        lines.append([label(row, summary), str(int(row["runs"])), *cells(row)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_report(
    out: Path,
    system: System,
    data: Trajectories,
    truth: Mapping[str, Tensor] | None,
    rows: list[Row],
    frames: Mapping[str, pd.DataFrame],
) -> Path:
    """Write ``report.html`` and return its path; pictures are of one run per objective.

    Args:
        out: folder.
        system: that was scored.
        data: test trajectories.
        truth: true parameters by name, where they are known.
        rows: models and sanity rows.
        frames: ``summary``, ``paired`` and ``limits`` of `physics_systems.evaluation.scoring`.
    """
    summary, differences, limits = (frames[name] for name in ("summary", "paired", "limits"))
    chosen: dict[str, Row] = {}
    for row in rows:
        chosen.setdefault(str(row.numbers["objective"]), row)
    models = {name: row for name, row in chosen.items() if row.field is not None}
    first = next(iter(models.values()))
    assert first.field is not None
    window = first.field.window
    same = {
        name: row.forecasts.mean
        for name, row in chosen.items()
        if row.forecasts.mean.shape[1] == data.x.shape[1] - window
    }
    scale = first.field.std[: first.field.size].flatten()
    parts = [
        f"<h1>{html.escape(system.name)}</h1>",
        f"<p class=quiet>{len(data)} test trajectories; frames 0 to {window - 1} are given, "
        f"{window} to {data.x.shape[1] - 1} are scored. Mean ± standard deviation over runs.</p>",
        table(summary),
        "<h2>Differences to VGB-DM</h2>",
        differences.to_html(index=False, float_format=lambda v: f"{v:.3g}", na_rep="–", border=0)
        if len(differences)
        else "<p class=quiet>No run of VGB-DM among these.</p>",
        "<p class=quiet>Mean squared error of the row less that of VGB-DM of the same seed, over "
        "the same trajectories; 95 % bootstrap interval over seeds and trajectories together. A "
        "row is called better or worse only where the interval leaves out 0 and every seed "
        "agrees.</p>",
        *parameters(summary, limits),
        "<h2>Error against time</h2>",
        image(figures.error_against_time(data, window, same, scale)),
    ]
    for name, row in models.items():
        assert row.field is not None
        own, shown = row.field.window, f"{name}, seed {row.numbers['seed']}"
        parts.append(f"<h2>{html.escape(shown)}</h2>")
        parts.append(image(figures.trajectories(system, data, row.forecasts, own, shown)))
        parts.append(image(figures.portrait(system, data, row.forecasts, own, shown)))
        names = row.field.parameter_names
        if names and truth is not None:
            parts.append(image(figures.parameter_scatter(names, truth, row.forecasts, shown)))
            parts.append(image(figures.calibration(names, truth, row.forecasts, shown)))
    return write_page(out / "report.html", f"{system.name}: scores", parts)


def parameters(summary: pd.DataFrame, limits: pd.DataFrame) -> list[str]:
    """θ errors by parameter, beside those of the exact minimiser of the gauge penalty."""
    if limits.empty:
        return []
    names = list(limits["parameter"])
    columns = [f"theta_error_{name}" for name in names]
    found = summary[summary[columns[0]].notna()]
    shown = found[columns].set_axis(names, axis=1)
    shown.index = pd.Index([label(row, summary) for _, row in found.iterrows()])
    shown.loc["exact minimiser of R"] = limits["minimum_norm_error"].to_numpy()
    return [
        "<h2>θ by parameter</h2>",
        "<p class=quiet>Squared error ÷ variance of the true values. The last row is what the "
        "smallest residual leaves where the network sees everything and nothing but R chooses θ."
        "</p>",
        shown.to_html(float_format=lambda v: f"{v:.3g}", border=0),
    ]


def table(summary: pd.DataFrame) -> str:
    """The summary as an HTML table."""
    head = "".join(f"<th>{name}</th>" for name in ("", "runs", *SHOWN_SCORES.values()))
    lines = []
    for _, row in summary.iterrows():
        body = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells(row))
        kind = "" if row["objective"] in SANITY else " class=model"
        name = html.escape(label(row, summary))
        lines.append(f"<tr{kind}><td>{name}</td><td>{int(row['runs'])}</td>{body}</tr>")
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"
