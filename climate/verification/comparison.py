"""Two forecasts of the same starts: paired differences of scores, with intervals.

Shapes: ``N`` starts, ``S`` leads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from climate.conventions.wording import duration
from climate.forecasts.pieces import Piece, pieces, read_window
from climate.forecasts.reading import Forecast
from climate.store.layout import TrainingStore
from climate.store.reader import EVERY
from climate.verification import scores
from climate.verification.days import DaySums, assign_days
from climate.verification.intervals import Intervals, Score
from climate.verification.pairs import pair_statistics
from climate.verification.rows import Sums
from climate.verification.series import PartStatistics, Series
from climate.verification.tasks import HERE, over_pieces
from vgbdm.errors import InputError
from vgbdm.tasks import Dask

COMPARED = {
    "mse": scores.mse,
    "rmse_mean_of_roots": scores.rmse_mean_of_roots,
    "rmse_root_of_mean": scores.rmse_root_of_mean,
    "acc": scores.acc,
    "crps": scores.crps,
}


def _difference(compute: Callable[[scores.Means], np.ndarray]) -> Score:
    """A score of the first less that of the second."""
    return lambda parts: compute(parts[0]) - compute(parts[1])


DIFFERENCES = {name: _difference(compute) for name, compute in COMPARED.items()}
HIGHER_IS_BETTER = ("acc",)
DIFFERENCE_COLUMNS = (
    "variable", "lead_hours", "score", "a", "b", "difference", "low", "high", "better", "n_starts",
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """How two forecasts differ.

    Attributes:
        table: one line per (variable, lead, score), `DIFFERENCE_COLUMNS`; ``difference`` is a - b,
            ``better`` is ``a`` or ``b`` where the interval leaves out 0, else empty.
        first: last common start is ``last``.
        last: initial time.
        rule: of the intervals.
        climatology: from which anomalies are taken.
    """

    table: pd.DataFrame
    first: np.datetime64
    last: np.datetime64
    rule: str
    climatology: str


def compare(
    a: Forecast, b: Forecast, store: TrainingStore, seed: int = 0, dask: Dask = HERE
) -> Comparison:
    """Paired differences over the common starts and leads; both under the same draws.

    Args:
        a: one forecast, deterministic or an ensemble.
        b: the other.
        store: of their truth.
        seed: of the bootstrap.
        dask: who works.

    Raises:
        InputError: if their grids or steps differ, or they have no start in common.
    """
    a, b = common(a, b)
    days = assign_days(store.times[a.starts])
    both = Sums(days, a.hours)
    parts = pieces(a.truth(store), max(a.together[0], b.together[0]))
    over_pieces(_compare_piece, (a, b, store, days), parts, both.merge, dask, "comparing")
    names = _judged(a, b, store).values()
    totals = {name: (both.totals["a", name], both.totals["b", name]) for name in names}
    intervals = Intervals(seed)
    table = pd.DataFrame(_lines(totals, a.hours, intervals), columns=list(DIFFERENCE_COLUMNS))
    ends = store.times[a.starts[[0, -1]]]
    return Comparison(table, ends[0], ends[1], intervals.rule, store.climatology.rule)


def _compare_piece(
    shared: tuple[Forecast, Forecast, TrainingStore, np.ndarray], piece: Piece
) -> Sums:
    """The sums of both over a piece, as rows ``a`` and ``b``."""
    a, b, store, days = shared
    window = read_window(a.truth(store), piece)
    sums = Sums(days[piece.starts], a.hours)
    for row, forecast in (("a", a), ("b", b)):
        for c in _judged(a, b, store, piece.channels):
            series = Series(forecast, store, piece, window, c)
            for starts, leads in forecast.parts(piece):
                part = PartStatistics(starts, leads)
                for pairs in series.pairs(starts, leads):
                    errors = pairs.members - series.states[pairs.valid]
                    anomalies = series.anomalies[pairs.valid]
                    statistics = pair_statistics(
                        errors, anomalies, series.area, mirrored=forecast.mirrored
                    )
                    part.put(row, pairs, statistics)
                total = sums.total(row, series.channel)
                total.add(days[starts], part.rows[row], leads.start)
    return sums


def _judged(
    a: Forecast, b: Forecast, store: TrainingStore, channels: slice = EVERY
) -> dict[int, str]:
    """The channels of a store, of some, that both forecast, by their place."""
    return {c: name for c, name in a.scored(store, channels).items() if name not in b.given}


def common(a: Forecast, b: Forecast) -> tuple[Forecast, Forecast]:
    """The part of each that the other has too: starts and leads.

    Raises:
        InputError: if their grids or steps differ, or they have no start in common.
    """
    for axis in ("lat", "lon"):
        if not np.array_equal(getattr(a.area, axis), getattr(b.area, axis)):
            raise InputError(
                f"{a.path} and {b.path}: their {axis} differ; compare forecasts of one grid or box"
            )
    if a.step != b.step:
        raise InputError(
            f"{a.path} and {b.path}: leads every {duration(a.step)} and every {duration(b.step)}; "
            "compare forecasts with the same step"
        )
    starts, of_a, of_b = np.intersect1d(a.starts, b.starts, return_indices=True)
    if not len(starts):
        raise InputError(
            f"{a.path} and {b.path}: no start in common; forecast both from the same period"
        )
    leads = min(a.leads, b.leads)
    return a.select(of_a, leads), b.select(of_b, leads)


def _lines(
    totals: dict[str, tuple[DaySums, DaySums]], hours: list[int], intervals: Intervals
) -> Iterator[tuple[object, ...]]:
    for channel, pair in totals.items():
        means, found = [total.means() for total in pair], intervals.of(DIFFERENCES, pair)
        for name, compute in COMPARED.items():
            values = [compute(mean) for mean in means]
            low, high = found[name]
            for s, hour in enumerate(hours):
                ends = float(low[s]), float(high[s])
                first, second = float(values[0][s]), float(values[1][s])
                better = _better(*ends, higher=name in HIGHER_IS_BETTER)
                yield (
                    channel, hour, name, first, second, first - second, *ends, better,
                    pair[0].count,
                )  # fmt: skip


def _better(low: float, high: float, *, higher: bool) -> str:
    """Which of a and b is better, where the interval of a - b leaves out 0."""
    if low > 0:
        return "a" if higher else "b"
    if high < 0:
        return "b" if higher else "a"
    return ""


def format_comparison(comparison: Comparison, score: str = "rmse_root_of_mean") -> str:
    """Both values and the difference with its interval, for the terminal: a block per variable."""
    table = comparison.table[comparison.table["score"] == score]
    lines = []
    for variable, block in table.groupby("variable", sort=False):
        lines.append(f"\n{variable}: {score}, {block['n_starts'].iloc[0]} common starts")
        lines.append(f"{'lead, h':>8}{'a':>12}{'b':>12}{'a - b':>12}  interval, better")
        for _, line in block.iterrows():
            ends = f"[{line['low']:.4g}, {line['high']:.4g}]  {line['better'] or '–'}"
            lines.append(
                f"{line['lead_hours']:>8}{line['a']:>12.4g}{line['b']:>12.4g}"
                f"{line['difference']:>12.4g}  {'–' if np.isnan(line['low']) else ends}"
            )
    return "\n".join(lines)
