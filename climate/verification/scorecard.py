"""The scorecard: a forecast and the trivial rows, scored alike against the store.

Shapes: ``N`` starts, ``M`` members, ``S`` leads, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from climate.forecasts.reading import Forecast, batches, valid_climatology
from climate.store.layout import TrainingStore
from climate.verification.blocks import (
    BlockSums,
    assign_blocks,
    describe_blocks,
    draw_blocks,
    interval,
)
from climate.verification.dressing import validation_spread
from climate.verification.pairs import pair_statistics
from climate.verification.scores import SCORES
from climate.verification.shapes import RANK_RULE, SPECTRUM_RULE, Shapes
from climate.verification.trivial import (
    TrivialFit,
    damped_persistence,
    fit_trivial,
    lagged_frames,
    persistence,
)
from vgbdm.report.tables import write_csv

LAGGED = "t2m"
"""The one variable whose daily cycle makes yesterday's state a hard row to beat."""
SCORE_COLUMNS = (
    "row", "variable", "lead_hours",
    "rmse_mean_of_roots", "rmse_root_of_mean", "acc", "bias", "n_starts", "crps", "spread_skill",
    *(f"{name}_{end}" for name in SCORES for end in ("low", "high")),
)  # fmt: skip


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


@dataclass(frozen=True)
class Prediction:
    """One row's forecasts of one variable.

    Attributes:
        members: (N, M, S, H, W).
        std: broadcast to (S, H, W): normal about the one member; None: the members are all.
        kept: (N,) starts that count; None: all.
    """

    members: np.ndarray
    std: np.ndarray | None = None
    kept: np.ndarray | None = None


def score(
    forecast: Forecast, store: TrainingStore, dress: Forecast | None = None, seed: int = 0
) -> Verification:
    """Score a forecast and the trivial rows; memory does not grow with the number of starts.

    Args:
        forecast: to score.
        store: truth, climatology, and the training period for what the rows learn.
        dress: forecasts of the same model from the validation period; adds the row
            ``model_dressed``, the forecast's mean with a normal error of the size they have.
        seed: of the bootstrap.

    Raises:
        InputError: if ``dress`` is not of the validation period or does not fit the forecast.
    """
    scored = _Scored(forecast, store, dress)
    blocks = assign_blocks(store.times[forecast.starts], forecast.longest)
    totals: dict[tuple[str, str], BlockSums] = {}
    shapes = Shapes(forecast.hours)
    areas = [forecast.area_of(store, c) for c in range(len(store.channels))]
    for part, window in batches([forecast], store, scored.past):
        valid = valid_climatology(forecast, store, part)
        truth = window[:, scored.past + 1 :]
        for c, channel in enumerate(store.channels):
            for row, prediction in scored.predictions(c, part, window, valid):
                kept = slice(None) if prediction.kept is None else prediction.kept
                statistics = pair_statistics(
                    prediction.members[kept],
                    truth[kept, :, c],
                    valid[kept, :, c],
                    areas[c],
                    prediction.std,
                )
                total = totals.setdefault((row, channel), BlockSums(int(blocks.max()) + 1))
                total.add(blocks[part][kept], statistics)
                if row == "model":
                    shapes.add(channel, prediction.members, truth[:, :, c], areas[c])
    table = pd.DataFrame(_lines(totals, forecast.hours, seed), columns=list(SCORE_COLUMNS))
    order = {row: k for k, row in enumerate(scored.rules)}
    table = table.sort_values("row", key=lambda rows: rows.map(order), kind="stable")
    rules = scored.rules | _rules_of_scores(forecast, store, blocks)
    return Verification(
        table.reset_index(drop=True), shapes.spectra_table(), shapes.ranks_table(), rules
    )


def _rules_of_scores(
    forecast: Forecast, store: TrainingStore, blocks: np.ndarray
) -> dict[str, str]:
    """How scores, intervals and pictures are made, and what they leave out."""
    masked = forecast.masked(store)
    rules = {
        "crps": "fair (Ferro 2014); of a row with one forecast the absolute error",
        "spread_skill": "√((M+1)/M · mean variance with M-1) ÷ RMSE of the mean",
        "intervals": describe_blocks(blocks, forecast.longest),
        "spectra": SPECTRUM_RULE + ("; none of masked variables" if masked else ""),
    }
    if forecast.members > 1:
        rules["ranks"] = RANK_RULE
    if masked:
        rules["masked"] = masked
    if forecast.outside_training:
        rules["outside_training"] = forecast.outside_training
    return rules


class _Scored:
    """The rows of a scorecard and their rules.

    Attributes:
        rules: row → how it is made, in the order of the table.
        past: states before the initial one that the rows need.
    """

    def __init__(self, forecast: Forecast, store: TrainingStore, dress: Forecast | None) -> None:
        self.forecast, self.store = forecast, store
        self.fit: TrivialFit = fit_trivial(store, forecast.area, forecast.step, forecast.leads)
        self.dressing = None if dress is None else validation_spread(dress, forecast, store)
        lagged = lagged_frames(forecast.step, forecast.leads) if LAGGED in store.channels else None
        self.past = 0 if lagged is None else int(lagged.max())
        first = store.times[forecast.starts.min()]
        if self.past and first - store.times[0] < self.past * forecast.step:
            lagged, self.past = None, 0  # the store begins less than a day before
        self.lagged = lagged
        normal = "normal about it with the standard deviation"
        rules = {
            "model": f"mean of {forecast.members} members"
            if forecast.members > 1
            else "the forecast",
            "model_dressed": f"the same mean, {normal} of its own errors on validation per "
            "variable, lead and latitude",
            "persistence": "the initial state",
            "damped_persistence": "climatology plus the damped initial anomaly, fitted per "
            "variable and lead on training",
            "lagged_persistence": f"{LAGGED}: the latest state known at that hour of the day, up "
            "to 24 h ahead that of the day before; starts without a whole day before are left out",
            "climatology": f"{store.climatology.rule}; for CRPS {normal} of the training anomalies "
            "per variable and point",
        }
        held = {"model_dressed": self.dressing, "lagged_persistence": self.lagged}
        self.rules = {k: rule for k, rule in rules.items() if held.get(k, ()) is not None}

    def predictions(
        self, c: int, part: slice, window: np.ndarray, valid: np.ndarray
    ) -> Iterator[tuple[str, Prediction]]:
        """Every row's forecasts of channel ``c`` from the starts of a batch.

        Args:
            c: place of the channel.
            part: places of the starts.
            window: (N, past + 1 + S, C, H, W) states.
            valid: (N, S, C, H, W) climatology at the valid times.
        """
        forecast, channel = self.forecast, self.store.channels[c]
        initial, one = window[:, self.past, c : c + 1], np.s_[:, None, :, 0]
        members = forecast.read(part.start, part.stop, channel)
        yield "model", Prediction(members)
        if self.dressing is not None:
            mean = members.mean(1, keepdims=True, dtype=np.float64)
            yield "model_dressed", Prediction(mean, self.dressing[:, c, :, None])
        yield "persistence", Prediction(persistence(initial, forecast.leads)[one])
        times = self.store.times[forecast.starts[part]]
        start = forecast.area.cut(self.store.climatology.at(times))[:, c : c + 1]
        ahead, damping = valid[:, :, c : c + 1], self.fit.damping[:, c : c + 1]
        damped = damped_persistence(initial, start, ahead, damping)
        yield "damped_persistence", Prediction(damped[one])
        if self.lagged is not None and channel == LAGGED:
            yesterday = window[:, self.past - self.lagged, c]
            yield "lagged_persistence", Prediction(yesterday[:, None], kept=self._has_past(part))
        yield "climatology", Prediction(ahead[one], self.fit.spread[c])

    def _has_past(self, part: slice) -> np.ndarray:
        """Starts (N,) of a batch whose lagged states of the day before are all there."""
        assert self.lagged is not None
        back = -self.lagged * self.store.stride(self.forecast.step)
        return np.asarray(self.store.has(self.forecast.starts[part], back).all(1))


def _lines(
    totals: dict[tuple[str, str], BlockSums], hours: list[int], seed: int
) -> Iterator[dict[str, object]]:
    for (row, channel), total in totals.items():
        if not total.count:
            continue
        held = total.without_empty()
        draws = draw_blocks(len(held.counts), seed)
        means = held.means()
        drawn = None if draws is None else held.means(draws)
        numbers: dict[str, np.ndarray] = {}
        for name, compute in SCORES.items():
            numbers[name] = compute(means)
            ends = interval(None if drawn is None else compute(drawn), numbers[name].shape)
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
        lines.append(f"{'lead, h':20}" + "".join(f"{hour:>16}" for hour in hours))
        for row, values in block.groupby("row", sort=False):
            cells = values.set_index("lead_hours").loc[hours]
            text = [
                f"{rmse:9.4g} " + (f"({acc:5.2f})" if np.isfinite(acc) else "   –   ")
                for rmse, acc in zip(cells["rmse_root_of_mean"], cells["acc"], strict=True)
            ]
            lines.append(f"{row:20}" + "".join(f"{cell:>16}" for cell in text))
            if cells["spread_skill"].notna().all():
                both = zip(cells["crps"], cells["spread_skill"], strict=True)
                text = [f"{crps:9.4g} ({ratio:5.2f})" for crps, ratio in both]
                lines.append(
                    f"{'  CRPS, spread/skill':20}" + "".join(f"{cell:>16}" for cell in text)
                )
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
