"""The store that holds the truth of a forecast dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from climate.conventions.calendar import as_step
from climate.forecasts.access import open_forecast_dataset
from climate.grids.regions import Region
from climate.store.layout import TrainingStore, open_store
from climate.stream.views import open_view
from vgbdm.errors import InputError


def open_for_forecast(
    path: str | Path, forecast: str | Path | xr.Dataset, aside: Path | None = None
) -> TrainingStore:
    """The truth of a forecast dataset: its step, and its region without a halo.

    What the forecast does not say is taken as the whole store's; that it fits is checked later,
    by `climate.forecasts.reading.open_forecast`. Monthly means of a read-only store are kept
    in the folder ``aside``.
    """
    try:
        with open_forecast_dataset(forecast) as dataset:
            leads = dataset["lead_time"].values[:1].astype("timedelta64[s]").astype(np.int64)
            name, box = dataset.attrs.get("region"), dataset.attrs.get("region_box")
        region = None
        if box is not None:
            south, north, west, east = map(float, box)
            region = Region(str(name), south, north, west, east, halo=0)
        step = as_step(int(leads[0]))
    except InputError:
        raise
    except (ValueError, TypeError, LookupError):
        return open_store(path)
    return open_view(path, step, region, aside)
