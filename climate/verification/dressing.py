"""A deterministic forecast as a distribution: its mean, and the size of its errors on validation.

Shapes: ``S`` leads, ``C`` channels, ``H`` latitudes.
"""

from __future__ import annotations

import numpy as np

from climate.conventions.calendar import inside
from climate.forecasts.pieces import Piece, pieces, read_window
from climate.forecasts.reading import Forecast
from climate.store.layout import TrainingStore
from climate.verification.pairs import mean_of
from climate.verification.series import Series
from climate.verification.tasks import HERE, over_pieces
from vgbdm.errors import InputError
from vgbdm.tasks import Dask

SAME_MODEL = "model_hash"


def validation_spread(
    dress: Forecast, forecast: Forecast, store: TrainingStore, dask: Dask = HERE
) -> np.ndarray:
    """Root mean square error (S, C, H) of the mean forecast over starts and longitudes.

    Args:
        dress: forecasts of the same model from the validation period.
        forecast: that is to be dressed.
        store: of the truth.
        dask: who works.

    Raises:
        InputError: if they are not of the validation period, or do not fit the forecast.
    """
    first, last = store.times[dress.starts], store.times[dress.last(store)]
    if not (inside(first, store.splits["val"]) & inside(last, store.splits["val"])).all():
        raise InputError(
            f"dress={dress.path}: not all of it lies in the validation period of {store.path}; "
            "make it with vgbdm forecast-era5 split=val"
        )
    same = np.array_equal(dress.area.lat, forecast.area.lat) and np.array_equal(
        dress.area.lon, forecast.area.lon
    )
    if not same or dress.step != forecast.step or dress.leads < forecast.leads:
        raise InputError(
            f"dress={dress.path}: its grid, step or leads are not those of {forecast.path}; make "
            "both with the same model and leads"
        )
    hashes = [part.dataset.attrs.get(SAME_MODEL) for part in (dress, forecast)]
    if None not in hashes and hashes[0] != hashes[1]:
        raise InputError(
            f"dress={dress.path}: made by another model than {forecast.path}; use one run for both"
        )
    dress = dress.select(np.arange(len(dress.starts)), forecast.leads)
    total = np.zeros((forecast.leads, len(store.channels), len(forecast.area.lat)))

    def take(part: tuple[Piece, np.ndarray]) -> None:
        piece, sums = part
        total[piece.leads, piece.channels] += sums

    parts = pieces(dress.truth(store), dress.together[0])
    over_pieces(_square_errors, (dress, store), parts, take, dask, "validation errors")
    return np.sqrt(total / len(dress.starts))


def _square_errors(
    shared: tuple[Forecast, TrainingStore], piece: Piece
) -> tuple[Piece, np.ndarray]:
    """Means over longitudes of the square errors of a piece, summed over its starts, (S, C, H)."""
    dress, store = shared
    window = read_window(dress.truth(store), piece)
    channels = dress.scored(store, piece.channels)
    first, rows = piece.leads.start, len(dress.area.lat)
    count = piece.channels.stop - piece.channels.start
    total = np.zeros((piece.leads.stop - first, count, rows))
    for c in channels:
        series = Series(dress, store, piece, window, c)
        for starts, leads in dress.parts(piece):
            for pairs in series.pairs(starts, leads):
                error = mean_of(pairs.members) - series.states[pairs.valid]
                ahead = slice(pairs.leads.start - first, pairs.leads.stop - first)
                total[ahead, c - piece.channels.start] += _mean_of_rows(error**2, series.area.kept)
    return piece, total


def _mean_of_rows(fields: np.ndarray, kept: np.ndarray | None) -> np.ndarray:
    """Means over longitudes (..., H) of (..., H, W); of those kept (H, W), 0 where none is."""
    if kept is None:
        return np.asarray(fields.mean(-1))
    return np.asarray(np.where(kept, fields, 0.0).sum(-1) / np.maximum(kept.sum(-1), 1))
