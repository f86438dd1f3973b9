"""Intervals of scores by a stationary bootstrap of days, wide enough for periods that are short.

Days are drawn again in rows of random length (Politis & Romano 1994), whose mean follows from the
score's own autocorrelation (Politis & White 2004, as corrected in 2009). Left at that, "95 %" cover
.85 to .93: rows cut what is remembered across their ends, means of a short period take some of the
spread away, and few rows tell little. So the spread of the draws is multiplied by what both take
from that of a first-order autoregression with the score's memory, and by Student's t over the
normal quantile, its degrees of freedom the rows in the period less one. Where there are fewer than
`FEWEST` days or rows of them there is no interval, and no claim of a difference
(docs/method/weather.md#intervals).

Shapes: ``K`` days, ``S`` leads, ``D`` draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

from climate.verification.days import DaySums
from vgbdm.randomness import keyed_seed

FEWEST_DAYS, FEWEST_ROWS = 28, 8
DRAWS, LEVEL = 2000, 0.95
FINENESS = 1.25
"""Mean lengths of rows are rounded to powers of this, for draws to be shared."""
TOO_LITTLE = 1e-3
"""Share of the spread that draws keep, below which no factor is taken for true."""
LARGEST_CORRELATION = 0.95

TAILS = (1 - LEVEL) / 2, (1 + LEVEL) / 2

Ends = tuple[np.ndarray, np.ndarray]
Score = Callable[[Sequence[Mapping[str, np.ndarray]]], np.ndarray]
"""Means of each of some sums, each (..., S) → (..., S)."""


class Planned(NamedTuple):
    """How the interval of a score at a lead is made: mean length of rows in days, and factor."""

    score: str
    lead: int
    length: float
    widening: float


class Intervals:
    """Intervals of scores of one period, or of several pooled, and what they were made of.

    Args:
        seed: of the draws.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.lengths: list[float] = []
        self._draws: dict[tuple[tuple[int, ...], float], np.ndarray] = {}

    def of(self, scores: Mapping[str, Score], parts: Sequence[DaySums]) -> dict[str, Ends]:
        """Ends of the 95 % interval of each score, each (S,); NaN where there is none.

        Args:
            scores: by name, of the means of the parts.
            parts: over the same days, such as two forecasts that are compared.
        """
        values = {name: score([part.means() for part in parts]) for name, score in scores.items()}
        found = {
            name: (np.full(v.shape, np.nan), np.full(v.shape, np.nan)) for name, v in values.items()
        }
        plans = self._plan(scores, values, parts)
        for length in sorted({plan.length for plan in plans}):
            chosen = [plan for plan in plans if plan.length == length]
            leads = sorted({plan.lead for plan in chosen})
            draws = self.draws(parts[0].periods, length)
            means = [part.of_leads(leads).means(draws) for part in parts]
            drawn = {name: scores[name](means) for name in {plan.score for plan in chosen}}
            for plan in chosen:
                ends = np.quantile(drawn[plan.score][:, leads.index(plan.lead)], TAILS)
                value = values[plan.score][plan.lead]
                for end, into in zip(ends, found[plan.score], strict=True):
                    into[plan.lead] = value + plan.widening * (end - value)
        self.lengths += [plan.length for plan in plans]
        return found

    def _plan(
        self,
        scores: Mapping[str, Score],
        values: Mapping[str, np.ndarray],
        parts: Sequence[DaySums],
    ) -> list[Planned]:
        """The scores and leads that have an interval, and how it is drawn."""
        held, periods = held_days(parts), parts[0].periods
        days = sum(periods)
        if held.max() < FEWEST_DAYS:
            return []
        with np.errstate(invalid="ignore", divide="ignore"):  # a lead may have no day, or one
            without = [part.means_without() for part in parts]
            pulls = {n: (days - 1) * (values[n] - score(without)) for n, score in scores.items()}
        plans = []
        for name, pull in pulls.items():
            for lead in np.flatnonzero((held >= FEWEST_DAYS) & np.isfinite(pull).all(0)):
                length = row_length(pull[:, lead], periods)
                rows = held[lead] / length
                if rows >= FEWEST_ROWS:
                    wide = widening(pull[:, lead], length, rows, periods)
                    plans.append(Planned(name, int(lead), length, wide))
        return plans

    def draws(self, periods: tuple[int, ...], length: float) -> np.ndarray:
        """How often each draw holds each day, (D, K)."""
        if (periods, length) not in self._draws:
            self._draws[periods, length] = draw_days(periods, length, self.seed)
        return self._draws[periods, length].astype(np.float64)

    @property
    def rule(self) -> str:
        """How they were made, and what that came to."""
        if not self.lengths:
            return (
                f"none, and no claim of a difference: fewer than {FEWEST_DAYS} days of starts, or "
                f"than {FEWEST_ROWS} rows of days that err apart"
            )
        shortest, longest = min(self.lengths), max(self.lengths)
        return (
            f"{LEVEL:.0%}, {DRAWS} draws of a stationary bootstrap of days, in rows of "
            f"{shortest:.3g} to {longest:.3g} days in the mean by each score's own memory, widened "
            "for what rows cut and for few of them"
        )


def held_days(parts: Sequence[DaySums]) -> np.ndarray:
    """Days (S,) with a start, in each part."""
    return np.min([(part.counts > 0).sum(0) for part in parts], axis=0)


def draw_days(periods: Sequence[int], length: float, seed: int) -> np.ndarray:
    """How often each draw holds each day, (D, K): rows of geometric length.

    A row stays in its period, and goes on at its beginning after its end.

    Args:
        periods: days of each, K together.
        length: of rows, in the mean.
        seed: of the draws.
    """
    days = sum(periods)
    begin, size = (np.repeat(x, periods) for x in (np.cumsum([0, *periods[:-1]]), periods))
    generator = np.random.default_rng(keyed_seed(seed, "bootstrap", days))
    begins = generator.random((DRAWS, days)) < 1 / length
    begins[:, 0] = True
    fresh = generator.integers(0, days, (DRAWS, days))
    here = np.arange(days)
    last = np.maximum.accumulate(np.where(begins, here, 0), axis=1)
    source = np.take_along_axis(fresh, last, 1)
    places = begin[source] + (source - begin[source] + here - last) % size[source]
    flat = (places + days * np.arange(DRAWS)[:, None]).ravel()
    return np.bincount(flat, minlength=DRAWS * days).reshape(DRAWS, days).astype(np.uint16)


def autocovariance(series: np.ndarray, most: int, periods: Sequence[int] = ()) -> np.ndarray:
    """Autocovariances (most + 1,) of a series (K,) of mean 0, each a sum over pairs ÷ K.

    Args:
        series: of one period after the other.
        most: lag.
        periods: days of each; none: it is one. Pairs are of one period.
    """
    parts = np.split(series, np.cumsum(periods)[:-1]) if periods else [series]
    pairs = [sum(part[: max(len(part) - k, 0)] @ part[k:] for part in parts)
             for k in range(most + 1)]  # fmt: skip
    return np.array(pairs) / len(series)


def row_length(influence: np.ndarray, periods: Sequence[int] = ()) -> float:
    """Mean length of rows, in days, for a score whose days pull it by ``influence`` (K,).

    Politis & White 2004 with the stationary bootstrap's constant of Patton, Politis & White 2009.
    """
    count = len(influence)
    quiet = max(5, int(np.ceil(np.sqrt(np.log10(count)))))
    most = min(int(np.ceil(np.sqrt(count))) + quiet, count - 1)
    covariance = autocovariance(influence - influence.mean(), most, periods)
    if covariance[0] <= 0:
        return 1.0
    loud = np.abs(covariance[1:] / covariance[0]) >= 2 * np.sqrt(np.log10(count) / count)
    runs = np.lib.stride_tricks.sliding_window_view(loud, min(quiet, len(loud))).any(1)
    silent = np.flatnonzero(~runs)
    last = silent[0] if len(silent) else np.flatnonzero(loud)[-1] + 1
    width = min(2 * max(int(last), 1), most)
    lags = np.arange(1, width + 1)
    taper = np.clip(2 * (1 - lags / width), 0, 1) * covariance[1 : width + 1]
    slope, level = 2 * (taper * lags).sum(), covariance[0] + 2 * taper.sum()
    ideal = (slope**2 / level**2 * count) ** (1 / 3) if level else float(count)
    steps = np.rint(np.log(max(ideal, 1.0)) / np.log(FINENESS))
    return float(FINENESS**steps)


def widening(
    influence: np.ndarray, length: float, rows: float, periods: Sequence[int] = ()
) -> float:
    """What the spread of the draws is multiplied by, for a score with ``rows`` rows of days."""
    count = len(influence)
    covariance = autocovariance(influence - influence.mean(), 1, periods)
    memory = covariance[1] / covariance[0] if covariance[0] else 0.0
    # the estimate is too small by so much in the mean (Marriott & Pope 1954)
    memory = float(np.clip(memory + (1 + 4 * memory) / count, 0, LARGEST_CORRELATION))
    lags, true, kept = np.arange(count), 0.0, np.zeros(count)
    for days in periods or (count,):
        own = np.arange(days)
        left, ahead, around = 1 - own / days, memory**own, memory ** (days - own)
        true += days / count * (2 * (left * ahead).sum() - 1)  # K var(mean) / variance of a day
        kept += days / count * (left * ahead + (1 - left) * around)[lags % days]  # round the end
    kept -= true / count  # about their own mean
    weights = 2 * (1 - lags / count) * (1 - 1 / length) ** lags  # in a row that both are in
    seen = kept[0] + (weights * kept)[1:].sum()
    factor = np.sqrt(true / max(seen, TOO_LITTLE * true))
    return float(factor * t.ppf(TAILS[1], rows - 1) / norm.ppf(TAILS[1]))
