"""The page and the table that an evaluation leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from physics_systems.data.trajectories import Trajectories
from physics_systems.evaluation.calibration import coverage_curve, rank_counts
from physics_systems.evaluation.rows import Row
from physics_systems.evaluation.sanity import SANITY
from physics_systems.evaluation.sets import EvaluationSet
from physics_systems.report import figures
from physics_systems.report.theta import calibration, parameters
from physics_systems.report.words import MEANINGS, errors_of_examples, headline, width
from physics_systems.systems.system import System
from vgbdm.report.page import write_page
from vgbdm.report.parts import (
    Cell,
    Group,
    Line,
    Page,
    Part,
    Picture,
    Section,
    Table,
    Text,
    table_of,
)
from vgbdm.report.provenance import provenance
from vgbdm.report.tables import in_columns

SHOWN_SCORES = {
    "forecast_mse": "forecast MSE",
    "forecast_mse_median": "median",
    "unchosen_mse": "MSE the other way",
    "observed_mse": "against observations",
    "n": "n",
    "n_failed": "failed",
    "relative_mse": "relative",
    "theta_error": "θ error",
    "crps": "CRPS",
    "forecast_coverage_90": "coverage 90 %",
    "theta_coverage_90": "θ coverage 90 %",
    "steps": "steps",
    "train_seconds": "trained s",
    "points": "points",
    "forecast_seconds": "forecast s",
}
OPTIONAL = ("unchosen_mse", "observed_mse")
"""Columns that are left out where no row has them."""
WHOLE = ("n", "steps", "points")


def columns(summary: pd.DataFrame) -> dict[str, str]:
    """Scores that are shown, and their titles."""
    return {
        name: title
        for name, title in SHOWN_SCORES.items()
        if name not in OPTIONAL or summary[name].notna().any()
    }


def cells(row: pd.Series, shown: Sequence[str]) -> list[str]:
    """A summary row as text: seeds, whether it is refined, mean ± standard deviation over seeds."""
    seeds = int(row["seeds"])
    refined = "–" if pd.isna(row["refined"]) else "yes" if row["refined"] else "no"
    found = [str(seeds) if seeds else "–", refined]
    for name in shown:
        value, spread = row[name], row.get(f"{name}_std")
        exact = name in WHOLE and not pd.isna(value) and float(value).is_integer()
        text = "–" if pd.isna(value) else f"{value:.0f}" if exact else f"{value:.3g}"
        bare = spread is None or pd.isna(spread) or name in WHOLE
        found.append(text if bare else f"{text} ± {spread:.1g}")
    return found


def label(row: pd.Series, summary: pd.DataFrame) -> str:
    """The objective, with its variant where there are several."""
    name = str(row["objective"])
    several = (summary["objective"] == name).sum() > 1 and name not in SANITY
    return f"{name} {row['variant']}" if several else name


def lines_of(summary: pd.DataFrame) -> list[list[str]]:
    """The summary as lines of texts; the first are titles."""
    shown = columns(summary)
    lines = [["", "seeds", "refined", *shown.values()]]
    for _, row in summary.iterrows():
        lines.append([label(row, summary), *cells(row, list(shown))])
    return lines


def format_summary(summary: pd.DataFrame) -> str:
    """The summary for a terminal."""
    return in_columns(lines_of(summary))


def markdown(summary: pd.DataFrame) -> str:
    """The summary as a Markdown table."""
    head, *lines = lines_of(summary)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))


def table(summary: pd.DataFrame) -> Table:
    """The summary as a table of the page; models stand out from sanity rows."""
    head, *lines = lines_of(summary)
    made = [
        Line(name, [Cell(text) for text in texts], "" if objective in SANITY else "model")
        for (name, *texts), objective in zip(lines, summary["objective"], strict=True)
    ]
    return Table("Scores, mean ± standard deviation over seeds", head, [Group("", made)])


def write_report(
    out: Path,
    system: System,
    test: EvaluationSet,
    rows: list[Row],
    frames: Mapping[str, pd.DataFrame],
    origin: Mapping[str, str] | None = None,
) -> Path:
    """Write ``report.html`` and return its path; pictures are of one run per objective.

    Args:
        out: folder.
        system: that was scored.
        test: what was scored.
        rows: models and sanity rows; those that are not chosen are passed over.
        frames: ``summary``, ``paired``, ``limits`` and ``calibration`` of
            `physics_systems.evaluating.tables_of`.
        origin: where runs and data lie, by name.
    """
    summary, differences = frames["summary"], frames["paired"]
    chosen: dict[str, list[Row]] = {}
    for row in rows:
        if row.numbers.get("chosen", True):
            chosen.setdefault(str(row.numbers["objective"]), []).append(row)
    models = {name: own for name, own in chosen.items() if own[0].field is not None}
    first = next(iter(models.values()))[0].field
    assert first is not None
    window, seen = first.window, Trajectories(test.target, test.data.t)
    same = {name: own[0].forecasts.mean for name, own in chosen.items()}
    names = [label(row, summary) for _, row in summary.iterrows()]
    paired: Part = Text("No run of VGB-DM among these.", "quiet")
    if len(differences):
        paired = table_of(differences, "MSE of the row ÷ that of VGB-DM")
    curves = figures.error_against_time(seen, window, same, first.std[: first.size].flatten())
    sections = [
        Section("Scores", [table(summary), Text(NOTES, "quiet"), meanings(summary)]),
        Section("All rows beside each other", [_bars(summary, names)]),
        Section("Beside VGB-DM", [paired, Text(VERDICTS, "quiet")]),
        Section("θ by parameter", parameters(summary, frames["limits"], names)),
        Section("Coverage", _coverage(models, test)),
        Section("Calibration of θ", calibration(models, test, frames["calibration"])),
        Section("Error against time", [Picture(curves, _curves_alt(same), CURVES)]),
        *(
            Section(f"{name}, seed {own[0].numbers['seed']}", pictures(name, own[0], system, test))
            for name, own in models.items()
        ),
    ]
    said, about = headline(summary, names, differences), [head(test, window)]
    told = provenance(dict(origin or {}))
    page = Page(f"{system.name}: scores", sections, said, about, origin=told)
    return write_page(out / "report.html", page)


CURVES = (
    "Root mean square error of each row against time, in standard deviations of the components, "
    "over all trajectories."
)


def _curves_alt(rows: Mapping[str, object]) -> str:
    return f"Curves of error against time, logarithmic, one per row: {', '.join(rows)}."


def meanings(summary: pd.DataFrame) -> Part:
    """What each column of the table of scores is."""
    titles = ["seeds", "refined", *columns(summary).values()]
    lines = [Line(title, [Cell(MEANINGS[title])]) for title in titles]
    return Table("What the columns are", [], [Group("", lines)], "words")


def _bars(summary: pd.DataFrame, names: Sequence[str]) -> Part:
    plain = [name for name, own in zip(names, summary["objective"], strict=True) if own in SANITY]
    told = [
        f"{name} {error:.3g}" for name, error in zip(names, summary["forecast_mse"], strict=True)
    ]
    words = (
        "Errors of all rows, variants of an objective among them, logarithmic; lines are standard "
        "deviations over seeds. Grey: rows that need no training."
    )
    alt = f"Bars of errors, one per row. Forecast MSE: {', '.join(told)}."
    return Picture(figures.bars(summary, names, plain), alt, words)


def _coverage(models: Mapping[str, list[Row]], test: EvaluationSet) -> list[Part]:
    """Coverage against level of forecasts and of θ, of the first run of each objective."""
    curves = {}
    for name, own in models.items():
        counts = own[0].rank_counts
        if counts is not None and len(counts) > 2:
            curves[f"{name}: forecast"] = coverage_curve(counts)
        draws, field = own[0].forecasts.theta_draws, own[0].field
        if draws is not None and len(draws) > 1 and test.parameters is not None and field:
            true = torch.stack([test.parameters[p] for p in field.parameter_names], 1)
            curves[f"{name}: θ"] = coverage_curve(rank_counts(draws.double(), true))
    curves = {name: curve for name, curve in curves.items() if len(curve[0])}
    if not curves:
        return []
    told = []
    for name, (levels, shares) in curves.items():
        at = int(np.abs(levels - 0.9).argmin())
        word = width(float(shares[at]), float(levels[at]))
        told.append(f"{name}: {levels[at]:.2f} intervals hold {shares[at]:.2f}, {word}")
    alt = f"Curves of the share of truths held against the level. {'; '.join(told)}."
    picture = figures.coverage(curves, "coverage of central intervals")
    return [Picture(picture, alt, COVERAGE), *(Text(f"{line}.") for line in told)]


COVERAGE = (
    "Share of true values that central intervals hold, against their level. Below the diagonal: "
    "intervals are too narrow; above: too wide."
)


NOTES = (
    "Mean ± standard deviation over seeds; n trajectories each. Refined: whether the encoder's "
    "answer is refined on the context, decided for each row by its mean validation MSE; the other "
    "way is what the row scores if it is decided otherwise. Where a forecast failed every mean is "
    "infinite, and median and counts stand. Points are states at which the field is asked in one "
    "forecast, inference included; seconds of a forecast are per trajectory, all forecast together."
)
VERDICTS = (
    "Mean squared error of the row ÷ that of VGB-DM of the same seed, over the same trajectories, "
    "as the geometric mean over seeds; 95 % interval over seeds and trajectories together (the "
    "hull of a bootstrap and Student's t on the logarithms of seeds). A row is called better or "
    "worse only where the interval leaves out 1 and every seed agrees."
)


def head(test: EvaluationSet, window: int) -> str:
    """What was scored, in a sentence."""
    last = test.data.x.shape[1] - 1
    against = "" if test.states is None else ", against the states without noise of observation"
    return (
        f"{len(test)} test trajectories; frames 0 to {window - 1} are given, {window} to {last} "
        f"are scored{against}."
    )


def pictures(name: str, row: Row, system: System, test: EvaluationSet) -> list[Part]:
    """Of the first run of an objective."""
    assert row.field is not None
    shown, seen = f"{name}, seed {row.numbers['seed']}", Trajectories(test.target, test.data.t)
    window, told = row.field.window, errors_of_examples(row)
    caption = f"Trajectories of the least, the median and the largest error. MSE: {told}."
    alt = f"Curves of truth and forecast against time, a panel per component. {caption}"
    parts: list[Part] = [
        Picture(figures.trajectories(system, test, row, window, shown), alt, caption),
        Picture(
            figures.portrait(system, seen, row, window, shown),
            f"Truth and forecast of the same examples of {shown}. MSE: {told}.",
            "The last frame: forecast, truth and error." if system.grid else PORTRAITS,
        ),
    ]
    names = row.field.parameter_names
    if names and test.parameters is not None:
        scatter = figures.parameter_scatter(names, test.parameters, row.forecasts, shown)
        alt = f"Points of inferred against true {', '.join(names)}, one per trajectory, of {shown}."
        words = "Inferred against true parameters; on the diagonal they are right."
        parts.append(Picture(scatter, alt, words))
    return parts


PORTRAITS = "The same trajectories, one component against another or against its change."
