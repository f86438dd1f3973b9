"""What the page says of θ: errors by parameter, what is worse than a guess, calibration.

Shapes: ``N`` trajectories, ``M`` members, ``P`` parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from physics_systems.evaluation.calibration import (
    draws_of,
    has_draws,
    rank_histogram,
    ranks_of,
)
from physics_systems.evaluation.rows import Row
from physics_systems.evaluation.sets import EvaluationSet
from physics_systems.report import figures
from physics_systems.report.words import calibration_word
from vgbdm.report.parts import Part, Picture, Text, table_of

GUESS = "prior_mean"
UNCALIBRATED = (
    "The true parameters of this test set are not draws from the models' prior, so their coverage "
    "here is no calibration: simulate one with parameters=prior."
)


def parameters(summary: pd.DataFrame, limits: pd.DataFrame, names: Sequence[str]) -> list[Part]:
    """θ errors by parameter, beside those of the exact minimiser of the gauge penalty.

    Args:
        summary: of all rows.
        limits: of `physics_systems.evaluation.scoring.gauge_limits`.
        names: of the rows, as they are shown.
    """
    shown = errors(summary, names)
    if shown.empty:
        return []
    if len(limits):
        shown.loc["exact minimiser of R"] = limits.set_index("parameter")["minimum_norm_error"]
    named = shown.rename_axis("").reset_index()
    return [
        Text(LAST_ROW, "quiet"),
        *(Text(line, "note") for line in worse_than_guessing(summary, names)),
        table_of(named, "Squared error ÷ variance of the true values"),
    ]


LAST_ROW = (
    "The last row is what the smallest residual leaves where the network sees everything and "
    "nothing but R chooses θ."
)


def errors(summary: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Errors of rows that infer θ, by parameter."""
    columns = {
        str(name): str(name).removeprefix("theta_error_")
        for name in summary.columns
        if str(name).startswith("theta_error_") and not str(name).endswith("_std")
    }
    shown = summary[list(columns)].rename(columns=columns).set_axis(list(names), axis=0)
    return shown.dropna(how="all")


def worse_than_guessing(summary: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """A line of each row whose θ is worse than the mean of its prior."""
    found = dict(zip(names, summary["theta_error"], strict=True))
    guess = found.get(GUESS)
    each = errors(summary, names)
    lines = []
    for name, error in found.items():
        if guess is None or name == GUESS or pd.isna(error):
            continue
        pairs = zip(map(str, each.columns), each.loc[name], each.loc[GUESS], strict=True)
        worse = [f"{parameter} {own:.3g}" for parameter, own, guessed in pairs if own > guessed]
        if error > guess:
            lines.append(
                f"{name}: θ is worse than guessing the prior mean (error {error:.3g}; the prior "
                f"mean's is {guess:.3g}). By parameter: {', '.join(worse)}."
            )
        elif worse:
            lines.append(f"{name}: worse than guessing the prior mean in {', '.join(worse)}.")
    return lines


def calibration(
    models: Mapping[str, Sequence[Row]], test: EvaluationSet, table: pd.DataFrame
) -> list[Part]:
    """Ranks of true parameters among posterior draws, pooled over the seeds of a variant.

    Args:
        models: chosen rows by objective.
        test: what was scored.
        table: of `physics_systems.evaluation.calibration.calibration_table`.
    """
    drawn = {name: own for name, own in models.items() if has_draws(own[0])}
    if test.parameters is None or not drawn:
        return []
    if not test.from_prior:
        return [Text(UNCALIBRATED, "note")]
    parts: list[Part] = [Text(BANDS, "quiet")]
    for name, own in drawn.items():
        assert own[0].field is not None
        variant = own[0].numbers.get("variant")
        pooled = [row for row in own if row.numbers.get("variant") == variant]
        histograms = {
            parameter: rank_histogram(
                ranks_of(draws_of(pooled, place), test.parameters[parameter]),
                len(own[0].forecasts.theta_draws),  # type: ignore[arg-type]
            )
            for place, parameter in enumerate(own[0].field.parameter_names)
        }
        title = f"{name}, {len(pooled)} seed(s)"
        picture = figures.calibration(histograms, title)
        mine = table[(table["objective"] == name) & (table["variant"] == str(variant or ""))]
        said = sentence(name, mine)
        words = "Ranks of the true parameters among their posterior draws."
        parts += [Picture(picture, f"{words} {said}", words), Text(said)]
        parts += [Text(line, "note") for line in failures(name, mine)]
    return parts


BANDS = (
    "Ranks of the true parameters among the posterior's draws, averaged over seeds: even where the "
    "posterior is right. Each bar of right ones lies in the grey band with a probability of 99 %; "
    "intervals are of 99 %, of as many draws from the prior as there are trajectories."
)


def failures(name: str, table: pd.DataFrame) -> list[str]:
    """A line where calibration of a variant fails; nothing where it is not seen to."""
    told = [
        f"{row['parameter']}: {words}"
        for _, row in table.iterrows()
        if (words := calibration_word(row))
    ]
    return [f"{name} is not calibrated. {'; '.join(told)}."] if told else []


def sentence(name: str, table: pd.DataFrame) -> str:
    """What the lines of one variant say."""
    told = []
    for _, row in table.iterrows():
        shares = [
            f"{level} % hold {row[f'coverage_{level}']:.2f} "
            f"[{row[f'coverage_{level}_low']:.2f}, {row[f'coverage_{level}_high']:.2f}]"
            for level in (50, 90)
            if not pd.isna(row[f"coverage_{level}"])
        ]
        even = f"p = {row['rank_p']:.2g} that ranks are even"
        told.append(f"{row['parameter']}: {', '.join([*shares, even])}, n = {row['n']}")
    return f"{name}: {'; '.join(told)}."
