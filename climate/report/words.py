"""What the report says in words: a headline with numbers, what ranks look like, what figures show.

Shapes: ``M`` members.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from climate.conventions.wording import unit_words

RMSE = "rmse_root_of_mean"
NARROW, WIDE = 1.3, 0.75
"""Share of the two outer ranks over the even one, from which an ensemble is said to be so."""
TILT = 0.06
"""Distance of the mean rank from the middle, in ranges of ranks, from which it is so."""
UNEVEN = 0.1
"""Share that would have to change its fifth of the ranks, from which there is a word for it."""


def named(row: object) -> str:
    """A row's or score's name as text."""
    return str(row).replace("_", " ")


def baselines(scorecard: pd.DataFrame) -> list[str]:
    """Rows that need no model."""
    return [str(r) for r in scorecard["row"].unique() if not str(r).startswith("model")]


def skill(scorecard: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """1 - RMSE of the model ÷ that of a row: a line per variable, a column per lead.

    Args:
        scorecard: of `climate.verification.scorecard.score`.
        baseline: a row of it.
    """
    own, other = (
        scorecard[scorecard["row"] == row].pivot(
            index="variable", columns="lead_hours", values=RMSE
        )
        for row in ("model", baseline)
    )
    order = [name for name in scorecard["variable"].unique() if name in other.index]
    return (1 - own / other.where(other > 0)).reindex(order)


def day_ahead(scorecard: pd.DataFrame) -> int:
    """The lead nearest to a day."""
    return int(min(scorecard["lead_hours"].unique(), key=lambda hour: (abs(hour - 24), hour)))


def percent(share: float) -> str:
    """A gain or a loss: "+34 %", "−3 %"."""
    return f"{100 * share:+.0f} %".replace("-", "−")


def headline(scorecard: pd.DataFrame, intervals: str) -> list[str]:
    """What the forecast is worth a day ahead, against the row that is hardest to beat there.

    Args:
        scorecard: of `climate.verification.scorecard.score`.
        intervals: their rule.
    """
    hour = day_ahead(scorecard)
    gains = {row: skill(scorecard, row)[hour].dropna() for row in baselines(scorecard)}
    gains = {row: gain for row, gain in gains.items() if len(gain)}
    if not gains:
        return []
    hardest = min(gains, key=lambda row: gains[row].mean())
    gain = gains[hardest]
    return [
        f"{hour} h ahead: {_verdict(gain, hardest)}",
        _certainty(scorecard, hardest, hour, intervals),
        *_width(scorecard, hour),
    ]


def _verdict(gain: pd.Series, row: str) -> str:
    mean, count = gain.mean(), len(gain)
    against = f"{named(row)}, the hardest to beat of the rows that need no model"
    verb = "beats" if (gain > 0).all() else "loses to" if (gain < 0).all() else "partly beats"
    if count == 1:
        return f"{verb} {against}, by {100 * abs(mean):.0f} % of its RMSE ({gain.index[0]})."
    ends = ", ".join(f"{name} {percent(share)}" for name, share in gain.items())
    side = "lower" if mean >= 0 else "higher"
    return (
        f"{verb} {against}: RMSE {100 * abs(mean):.0f} % {side} in the mean "
        f"over {count} variables (gains: {ends})."
    )


def _certainty(scorecard: pd.DataFrame, row: str, hour: int, intervals: str) -> str:
    """Of which variables the intervals of the two rows are apart, or why there are none."""
    table = scorecard[scorecard["lead_hours"] == hour].set_index(["row", "variable"])
    ends = table[[f"{RMSE}_low", f"{RMSE}_high"]]
    apart: list[str] = []
    touching: list[str] = []
    for variable in table.loc["model"].index:
        if (row, variable) not in ends.index:
            continue
        own, other = ends.loc[("model", variable)], ends.loc[(row, variable)]
        if own.isna().any() or other.isna().any():
            return f"Intervals: {intervals}."
        clear = own.iloc[1] < other.iloc[0] or other.iloc[1] < own.iloc[0]
        (apart if clear else touching).append(str(variable))
    told = [f"apart for {', '.join(apart)}"] if apart else []
    told += [f"overlap for {', '.join(touching)}"] if touching else []
    return f"The 95 % intervals of the two are {' and '.join(told)}."


def _width(scorecard: pd.DataFrame, hour: int) -> list[str]:
    """Whether the ensemble is as wide as it errs; nothing of a forecast that is none."""
    own = scorecard[(scorecard["row"] == "model") & (scorecard["lead_hours"] == hour)]
    ratio = own.set_index("variable")["spread_skill"].dropna()
    if ratio.empty:
        return []
    low, high = float(ratio.min()), float(ratio.max())
    word = "too narrow" if high < 0.9 else "too wide" if low > 1.1 else "about as wide as it errs"
    if low < 0.9 and high > 1.1:
        word = "too narrow for some variables and too wide for others"
    ends = f"{low:.2f}" if len(ratio) == 1 else f"{low:.2f} to {high:.2f}"
    return [f"The ensemble is {word}: spread ÷ RMSE is {ends} there."]


def rank_word(shares: np.ndarray) -> str:
    """What a rank histogram (M + 1,) looks like, in a word or two."""
    ranks = np.arange(len(shares))
    if len(shares) < 2 or not shares.sum():
        return "–"
    share = shares / shares.sum()
    outer = (share[0] + share[-1]) * len(share) / 2
    tilt = float(share @ ranks) / (len(share) - 1) - 0.5
    words = []
    if len(share) > 2 and outer >= NARROW:
        words.append("too narrow")
    if len(share) > 2 and outer <= WIDE:
        words.append("too wide")
    if abs(tilt) >= TILT:
        words.append("too low" if tilt > 0 else "too high")
    if not words and np.abs(_fifths(share) - 0.2).sum() / 2 >= UNEVEN:
        words.append("uneven")
    return ", ".join(words) or EVEN


def _fifths(share: np.ndarray) -> np.ndarray:
    """What lies in each fifth of the ranks: single ones differ by chance."""
    ends = np.linspace(0, len(share), 6)
    return np.diff(np.interp(ends, np.arange(len(share) + 1), np.append(0.0, share.cumsum())))


EVEN = "about even"
RANKS = (
    "Each bar is the share of truths that had so many members below them, over the even share (the "
    "line). No word: about even, as where truth and members are drawn alike. Too narrow: truths "
    "lie outside of all members too often (a U). Too wide: too seldom (a dome). Too low, too high: "
    "the members are, of the truth (a slope). Uneven: none of these, as with two humps."
)
SPECTRA = (
    "Power by zonal wavenumber, weighted by latitude. A line below the truth's at high wavenumbers "
    "means fields that are too smooth, one above it noise. The mean of an ensemble is smoother "
    "than its members, and should be."
)


def curves_alt(scorecard: pd.DataFrame, score: str, label: str, units: Mapping[str, str]) -> str:
    """What a figure of scores against lead shows, with the numbers of a day ahead."""
    hour = day_ahead(scorecard)
    at = scorecard[scorecard["lead_hours"] == hour]
    told = []
    for variable, block in at.groupby("variable", sort=False):
        unit = unit_words(units[str(variable)]) if score != "acc" else ""
        found = block[block[score].notna()]
        rows = [f"{named(r)} {v:.3g}" for r, v in zip(found["row"], found[score], strict=True)]
        told.append(f"{variable}: {', '.join(rows)}{' ' + unit if unit else ''}")
    leads = scorecard["lead_hours"]
    return (
        f"Curves of {label} against lead time, {leads.min()} to {leads.max()} h, one panel per "
        f"variable and one curve per row. At {hour} h: {'; '.join(told)}."
    )
