"""Published scores, to print beside ours where data and split are the published ones.

RMSE, mean of per-start roots, in the channels' units, of the papers' own tables (ClimODE: arXiv
2404.10024; CoDiCast: IJCAI 2025; GB-DM: the notebook of arXiv 2602.17477), at `HOURS`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from climate.conventions.calendar import inside
from climate.conventions.units import find_conversion, unit_of
from climate.conventions.variables import CHANNELS
from climate.forecasts.reading import Forecast
from climate.sample.write import NOTICE
from climate.store.layout import TrainingStore

HOURS = (6, 12, 18, 24, 30, 36)
NONE = float("nan")
"""What a paper does not give."""
ROWS: dict[str, dict[str, tuple[float, ...]]] = {
    "ClimODE, published": {
        "z": (102.9, 134.8, 162.7, 193.4, NONE, 259.6),
        "t": (1.16, 1.32, 1.47, 1.55, NONE, 1.75),
        "t2m": (1.21, 1.45, 1.43, 1.40, NONE, 1.70),
        "u10": (1.41, 1.81, 1.97, 2.01, NONE, 2.25),
        "v10": (1.53, 1.81, 1.96, 2.04, NONE, 2.29),
    },
    "CoDiCast, published": {
        "z": (73.0, 114.4, 152.5, 186.6, 220.6, 256.8),
        "t": (1.03, 1.26, 1.41, 1.53, 1.65, 1.78),
        "t2m": (0.96, 1.21, 1.35, 1.45, 1.56, 1.65),
        "u10": (1.24, 1.50, 1.69, 1.88, 2.06, 2.25),
        "v10": (1.31, 1.57, 1.75, 1.95, 2.15, 2.36),
    },
    "GB-DM, published": {
        "z": (114.1, 182.4, 251.2, 307.5, NONE, 432.1),
        "t": (1.12, 1.57, 1.82, 2.00, NONE, 2.44),
        "t2m": (1.44, 1.66, 1.79, 1.94, NONE, 2.40),
        "u10": (1.51, 2.12, 2.42, 2.66, NONE, 3.29),
        "v10": (1.60, 2.27, 2.53, 2.82, NONE, 3.43),
    },
}
FOOTNOTE = (
    "Published rows, with what their code does differently: ClimODE and GB-DM scale by, and take "
    "their climatology from, test years, choose checkpoints on the test set, and train on a slice "
    "that includes 2016; CoDiCast normalises with statistics of the test years."
)
PERIODS = {
    "train": ("2006-01-01T00:00:00", "2015-12-31T23:59:59"),
    "val": ("2016-01-01T00:00:00", "2016-12-31T23:59:59"),
    "test": ("2017-01-01T00:00:00", "2018-12-31T23:59:59"),
}
PUBLISHED_LAT = -90.0 + 5.625 * (np.arange(32) + 0.5)
PUBLISHED_LON = 5.625 * np.arange(64)
ABSENT = "–"
HELD = 0.99
"""Share of the hours of each period that must be there."""


def why_not_comparable(forecast: Forecast, store: TrainingStore) -> str | None:
    """What keeps a forecast from standing beside the published rows, or None.

    Args:
        forecast: that is scored.
        store: its truth.
    """
    if store.provenance.get("comment") == NOTICE:
        return "the data are the stand-in atmosphere, not ERA5"
    wanted = set(ROWS["ClimODE, published"])
    if set(store.channels) != wanted:
        return f"the variables are {', '.join(store.channels)}, not {', '.join(sorted(wanted))}"
    if forecast.given:
        return f"the model is given {', '.join(forecast.given)} ahead"
    grid = (store.lat, PUBLISHED_LAT), (store.lon, PUBLISHED_LON)
    whole = forecast.area.whole
    if not whole or not all(len(a) == len(b) and np.allclose(a, b, atol=1e-3) for a, b in grid):
        return "the grid is not the global one of 5.625°"
    for name, ends in PERIODS.items():
        period = np.datetime64(ends[0], "s"), np.datetime64(ends[1], "s")
        if store.splits[name] != period:
            return f"{name} is {store.splits[name][0]} to {store.splits[name][1]}"
        held = inside(store.times, period).sum() * np.median(np.diff(store.times))
        if held < HELD * (period[1] - period[0]):
            return f"the data do not cover {name}, {period[0]} to {period[1]}"
    for name in store.channels:
        if _factor(name, store) is None:
            return f"{name} is in {unit_of(store.channel_attrs[name])}"
    starts = store.times[forecast.starts]
    if not inside(starts, store.splits["test"]).all() or set(HOURS) - set(forecast.hours):
        return f"the forecasts are not those of the test period at {', '.join(map(str, HOURS))} h"
    return None


def why_pooled(scorecard: pd.DataFrame, forecast: Forecast) -> str | None:
    """Why a scorecard of more starts than the forecast has is not comparable."""
    counts = scorecard.get("n_starts", pd.Series(0))
    return "several periods are pooled" if counts.max() > len(forecast.starts) else None


def _factor(variable: str, store: TrainingStore) -> float | None:
    """The published unit in those of a store's errors, which know no offset; None: incomparable."""
    known = CHANNELS[variable]["units"]
    held = unit_of(store.channel_attrs.get(variable, {})) or known
    found = find_conversion(known, held, height=variable == "z", difference=True)
    return None if found is None else found.factor


def table_beside(scorecard: pd.DataFrame, variable: str, factor: float = 1.0) -> pd.DataFrame:
    """RMSE (mean of roots) at `HOURS` of the model and of the published rows, a line each.

    Args:
        scorecard: of the model.
        variable: short name.
        factor: of the published rows, which makes their unit the scorecard's.
    """
    own = scorecard[(scorecard["row"] == "model") & (scorecard["variable"] == variable)]
    values = own.set_index("lead_hours")["rmse_mean_of_roots"].loc[list(HOURS)]
    rows = {"model": tuple(values), **_published(variable, factor)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(HOURS))


def tables_beside(scorecard: pd.DataFrame, store: TrainingStore) -> dict[str, pd.DataFrame]:
    """`table_beside` of each variable, in the store's units."""
    return {
        variable: table_beside(scorecard, variable, _factor(variable, store) or 1.0)
        for variable in store.channels
    }


def _published(variable: str, factor: float) -> dict[str, tuple[float, ...]]:
    return {name: tuple(factor * x for x in row[variable]) for name, row in ROWS.items()}


def format_beside(scorecard: pd.DataFrame, forecast: Forecast, store: TrainingStore) -> str:
    """For the terminal: the published rows beside the model, or why they are not shown."""
    reason = why_not_comparable(forecast, store) or why_pooled(scorecard, forecast)
    if reason:
        return f"published rows are not comparable: {reason}"
    blocks = [
        f"{variable}: RMSE, mean of roots, at {', '.join(map(str, HOURS))} h\n"
        + table.to_string(header=False, float_format="%.4g".__mod__, na_rep=ABSENT, line_width=80)
        for variable, table in tables_beside(scorecard, store).items()
    ]
    return "\n".join([*blocks, FOOTNOTE])
