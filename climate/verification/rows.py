"""The rows of a scorecard, scored piece by piece: a forecast and what it must beat.

Shapes: ``N`` starts, ``M`` members, ``S`` leads, ``T`` times, ``C`` channels, ``H`` latitudes,
``W`` longitudes; ``n``, ``s`` starts and leads of a part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from climate.forecasts.pieces import Piece, Truth, read_window
from climate.forecasts.reading import Forecast
from climate.store.layout import TrainingStore
from climate.verification.days import DaySums
from climate.verification.draws import NormalDraws
from climate.verification.pairs import STATISTIC_NAMES, mean_of, pair_statistics, zonal_spectrum
from climate.verification.series import Pairs, PartStatistics, Series, Statistics
from climate.verification.shapes import Shapes, has_spectra
from climate.verification.trivial import TrivialFit, damped_persistence, lagged_frames, persistence

LAGGED = "t2m"
"""The one variable whose daily cycle makes yesterday's state a hard row to beat."""


@dataclass(frozen=True)
class Rows:
    """The rows and what they need; a task's share of the work on them is a piece.

    Attributes:
        forecast: that is scored.
        store: of its truth.
        days: (N,) of the starts, see `assign_days`.
        fit: what trivial rows learned.
        dressing: (S, C, H) of the row ``model_dressed``; None: there is none.
        lagged: (S,) see `lagged_frames`; None: there is no such row.
        draws: of ``model_dressed`` and climatology, which are normal distributions.
    """

    forecast: Forecast
    store: TrainingStore
    days: np.ndarray
    fit: TrivialFit
    dressing: np.ndarray | None
    lagged: np.ndarray | None
    draws: NormalDraws

    @property
    def truth(self) -> Truth:
        """The states of all rows."""
        return self.forecast.truth(self.store, 0 if self.lagged is None else int(self.lagged.max()))

    @property
    def rules(self) -> dict[str, str]:
        """Row → how it is made, in the order of the table."""
        members = self.forecast.members
        normal = (
            f"for CRPS, spread and ranks {self.draws.members} draws of a normal about it, "
            "independent at each point, with the standard deviation"
        )
        rules = {
            "model": f"mean of {members} members" if members > 1 else "the forecast",
            "model_dressed": f"the same mean; {normal} of its own errors on validation per "
            "variable, lead and latitude",
            "persistence": "the initial state",
            "damped_persistence": "climatology plus the damped initial anomaly, fitted per "
            "variable and lead on training",
            "lagged_persistence": f"{LAGGED}: the latest state known at that hour of the day, up "
            "to 24 h ahead that of the day before; starts without a whole day before are left out",
            "climatology": f"{self.store.climatology.rule}; {normal} of the training "
            "anomalies per variable and point",
        }
        held = {"model_dressed": self.dressing, "lagged_persistence": self.lagged}
        return {k: rule for k, rule in rules.items() if held.get(k, ()) is not None}

    def seconds(self, index: np.ndarray) -> list[int]:
        """Times of the store since 1970, by which draws are keyed."""
        return [int(time) for time in self.store.times[index].astype("datetime64[s]").astype(int)]

    def has_past(self, starts: slice) -> np.ndarray:
        """Starts (n,) whose lagged states of the day before are all there."""
        assert self.lagged is not None
        back = -self.lagged * self.store.stride(self.forecast.step)
        return np.asarray(self.store.has(self.forecast.starts[starts], back).all(1))


def lagged_row(forecast: Forecast, store: TrainingStore) -> np.ndarray | None:
    """Lags (S,) of yesterday's state; None where there is none, or the data begin later."""
    there = LAGGED in forecast.scored(store).values()
    lagged = lagged_frames(forecast.step, forecast.leads) if there else None
    if lagged is None or not lagged.max():
        return lagged
    first = store.times[forecast.starts.min()]
    return None if first - store.times[0] < lagged.max() * forecast.step else lagged


class Sums:
    """What pieces come to, to be merged.

    Attributes:
        totals: of each row and variable.
        shapes: spectra and ranks.

    Args:
        days: (N,) of the starts that are taken in, increasing.
        hours: (S,) the leads.
    """

    def __init__(self, days: np.ndarray, hours: list[int]) -> None:
        self._first, self._count = int(days[0]), int(days[-1] - days[0]) + 1
        self.totals: dict[tuple[str, str], DaySums] = {}
        self.shapes = Shapes(hours)

    def total(self, row: str, variable: str) -> DaySums:
        """The sums of a row of a variable."""
        key = row, variable
        if key not in self.totals:
            self.totals[key] = DaySums(self._count, len(self.shapes.hours), self._first)
        return self.totals[key]

    @classmethod
    def pool(cls, periods: Sequence[Sums]) -> Sums:
        """The sums of some periods, of the same leads, whose days are one after the other."""
        own = cls(np.array([0, sum(part._count for part in periods) - 1]), periods[0].shapes.hours)
        keys = dict.fromkeys(key for part in periods for key in part.totals)
        own.totals = {key: DaySums.pool([part.total(*key) for part in periods]) for key in keys}
        for part in periods:
            own.shapes.merge(part.shapes)
        return own

    def merge(self, other: Sums) -> None:
        """Take in the sums of another piece."""
        for key, total in other.totals.items():
            self.total(*key).merge(total)
        self.shapes.merge(other.shapes)


def score_piece(rows: Rows, piece: Piece) -> Sums:
    """The sums of all rows over a piece."""
    forecast, store = rows.forecast, rows.store
    window = read_window(rows.truth, piece)
    sums = Sums(rows.days[piece.starts], forecast.hours)
    for c in forecast.scored(store, piece.channels):
        series = Series(forecast, store, piece, window, c)
        _add_valid_times(rows, series, sums)
        for starts, leads in forecast.parts(piece):
            _add_forecasts(rows, series, starts, leads, sums)
    return sums


def _add_valid_times(rows: Rows, series: Series, sums: Sums) -> None:
    """The row of climatology and the spectra of the truth: what a valid time alone decides."""
    area, piece, valid = series.area, series.piece, series.window.valid
    seconds, parts = rows.seconds(series.window.index), []
    of_channel = f"climatology {series.channel}", rows.fit.spread[series.c]
    for times in series.times():
        anomalies, keys = series.anomalies[times], [(second,) for second in seconds[times]]
        statistics = pair_statistics(-anomalies[None], anomalies, area)
        scores, shares = rows.draws.statistics(*of_channel, -anomalies, keys, area)
        parts.append({**statistics, **scores, "ranks": shares})
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    ranks = np.stack([found["ranks"][times].sum(0) for times in valid.T])
    sums.shapes.add_ranks("climatology", series.channel, piece.leads, ranks)
    found = {name: found[name][valid] for name in STATISTIC_NAMES}
    days = rows.days[piece.starts]
    sums.total("climatology", series.channel).add(days, found, piece.leads.start)
    if has_spectra(area):
        power = np.concatenate([zonal_spectrum(series.states[t], area) for t in series.times()])
        total = np.stack([power[times].sum(0) for times in valid.T])
        sums.shapes.add_truth(series.channel, piece.leads, total)


def _add_forecasts(rows: Rows, series: Series, starts: slice, leads: slice, sums: Sums) -> None:
    """The other rows of a part."""
    part = PartStatistics(starts, leads)
    for pairs in series.pairs(starts, leads):
        truth = series.states[pairs.valid]
        sums.shapes.add(
            series.channel, pairs.leads.start, pairs.members, truth, series.area,
            rows.forecast.mirrored,
        )  # fmt: skip
        for row, statistics in _rows_of(rows, series, pairs, truth, sums.shapes):
            part.put(row, pairs, statistics)
    for row, statistics in part.rows.items():
        days = rows.days[starts]
        if row == "lagged_persistence":
            kept = rows.has_past(starts)
            days = days[kept]
            statistics = {name: values[kept] for name, values in statistics.items()}
        sums.total(row, series.channel).add(days, statistics, leads.start)


def _rows_of(
    rows: Rows, series: Series, pairs: Pairs, truth: np.ndarray, shapes: Shapes
) -> Iterator[tuple[str, Statistics]]:
    """Statistics (s,) of each row from a start; ``truth`` (s, H, W); ranks of draws are added."""
    area, window, leads = series.area, series.window, pairs.leads
    place = pairs.start - series.piece.starts.start
    anomalies, first = series.anomalies[pairs.valid], window.initial[place]
    errors = pairs.members - truth
    model = pair_statistics(errors, anomalies, area, mirrored=rows.forecast.mirrored)
    yield "model", model
    if rows.dressing is not None:
        width = rows.dressing[leads, series.c, :, None]
        (start,) = rows.seconds(rows.forecast.starts[[pairs.start]])
        keys = [(start, lead) for lead in range(leads.start, leads.stop)]
        of_channel = f"model_dressed {series.channel}", width
        scores, shares = rows.draws.statistics(*of_channel, mean_of(errors), keys, area)
        shapes.add_ranks("model_dressed", series.channel, leads, shares)
        yield "model_dressed", {**model, **scores}
    error = persistence(series.states[first], truth)
    yield "persistence", pair_statistics(error[None], anomalies, area)
    damping = rows.fit.damping[leads, series.c].astype(np.float32)
    error = damped_persistence(series.anomalies[first], anomalies, damping)
    yield "damped_persistence", pair_statistics(error[None], anomalies, area)
    if rows.lagged is not None and series.channel == LAGGED:
        back = window.places[place, window.past - rows.lagged[leads]]
        error = persistence(series.states[back], truth)
        yield "lagged_persistence", pair_statistics(error[None], anomalies, area)
