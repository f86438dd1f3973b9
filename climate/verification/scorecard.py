"""The scorecard: a forecast and the trivial rows, scored alike against the store.

Shapes: ``N`` starts, ``M`` members, ``S`` leads, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from climate.forecasts.pieces import pieces
from climate.forecasts.reading import Forecast
from climate.store.layout import TrainingStore
from climate.verification.days import DaySums, assign_periods
from climate.verification.draws import NormalDraws
from climate.verification.dressing import validation_spread
from climate.verification.intervals import Intervals, Score
from climate.verification.kept_fits import trivial_fit
from climate.verification.pooling import in_order, join_rules, periods_rule
from climate.verification.rows import Rows, Sums, lagged_row, score_piece
from climate.verification.scores import SCORES, Means
from climate.verification.shapes import RANK_RULE, SPECTRUM_RULE
from climate.verification.tasks import HERE, over_pieces
from vgbdm.report.tables import in_columns, write_csv
from vgbdm.tasks import Dask

DRAWN = 16
"""Members of a normal row beside a forecast that has no members."""
NOT_COMPARABLE = "not comparable with rows that know nothing ahead, as trivial and published ones"
SCORE_COLUMNS = (
    "row", "variable", "lead_hours",
    "rmse_mean_of_roots", "rmse_root_of_mean", "acc", "bias", "n_starts", "crps", "spread_skill",
    *(f"{name}_{end}" for name in SCORES for end in ("low", "high")),
    "climatology",
)  # fmt: skip


def _of_one(compute: Callable[[Means], np.ndarray]) -> Score:
    """A score of the means of one forecast."""
    return lambda parts: compute(parts[0])


OF_ONE = {name: _of_one(compute) for name, compute in SCORES.items()}


@dataclass(frozen=True)
class Verification:
    """What a forecast comes to.

    Attributes:
        scorecard: one line per (row, variable, lead), `SCORE_COLUMNS`.
        spectra: see `Shapes.spectra_table`.
        ranks: see `Shapes.ranks_table`.
        rules: how each row, score, interval and picture was made.
    """

    scorecard: pd.DataFrame
    spectra: pd.DataFrame
    ranks: pd.DataFrame
    rules: dict[str, str]

    def write(self, out: Path) -> None:
        """``scorecard.csv``, ``spectra.csv``, ``ranks.csv`` and ``rules.json``; empty ones not."""
        out.mkdir(parents=True, exist_ok=True)
        tables = {"scorecard": self.scorecard, "spectra": self.spectra, "ranks": self.ranks}
        for name, table in tables.items():
            if len(table):
                write_csv(table, out / f"{name}.csv")
        (out / "rules.json").write_text(json.dumps(self.rules, indent=2, ensure_ascii=False))


def score(
    forecast: Forecast | Sequence[Forecast],
    store: TrainingStore,
    dress: Forecast | None = None,
    seed: int = 0,
    dask: Dask = HERE,
    kept: Path | None = None,
    members: int | None = None,
) -> Verification:
    """Score a forecast and the trivial rows; a task's memory is bounded by `forecasts.pieces`.

    Args:
        forecast: to score; of several, each of a period of its own, all together.
        store: truth, climatology, and the training period for what the rows learn.
        dress: forecasts of the same model from the validation period; adds the row
            ``model_dressed``, the forecast's mean with a normal error of the size they have.
        seed: of the bootstrap and of the draws of normal rows.
        dask: who works; a cluster reads the same paths.
        kept: folder for what trivial rows learn, which is read there the next time; None: nowhere.
        members: drawn of a normal row; None: as many as the forecast has, `DRAWN` of one.

    Raises:
        InputError: if ``dress`` is not of the validation period or does not fit the forecast, or
            several forecasts cannot be pooled.
    """
    forecasts = in_order([forecast] if isinstance(forecast, Forecast) else forecast, store)
    first = forecasts[0]
    dressing = None if dress is None else validation_spread(dress, first, store, dask)
    fit = trivial_fit(store, first.area, first.step, first.leads, kept, dask)
    count = members or (first.members if first.members > 1 else DRAWN)
    draws = NormalDraws(seed, count, len(first.area.lat) * len(first.area.lon))
    days = assign_periods([store.times[each.starts] for each in forecasts])
    of_periods = [
        Rows(each, store, own, fit, dressing, lagged_row(each, store), draws)
        for each, own in zip(forecasts, days, strict=True)
    ]
    sums = Sums.pool([_sums_of(rows, dask) for rows in of_periods])
    intervals = Intervals(seed)
    lines = _lines(sums.totals, first.hours, intervals)
    table = pd.DataFrame(lines, columns=list(SCORE_COLUMNS))
    table["climatology"] = store.climatology.binning.name
    of_rows = max((rows.rules for rows in of_periods), key=len)  # a row may begin later
    order = {row: k for k, row in enumerate(of_rows)}
    table = table.sort_values("row", key=lambda names: names.map(order), kind="stable")
    acc = f"uncentred, of anomalies from climatology: {store.climatology.rule}"
    pooled = {"periods": periods_rule(forecasts, store)} if len(forecasts) > 1 else {}
    of_scores = join_rules(_rules_of_scores(each, store, intervals.rule) for each in forecasts)
    rules = of_rows | pooled | {"acc": acc} | of_scores
    return Verification(
        table.reset_index(drop=True),
        sums.shapes.spectra_table(),
        sums.shapes.ranks_table(),
        rules,
    )


def _sums_of(rows: Rows, dask: Dask) -> Sums:
    """What the pieces of one period come to."""
    sums = Sums(rows.days, rows.forecast.hours)
    parts = pieces(rows.truth, rows.forecast.together[0])
    over_pieces(score_piece, rows, parts, sums.merge, dask, "scoring")
    return sums


def _rules_of_scores(forecast: Forecast, store: TrainingStore, intervals: str) -> dict[str, str]:
    """How scores, intervals and pictures are made, and what they leave out."""
    masked = forecast.masked(store)
    rules = {
        "crps": "fair (Ferro 2014); of a row with one forecast the absolute error",
        "spread_skill": "√((M+1)/M · mean variance with M-1) ÷ RMSE of the mean; of draws about a "
        "mean that is known without (M+1)/M",
        "ranks": RANK_RULE,
        "intervals": intervals,
        "spectra": SPECTRUM_RULE + ("; none of masked variables" if masked else ""),
    }
    if forecast.mirrored:
        rules["members"] = (
            "in pairs of opposite draws, m ± d, which stand for independent ones: the CRPS holds "
            "members of a pair against the truth and not against each other, and the spread is "
            "(K+1)/K · variance of K m + mean of d²"
        )
        rules["spread_skill"] = "of members in pairs as said there; " + rules["spread_skill"]
    if masked:
        rules["masked"] = masked
    if forecast.boundary:
        rules["boundary"] = forecast.boundary
    if forecast.given_truth:
        rules["given_truth"] = f"{forecast.given_truth}; {NOT_COMPARABLE}"
    if forecast.outside_training:
        rules["outside_training"] = forecast.outside_training
    return rules


def _lines(
    totals: dict[tuple[str, str], DaySums], hours: list[int], intervals: Intervals
) -> Iterator[dict[str, object]]:
    for (row, channel), total in totals.items():
        if not total.count:
            continue
        means = total.means()
        numbers = {name: compute(means) for name, compute in SCORES.items()}
        for name, ends in intervals.of(OF_ONE, [total]).items():
            numbers[f"{name}_low"], numbers[f"{name}_high"] = ends
        for s, hour in enumerate(hours):
            line: dict[str, object] = {"row": row, "variable": channel, "lead_hours": hour}
            line |= {name: float(values[s]) for name, values in numbers.items()}
            yield line | {"n_starts": total.count}


def format_table(scorecard: pd.DataFrame) -> str:
    """RMSE (root of the mean) and, in brackets, ACC, for the terminal: a block per variable."""
    lines = []
    for variable, block in scorecard.groupby("variable", sort=False):
        hours = sorted(block["lead_hours"].unique())
        lines.append(
            f"\n{variable}: RMSE (root of the mean) and ACC, {block['n_starts'].iloc[0]} starts"
        )
        table = [["lead, h", *map(str, hours)]]
        for row, values in block.groupby("row", sort=False):
            cells = values.set_index("lead_hours").loc[hours]
            text = [
                f"{rmse:.4g} " + (f"({acc:5.2f})" if np.isfinite(acc) else "   –   ")
                for rmse, acc in zip(cells["rmse_root_of_mean"], cells["acc"], strict=True)
            ]
            table.append([str(row), *text])
            if cells["spread_skill"].notna().all():
                both = zip(cells["crps"], cells["spread_skill"], strict=True)
                text = [f"{crps:.4g} ({ratio:5.2f})" for crps, ratio in both]
                table.append(["  CRPS, spread/skill", *text])
        lines.append(in_columns(table))
    return "\n".join(lines)


def check_against_trivial(scorecard: pd.DataFrame, hours: tuple[int, ...]) -> list[str]:
    """Where the model does not beat persistence and damped persistence: one line each.

    Args:
        scorecard: from `score`.
        hours: the leads that count.
    """
    table = scorecard.set_index(["row", "variable", "lead_hours"])["rmse_root_of_mean"]
    failures = []
    for variable in scorecard["variable"].unique():
        for hour in hours:
            own = table["model", variable, hour]
            for row in ("persistence", "damped_persistence"):
                if not own < table[row, variable, hour]:
                    failures.append(
                        f"{variable} at {hour} h: model {own:.4g}, {row} "
                        f"{table[row, variable, hour]:.4g}"
                    )
    return failures
