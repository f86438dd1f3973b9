"""Forecasts are read with their truth in as large pieces as memory may hold."""

from dataclasses import replace

import numpy as np
from forecasters import Oracle

from climate.forecasts.reading import batches, open_forecast
from climate.forecasts.writing import write_forecast

SIX = np.timedelta64(6 * 3600, "s")


def test_the_truth_of_few_starts_is_read_at_once(store, tmp_path):
    """32 MiB hold more than all of it."""
    write_forecast(Oracle(store), store, tmp_path / "out", lead=6 * SIX)
    few = replace(open_forecast(tmp_path / "out", store), starts=np.arange(24, 54))
    assert [part for part, _ in batches([few], store)] == [slice(0, 30)]
