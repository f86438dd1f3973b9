"""A deterministic forecast as a distribution: its mean, and the size of its errors on validation.

Shapes: ``S`` leads, ``C`` channels, ``H`` latitudes.
"""

from __future__ import annotations

import numpy as np

from climate.conventions.calendar import inside
from climate.forecasts.reading import Forecast, batches
from climate.store.layout import TrainingStore
from vgbdm.errors import InputError

SAME_MODEL = "model_hash"


def validation_spread(dress: Forecast, forecast: Forecast, store: TrainingStore) -> np.ndarray:
    """Root mean square error (S, C, H) of the mean forecast over starts and longitudes.

    Args:
        dress: forecasts of the same model from the validation period.
        forecast: that is to be dressed.
        store: of the truth.

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
    for part, window in batches([dress], store, desc="validation errors"):
        for c, channel in enumerate(store.channels):
            mean = dress.read(part.start, part.stop, channel).mean(1, dtype=np.float64)
            square = ((mean - window[:, 1:, c]) ** 2).sum(0)
            total[:, c] += _mean_of_rows(square, dress.area_of(store, c).kept)
    return np.sqrt(total / len(dress.starts))


def _mean_of_rows(fields: np.ndarray, kept: np.ndarray | None) -> np.ndarray:
    """Means over longitudes (..., H) of (..., H, W); of those kept (H, W), 0 where none is."""
    if kept is None:
        return np.asarray(fields.mean(-1))
    return np.asarray(np.where(kept, fields, 0.0).sum(-1) / np.maximum(kept.sum(-1), 1))
