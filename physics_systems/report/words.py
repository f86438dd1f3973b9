"""What the page says in words: a headline with numbers, what columns mean, what figures show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from physics_systems.evaluation.rows import EXAMPLES, Row
from physics_systems.evaluation.sanity import SANITY

OFF = 0.05
"""How far coverage may be from its level for intervals to be said to be right."""
MEANINGS = {
    "seeds": "runs of the row, each trained from another seed",
    "refined": "whether the encoder's answer is refined on the context, decided on validation",
    "forecast MSE": "mean squared error of all scored frames and components",
    "median": "of the trajectories' mean squared errors",
    "MSE the other way": "with refinement where the row is without, and the reverse",
    "against observations": "MSE against noisy observations, where the truth is known too",
    "n": "trajectories that are scored",
    "failed": "forecasts that are not finite",
    "relative": "root of the summed squared errors ÷ that of the truth",
    "θ error": "squared error of θ ÷ variance of its true values; 1: no better than their mean",
    "CRPS": "of the ensemble: an error of whole distributions, 0 at best",
    "coverage 90 %": "share of true values that the ensemble's 90 % intervals hold: .9 is right",
    "θ coverage 90 %": "the same of the posterior of θ",
    "steps": "of the optimiser",
    "trained s": "seconds of training",
    "points": "states at which the field is asked in one forecast, inference included",
    "forecast s": "seconds of one forecast, all trajectories forecast together",
}
"""Columns of the table of scores, by title."""


def headline(summary: pd.DataFrame, names: Sequence[str], paired: pd.DataFrame) -> list[str]:
    """The best model, how it stands beside the rows that need no training, and what is certain.

    Args:
        summary: of all rows.
        names: of them, as they are shown.
        paired: comparisons with VGB-DM.
    """
    errors = [float(error) for error in summary["forecast_mse"].fillna(np.inf)]
    models = [k for k, own in enumerate(summary["objective"]) if own not in SANITY]
    if not models:
        return []
    best = min(models, key=lambda k: errors[k])
    own, others = summary.iloc[best], dict(zip(summary["objective"], errors, strict=True))
    return [
        _best(names[best], own, len(models), others),
        _certainty(paired),
        *_calibrated(own),
    ]


def _best(name: str, own: pd.Series, count: int, errors: Mapping[str, float]) -> str:
    error = float(own["forecast_mse"])
    if not np.isfinite(error):
        return f"No model forecast every trajectory: of {name} {own['n_failed']:.0f} failed."
    lead = f"{name}: forecast MSE {error:.3g}" if count == 1 else (
        f"{name} has the lowest forecast MSE of {count} models, {error:.3g}"
    )  # fmt: skip
    told = [
        f"{error / errors[row]:.2g} × that of {row.replace('_', ' ')}"
        for row in ("persistence", "physics_only")
        if errors.get(row, 0) > 0
    ]
    theta = own.get("theta_error", np.nan)
    if not pd.isna(theta):
        told.append(f"θ error {theta:.3g}")
    return f"{', '.join([lead, *told])}."


def _certainty(paired: pd.DataFrame) -> str:
    """How many comparisons with VGB-DM are certain."""
    if "verdict" not in paired or paired.empty:
        return "No comparison with VGB-DM: no run of it among these."
    counts = paired["verdict"].value_counts()
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    has = paired["low"].notna().any()
    return (
        f"Of {len(paired)} comparisons with VGB-DM: {told} "
        f"({'95 % intervals over seeds and trajectories' if has else 'no interval'})."
    )


def _calibrated(own: pd.Series) -> list[str]:
    """Whether 90 % intervals hold 90 %, of the forecast and of θ."""
    told = []
    for score, what in (("forecast_coverage_90", "forecast"), ("theta_coverage_90", "θ")):
        share = own.get(score, np.nan)
        if not pd.isna(share):
            told.append(f"of the {what} {share:.0%} ({width(share, 0.9)})".replace("%", " %"))
    return [f"Its 90 % intervals hold, {', '.join(told)}."] if told else []


def width(share: float, level: float) -> str:
    """What coverage says of intervals."""
    if abs(share - level) <= OFF:
        return "about right"
    return "too narrow" if share < level else "too wide"


def calibration_word(line: pd.Series) -> str:
    """Where calibration of a parameter fails, in words; empty where nothing is seen of it."""
    told = []
    for level in (50, 90):
        low, high = line[f"coverage_{level}_low"], line[f"coverage_{level}_high"]
        if high < level / 100:
            told.append(f"the {level} % intervals are too narrow")
        if low > level / 100:
            told.append(f"the {level} % intervals are too wide")
    if line["rank_p"] < 0.01:
        told.append("ranks are not even")
    return ", ".join(told)


def errors_of_examples(row: Row) -> str:
    """The errors of the examples, in words."""
    names = EXAMPLES if len(row.shown) == len(EXAMPLES) else ("best", "worst")
    return ", ".join(
        f"{name} {row.errors[place]:.3g}" for name, place in zip(names, row.shown, strict=False)
    )
