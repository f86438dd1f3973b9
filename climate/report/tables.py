"""Tables of the report: scores, differences, published scores, rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from climate.conventions.wording import unit_words
from climate.forecasts.reading import Forecast
from climate.report.words import baselines, named, percent, skill
from climate.store.layout import TrainingStore
from climate.verification.published import (
    FOOTNOTE,
    HOURS,
    tables_beside,
    why_not_comparable,
    why_pooled,
)
from vgbdm.report.parts import ABSENT, Cell, Group, Line, Part, Table, Text, shade


def scores(scorecard: pd.DataFrame, units: Mapping[str, str]) -> list[Part]:
    """A table of each score: a line per row, in groups by variable.

    Args:
        scorecard: of `climate.verification.scorecard.score`.
        units: by variable.
    """
    hours = sorted(scorecard["lead_hours"].unique())
    head = ["", *(f"{hour} h" for hour in hours)]
    found: list[Part] = []
    for name, (title, format_, dimensional) in SHOWN.items():
        groups = []
        for variable, block in scorecard.groupby("variable", sort=False):
            lines = []
            for row, values in block.groupby("row", sort=False):
                numbers = values.set_index("lead_hours")[name].reindex(hours)
                if numbers.notna().any():
                    cells = [Cell(ABSENT if np.isnan(v) else format(v, format_)) for v in numbers]
                    lines.append(Line(named(row), cells, kind_of(row)))
            if lines:
                unit = unit_words(units[str(variable)]) if dimensional else ""
                groups.append(Group(f"{variable}{', ' + unit if unit else ''}", lines))
        if groups:
            found.append(Table(title, head, groups))
    return found


SHOWN = {
    "rmse_root_of_mean": ("RMSE (root of the mean)", ".4g", True),
    "acc": ("ACC, anomaly correlation", ".3f", False),
    "crps": ("CRPS; of a row with one forecast the mean absolute error", ".4g", True),
    "spread_skill": ("Spread ÷ skill: 1 where the ensemble is as wide as it errs", ".2f", False),
}
"""Scores that have a table: its caption, how numbers are written, whether they have a unit."""


def heat(scorecard: pd.DataFrame) -> Table:
    """Skill against each row that needs no model, by variable and lead, coloured."""
    hours = sorted(scorecard["lead_hours"].unique())
    groups = []
    for row in baselines(scorecard):
        found = skill(scorecard, row).reindex(columns=hours)
        lines = [
            Line(str(name), [_gain(v) for v in values])
            for name, values in zip(found.index, found.to_numpy(), strict=True)
        ]
        groups.append(Group(f"against {named(row)}", lines))
    return Table(HEAT, ["", *(f"{hour} h" for hour in hours)], groups, "heat")


HEAT = (
    "Skill: by how much the model's RMSE is below that of a row that needs no model. Blue: the "
    "model is better; orange: it is worse; the deeper, the more (from 2, 10, 25 and 50 %)."
)


def _gain(share: float) -> Cell:
    if np.isnan(share):
        return Cell(ABSENT)
    return Cell(percent(share), kind=shade(share))


def kind_of(row: object) -> str:
    """How a line stands out."""
    return "model" if row == "model" else ""


def differences(table: pd.DataFrame, units: Mapping[str, str]) -> list[Part]:
    """Differences of two forecasts' scores with their intervals, a table per variable.

    Args:
        table: of `climate.verification.comparison.Comparison`.
        units: by variable.
    """
    found: list[Part] = []
    for variable, block in table.groupby("variable", sort=False):
        hours = sorted(block["lead_hours"].unique())
        lines = []
        for score, values in block.groupby("score", sort=False):
            cells = values.set_index("lead_hours").loc[hours]
            ends = (cells[name] for name in ("difference", "low", "high", "better"))
            lines.append(Line(named(score), [_difference(*v) for v in zip(*ends, strict=True)]))
        caption = (
            f"{variable}, a - b, in {unit_words(units[str(variable)]) or 'its unit'} (mse: its "
            "square; bold: the interval leaves out 0)"
        )
        head = ["", *(f"{hour} h" for hour in hours)]
        found.append(Table(caption, head, [Group("", lines)]))
    return found


def _difference(value: float, low: float, high: float, better: str) -> Cell:
    ends = "" if np.isnan(low) else f"{low:.3g} … {high:.3g}"
    return Cell(f"{value:.3g}", ends, "strong" if better else "")


def beside(scorecard: pd.DataFrame, forecast: Forecast, store: TrainingStore) -> Sequence[Part]:
    """The published rows beside the model, or why they are not shown."""
    reason = why_not_comparable(forecast, store) or why_pooled(scorecard, forecast)
    if reason:
        return [Text(f"Published rows are not comparable: {reason}.", "quiet")]
    groups = [
        Group(str(variable), [_published(row, values) for row, values in table.iterrows()])
        for variable, table in tables_beside(scorecard, store).items()
    ]
    head = ["", *(f"{hour} h" for hour in HOURS)]
    return [Table("RMSE (mean of roots)", head, groups), Text(FOOTNOTE, "quiet")]


def _published(row: object, values: pd.Series) -> Line:
    cells = [Cell(ABSENT if np.isnan(v) else f"{v:.4g}") for v in values]
    return Line(str(row), cells, kind_of(row))


def rules(told: Mapping[str, str]) -> Table:
    """How rows and numbers are made."""
    lines = [Line(named(name), [Cell(rule)]) for name, rule in told.items()]
    return Table("Rows, scores, intervals and pictures", [], [Group("", lines)], "words")
