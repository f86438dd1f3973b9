"""Global grids by their spacing in degrees, or by their numbers of rows and columns."""

from __future__ import annotations

import re

import numpy as np

from climate.grids.grid import Grid
from vgbdm.errors import InputError

CENTRED = 5.625
"""Spacing of WeatherBench's grid of cell centres; all others have rows at the poles."""
FINEST = 0.05


def parse_grid(told: float | str) -> Grid:
    """The global grid of a spacing such as 1.5, or of rows and columns such as 121x240.

    Grids with an odd number of rows have rows at the poles, others cell centres.

    Raises:
        InputError: for a spacing that does not divide the globe, or no such text.
    """
    wanted = f"check.grid={told}: want degrees such as 1.5 and 0.25, or rows and columns as 121x240"
    if isinstance(told, str):
        found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", told)
        if found is None or min(map(int, found.groups())) < 3:
            raise InputError(wanted)
        height, width = map(int, found.groups())
    else:
        if not FINEST <= told <= 30 or abs(180 / told - round(180 / told)) > 1e-9:
            raise InputError(f"{wanted}; degrees are a divisor of 180, {FINEST:g} to 30")
        height, width = round(180 / told) + (told != CENTRED), round(360 / told)
    spacing = 180 / (height - height % 2)
    south = -90 + (0 if height % 2 else spacing / 2)
    return Grid(south + spacing * np.arange(height), 360 / width * np.arange(width))
